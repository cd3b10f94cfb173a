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
