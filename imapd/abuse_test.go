package imapd

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"
	"time"

	"mailbox/internal/siege"
)

// long tells whether the long forms of tests are asked for.
func long() bool { return os.Getenv("MAILBOX_LONG") != "" }

// TestSetFlood: a set that names everything thousands of times names every
// message once, and a larger one is refused.
func TestSetFlood(t *testing.T) {
	c := filled(newFixture(t, nil), 3)
	flood := strings.Repeat("1:*,*:2,", 5000)
	for _, command := range []string{"FETCH %s UID", "UID FETCH %s UID", "STORE %s +FLAGS (\\Seen)", "UID STORE %s -FLAGS (\\Seen)"} {
		got := c.ok(fmt.Sprintf(command, strings.TrimSuffix(flood, ",")))
		if n := strings.Count(got, " FETCH ("); n != 3 {
			t.Errorf("%s: %d answers", command, n)
		}
		c.fails(fmt.Sprintf(command, flood+"1"), "BAD [LIMIT]")
	}
	for _, search := range []string{"SEARCH %s", "SEARCH NOT NOT %s", "SEARCH OR %[1]s UID %[1]s"} {
		set := strings.TrimSuffix(flood[:30_000], ",")
		wantAll(t, c.ok(fmt.Sprintf(search, set)), "* SEARCH 1 2 3\n")
	}
	wantAll(t, c.ok("SEARCH "+strings.Repeat("1:* ", 16_000)+"1"), "* SEARCH 1\n")
	c.ok("COPY " + strings.TrimSuffix(flood, ",") + " Trash")
	wantAll(t, c.ok("STATUS Trash (MESSAGES)"), "MESSAGES 3")
}

// TestSearchNesting: keys are nested as deep as the manual says, and no deeper.
func TestSearchNesting(t *testing.T) {
	c := filled(newFixture(t, nil), 2)
	for _, open := range []string{"NOT ", "(", "OR 1 ", "OR (NOT 1) "} {
		nested := func(depth int) string {
			return "SEARCH " + strings.Repeat(open, depth) + "2" + strings.Repeat(")", depth*strings.Count(open, "(")-depth*strings.Count(open, ")"))
		}
		c.ok(nested(24))
		c.fails(nested(51), "BAD [LIMIT]")
		c.fails(nested(4000), "BAD [LIMIT]")
		c.fails("SEARCH "+strings.Repeat(open, 4000), "BAD [LIMIT]")
	}
	c.fails("SEARCH "+strings.Repeat("BODY x ", 101), "BAD [LIMIT]")
}

// TestListFlood: patterns that fit in very many ways find every mailbox, once.
func TestListFlood(t *testing.T) {
	f := newFixture(t, nil)
	c := f.login()
	n := 500
	if long() {
		n = 9900
	}
	deep := strings.Repeat(strings.Repeat("a", 80)+"/", 12)
	for i := range n {
		if _, err := f.db.CreateMailbox(context.Background(), f.account, fmt.Sprintf("%s%04d", deep[:i%12*81], i), ""); err != nil {
			t.Fatal(err)
		}
	}
	all := strings.Count(c.ok(`LIST "" *`), "* LIST")
	if all < n {
		t.Fatalf("%d mailboxes, %d in the list", n, all)
	}
	for _, pattern := range []string{"*%*%*%", strings.Repeat("*%", 50), "(" + strings.TrimSpace(strings.Repeat("* ", 100)) + ")"} {
		if got := strings.Count(c.ok(`LIST "" `+pattern), "* LIST"); got != all {
			t.Errorf("%.20s: %d of %d mailboxes", pattern, got, all)
		}
	}
	if got := c.ok(`LIST "" ` + strings.Repeat("*a", 100) + "b"); strings.Contains(got, "* LIST") {
		t.Error("mailboxes fit a pattern that fits none")
	}
	for _, arguments := range []string{strings.Repeat("*a", 101), strings.Repeat("a", 4001), "(" + strings.TrimSpace(strings.Repeat("* ", 101)) + ")"} {
		c.fails(`LIST "" `+arguments, "BAD [LIMIT]")
	}
	c.fails(`LSUB "" `+strings.Repeat("*a", 101), "BAD [LIMIT]")
	c.fails(`LSUB "" `+strings.Repeat("a", 4001), "BAD [LIMIT]")
}

