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

	"mailbox/imapd/wire"
	"mailbox/storage"
)

// A mirror is what a client believes of its selected mailbox, from the
// responses alone.
type mirror struct {
	*client
	enabled  string // what ENABLE was given
	box      string
	messages []believed
	validity string
	highest  int // the modseq up to which it knows everything
}

type believed struct {
	uid    string // "" while it is not known
	flags  string // sorted; only where told
	told   bool
	modSeq int // 0 where it was not told
}

var (
	countLine    = regexp.MustCompile(`^\* (\d+) (EXISTS|EXPUNGE)$`)
	vanishedLine = regexp.MustCompile(`^\* VANISHED (\(EARLIER\) )?([\d:,]+)$`)
	fetchLine    = regexp.MustCompile(`(?s)^\* (\d+) FETCH \((.*)\)$`)
	uidInFetch   = regexp.MustCompile(`UID (\d+)`)
	flagInFetch  = regexp.MustCompile(`FLAGS \(([^)]*)\)`)
	modifiedCode = regexp.MustCompile(`\[MODIFIED ([\d:,]+)\]`)
)

// number is the UID, 0 where it is not known.
func (b believed) number() int {
	n, _ := strconv.Atoi(b.uid)
	return n
}

func (m *mirror) counts() bool  { return m.enabled != "" && m.enabled != "IMAP4rev2" }
func (m *mirror) resyncs() bool { return strings.Contains(m.enabled, "QRESYNC") }

// run executes a command and takes in its responses. noExpunge says that the
// numbers must hold until it ends.
func (m *mirror) run(t *rapid.T, command string, noExpunge bool) string {
	untagged, tagged := m.do(command)
	seen, code := 0, 0
	for _, l := range append(untagged, tagged) {
		if strings.Contains(l, "RECENT") && strings.Contains(m.enabled, "rev2") || strings.HasSuffix(l, "EXPUNGE") && m.resyncs() {
			t.Fatalf("%s: with %s: %s", command, m.enabled, l)
		}
		m.takeCount(t, command, l, noExpunge)
		m.takeVanished(t, command, l, noExpunge)
		seen = max(seen, m.takeFetch(t, command, l))
		if h := highestCode.FindStringSubmatch(l); h != nil {
			code, _ = strconv.Atoi(h[1])
		}
	}
	if code > 0 {
		m.highest = code
	} else {
		m.highest = max(m.highest, seen)
	}
	return tagged
}

