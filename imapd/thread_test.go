package imapd

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"mailbox/storage"
)

func threadsOf(keys []storage.EmailKey, form func(*forest)) string {
	f := newForest(keys)
	form(f)
	var b []byte
	for _, root := range f.roots {
		b = f.appendThread(b, root, func(n int32) uint32 { return uint32(n) + 1 })
	}
	return string(b)
}

// TestEveryMessageHasItsThread: whatever messages claim to refer to, each of
// them is in one thread, once, and parentheses are balanced.
func TestEveryMessageHasItsThread(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys := make([]storage.EmailKey, rapid.IntRange(0, 12).Draw(t, "messages"))
		id := rapid.Int64Range(0, 15)
		for i := range keys {
			keys[i] = storage.EmailKey{
				ID: id.Draw(t, "id"), Sent: rapid.Int64Range(0, 5).Draw(t, "sent"), Reply: rapid.Bool().Draw(t, "reply"),
				Subject: rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "subject"),
			}
			for range rapid.IntRange(0, 4).Draw(t, "refs") {
				keys[i].Refs = binary.BigEndian.AppendUint64(keys[i].Refs, uint64(id.Draw(t, "ref")+1))
			}
		}
		for _, form := range []func(*forest){references, orderedSubject} {
			threads := threadsOf(keys, form)
			depth := 0
			for _, c := range threads {
				switch c {
				case '(':
					depth++
				case ')':
					depth--
				}
			}
			var got []string
			for n := range strings.FieldsFuncSeq(threads, func(r rune) bool { return r < '0' || r > '9' }) {
				got = append(got, fmt.Sprintf("%2s", n))
			}
			slices.Sort(got)
			var want []string
			for i := range keys {
				want = append(want, fmt.Sprintf("%2d", i+1))
			}
			if depth != 0 || !slices.Equal(got, want) || strings.Contains(threads, "()") {
				t.Fatalf("%s of %+v", threads, keys)
			}
		}
	})
}

// TestDeepThread: a thread as deep as the mailbox is rendered, in one line.
func TestDeepThread(t *testing.T) {
	keys := make([]storage.EmailKey, 100_000)
	for i := range keys {
		keys[i] = storage.EmailKey{ID: int64(i + 1), Sent: int64(i), Refs: binary.BigEndian.AppendUint64(nil, uint64(i))}
	}
	keys[0].Refs = nil
	if s := threadsOf(keys, references); !strings.HasPrefix(s, "(1 2 3 ") || strings.Count(s, "(") != 1 || !strings.HasSuffix(s, " 99999 100000)") {
		t.Errorf("%.100s", s)
	}
}

// TestReferenceFlood: messages that refer to very many that are not there cost
// a bounded number of nodes, and still have their threads.
func TestReferenceFlood(t *testing.T) {
	keys := make([]storage.EmailKey, 2000)
	for i := range keys {
		keys[i].ID = int64(i + 1)
		for n := range 100 {
			keys[i].Refs = binary.BigEndian.AppendUint64(keys[i].Refs, uint64(1+len(keys)+100*i+n))
		}
		keys[i].Refs = binary.BigEndian.AppendUint64(keys[i].Refs, uint64(i/2+1))
	}
	f := newForest(keys)
	references(f)
	if n := len(f.parent); n > 2*len(keys)+spareDummies {
		t.Errorf("%d nodes", n)
	}
	if len(f.roots) != 1 || !strings.HasPrefix(threadsOf(keys, references), "(1 ") {
		t.Errorf("%d threads", len(f.roots))
	}
}

// TestThreadsOfHostileReferences: what takes others' servers a time or memory
// that is the square of the messages is threaded like anything else. Such mail
// can come from anybody.
func TestThreadsOfHostileReferences(t *testing.T) {
	const n = 100_000
	keys := make([]storage.EmailKey, n)
	refer := func(from int, to ...int64) {
		for _, id := range to {
			keys[from].Refs = binary.BigEndian.AppendUint64(keys[from].Refs, uint64(id))
		}
	}
	for i := range keys { // messages that are not there, each below the next
		keys[i].ID = int64(i + 1)
		refer(i, n+int64(i)+1, n+int64(i)+2)
	}
	f := newForest(keys)
	references(f)
	kids := 0
	for _, k := range f.kids {
		kids += cap(k)
	}
	if kids > 10*n {
		t.Errorf("room for %d children of %d messages", kids, n)
	}
	for i := range keys { // branches that are hung to the end of a long thread
		keys[i].Refs = nil
		switch {
		case i == 0:
		case i < n/2:
			refer(i, int64(i))
		case i%2 == 0:
			refer(i, int64(i)+2)
		default:
			refer(i, n/2)
		}
	}
	for _, id := range []string{"(1 2 3 ", " 49999 50000", "50002 50001", "100000 99999"} {
		if threads := threadsOf(keys, references); !strings.Contains(threads, id) {
			t.Errorf("%s is not in %.100s", id, threads)
		}
	}
}