// TestOddResync: what no client could know of a mailbox is refused or ignored,
// and does not come to be believed.
func TestOddResync(t *testing.T) {
	f := newFixture(t, func(s *Server) { s.Config.MaxBad = 1000 })
	c := filled(f, 5)
	c.ok(`STORE 2,4 +FLAGS (\Deleted)`)
	c.ok("EXPUNGE")
	c.fails("SELECT INBOX (QRESYNC (1 1))", "BAD [CLIENTBUG]")
	c.ok("ENABLE QRESYNC")
	validity := number(t, validityCode, c.ok("SELECT INBOX"))
	for _, odd := range []string{
		"", "()", "(%d)", "(%d )", "(%d 1 )", "(0 1)", "(-1 1)", "(4294967296 1)", "(%d -1)", "(%d 9223372036854775808)", "(%d 18446744073709551616)",
		"(%d 1 *)", "(%d 1 1:*)", "(%d 1 $)", "(%d 1 0)", "(%d 1 4294967296)", "(%d 1 1,)", "(%d 1 1:5 ())", "(%d 1 1:5 (1:5))", "(%d 1 1:5 (1:5 1:4))",
		"(%d 1 1:5 (* 1))", "(%d 1 (1 1) 1:5)", "(%d 1 (1 1) (1 1))", "(%d 1 1:5 1:5)", "(%d 1 1:5 (1 1)", "(%d 1 1:5 (1 1)) x",
	} {
		if strings.Contains(odd, "%d") {
			odd = fmt.Sprintf(odd, validity)
		}
		c.fails("SELECT INBOX (QRESYNC "+odd+")", "BAD")
	}
	vanished := "* VANISHED (EARLIER) 2,4"
	for _, odd := range []string{
		"%d 0", "%d 1", "%d 0 1:4294967295", "%d 0 1:5 (1:5 1:5)", "%d 0 1:5 (1:4294967295 1:4294967295)",
		"%d 0 1:5 (4294967295 4294967295)", "%d 0 5,1,3,2,4 (3,2,1 5,3,1)",
	} {
		got := c.ok("SELECT INBOX (QRESYNC (" + fmt.Sprintf(odd, validity) + "))")
		// Numbers and UIDs that are right up to the last message say that nothing
		// can have gone before it.
		if strings.Contains(got, "* VANISHED") != !strings.Contains(odd, "5,3,1") || strings.Contains(got, "* VANISHED") && !strings.Contains(got, vanished) {
			t.Errorf("%s: %s", odd, got)
		}
		wantAll(t, got, "* 3 EXISTS", "* 1 FETCH (UID 1 ", "* 3 FETCH (UID 5 ")
	}
	for _, old := range []string{fmt.Sprintf("%d 9223372036854775807", validity), "4294967295 1", "1 1 1:4294967295"} {
		if got := c.ok("SELECT INBOX (QRESYNC (" + old + "))"); strings.Contains(got, "VANISHED") || strings.Contains(got, "FETCH") {
			t.Errorf("%s: %s", old, got)
		}
	}
}

// TestNamesAreNotPaths: what looks like a path is a name like any other, and a
// large message in it is where all large messages are.
func TestNamesAreNotPaths(t *testing.T) {
	f := newFixture(t, nil)
	c := f.login()
	above := filepath.Dir(f.dir)
	before := files(t, above)
	names := []string{"..", "../..", "../../etc/passwd", "a/../../b", ".", "./x", "a/.", `"C:\\x"`, `"~root"`, `"$HOME"`, `"x;y|z"`, `"' OR 1=1 --"`}
	for _, name := range names {
		c.ok("CREATE " + name)
		c.upload(name, "", "X: "+random(t, 300_000))
		wantAll(t, c.ok("STATUS "+name+" (MESSAGES)"), "MESSAGES 1")
		wantAll(t, c.ok(`LIST "" `+name), "* LIST")
	}
	c.ok("RENAME ../../etc/passwd ../passwd")
	c.ok("SELECT ../passwd")
	wantAll(t, c.ok("FETCH 1 RFC822.SIZE"), "300003")
	c.ok("DELETE ../passwd")
	for name := range files(t, above) {
		if within, err := filepath.Rel(f.dir, name); err != nil || !before[name] && strings.HasPrefix(within, "..") {
			t.Errorf("%s was made", name)
		}
	}
	for _, name := range []string{"&", "&-&", "&AGE-", "&Jjo", "&Jjo!", "&U,BTFw-&ZeVnLIqe-", "&2D0-", "&AAAAA-", `"a` + "\x01" + `b"`} {
		for _, command := range []string{"CREATE %s", "SELECT %s", "STATUS %s (MESSAGES)", "DELETE %s", "RENAME %s x", "COPY 1 %s", "APPEND %s {2+}\r\nhi"} {
			if _, tagged := c.do(fmt.Sprintf(command, name)); strings.HasPrefix(tagged, "OK") || strings.Contains(tagged, "SERVERBUG") {
				t.Errorf(command+": %s", name, tagged)
			}
		}
		c.ok(`NOOP`)
	}
}