func (m *mirror) takeCount(t *rapid.T, command, l string, noExpunge bool) {
	f := countLine.FindStringSubmatch(l)
	if f == nil {
		return
	}
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

// takeVanished lets go of messages. One whose UID is not known stands before
// the first with a higher one.
func (m *mirror) takeVanished(t *rapid.T, command, l string, noExpunge bool) {
	f := vanishedLine.FindStringSubmatch(l)
	if f == nil {
		return
	}
	earlier := f[1] != ""
	if !m.resyncs() || noExpunge && !earlier {
		t.Fatalf("%s: with %q: %s", command, m.enabled, l)
	}
	for uid := range numbers(t, f[2]) {
		at := slices.IndexFunc(m.messages, func(b believed) bool { return b.number() >= int(uid) })
		exact := at >= 0 && m.messages[at].number() == int(uid)
		if earlier {
			if exact {
				t.Fatalf("%s: %s, but message %d is still counted", command, l, at+1)
			}
			continue
		}
		switch {
		case at < 0:
			at = len(m.messages) - 1
		case !exact:
			at--
		}
		if at < 0 || !exact && m.messages[at].uid != "" {
			t.Fatalf("%s: %s: %d was not there", command, l, uid)
		}
		m.messages = slices.Delete(m.messages, at, at+1)
	}
}

func (m *mirror) takeFetch(t *rapid.T, command, l string) (modSeq int) {
	f := fetchLine.FindStringSubmatch(l)
	if f == nil {
		return 0
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
	if s := modSeqItem.FindStringSubmatch(f[2]); s != nil {
		modSeq, _ = strconv.Atoi(s[1])
		if modSeq < b.modSeq {
			t.Fatalf("%s: %s: modseq was %d", command, l, b.modSeq)
		}
		b.modSeq = modSeq
	} else if b.modSeq > 0 && flagInFetch.MatchString(f[2]) && !strings.Contains(command, "FETCH") {
		t.Fatalf("%s: no modseq in %s", command, l)
	}
	return modSeq
}

// numbers reads a set.
func numbers(t *rapid.T, set string) func(func(uint32) bool) {
	s, err := wire.ParseNumSet([]byte(set))
	if err != nil {
		t.Fatal(err)
	}
	return s.Normalize(0).All()
}

func sortedFlags(s string) string {
	fields := slices.DeleteFunc(strings.Fields(s), func(f string) bool { return f == `\Recent` })
	slices.Sort(fields)
	return strings.Join(fields, " ")
}

// open selects the mailbox as if it had never been known.
func (m *mirror) open(t *rapid.T) {
	m.messages, m.highest = nil, 0
	m.validity = strconv.Itoa(number(m.t, validityCode, m.ok("STATUS "+m.box+" (UIDVALIDITY)")))
	m.run(t, "SELECT "+m.box, false)
}

// resync leaves the mailbox, and finds into it again with what it believed
// (RFC 7162 section 3.2.5). Then it knows the truth, without asking for more
// than the messages that it never saw.
func (m *mirror) resync(t *rapid.T, how string) {
	m.run(t, how, false)
	known := map[string]believed{}
	last, whole := 0, true // up to last every message is known
	var uids, matchSeqs, matchUIDs []string
	for i, b := range m.messages {
		if whole = whole && b.told && b.uid != ""; whole {
			last = b.number()
			if i%3 == 0 {
				matchSeqs, matchUIDs = append(matchSeqs, strconv.Itoa(i+1)), append(matchUIDs, b.uid)
			}
		}
		if b.told && b.uid != "" {
			known[b.uid] = b
			uids = append(uids, b.uid)
		}
	}
	params := fmt.Sprintf("%s %d", m.validity, m.highest)
	if len(uids) > 0 && rapid.Bool().Draw(t, "with known UIDs") {
		params += " " + strings.Join(uids, ",")
	}
	if len(matchSeqs) > 0 && rapid.Bool().Draw(t, "with numbers") {
		params += " (" + strings.Join(matchSeqs, ",") + " " + strings.Join(matchUIDs, ",") + ")"
	}
	if how == "CLOSE" { // which says nothing of what it expunges
		for uid, b := range known {
			if strings.Contains(b.flags, `\Deleted`) {
				delete(known, uid)
			}
		}
	}
	m.messages = nil
	untagged, _ := m.do(fmt.Sprintf("SELECT %s (QRESYNC (%s))", m.box, params))
	take := func(l string) {
		if v := vanishedLine.FindStringSubmatch(l); v != nil {
			for uid := range numbers(t, v[2]) {
				delete(known, strconv.Itoa(int(uid)))
			}
		}
		if f := fetchLine.FindStringSubmatch(l); f != nil {
			b := believed{uid: uidInFetch.FindStringSubmatch(f[2])[1], flags: sortedFlags(flagInFetch.FindStringSubmatch(f[2])[1]), told: true}
			b.modSeq, _ = strconv.Atoi(modSeqItem.FindStringSubmatch(f[2])[1])
			known[b.uid] = b
		}
		if h := highestCode.FindStringSubmatch(l); h != nil {
			m.highest, _ = strconv.Atoi(h[1])
		}
	}
	untagged2, _ := m.do(fmt.Sprintf("UID FETCH %d:* (UID FLAGS MODSEQ)", last+1))
	for _, l := range append(untagged, untagged2...) {
		take(l)
	}
	for _, b := range known {
		m.messages = append(m.messages, b)
	}
	slices.SortFunc(m.messages, func(a, b believed) int { return a.number() - b.number() })
	for _, l := range untagged {
		if f := countLine.FindStringSubmatch(l); f != nil && f[1] != strconv.Itoa(len(m.messages)) {
			t.Fatalf("after SELECT (QRESYNC): %s, but %d are known: %q", l, len(m.messages), append(untagged, untagged2...))
		}
	}
}

// TestViewsEqualTruth: whatever sessions with different extensions do to a
// mailbox, numbers hold under the commands that use them, and all know the
// truth after a NOOP, and those who can after a new SELECT.
func TestViewsEqualTruth(t *testing.T) {
	f := newFixture(t, nil)
	var sessions []*mirror
	for _, enabled := range []string{"", "CONDSTORE", "QRESYNC", "IMAP4rev2", "QRESYNC UTF8=ACCEPT IMAP4rev2"} {
		c := f.login()
		if enabled != "" {
			c.ok("ENABLE " + enabled)
		}
		if enabled == "QRESYNC" {
			c.compress(false)
		}
		sessions = append(sessions, &mirror{client: c, enabled: enabled})
	}
	box := 0
	rapid.Check(t, func(t *rapid.T) {
		box++
		name := fmt.Sprintf("box%d", box)
		sessions[0].ok("CREATE " + name)
		for _, s := range sessions {
			s.box = name
			s.open(t)
		}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			step(t, rapid.SampledFrom(sessions).Draw(t, "session"))
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
			checkTruth(t, f, s)
			if s.resyncs() {
				s.resync(t, "UNSELECT")
				checkTruth(t, f, s)
			}
		}
	})
}

func step(t *rapid.T, s *mirror) {
	n := len(s.messages)
	pick := func() string { return strconv.Itoa(rapid.IntRange(1, n).Draw(t, "message")) }
	flags := rapid.SampledFrom([]string{`(\Deleted)`, `(\Seen blue)`, `(\Flagged)`, `()`}).Draw(t, "flags")
	op := rapid.SampledFrom([]string{"", "+", "-"}).Draw(t, "op")
	kind := rapid.IntRange(0, 16).Draw(t, "kind")
	switch {
	case n == 0 || kind <= 1:
		s.run(t, "APPEND "+s.box+" {2+}\r\nhi", false)
	case kind == 2:
		s.run(t, "NOOP", false)
	case kind == 3:
		condition := ""
		if s.counts() && rapid.Bool().Draw(t, "on a condition") {
			condition = fmt.Sprintf("(UNCHANGEDSINCE %d) ", rapid.IntRange(max(0, s.highest-2), s.highest).Draw(t, "since"))
		}
		s.run(t, "STORE "+pick()+":"+pick()+" "+condition+op+"FLAGS "+flags, true)
	case kind == 4:
		s.storeSilently(t, pick(), op, flags, "")
	case kind == 5:
		s.run(t, "EXPUNGE", false)
	case kind == 6:
		s.run(t, "FETCH "+pick()+" (UID FLAGS BODY[])", true)
	case kind == 7:
		s.run(t, "COPY "+pick()+" "+s.box, false)
	case kind == 8:
		s.run(t, "MOVE "+pick()+" "+s.box, false)
	case kind == 9 && s.counts():
		s.storeSilently(t, pick(), op, flags, fmt.Sprintf("(UNCHANGEDSINCE %d) ", rapid.IntRange(max(0, s.highest-2), s.highest).Draw(t, "since")))
	case kind == 10 && s.resyncs():
		s.run(t, fmt.Sprintf("UID FETCH 1:* FLAGS (CHANGEDSINCE %d VANISHED)", rapid.IntRange(0, s.highest).Draw(t, "since")), false)
	case kind == 11 && s.resyncs():
		s.resync(t, rapid.SampledFrom([]string{"UNSELECT", "CLOSE", "SEARCH ALL"}).Draw(t, "how"))
	case kind == 12:
		s.run(t, "SEARCH RETURN (SAVE) "+pick(), true)
		s.run(t, "STORE $ "+op+"FLAGS "+flags, true)
	case kind == 13:
		s.run(t, "REPLACE "+pick()+" "+s.box+" (\\Draft) {2+}\r\nho", false)
	case kind == 14:
		s.run(t, "APPEND "+s.box+" (\\Seen) {2+}\r\nhi (blue) {2+}\r\nho", false)
	case kind == 15:
		s.run(t, "FETCH 1:* (UID FLAGS) (PARTIAL -"+pick()+":-"+pick()+")", true)
	default:
		s.run(t, "UID FETCH 1:* (FLAGS)", false)
	}
}

// storeSilently stores flags of one message, and computes what they are now:
// it was told of whatever it cannot compute.
func (m *mirror) storeSilently(t *rapid.T, seq, op, flags, condition string) {
	at, _ := strconv.Atoi(seq)
	at--
	was := m.messages[at]
	m.messages[at].told = false
	tagged := m.run(t, "STORE "+seq+" "+condition+op+"FLAGS.SILENT "+flags, true)
	now := &m.messages[at]
	if now.told || !was.told {
		return
	}
	now.told, now.flags = true, was.flags
	if !strings.HasPrefix(tagged, "OK") || modifiedCode.MatchString(tagged) {
		return
	}
	given := strings.Fields(strings.Trim(flags, "()"))
	all := strings.Fields(was.flags)
	switch op {
	case "":
		all = given
	case "+":
		all = append(all, given...)
	case "-":
		all = slices.DeleteFunc(all, func(f string) bool { return slices.Contains(given, f) })
	}
	slices.Sort(all)
	now.flags = strings.Join(slices.Compact(all), " ")
}

func checkTruth(t *rapid.T, f *fixture, s *mirror) {
	ctx := context.Background()
	m, err := f.db.Mailbox(ctx, f.account, s.box)
	if err != nil {
		t.Fatal(err)
	}
	x, err := f.db.Index(ctx, f.account, m.ID)
	if err != nil {
		t.Fatal(err)
	}
	var truth, belief []string
	x.All(func(i int, e storage.Entry) bool {
		var names []string
		for _, fl := range systemFlags {
			if e.Flags&fl.flag != 0 {
				names = append(names, fl.name)
			}
		}
		names = append(names, x.Keywords(e.Keywords)...)
		truth = append(truth, fmt.Sprint(e.UID, " ", sortedFlags(strings.Join(names, " "))))
		if i < len(s.messages) && s.messages[i].modSeq != 0 && s.messages[i].modSeq != int(e.ModSeq) {
			t.Fatalf("with %q: modseq of message %d is %d, was told as %d", s.enabled, i+1, e.ModSeq, s.messages[i].modSeq)
		}
		return true
	})
	for _, b := range s.messages {
		belief = append(belief, b.uid+" "+b.flags)
	}
	if !slices.Equal(truth, belief) {
		t.Fatalf("with %q: truth\n%q\nbelief\n%q", s.enabled, truth, belief)
	}
}
