package imapd

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"mailbox/imapd/wire"
	"mailbox/storage"
)

var (
	highestCode = regexp.MustCompile(`HIGHESTMODSEQ (\d+)`)
	modSeqItem  = regexp.MustCompile(`MODSEQ \(?(\d+)\)?`)
	uidInFetch  = regexp.MustCompile(`UID (\d+)`)
)

// number returns what a pattern finds in a response.
func number(t testing.TB, re *regexp.Regexp, in string) int {
	t.Helper()
	found := re.FindStringSubmatch(in)
	if found == nil {
		t.Fatalf("no %s in\n%s", re, in)
	}
	n, err := strconv.Atoi(found[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// filled is a client that has selected an INBOX of n messages.
func filled(f *fixture, n int) *client {
	f.t.Helper()
	c := f.login()
	for range n {
		c.upload("INBOX", "", hello)
	}
	c.ok("SELECT INBOX")
	return c
}

// untaggedOf returns the untagged part of a successful command.
func (c *client) untaggedOf(command string) string {
	c.t.Helper()
	lines := strings.Split(c.ok(command), "\n")
	return strings.Join(lines[:len(lines)-1], "\n")
}

func wantNone(t testing.TB, got string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if strings.Contains(got, p) {
			t.Errorf("%q is in\n%s", p, got)
		}
	}
}

// TestCondStoreBegins: whatever names a modseq makes the server tell them, and
// nothing else does.
func TestCondStoreBegins(t *testing.T) {
	f := newFixture(t, nil)
	other := filled(f, 2)
	wantNone(t, other.ok(`STORE 1 +FLAGS (\Flagged)`), "MODSEQ")
	for _, command := range []string{
		"ENABLE CONDSTORE", "ENABLE QRESYNC", "SELECT INBOX (CONDSTORE)", "EXAMINE INBOX (CONDSTORE)", "STATUS INBOX (HIGHESTMODSEQ)",
		"FETCH 1 (MODSEQ)", "FETCH 1 (FLAGS) (CHANGEDSINCE 1)", `STORE 1 (UNCHANGEDSINCE 1) +FLAGS (\Seen)`, "SEARCH MODSEQ 1",
	} {
		c := f.login()
		wantAll(t, c.ok("SELECT INBOX"), "* OK [HIGHESTMODSEQ ") // is told to all (RFC 7162 section 3.1.2.1)
		wantAll(t, c.ok(command), "HIGHESTMODSEQ ")
		c.ok("SELECT INBOX")
		other.ok(`STORE 2 FLAGS ()`)
		other.ok(`STORE 2 FLAGS (\Flagged)`)
		got := c.ok("NOOP")
		if now := other.ok("FETCH 2 MODSEQ"); number(t, modSeqItem, got) != number(t, modSeqItem, now) {
			t.Errorf("after %s: %s\nbut %s", command, got, now)
		}
		c.ok("LOGOUT")
	}
	c := f.login()
	c.ok("SELECT INBOX")
	c.ok("FETCH 1 FLAGS")
	c.ok("ENABLE NOSUCH")
	other.ok(`STORE 2 FLAGS (\Answered)`)
	wantNone(t, c.ok("NOOP"), "MODSEQ")
}

// TestUnchangedSince: a conditional STORE changes what is as the client knows
// it, names the rest, and lets the client see what others made of that.
func TestUnchangedSince(t *testing.T) {
	f := newFixture(t, nil)
	a := filled(f, 4)
	b := f.login()
	b.ok("SELECT INBOX")
	since := number(t, highestCode, a.ok("SELECT INBOX (CONDSTORE)"))
	b.ok(`STORE 3 +FLAGS (\Flagged)`)
	got := a.ok(fmt.Sprintf(`STORE 2:4 (UNCHANGEDSINCE %d) +FLAGS.SILENT (\Deleted)`, since))
	wantAll(t, got, "OK [MODIFIED 3]", "* 2 FETCH (MODSEQ (", "* 4 FETCH (MODSEQ (", `* 3 FETCH (UID 3 FLAGS (\Flagged) MODSEQ (`)
	if now := number(t, modSeqItem, a.ok("FETCH 2 MODSEQ")); number(t, modSeqItem, got) < since || now <= since {
		t.Errorf("modseq %d is not above %d", now, since)
	}
	wantAll(t, a.ok("FETCH 1:4 FLAGS"), `2 FETCH (FLAGS (\Deleted`, `4 FETCH (FLAGS (\Deleted`)
	wantNone(t, a.ok("FETCH 3 FLAGS"), `\Deleted`)

	// Another session set the very flag: the client still learns that it was not its own doing.
	since = number(t, highestCode, a.ok("SELECT INBOX"))
	b.ok(`STORE 1 +FLAGS (\Seen)`)
	wantAll(t, a.ok(fmt.Sprintf(`UID STORE 1 (UNCHANGEDSINCE %d) +FLAGS.SILENT (\Seen)`, since)), "OK [MODIFIED 1]", `FLAGS (\Seen`)
	wantAll(t, a.ok(`UID STORE 1:2 (UNCHANGEDSINCE 0) +FLAGS (\Draft)`), "OK [MODIFIED 1:2]")
	wantNone(t, a.ok("FETCH 1:2 FLAGS"), `\Draft`)

	// What is set already is answered too, where the client asked on a condition.
	wantAll(t, a.ok(`UID STORE 1 (UNCHANGEDSINCE 9223372036854775807) +FLAGS.SILENT (\Seen)`), "* 1 FETCH (UID 1 MODSEQ (")
	wantNone(t, a.ok(`UID STORE 1 +FLAGS.SILENT (\Seen)`), "FETCH (")

	b.ok("EXPUNGE")
	a.fails(`STORE 1:2 (UNCHANGEDSINCE 1) +FLAGS (\Draft)`, "NO [MODIFIED 1]")
	wantAll(t, a.ok("NOOP"), "* 4 EXPUNGE", "* 2 EXPUNGE")
	for _, wrong := range []string{`(UNCHANGEDSINCE) FLAGS ()`, `(UNCHANGEDSINCE 9223372036854775808) FLAGS ()`, `(NOSUCH 1) FLAGS ()`, `(UNCHANGEDSINCE 1)`} {
		a.fails("STORE 1 "+wrong, "BAD")
	}
}

// TestSilenceTellsModSeqs: a client that counts modseqs hears those that its
// own silent STORE made.
func TestSilenceTellsModSeqs(t *testing.T) {
	f := newFixture(t, nil)
	c := filled(f, 3)
	c.ok("ENABLE CONDSTORE")
	got := c.untaggedOf(`STORE 1:2 +FLAGS.SILENT (\Seen)`)
	wantAll(t, got, "* 1 FETCH (MODSEQ (", "* 2 FETCH (MODSEQ (")
	wantNone(t, got, "FLAGS", "3 FETCH")
	wantAll(t, c.ok("FETCH 3 BODY[TEXT]"), `FLAGS (\Seen \Recent) MODSEQ (`)
	wantAll(t, c.ok("UID FETCH 3 BODY[TEXT]"), "* 3 FETCH (UID 3 BODY[TEXT]")
}

// TestChangesNameTheirUIDs: a client that asked for changes only does not know
// which number means which UID. So what others change is told with UIDs to it.
func TestChangesNameTheirUIDs(t *testing.T) {
	f := newFixture(t, nil)
	other := filled(f, 3)
	other.ok(`STORE 1 +FLAGS.SILENT (\Deleted)`)
	other.ok("EXPUNGE")
	c := f.login()
	since := number(t, highestCode, c.ok("SELECT INBOX"))
	c.ok(fmt.Sprintf("UID FETCH 1:* (FLAGS) (CHANGEDSINCE %d)", since))
	for _, command := range []string{"NOOP", "FETCH 1 BODY.PEEK[]", "UID FETCH 2 BODY.PEEK[]"} {
		other.ok(`STORE 2 FLAGS ()`)
		other.ok(`STORE 2 FLAGS (\Flagged)`)
		wantAll(t, c.ok(command), `* 2 FETCH (UID 3 FLAGS (\Flagged`)
	}
}

// TestUIDStoreTellsUIDs: whatever a UID STORE makes the server tell of a message
// has its UID (RFC 3501 section 6.4.8), also what another session did to it.
func TestUIDStoreTellsUIDs(t *testing.T) {
	f := newFixture(t, nil)
	a := filled(f, 2)
	since := number(t, highestCode, a.ok("SELECT INBOX (CONDSTORE)"))
	b := f.login()
	b.ok("SELECT INBOX")
	b.ok(`STORE 1:2 +FLAGS (\Flagged)`)
	wantAll(t, a.ok(`UID STORE 1 +FLAGS.SILENT (\Seen)`), "* 1 FETCH (UID 1 FLAGS (", "* 2 FETCH (UID 2 FLAGS (")
	b.ok(`STORE 2 +FLAGS (\Draft)`)
	wantAll(t, a.ok(fmt.Sprintf(`UID STORE 2 (UNCHANGEDSINCE %d) +FLAGS (\Seen)`, since)), "* 2 FETCH (UID 2 FLAGS (", "[MODIFIED 2]")
}

func TestChangedSince(t *testing.T) {
	f := newFixture(t, nil)
	c := filled(f, 5)
	since := number(t, highestCode, c.ok("STATUS INBOX (HIGHESTMODSEQ)"))
	if got := c.untaggedOf(fmt.Sprintf("FETCH 1:* (FLAGS) (CHANGEDSINCE %d)", since)); got != "" {
		t.Errorf("nothing changed, but %s", got)
	}
	c.ok(`STORE 2,4 +FLAGS (\Seen)`)
	got := c.untaggedOf(fmt.Sprintf("FETCH 1:* FLAGS (CHANGEDSINCE %d)", since))
	if want := regexp.MustCompile(`^\* 2 FETCH \(FLAGS \(\\Seen \\Recent\) MODSEQ \(\d+\)\)\n\* 4 FETCH [^\n]*$`); !want.MatchString(got) {
		t.Errorf("changed: %s", got)
	}
	if got := c.untaggedOf(fmt.Sprintf("UID FETCH 3:* ALL (CHANGEDSINCE %d)", since)); strings.Count(got, " FETCH (UID 4 ") != 1 || strings.Count(got, "FETCH") != 1 {
		t.Errorf("changed in a set: %s", got)
	}
	c.fails("FETCH 1 (FLAGS) (CHANGEDSINCE x)", "BAD")
	c.fails("FETCH 1 (FLAGS) (NOSUCH)", "BAD")
	c.fails("UID FETCH 1 (FLAGS) (CHANGEDSINCE 1 VANISHED)", "BAD [CLIENTBUG]")
	c.ok("ENABLE QRESYNC")
	c.fails("FETCH 1 (FLAGS) (CHANGEDSINCE 1 VANISHED)", "BAD")
	c.fails("UID FETCH 1 (FLAGS) (VANISHED)", "BAD")
	wantAll(t, c.ok("FETCH 1 (MODSEQ)"), "* 1 FETCH (MODSEQ (")
}

func TestSearchModSeq(t *testing.T) {
	f := newFixture(t, nil)
	c := filled(f, 4)
	c.ok(`STORE 3 +FLAGS (\Seen)`)
	three := number(t, modSeqItem, c.ok("FETCH 3 MODSEQ"))
	four := number(t, modSeqItem, c.ok("FETCH 4 MODSEQ"))
	for query, want := range map[string]string{
		fmt.Sprintf("SEARCH MODSEQ %d", four):                                          fmt.Sprintf("* SEARCH 3 4 (MODSEQ %d)", three),
		fmt.Sprintf("SEARCH MODSEQ %d UNSEEN", four):                                   fmt.Sprintf("* SEARCH 4 (MODSEQ %d)", four),
		fmt.Sprintf(`SEARCH MODSEQ "/flags/\\draft" all %d`, three):                    fmt.Sprintf("* SEARCH 3 (MODSEQ %d)", three),
		fmt.Sprintf(`UID SEARCH NOT MODSEQ "/flags/$x" priv %d`, four):                 fmt.Sprintf("* SEARCH 1 2 (MODSEQ %d)", number(t, modSeqItem, c.ok("FETCH 2 MODSEQ"))),
		fmt.Sprintf("SEARCH MODSEQ %d", three+1):                                       "* SEARCH",
		fmt.Sprintf("SEARCH RETURN (MIN) MODSEQ %d", four):                             fmt.Sprintf(`* ESEARCH (TAG "%%s") MIN 3 MODSEQ %d`, three),
		fmt.Sprintf("SEARCH RETURN (MAX) MODSEQ %d", four):                             fmt.Sprintf(`* ESEARCH (TAG "%%s") MAX 4 MODSEQ %d`, four),
		fmt.Sprintf("UID SEARCH RETURN (MIN MAX) MODSEQ %d", four):                     fmt.Sprintf(`* ESEARCH (TAG "%%s") UID MIN 3 MAX 4 MODSEQ %d`, three),
		fmt.Sprintf("SEARCH RETURN (MAX COUNT) MODSEQ %d", four):                       fmt.Sprintf(`* ESEARCH (TAG "%%s") MAX 4 COUNT 2 MODSEQ %d`, three),
		fmt.Sprintf("SEARCH RETURN (ALL COUNT) OR MODSEQ %d SUBJECT nothing", three+1): `* ESEARCH (TAG "%s") COUNT 0`,
		fmt.Sprintf("UID SEARCH RETURN (PARTIAL -1:-1) MODSEQ %d", four):               fmt.Sprintf(`* ESEARCH (TAG "%%s") UID PARTIAL (-1:-1 4) MODSEQ %d`, four),
		fmt.Sprintf("SEARCH RETURN (PARTIAL -1:-1 MIN) MODSEQ %d", four):               fmt.Sprintf(`* ESEARCH (TAG "%%s") MIN 3 PARTIAL (-1:-1 4) MODSEQ %d`, three),
		fmt.Sprintf("SEARCH RETURN (PARTIAL 2:2 COUNT) MODSEQ %d", four):               fmt.Sprintf(`* ESEARCH (TAG "%%s") COUNT 2 PARTIAL (2:2 4) MODSEQ %d`, three),
		fmt.Sprintf("SEARCH RETURN (PARTIAL 3:9) MODSEQ %d", four):                     `* ESEARCH (TAG "%s") PARTIAL (3:9 NIL)`,
		fmt.Sprintf("SORT (ARRIVAL) UTF-8 MODSEQ %d", four):                            fmt.Sprintf("* SORT 3 4 (MODSEQ %d)", three),
		fmt.Sprintf("SORT (ARRIVAL) UTF-8 MODSEQ %d", three+1):                         "* SORT",
		fmt.Sprintf("UID SORT RETURN () (ARRIVAL) UTF-8 MODSEQ %d", four):              fmt.Sprintf(`* ESEARCH (TAG "%%s") UID ALL 3:4 MODSEQ %d`, three),
		fmt.Sprintf("SORT RETURN (MAX) (ARRIVAL) UTF-8 MODSEQ %d", four):               fmt.Sprintf(`* ESEARCH (TAG "%%s") MAX 4 MODSEQ %d`, four),
	} {
		got := c.untaggedOf(query)
		if want = strings.Replace(want, "%s", fmt.Sprint("t", c.n), 1); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	c.fails(`SEARCH MODSEQ "/flags/\\draft" 5`, "BAD")
	c.fails(`SEARCH MODSEQ "/nosuch/x" all 5`, "BAD")
}

// resyncs opens a session that enables QRESYNC.
func resyncs(f *fixture) *client {
	f.t.Helper()
	c := f.login()
	wantAll(f.t, c.ok("ENABLE QRESYNC"), "* ENABLED QRESYNC\n")
	return c
}

var validityCode = regexp.MustCompile(`UIDVALIDITY (\d+)`)

// TestResync: SELECT tells what happened since, in every form of the question.
func TestResync(t *testing.T) {
	f := newFixture(t, nil)
	a := filled(f, 8)
	b := resyncs(f)
	first := b.ok("SELECT INBOX")
	validity, since := number(t, validityCode, first), number(t, highestCode, first)
	a.ok(`STORE 2,3,6 +FLAGS (\Deleted)`)
	a.ok("EXPUNGE")              // left are UIDs 1 4 5 7 8
	a.ok(`STORE 2 FLAGS (blue)`) // UID 4
	a.ok(`STORE 5 FLAGS (red)`)  // UID 8
	a.upload("INBOX", "", hello) // UID 9
	b.ok("UNSELECT")
	for params, want := range map[string]string{
		"%d %d":                         "2:3,6 | 4 8 9",
		"%d %d 1:8":                     "2:3,6 | 4 8",
		"%d %d 3:7":                     "3,6 | 4",
		"%d %d 1,5":                     " | ",
		"%d %d (1 1)":                   "2:3,6 | 4 8 9",
		"%d %d 1:8 (1,5,8 1,5,8)":       "2:3,6 | 4 8",
		"%d %d 1:9 (2:4 4:5,7)":         " | 4 8 9", // numbers that are right up to UID 7: 2, 3 and 6 were not known
		"%d %d (2 4)":                   "6 | 4 8 9",
		"%[1]d 0":                       "2:3,6 | 1 4 5 7 8 9",
		"%[1]d 9223372036854775807 1:9": " | ",
		"1 %[2]d":                       " | ", // another mailbox's UIDVALIDITY
	} {
		got := b.untaggedOf("EXAMINE INBOX (QRESYNC (" + fmt.Sprintf(params, validity, since) + "))")
		var vanished, fetched []string
		for _, l := range strings.Split(got, "\n") {
			if v, found := strings.CutPrefix(l, "* VANISHED (EARLIER) "); found {
				vanished = append(vanished, v)
				if len(fetched) > 0 {
					t.Errorf("%s: VANISHED behind FETCH: %s", params, got)
				}
			}
			if uid := uidInFetch.FindStringSubmatch(l); uid != nil {
				fetched = append(fetched, uid[1])
				wantAll(t, l, "FLAGS (", "MODSEQ (")
			}
		}
		if got := strings.Join(vanished, ";") + " | " + strings.Join(fetched, " "); strings.TrimSpace(got) != strings.TrimSpace(want) {
			t.Errorf("%s: %s, want %s", params, got, want)
		}
		wantAll(t, got, "* 6 EXISTS", "[UIDNEXT 10]", "[HIGHESTMODSEQ ")
	}
	for _, wrong := range []string{
		"", "(QRESYNC)", "(QRESYNC ())", "(QRESYNC (0 1))", "(QRESYNC (1))", "(QRESYNC (1 1 *))", "(QRESYNC (1 1 $))", "(QRESYNC (1 1 1 1))",
		"(QRESYNC (1 1 (1 1) 1))", "(QRESYNC (1 1 1 (1)))", "(QRESYNC (1 1 1 (1:2 1)))", "(QRESYNC (1 1 1 (1 1) (1 1)))", "(QRESYNC (1 1 (* 1)))", "(NOSUCH)",
	} {
		b.fails("SELECT INBOX "+wrong, "BAD")
	}
	f.login().fails("SELECT INBOX (QRESYNC (1 1))", "BAD [CLIENTBUG]")
}

// TestVanished: once QRESYNC is enabled no EXPUNGE is sent, whatever takes the
// messages away, and each OK says up to where the client may begin again.
func TestVanished(t *testing.T) {
	f := newFixture(t, nil)
	c := resyncs(f)
	for range 12 {
		c.upload("INBOX", "", hello)
	}
	c.ok("SELECT INBOX")
	other := f.login()
	other.ok("SELECT INBOX")
	ask := func(command, want string) {
		t.Helper()
		got := c.ok(command)
		wantAll(t, got, want)
		wantNone(t, got, "EXPUNGE\n")
		if status := c.ok("STATUS INBOX (HIGHESTMODSEQ)"); number(t, highestCode, got) != number(t, highestCode, status) {
			t.Errorf("%s: %s\nbut %s", command, got, status)
		}
	}
	c.ok(`STORE 2,3,5,11,12 +FLAGS.SILENT (\Deleted)`)
	ask("UID EXPUNGE 2:3", "* VANISHED 2:3\n")
	ask("EXPUNGE", "* VANISHED 5,11:12\n")
	ask("MOVE 1 Archive", "* VANISHED 1\n")
	ask("UID MOVE 4 Archive", "* VANISHED 4\n")
	wantAll(t, other.ok("NOOP"), "* 12 EXPUNGE")
	other.ok(`STORE 1:2 +FLAGS.SILENT (\Deleted)`) // UIDs 6 and 7
	other.ok("EXPUNGE")
	known := number(t, highestCode, c.ok("SEARCH ALL")) // where the messages are still counted
	if got := c.ok("FETCH 3 FLAGS"); number(t, highestCode, got) != known {
		t.Errorf("HIGHESTMODSEQ jumped over what is not told: %s", got)
	}
	c.send("i IDLE\r\n")
	c.line()
	if l := c.line(); l != "* VANISHED 6:7" {
		t.Errorf("idle: %q", l)
	}
	other.ok("MOVE 1 Archive")
	if l := c.line(); l != "* VANISHED 8" {
		t.Errorf("idle: %q", l)
	}
	c.send("DONE\r\n")
	c.line()
	wantAll(t, c.ok(fmt.Sprintf("UID FETCH 1:* FLAGS (CHANGEDSINCE %d VANISHED)", known)), "* VANISHED (EARLIER) 6:8\n")
	wantAll(t, c.ok(fmt.Sprintf("UID FETCH 8 FLAGS (CHANGEDSINCE %d VANISHED)", known)), "* VANISHED (EARLIER) 8\n")
	c.ok(`STORE 2 +FLAGS.SILENT (\Deleted)`) // UID 10, the last one
	ask("EXPUNGE", "* VANISHED 10\n")
	wantAll(t, c.ok(fmt.Sprintf("UID FETCH 10:* FLAGS (CHANGEDSINCE %d VANISHED)", known)), "* VANISHED (EARLIER) 10\n")
	other.ok(`STORE 1 +FLAGS.SILENT (\Deleted)`)
	other.ok("EXPUNGE")
	if got := c.untaggedOf(fmt.Sprintf("UID FETCH 1:* FLAGS (CHANGEDSINCE %d VANISHED)", known)); !strings.HasPrefix(got, "* VANISHED 9\n* VANISHED (EARLIER) 6:10") {
		t.Errorf("a message that was still counted: %s", got)
	}
}

// TestCloseTellsWhereItStands: the modseq of CLOSE never jumps over what the
// client was not told.
func TestCloseTellsWhereItStands(t *testing.T) {
	f := newFixture(t, nil)
	c := resyncs(f)
	for range 4 {
		c.upload("INBOX", "", hello)
	}
	other := f.login()
	other.ok("SELECT INBOX")
	c.ok("SELECT INBOX")
	c.ok(`STORE 1 +FLAGS.SILENT (\Deleted)`)
	got := c.ok("CLOSE")
	wantNone(t, got, "VANISHED", "EXPUNGE")
	if now := number(t, highestCode, c.ok("STATUS INBOX (HIGHESTMODSEQ)")); number(t, highestCode, got) != now {
		t.Errorf("alone: %s, is at %d", got, now)
	}
	selected := c.ok("SELECT INBOX")
	c.ok(`STORE 1 +FLAGS.SILENT (\Deleted)`)
	other.ok("NOOP")
	other.ok(`STORE 2 +FLAGS (\Flagged)`)
	closed := c.ok("CLOSE")
	wantAll(t, c.ok(fmt.Sprintf("SELECT INBOX (QRESYNC (%d %d))", number(t, validityCode, selected), number(t, highestCode, closed))), `FLAGS (\Flagged`, "VANISHED (EARLIER) 2")
}

// TestLongVanished: what is gone comes in lines that a client can read.
func TestLongVanished(t *testing.T) {
	var gone []storage.UID
	for u := storage.UID(4_000_000_000); u < 4_000_000_000+10*maxVanished; u += 3 {
		gone = append(gone, u)
	}
	var out strings.Builder
	var buffers wire.Buffers
	c := &conn{enc: wire.NewEncoder(&out, &buffers)}
	c.tellVanished(gone, true)
	if err := c.enc.Flush(); err != nil {
		t.Fatal(err)
	}
	count := 0
	for line := range strings.Lines(out.String()) {
		if len(line) > 8000 {
			t.Errorf("a line of %d octets", len(line))
		}
		set, err := wire.ParseNumSet([]byte(strings.TrimPrefix(strings.TrimSpace(line), "* VANISHED (EARLIER) ")))
		if err != nil {
			t.Fatal(err)
		}
		count += int(set.Normalize(0).Count())
	}
	if count != len(gone) {
		t.Errorf("%d of %d were told", count, len(gone))
	}
}

// TestClosed: it is clear to which mailbox a response belongs, also where the
// next one cannot be selected.
func TestClosed(t *testing.T) {
	f := newFixture(t, nil)
	c := filled(f, 1)
	if got := c.ok("EXAMINE Archive"); !strings.HasPrefix(got, "* OK [CLOSED]") || strings.Count(got, "[CLOSED]") != 1 {
		t.Errorf("another: %s", got)
	}
	if got := c.fails("SELECT Nowhere", "NO [NONEXISTENT]"); len(got) != 1 || !strings.HasPrefix(got[0], "* OK [CLOSED]") {
		t.Errorf("nowhere: %q", got)
	}
	wantNone(t, c.ok("SELECT INBOX"), "[CLOSED]")
	c.ok("CLOSE")
	wantNone(t, c.ok("SELECT INBOX"), "[CLOSED]")
}