// files are all that are below a directory.
func files(t *testing.T, dir string) map[string]bool {
	all := map[string]bool{}
	err := filepath.WalkDir(dir, func(name string, _ os.DirEntry, err error) error {
		all[name] = true
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// random is text that cannot be compressed much.
func random(t testing.TB, n int) string {
	b := make([]byte, n/2)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(b)
}

// TestThousandIdles: a thousand sessions wait in IDLE, for little memory, and
// all hear of what happens.
func TestThousandIdles(t *testing.T) {
	const sessions = 1000
	f := newFixture(t, func(s *Server) { s.Config.PerAddress, s.Config.Connections = 2*sessions, 2*sessions })
	f.deliver(hello)
	before := siege.InUse()
	var all []*client
	for range sessions {
		c := f.login()
		c.ok("SELECT INBOX")
		c.send("i IDLE\r\n")
		for c.line() != "+ idling" {
		}
		all = append(all, c)
	}
	used := (siege.InUse() - before) / sessions
	t.Logf("%d octets for a session and its client", used)
	if used > 48<<10 {
		t.Errorf("an idle session uses %d octets", used)
	}
	f.deliver(hello)
	for i, c := range all {
		if l := c.line(); l != "* 2 EXISTS" {
			t.Fatalf("session %d hears %q", i, l)
		}
	}
	w := f.login()
	w.ok("SELECT INBOX")
	w.ok(`STORE 1 +FLAGS (\Seen)`)
	for i, c := range all {
		for l := c.line(); !strings.Contains(l, `\Seen`); l = c.line() {
			if !strings.HasSuffix(l, "RECENT") {
				t.Fatalf("session %d hears %q", i, l)
			}
		}
		c.send("DONE\r\n")
		if l := c.line(); !strings.HasPrefix(l, "i OK") {
			t.Fatalf("session %d ends with %q", i, l)
		}
	}
}

// TestNeverReads: clients that ask for much and read nothing cost little
// memory, and hold nothing that others need: messages come, change and go, and
// the store's log of what was written does not grow. When they read at last,
// they get what they asked for.
func TestNeverReads(t *testing.T) {
	f := newServer(t, nil)
	l := siege.Listen(t, f.server.Serve)
	f.addr = l.Addr().String()
	large := "X: " + random(t, 8<<20)
	f.deliver(hello, large)
	before := siege.InUse()
	var stuck []*client
	for range 20 {
		c := f.login()
		c.ok("SELECT INBOX")
		c.send("x FETCH 1:* (ENVELOPE BODYSTRUCTURE BODY.PEEK[])\r\n")
		stuck = append(stuck, c)
		siege.Await(t, func() bool { return l.Writes(c.nc) })
	}
	n := (siege.InUse() - before) / int64(len(stuck))
	t.Logf("%d octets for each", n)
	if n > 1<<20 {
		t.Errorf("who does not read uses %d octets", n)
	}
	c := f.login()
	c.ok("SELECT INBOX")
	for range 300 {
		f.deliver("X: " + random(t, 100_000))
	}
	c.ok(`STORE 1:* +FLAGS (\Deleted)`)
	c.ok("EXPUNGE")
	c.ok("CREATE box")
	wal, err := os.Stat(filepath.Join(f.dir, "mailbox.db-wal"))
	if err != nil || wal.Size() > 16<<20 {
		t.Errorf("the log of the store: %d octets, %v", wal.Size(), err)
	}
	for _, c := range stuck {
		if !l.Writes(c.nc) {
			t.Error("a client that does not read was not kept waiting")
		}
	}
	if got := stuck[0].line() + stuck[0].line(); !strings.Contains(got, hello) || !strings.Contains(got, large) {
		t.Errorf("who reads late gets %d octets", len(got))
	}
}

// TestThreadFlood: all of a large mailbox is threaded at once, each message is
// in one thread, and memory is in proportion. MAILBOX_LONG makes it half a
// million messages, which takes a quarter of an hour to deliver.
func TestThreadFlood(t *testing.T) {
	f := newFixture(t, nil)
	n := 2000
	if long() {
		n = 500_000
	}
	for i := 0; i < n; i += 500 {
		var batch []string
		for id := i; id < i+500; id++ {
			batch = append(batch, fmt.Sprintf("Subject: s%d\r\nMessage-ID: <%d@x>\r\nReferences: <%d@x> <%d@x> <%d@elsewhere>\r\n\r\nhi\r\n",
				id/5, id, id/2, id-id%10, id))
		}
		f.deliver(batch...)
	}
	c := f.login()
	c.ok("SELECT INBOX")
	for _, algorithm := range []string{"REFERENCES", "ORDEREDSUBJECT"} {
		runtime.GC()
		before, stop, peak := heapObjects(), make(chan struct{}), make(chan int64)
		go func() { peak <- peakHeap(stop) }()
		untagged, tagged := c.do("THREAD " + algorithm + " UTF-8 ALL")
		close(stop)
		used := <-peak - before
		t.Logf("%s of %d messages used %d MiB", algorithm, n, used>>20)
		if bound := int64(64<<20 + n<<10); used > bound {
			t.Errorf("%s used %d octets, more than %d", algorithm, used, bound)
		}
		threads := strings.FieldsFunc(strings.Join(untagged, ""), func(r rune) bool { return r < '0' || r > '9' })
		slices.Sort(threads)
		if threads = slices.Compact(threads); len(threads) != n || !strings.HasPrefix(tagged, "OK") {
			t.Errorf("%s: %d of %d messages: %s", algorithm, len(threads), n, tagged)
		}
	}
}

// heapObjects is the memory of objects on the heap, with those that may be freed.
func heapObjects() int64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}

// peakHeap is the most that heapObjects comes to until stop is closed.
func peakHeap(stop <-chan struct{}) (octets int64) {
	for {
		select {
		case <-stop:
			return max(octets, heapObjects())
		case <-time.After(time.Millisecond):
			octets = max(octets, heapObjects())
		}
	}
}
