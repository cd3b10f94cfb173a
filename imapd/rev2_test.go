package imapd

import (
	"fmt"
	"strings"
	"testing"
)

// TestEnable: only what was asked for and is known is enabled, once.
func TestEnable(t *testing.T) {
	c := newFixture(t, nil).login()
	for _, step := range [][2]string{
		{"ENABLE X-NOSUCH", "* ENABLED"},
		{"ENABLE condstore x imap4REV2", "* ENABLED CONDSTORE IMAP4rev2"},
		{"ENABLE QRESYNC CONDSTORE QRESYNC", "* ENABLED QRESYNC"},
		{"ENABLE UTF8=ACCEPT IMAP4rev1", "* ENABLED UTF8=ACCEPT"},
		{"ENABLE UTF8=ACCEPT QRESYNC", "* ENABLED"},
	} {
		if got := c.untaggedOf(step[0]); got != step[1] {
			t.Errorf("%s: %s", step[0], got)
		}
	}
	c.fails("ENABLE", "BAD")
	c.fails("ENABLE (QRESYNC)", "BAD")
}

// TestRev2 shows what ENABLE IMAP4rev2 changes (RFC 9051 appendix E).
func TestRev2(t *testing.T) {
	f := newFixture(t, nil)
	c := filled(f, 2)
	c.ok("CREATE Entw&APw-rfe")
	wantAll(t, c.ok("ENABLE IMAP4rev2"), "* ENABLED IMAP4rev2\n")
	wantNone(t, c.ok("FETCH 1:2 FLAGS"), `\Recent`)
	f.deliver(hello)
	if got := c.untaggedOf("NOOP"); got != "* 3 EXISTS" {
		t.Errorf("arrival: %s", got)
	}
	got := c.ok("SELECT INBOX")
	wantAll(t, got, "* OK [CLOSED]", "* 3 EXISTS", "* FLAGS (", "[PERMANENTFLAGS (", "[UIDNEXT 4]", "[UIDVALIDITY ", `* LIST () "/" INBOX`)
	wantNone(t, got, "RECENT", "UNSEEN")
	wantAll(t, c.ok(`SELECT "inBox"`), `* LIST () "/" INBOX`+"\n")
	if got, want := c.untaggedOf("SEARCH UNSEEN"), fmt.Sprintf(`* ESEARCH (TAG "t%d") ALL 1:3`, c.n); got != want {
		t.Errorf("search: %s", got)
	}
	if got, want := c.untaggedOf("UID SEARCH SEEN"), fmt.Sprintf(`* ESEARCH (TAG "t%d") UID`, c.n); got != want {
		t.Errorf("search that finds nothing: %s", got)
	}
	if got := c.untaggedOf("SORT (ARRIVAL) UTF-8 1:2"); got != "* SORT 1 2" { // RFC 9051 changes no extension
		t.Errorf("sort: %s", got)
	}
	if got, want := c.untaggedOf("UID SORT RETURN (PARTIAL -1:-2) (ARRIVAL) UTF-8 ALL"), fmt.Sprintf(`* ESEARCH (TAG "t%d") UID PARTIAL (-1:-2 2:3)`, c.n); got != want {
		t.Errorf("page: %s", got)
	}
	for _, gone := range []string{"SEARCH RECENT", "SEARCH NEW", "SEARCH OLD", "STATUS INBOX (RECENT)"} {
		c.fails(gone, "BAD")
	}
	wantAll(t, c.ok(`STORE 2 +FLAGS (\Deleted)`), `* 2 FETCH (UID 2 FLAGS (\Deleted))`)
	wantAll(t, c.ok("STATUS INBOX (MESSAGES DELETED SIZE)"), fmt.Sprintf("* STATUS INBOX (MESSAGES 3 DELETED 1 SIZE %d)", 3*len(hello)))
	other := f.login()
	other.ok("SELECT INBOX")
	other.ok(`STORE 1 +FLAGS (\Answered)`)
	if got := c.untaggedOf("NOOP"); got != `* 1 FETCH (UID 1 FLAGS (\Answered))` {
		t.Errorf("changed by another: %s", got)
	}
	wantAll(t, c.ok(`LIST "" Entw*`), `"/" "Entwürfe"`)
	wantAll(t, c.ok("STATUS \"Entwu\u0308rfe\" (MESSAGES)"), `* STATUS "Entwürfe" (`)
	wantAll(t, c.ok("LIST \"\" \"Entwu\u0308%\""), `"/" "Entwürfe"`)
	c.fails("SELECT Entw&APw-rfe", "NO [NONEXISTENT]")
	wantAll(t, c.ok("LOGOUT"), "BYE")
}

