package imapd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMultiAppend: what refuses one message refuses all.
func TestMultiAppend(t *testing.T) {
	f := newFixture(t, func(s *Server) { s.Config.AppendLimit = 100_000 })
	c := f.login()
	if err := f.db.SetQuota(context.Background(), f.account, 100_000); err != nil {
		t.Fatal(err)
	}
	one := fmt.Sprintf(" {60000+}\r\n%s", strings.Repeat("x", 60_000))
	c.fails("APPEND INBOX"+one+one, "NO [OVERQUOTA]")
	c.fails("APPEND INBOX {1+}\r\nx {100001}", "NO [TOOBIG]")
	c.fails("APPEND INBOX {1+}\r\nx {1+}\r\ny {1+}\r\nz {0}", "NO")
	c.fails("APPEND INBOX {1+}\r\nx y", "BAD")
	c.fails("APPEND INBOX {1+}\r\nx ", "BAD")
	c.fails("APPEND INBOX"+strings.Repeat(" {1+}\r\nx", maxUploads+1), "NO [LIMIT]")
	wantAll(t, c.ok("STATUS INBOX (MESSAGES UIDNEXT)"), "MESSAGES 0 UIDNEXT 1")
	wantAll(t, c.ok("APPEND INBOX"+strings.Repeat(" {1+}\r\nx", maxUploads)), fmt.Sprintf("APPENDUID %s 1:%d]",
		found(t, `UIDVALIDITY (\d+)`, c.ok("STATUS INBOX (UIDVALIDITY)")), maxUploads))
}

// TestMultiAppendMemory: many messages wait in files, and come back as they
// were; headers that are too large together are refused; nothing is left behind.
func TestMultiAppendMemory(t *testing.T) {
	f := newFixture(t, nil)
	c := f.login()
	var all strings.Builder
	text := func(i int) string {
		return fmt.Sprintf("Subject: %d\r\n\r\n%s", i, strings.Repeat(fmt.Sprint(i), 200_000))
	}
	const n = 30
	for i := range n {
		fmt.Fprintf(&all, " {%d+}\r\n%s", len(text(i)), text(i))
	}
	c.ok("APPEND INBOX" + all.String())
	c.ok("SELECT INBOX")
	for _, i := range []int{0, n - 1} {
		wantAll(t, c.ok(fmt.Sprintf("FETCH %d BODY[]", i+1)), text(i))
	}
	header := "X: " + strings.Repeat("y", 1<<20) + "\r\n"
	c.fails("APPEND INBOX"+strings.Repeat(fmt.Sprintf(" {%d+}\r\n%s", len(header), header), 20), "NO [LIMIT]")
	wantAll(t, c.ok("STATUS INBOX (MESSAGES)"), fmt.Sprintf("MESSAGES %d", n))
	if files, err := os.ReadDir(filepath.Join(f.dir, "spool")); err != nil || len(files) > 0 {
		t.Errorf("in the spool: %v %v", files, err)
	}
}

// TestReplace: neither half of a REPLACE happens without the other.
func TestReplace(t *testing.T) {
	f := newFixture(t, nil)
	a, b := f.login(), f.login()
	a.upload("INBOX", "", "a: 1\r\n")
	a.upload("INBOX", "", "a: 2\r\n")
	if err := f.db.SetQuota(context.Background(), f.account, 12); err != nil {
		t.Fatal(err)
	}
	a.ok("SELECT INBOX")
	b.ok("SELECT INBOX")
	a.fails("REPLACE 1 INBOX {7}", "NO [OVERQUOTA]")
	wantAll(t, a.ok("REPLACE 1 INBOX {6+}\r\nb: 1\r\n"), "* OK [APPENDUID", "* 3 EXISTS", "* 1 EXPUNGE")
	b.fails("REPLACE 1 INBOX {4+}\r\nc: 1", "NO [EXPUNGEISSUED]") // it is gone, and b knows only now
	if err := f.db.SetQuota(context.Background(), f.account, 1); err != nil {
		t.Fatal(err)
	}
	wantAll(t, a.ok("UID REPLACE 3 Drafts (\\Draft) {4+}\r\nd: 1"), "* 2 EXPUNGE") // smaller than what it replaces
	a.fails("UID REPLACE 2 Drafts {7}", "NO [OVERQUOTA]")
	wantAll(t, a.ok("STATUS Drafts (MESSAGES UNSEEN)"), "MESSAGES 1 UNSEEN 1")
	wantAll(t, a.ok("STATUS INBOX (MESSAGES)"), "MESSAGES 1")
}
