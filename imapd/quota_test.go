package imapd

import (
	"context"
	"strings"
	"testing"
)

// TestQuotaRoot: the quota holds for all mailboxes, also for those to come; what
// is over it is refused by name.
func TestQuotaRoot(t *testing.T) {
	f := newFixture(t, nil)
	c := f.login()
	if err := f.db.SetQuota(context.Background(), f.account, 10<<10); err != nil {
		t.Fatal(err)
	}
	c.upload("INBOX", "", strings.Repeat("x", 1025))
	wantAll(t, c.ok(`GETQUOTA ""`), `* QUOTA "" (STORAGE 2 10)`)
	wantAll(t, c.ok("GETQUOTAROOT to/come"), `* QUOTAROOT to/come ""`, `* QUOTA "" (STORAGE 2 10)`)
	wantAll(t, c.ok("GETQUOTAROOT inbox/Gr&APwA3w-e"), `* QUOTAROOT INBOX/Gr&APwA3w-e ""`)
	c.fails("GETQUOTAROOT a//b", "NO [CANNOT]")
	c.fails("GETQUOTA other", "NO [NONEXISTENT]")
	c.fails("GETQUOTA", "BAD")
	c.fails("APPEND INBOX {9300}", "NO [OVERQUOTA]")
	c.ok("SELECT INBOX")
	c.upload("INBOX", "", strings.Repeat("y", 5000))
	c.fails("COPY 2 Archive", "NO [OVERQUOTA]")
	c.ok(`STORE 2 +FLAGS (\Deleted)`)
	wantAll(t, c.ok("STATUS INBOX (DELETED-STORAGE)"), "DELETED-STORAGE 5000")
	c.ok("EXPUNGE")
	wantAll(t, c.ok("STATUS INBOX (DELETED-STORAGE)"), "DELETED-STORAGE 0")
	wantAll(t, c.ok(`GETQUOTA ""`), `(STORAGE 2 10)`)
}
