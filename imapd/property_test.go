package imapd

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"mailbox/storage"
)

// A mirror is what a client believes of its selected mailbox, from the
// responses alone.
type mirror struct {
	*client
	messages []believed
}

type believed struct {
	uid   string // "" while it is not known
	flags string // sorted; only where told
	told  bool
}

var (
	countLine   = regexp.MustCompile(`^\* (\d+) (EXISTS|EXPUNGE)$`)
	fetchLine   = regexp.MustCompile(`(?s)^\* (\d+) FETCH \((.*)\)$`)
	uidInFetch  = regexp.MustCompile(`UID (\d+)`)
	flagInFetch = regexp.MustCompile(`FLAGS \(([^)]*)\)`)
)

// run executes a command and takes in its responses. noExpunge says that the
// numbers must hold until it ends.
func (m *mirror) run(t *rapid.T, command string, noExpunge bool) string {
	untagged, tagged := m.do(command)
	for _, l := range untagged {
		if f := countLine.FindStringSubmatch(l); f != nil {
			n, _ := strconv.Atoi(f[1])
			switch {
			case f[2] == "EXISTS" && n < len(m.messages):
				t.Fatalf("%s: EXISTS shrank from %d to %d", command, len(m.messages), n)
			case f[2] == "EXISTS":
				m.messages = append(m.messages, make([]believed, n-len(m.messages))...)
			case noExpunge:
				t.Fatalf("%s: %s", command, l)
			default:
				m.messages = slices.Delete(m.messages, n-1, n)
			}
		}
		f := fetchLine.FindStringSubmatch(l)
		if f == nil {
			continue
		}
		n, _ := strconv.Atoi(f[1])
		if n < 1 || n > len(m.messages) {
			t.Fatalf("%s: %s, of %d", command, l, len(m.messages))
		}
		b := &m.messages[n-1]
		if u := uidInFetch.FindStringSubmatch(f[2]); u != nil {
			if b.uid != "" && b.uid != u[1] {
				t.Fatalf("%s: message %d is %s, was %s", command, n, u[1], b.uid)
			}
			b.uid = u[1]
		}
		if fl := flagInFetch.FindStringSubmatch(f[2]); fl != nil {
			b.flags, b.told = sortedFlags(fl[1]), true
		}
	}
	return tagged
}

func sortedFlags(s string) string {
	fields := slices.DeleteFunc(strings.Fields(s), func(f string) bool { return f == `\Recent` })
	slices.Sort(fields)
	return strings.Join(fields, " ")
}

// TestViewsEqualTruth: whatever two sessions do to a mailbox, numbers hold
// under the commands that use them, and both know the truth after a NOOP.
func TestViewsEqualTruth(t *testing.T) {
	f := newFixture(t, nil)
	a, b := f.login(), f.login()
	box := 0
	rapid.Check(t, func(t *rapid.T) {
		box++
		name := fmt.Sprintf("box%d", box)
		a.ok("CREATE " + name)
		sessions := []*mirror{{client: a}, {client: b}}
		for _, s := range sessions {
			s.ok("SELECT " + name)
		}
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			s := sessions[rapid.IntRange(0, 1).Draw(t, "session")]
			step(t, s, name)
		}
		for _, s := range sessions {
			s.run(t, "NOOP", false)
			before := slices.Clone(s.messages)
			if len(before) > 0 {
				s.run(t, "FETCH 1:* (UID FLAGS)", true)
			}
			for i, was := range before {
				if was.told && was.flags != s.messages[i].flags {
					t.Fatalf("message %d: flags were told as %q, are %q", i+1, was.flags, s.messages[i].flags)
				}
			}
			checkTruth(t, f, name, s)
		}
	})
}

func step(t *rapid.T, s *mirror, name string) {
	n := len(s.messages)
	pick := func() string { return strconv.Itoa(rapid.IntRange(1, n).Draw(t, "message")) }
	flags := rapid.SampledFrom([]string{`(\Deleted)`, `(\Seen blue)`, `\Flagged`, `()`}).Draw(t, "flags")
	op := rapid.SampledFrom([]string{"", "+", "-"}).Draw(t, "op")
	kind := rapid.IntRange(0, 9).Draw(t, "kind")
	switch {
	case n == 0 || kind <= 1:
		s.run(t, "APPEND "+name+" {2+}\r\nhi", false)
	case kind == 2:
		s.run(t, "NOOP", false)
	case kind == 3:
		s.run(t, "STORE "+pick()+":"+pick()+" "+op+"FLAGS "+flags, true)
	case kind == 4:
		set := pick()
		for i := range s.messages { // the client would compute them
			if strconv.Itoa(i+1) == set {
				s.messages[i].told = false
			}
		}
		s.run(t, "STORE "+set+" "+op+"FLAGS.SILENT "+flags, true)
	case kind == 5:
		s.run(t, "EXPUNGE", false)
	case kind == 6:
		s.run(t, "FETCH "+pick()+" (UID FLAGS BODY[])", true)
	case kind == 7:
		s.run(t, "COPY "+pick()+" "+name, false)
	case kind == 8:
		s.run(t, "MOVE "+pick()+" "+name, false)
	default:
		s.run(t, "UID FETCH 1:* (FLAGS)", false)
	}
}

func checkTruth(t *rapid.T, f *fixture, name string, s *mirror) {
	ctx := context.Background()
	m, err := f.db.Mailbox(ctx, f.account, name)
	if err != nil {
		t.Fatal(err)
	}
	x, err := f.db.Index(ctx, f.account, m.ID)
	if err != nil {
		t.Fatal(err)
	}
	var truth, belief []string
	x.All(func(_ int, e storage.Entry) bool {
		var names []string
		for _, fl := range systemFlags {
			if e.Flags&fl.flag != 0 {
				names = append(names, fl.name)
			}
		}
		names = append(names, x.Keywords(e.Keywords)...)
		truth = append(truth, fmt.Sprint(e.UID, " ", sortedFlags(strings.Join(names, " "))))
		return true
	})
	for _, b := range s.messages {
		belief = append(belief, b.uid+" "+b.flags)
	}
	if !slices.Equal(truth, belief) {
		t.Fatalf("truth\n%q\nbelief\n%q", truth, belief)
	}
}