// TestOldNames: an IMAP4rev2 client hears how a mailbox is called that it
// named otherwise, and no other client does.
func TestOldNames(t *testing.T) {
	f := newFixture(t, nil)
	c, old := f.login(), f.login()
	c.ok("ENABLE IMAP4rev2")
	for _, step := range [][2]string{
		{"CREATE \"Bu\u0308cher/\"", "* LIST () \"/\" \"Bücher\" (\"OLDNAME\" (\"Bu\u0308cher\"))"},
		{"CREATE inbox/a", `* LIST () "/" INBOX/a ("OLDNAME" (inbox/a))`},
		{"CREATE plain/", ""},
		{"RENAME plain other", `* LIST () "/" other ("OLDNAME" (plain))`},
		{"RENAME other \"Ko\u0308nig\"", `* LIST () "/" "König" ("OLDNAME" (other))`},
		{"DELETE \"Ko\u0308nig\"", "* LIST (\\NonExistent) \"/\" \"König\" (\"OLDNAME\" (\"Ko\u0308nig\"))"},
		{"DELETE \"INBOX/a\"", ""},
		{"RENAME inbox Elsewhere", ""},
	} {
		if got := c.untaggedOf(step[0]); got != step[1] {
			t.Errorf("%s: %s", step[0], got)
		}
	}
	wantAll(t, c.ok("SELECT \"Bu\u0308cher\""), "* LIST () \"/\" \"Bücher\" (\"OLDNAME\" (\"Bu\u0308cher\"))\n")
	for _, command := range []string{"CREATE a", "RENAME a b", "SELECT b", "DELETE b"} {
		wantNone(t, old.ok(command), "LIST")
	}
}

// TestUTF8Accept: UTF-8 in strings, names and messages, and no other charset.
func TestUTF8Accept(t *testing.T) {
	f := newFixture(t, nil)
	c := f.login()
	letter := "From: Bob <bob@far.example>\r\nSubject: Grüße\r\n\r\nschön\r\n"
	c.fails(fmt.Sprintf("APPEND INBOX UTF8 (~{%d+}\r\n%s)", len(letter), letter), "BAD [CLIENTBUG]")
	c.fails("CREATE \"Grüße\"", "BAD")
	wantAll(t, c.ok("ENABLE UTF8=ACCEPT"), "* ENABLED UTF8=ACCEPT\n")
	wantAll(t, c.ok(fmt.Sprintf("APPEND INBOX (\\Seen) UTF8 (~{%d+}\r\n%s)", len(letter), letter)), "APPENDUID")
	wantAll(t, c.ok(fmt.Sprintf("APPEND INBOX ~{%d+}\r\n%s", len(letter), letter)), "APPENDUID")
	c.fails("APPEND INBOX UTF8 (~{2+}\r\nhi", "BAD")
	c.fails("APPEND INBOX NOSUCH (~{2+}\r\nhi)", "BAD")
	c.ok("CREATE \"Grüße\"")
	wantAll(t, c.ok(`LIST "" Gr*`), `"/" "Grüße"`)
	wantAll(t, c.ok("SELECT INBOX"), "* 2 EXISTS", "* 2 RECENT")
	wantAll(t, c.ok("FETCH 1:2 BODY[]"), fmt.Sprintf("1 FETCH (BODY[] {%d}\r\n%s", len(letter), letter), "2 FETCH (BODY[] {")
	wantAll(t, c.ok(`SEARCH SUBJECT "GRÜSSE"`), "* SEARCH\n")
	wantAll(t, c.ok(`SEARCH SUBJECT "GRÜßE"`), "* SEARCH 1 2\n")
	c.fails("SEARCH CHARSET UTF-8 SUBJECT x", "BAD")
	c.fails("CREATE \"Gr\xfc\"", "BAD")
	if got := f.login().ok(`LIST "" Gr*`); !strings.Contains(got, `"/" Gr&APwA3w-e`) {
		t.Errorf("another session: %s", got)
	}
}
