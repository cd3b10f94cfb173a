package imapd

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

const hello = "From: Bob <bob@far.example>\r\nTo: alice@home.example\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n" +
	"Date: Mon, 2 Feb 2026 23:30:00 -0800\r\nMessage-ID: <1@far.example>\r\n\r\nHello Alice,\r\nall is WELL.\r\n"

// TestGoIMAPClient reads and writes with a client that we did not write.
func TestGoIMAPClient(t *testing.T) {
	f := newFixture(t, nil)
	c, err := imapclient.DialTLS(f.tlsAddr, &imapclient.Options{TLSConfig: &tls.Config{InsecureSkipVerify: true}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login(alice, secret).Wait(); err != nil {
		t.Fatal(err)
	}
	up := c.Append("INBOX", int64(len(hello)), &imap.AppendOptions{Flags: []imap.Flag{imap.FlagFlagged}, Time: time.Unix(1e9, 0).UTC()})
	if _, err := up.Write([]byte(hello)); err != nil {
		t.Fatal(err)
	}
	if err := up.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := up.Wait()
	if err != nil || got.UID != 1 {
		t.Fatalf("append: %+v %v", got, err)
	}
	box, err := c.Select("INBOX", nil).Wait()
	if err != nil || box.NumMessages != 1 || box.UIDNext != 2 || box.UIDValidity != got.UIDValidity {
		t.Fatalf("select: %+v %v", box, err)
	}
	all, err := c.Fetch(imap.UIDSetNum(1), &imap.FetchOptions{
		Envelope: true, Flags: true, InternalDate: true, RFC822Size: true,
		BodyStructure: &imap.FetchItemBodyStructure{}, BodySection: []*imap.FetchItemBodySection{{Peek: true}},
	}).Collect()
	if err != nil || len(all) != 1 {
		t.Fatalf("fetch: %v %v", all, err)
	}
	m := all[0]
	if m.RFC822Size != int64(len(hello)) || !m.InternalDate.Equal(time.Unix(1e9, 0)) || m.Envelope.MessageID != "1@far.example" {
		t.Errorf("fetched %+v", m)
	}
	if len(m.Flags) == 0 || m.Flags[0] != imap.FlagFlagged {
		t.Errorf("flags %v", m.Flags)
	}
	if body := m.FindBodySection(&imap.FetchItemBodySection{Peek: true}); string(body) != hello {
		t.Errorf("body %q", body)
	}
	found, err := c.UIDSearch(&imap.SearchCriteria{Header: []imap.SearchCriteriaHeaderField{{Key: "Subject", Value: "GRÜ"}}}, nil).Wait()
	if err != nil || fmt.Sprint(found.AllUIDs()) != "[1]" {
		t.Errorf("search: %v %v", found, err)
	}
	boxes, err := c.List("", "*", nil).Collect()
	if err != nil || len(boxes) != 6 {
		t.Errorf("list: %d %v", len(boxes), err)
	}
	if err := c.Logout().Wait(); err != nil {
		t.Error(err)
	}
}

// TestGoIMAPClientRev2 does so with a client that has enabled IMAP4rev2, and
// understands what that and CONDSTORE change.
func TestGoIMAPClientRev2(t *testing.T) {
	f := newFixture(t, nil)
	c, err := imapclient.DialTLS(f.tlsAddr, &imapclient.Options{TLSConfig: &tls.Config{InsecureSkipVerify: true}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Login(alice, secret).Wait(); err != nil {
		t.Fatal(err)
	}
	enabled, err := c.Enable(imap.CapIMAP4rev2).Wait()
	if err != nil || !enabled.Caps.Has(imap.CapIMAP4rev2) {
		t.Fatalf("enable: %+v %v", enabled, err)
	}
	if err := c.Create("Entwürfe/für später", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		f.deliver(hello)
	}
	box, err := c.Select("INBOX", &imap.SelectOptions{CondStore: true}).Wait()
	if err != nil || box.NumMessages != 3 || box.HighestModSeq == 0 {
		t.Fatalf("select: %+v %v", box, err)
	}
	stored, err := c.Store(imap.UIDSetNum(2), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}}, &imap.StoreOptions{UnchangedSince: box.HighestModSeq}).Collect()
	if err != nil || len(stored) != 1 || stored[0].ModSeq <= box.HighestModSeq {
		t.Errorf("store: %+v %v", stored, err)
	}
	changed, err := c.Fetch(imap.UIDSet{{Start: 1}}, &imap.FetchOptions{Flags: true, ModSeq: true, ChangedSince: box.HighestModSeq}).Collect()
	if err != nil || len(changed) != 1 || changed[0].UID != 2 {
		t.Errorf("changed: %+v %v", changed, err)
	}
	found, err := c.UIDSearch(&imap.SearchCriteria{NotFlag: []imap.Flag{imap.FlagDeleted}}, &imap.SearchOptions{ReturnMin: true, ReturnMax: true, ReturnCount: true}).Wait()
	if err != nil || found.Min != 1 || found.Max != 3 || found.Count != 2 {
		t.Errorf("search: %+v %v", found, err)
	}
	if gone, err := c.Expunge().Collect(); err != nil || !slices.Equal(gone, []uint32{2}) {
		t.Errorf("expunge: %v %v", gone, err)
	}
	boxes, err := c.List("", "%", &imap.ListOptions{ReturnStatus: &imap.StatusOptions{NumMessages: true}, ReturnSubscribed: true, ReturnChildren: true}).Collect()
	if err != nil || len(boxes) != 7 {
		t.Fatalf("list: %d %v", len(boxes), err)
	}
	for _, b := range boxes {
		if b.Mailbox == "Entwürfe" && !slices.Contains(b.Attrs, imap.MailboxAttrHasChildren) || b.Mailbox == "INBOX" && *b.Status.NumMessages != 2 {
			t.Errorf("list: %+v", b)
		}
	}
	if err := c.Logout().Wait(); err != nil {
		t.Error(err)
	}
}

func TestLogins(t *testing.T) {
	f := newFixture(t, func(s *Server) { s.Config.PlaintextLogin = false })
	c := f.dial()
	wantAll(t, c.ok("CAPABILITY"), "LOGINDISABLED", "STARTTLS")
	c.fails("LOGIN "+alice+` "`+secret+`"`, "NO [PRIVACYREQUIRED]")
	c.startTLS()
	caps := c.ok("CAPABILITY")
	wantAll(t, caps, "AUTH=SCRAM-SHA-256-PLUS", "AUTH=PLAIN")
	if strings.Contains(caps, "LOGINDISABLED") || strings.Contains(caps, "STARTTLS") {
		t.Errorf("under TLS: %s", caps)
	}
	c.fails("SELECT INBOX", "BAD")
	c.fails("LOGIN "+alice+" wrong", "NO [AUTHENTICATIONFAILED]")
	plain := base64.StdEncoding.EncodeToString([]byte("\x00" + alice + "\x00" + secret))
	wantAll(t, c.ok("AUTHENTICATE PLAIN "+plain), "CAPABILITY", "IDLE")
	c.ok("SELECT INBOX")

	d := newFixture(t, func(s *Server) { s.Config.PlaintextLogin = true }).dial()
	d.send("x AUTHENTICATE PLAIN\r\n")
	if l := d.line(); l != "+ " {
		t.Fatalf("challenge %q", l)
	}
	d.send("*\r\n")
	if l := d.line(); !strings.HasPrefix(l, "x BAD") {
		t.Fatalf("cancelled: %q", l)
	}
	d.send("y AUTHENTICATE LOGIN\r\n")
	d.line()
	d.send("=\r\n") // as go-imap says nothing
	if l := d.line(); !strings.HasPrefix(l, "+ ") {
		t.Fatalf("the name is empty: %q", l)
	}
	d.send("*\r\n")
	d.line()
	d.ok("AUTHENTICATE PLAIN " + plain)
}

// TestStartTLSInjection: what stands behind STARTTLS in the clear is never executed.
func TestStartTLSInjection(t *testing.T) {
	f := newFixture(t, nil)
	c := f.dial()
	c.send("a STARTTLS\r\nb NOOP\r\n")
	if l := c.line(); !strings.HasPrefix(l, "* BYE") {
		t.Errorf("answer %q", l)
	}
}

func TestMailboxes(t *testing.T) {
	f := newFixture(t, nil)
	c := f.login()
	wantAll(t, c.ok(`LIST "" "*"`), `* LIST (\HasNoChildren) "/" INBOX`, `\Sent) "/" Sent`)
	c.ok("CREATE a/b/c/")
	c.ok(`CREATE &APY-x (USE (\All))`)
	c.fails(`CREATE q (USE (\Nonsense))`, "NO [USEATTR]")
	c.fails("CREATE inbox", "NO [ALREADYEXISTS]")
	c.fails("CREATE &AGE-", "NO [CANNOT]")
	got := c.ok(`LIST "" %`)
	wantAll(t, got, `* LIST (\HasChildren) "/" a`, `* LIST (\HasNoChildren \All) "/" &APY-x`)
	if strings.Contains(got, "a/b") {
		t.Errorf("%% crossed a separator: %s", got)
	}
	c.ok("DELETE a/b")
	wantAll(t, c.ok(`LIST "" a/*`), `* LIST (\NonExistent \Noselect \HasChildren) "/" a/b`, `a/b/c`)
	c.fails("SELECT a/b", "NO [NONEXISTENT]")
	c.ok("RENAME a/b z")
	wantAll(t, c.ok(`LIST "" z/%`), `"/" z/c`)
	c.ok("SUBSCRIBE z/c")
	wantAll(t, c.ok(`LSUB "" %`), `* LSUB (\Noselect) "/" z`, `* LSUB () "/" INBOX`)
	c.ok("UNSUBSCRIBE z/c")
	if got := c.ok(`LSUB "" z*`); strings.Contains(got, "* LSUB") {
		t.Errorf("still subscribed: %s", got)
	}
	wantAll(t, c.ok(`LIST "" ""`), `* LIST (\Noselect) "/" ""`)
	wantAll(t, c.ok("NAMESPACE"), `* NAMESPACE (("" "/")) NIL NIL`)
	c.upload("INBOX", "", hello)
	wantAll(t, c.ok("STATUS INBOX (MESSAGES UIDNEXT UNSEEN SIZE APPENDLIMIT)"),
		fmt.Sprintf("* STATUS INBOX (MESSAGES 1 UIDNEXT 2 UNSEEN 1 SIZE %d APPENDLIMIT %d)", len(hello), 50<<20))
	c.ok("SELECT z/c")
	c.ok("DELETE z/c")
	c.fails("CLOSE", "BAD")
}

func TestFetch(t *testing.T) {
	f := newFixture(t, nil)
	c := f.login()
	c.upload("INBOX", `(\Draft $Label1) " 1-Feb-2024 10:00:00 +0530" `, hello)
	wantAll(t, c.ok("SELECT INBOX"), "* 1 EXISTS", "[UIDNEXT 2]", "$Label1", "OK [READ-WRITE]")
	wantAll(t, c.ok("FETCH 1 FAST"), `INTERNALDATE "01-Feb-2024 10:00:00 +0530"`, fmt.Sprintf("RFC822.SIZE %d", len(hello)), `\Draft`, "$Label1")
	body := "Hello Alice,\r\nall is WELL.\r\n"
	for item, want := range map[string]string{
		"BODY.PEEK[]":                                 fmt.Sprintf("BODY[] {%d}\r\n%s", len(hello), hello),
		"BODY.PEEK[TEXT]<6.5>":                        "BODY[TEXT]<6> {5}\r\nAlice",
		"BODY.PEEK[TEXT]<9999.5>":                     "BODY[TEXT]<9999> {0}\r\n",
		"BODY.PEEK[1]":                                fmt.Sprintf("BODY[1] {%d}\r\n%s", len(body), body),
		"BODY.PEEK[7]":                                "BODY[7] NIL",
		"BODY.PEEK[header.fields (DATE)]":             "BODY[HEADER.FIELDS (DATE)] {40}\r\nDate: Mon, 2 Feb 2026 23:30:00 -0800\r\n\r\n",
		"BODY.PEEK[HEADER.FIELDS.NOT (DATE SUBJECT)]": "Message-ID: <1@far.example>\r\n\r\n",
		"RFC822.HEADER":                               "RFC822.HEADER {",
	} {
		wantAll(t, c.ok("FETCH 1 ("+item+")"), want)
	}
	if got := c.ok("FETCH 1 FLAGS"); strings.Contains(got, `\Seen`) {
		t.Errorf("PEEK set a flag: %s", got)
	}
	wantAll(t, c.ok("UID FETCH 1:* BODY[TEXT]"), "* 1 FETCH (UID 1 BODY[TEXT]", `FLAGS (\Seen`)
	c.fails("FETCH 2 FLAGS", "BAD")
	c.fails("FETCH 1 (FLAGS NOSUCH)", "BAD")
	c.fails("FETCH 1 BODY[1..2]", "BAD")
	wantAll(t, c.ok("UID FETCH 77 FLAGS"), "OK")
	c.ok("EXAMINE INBOX")
	c.fails("STORE 1 FLAGS ()", "NO")
}

// TestTwoSessions: sessions on one mailbox stay in step, and numbers never
// shift under a command that uses them.
func TestTwoSessions(t *testing.T) {
	f := newFixture(t, nil)
	a, b := f.login(), f.login()
	for range 4 {
		a.upload("INBOX", "", hello)
	}
	a.ok("SELECT INBOX")
	b.ok("SELECT INBOX")
	wantAll(t, a.ok(`STORE 2 +FLAGS (\Deleted blue)`), `* 2 FETCH (FLAGS (\Deleted`, "blue")
	wantAll(t, b.ok("NOOP"), `* 2 FETCH (FLAGS (\Deleted blue))`, "* FLAGS (")
	if got := b.ok(`STORE 3 +FLAGS.SILENT (\Seen)`); strings.Contains(got, "FETCH") {
		t.Errorf("not silent: %s", got)
	}
	wantAll(t, a.ok("EXPUNGE"), "* 2 EXPUNGE")

	// b does not know yet: its numbers hold during FETCH, STORE and SEARCH.
	untagged := b.fails("FETCH 1:4 UID", "NO [EXPUNGEISSUED]")
	if got := strings.Join(untagged, "\n"); got != "* 1 FETCH (UID 1)\n* 3 FETCH (UID 3)\n* 4 FETCH (UID 4)" {
		t.Errorf("with a ghost: %s", got)
	}
	b.fails("STORE 2 FLAGS ()", "NO [EXPUNGEISSUED]")
	if got := b.ok("SEARCH ALL"); !strings.HasPrefix(got, "* SEARCH 1 3 4\n") {
		t.Errorf("search with a ghost: %s", got)
	}
	if got := b.fails("COPY 1:4 Trash", "NO [EXPUNGEISSUED]"); fmt.Sprint(got) != "[* 2 EXPUNGE]" {
		t.Errorf("copy: %q", got)
	}
	wantAll(t, b.ok("STATUS Trash (MESSAGES)"), "MESSAGES 0")
	wantAll(t, b.ok("UID COPY 3:4 Trash"), "COPYUID", "3:4 1:2")
	got := b.ok("UID MOVE 1 Trash")
	wantAll(t, got, "* OK [COPYUID", "* 1 EXPUNGE")
	if strings.Index(got, "COPYUID") > strings.Index(got, "EXPUNGE") {
		t.Errorf("COPYUID after EXPUNGE: %s", got)
	}
	b.fails("COPY 1 Nowhere", "NO [TRYCREATE]")
	wantAll(t, a.ok("NOOP"), "* 1 EXPUNGE")
	a.ok(`STORE 1:* +FLAGS.SILENT (\Deleted)`)
	wantAll(t, a.ok("UID EXPUNGE 4"), "* 2 EXPUNGE")
	a.ok("CLOSE")
	wantAll(t, b.ok("NOOP"), "* 1 EXPUNGE")
	wantAll(t, b.ok("STATUS INBOX (MESSAGES)"), "MESSAGES 0")
	b.ok("CREATE tmp")
	b.ok("SELECT tmp")
	a.ok("DELETE tmp")
	b.send("x NOOP\r\n")
	if l := b.line(); !strings.HasPrefix(l, "* BYE") {
		t.Errorf("selected mailbox deleted: %q", l)
	}
}

func TestIdle(t *testing.T) {
	f := newFixture(t, nil)
	a, b := f.login(), f.login()
	a.ok("SELECT INBOX")
	a.send("i IDLE\r\n")
	if l := a.line(); !strings.HasPrefix(l, "+ ") {
		t.Fatalf("idle: %q", l)
	}
	f.deliver(hello)
	if l := a.line(); l != "* 1 EXISTS" {
		t.Errorf("arrival: %q", l)
	}
	if l := a.line(); l != "* 1 RECENT" {
		t.Errorf("arrival: %q", l)
	}
	b.ok("SELECT INBOX")
	b.ok(`STORE 1 FLAGS (\Flagged \Deleted)`)
	wantAll(t, a.line(), `* 1 FETCH (FLAGS (\Flagged \Deleted \Recent))`)
	b.ok("EXPUNGE")
	if l := a.line(); l != "* 1 EXPUNGE" {
		t.Errorf("expunge: %q", l)
	}
	a.send("DONE\r\nj NOOP\r\n")
	if l := a.line(); !strings.HasPrefix(l, "i OK") {
		t.Errorf("done: %q", l)
	}
	if l := a.line(); !strings.HasPrefix(l, "j OK") {
		t.Errorf("next: %q", l)
	}

	a.send("k IDLE\r\n")
	a.line()
	var id uint64
	for _, s := range f.server.Sessions() {
		if s.Command == "IDLE" && s.Account == alice && s.Mailbox == "INBOX" {
			id = s.ID
		}
	}
	if !f.server.Kill(id) {
		t.Fatal("no such session")
	}
	if l := a.line(); !strings.HasPrefix(l, "* BYE session ended by the operator") {
		t.Errorf("killed: %q", l)
	}
}

func TestAppend(t *testing.T) {
	f := newFixture(t, func(s *Server) { s.Config.AppendLimit = 100_000 })
	c := f.login()
	for i, odd := range []string{"no header at all", "a\x00b\r\n", "X: " + strings.Repeat("y", 50_000), "\xff\xfe: \x80\n\r\r\n"} {
		wantAll(t, c.upload("INBOX", "", odd), "APPENDUID", fmt.Sprintf(" %d]", i+1))
		c.ok("EXAMINE INBOX")
		wantAll(t, c.ok("FETCH * BODY[]"), fmt.Sprintf("{%d}\r\n%s", len(odd), odd))
	}
	c.fails("APPEND INBOX {0}", "NO") // RFC 3502 section 6.3.11
	c.fails("APPEND Nowhere {5+}\r\nhello", "NO [TRYCREATE]")
	c.fails("APPEND INBOX {100001}", "NO [TOOBIG]")
	c.fails("APPEND INBOX {100001+}\r\n"+strings.Repeat("x", 100_001), "NO [TOOBIG]")
	if err := f.db.SetQuota(context.Background(), f.account, 50_100); err != nil {
		t.Fatal(err)
	}
	c.fails("APPEND INBOX {5000}", "NO [OVERQUOTA]")
	c.fails(`APPEND INBOX (\Recent) {5+}`+"\r\nhello", "BAD")
	c.ok("NOOP")
}

// TestNames: what no mailbox may be called, and what is the same name.
func TestNames(t *testing.T) {
	c := newFixture(t, nil).login()
	for _, name := range []string{`""`, "a//b", "/a", `"a*"`, `"a%"`, "a&AAE-b", "&AGEAYg-", "a&", strings.Repeat("x", 256), strings.Repeat("a/", 20) + "a", strings.Repeat(strings.Repeat("x", 200)+"/", 5) + "x"} {
		c.fails("CREATE "+name, "NO [CANNOT]")
	}
	c.ok("CREATE inBox/Child")
	wantAll(t, c.ok(`LIST "" INBOX/*`), `"/" INBOX/Child`)
	c.ok("CREATE e&AwE-")                                                  // e and a combining accent
	wantAll(t, c.ok(`LIST "" &AOk-`), `* LIST (\HasNoChildren) "/" &AOk-`) // are é
	c.fails("CREATE &AOk-", "NO [ALREADYEXISTS]")
	c.fails("DELETE INBOX", "NO")
	c.upload("INBOX", "", hello)
	c.ok("RENAME INBOX Old")
	wantAll(t, c.ok("STATUS INBOX (MESSAGES)"), "MESSAGES 0")
	wantAll(t, c.ok("STATUS Old (MESSAGES)"), "MESSAGES 1")
	wantAll(t, c.ok(`LIST "" INBOX/*`), `"/" INBOX/Child`)
}

// TestLimits: quota and keywords are refused by name, and a MOVE always fits.
func TestLimits(t *testing.T) {
	f := newFixture(t, nil)
	c := f.login()
	c.upload("INBOX", "", hello)
	if err := f.db.SetQuota(context.Background(), f.account, int64(len(hello))); err != nil {
		t.Fatal(err)
	}
	c.ok("SELECT INBOX")
	c.fails("COPY 1 Archive", "NO [OVERQUOTA]")
	c.ok("MOVE 1 Archive")
	c.ok("SELECT Archive")
	words := func(from, to int) string {
		var all []string
		for i := from; i < to; i++ {
			all = append(all, fmt.Sprint("word", i))
		}
		return "(" + strings.Join(all, " ") + ")"
	}
	wantAll(t, c.ok("STORE 1 FLAGS "+words(0, 200)), "word0 ", "word199")
	c.ok("STORE 1 FLAGS.SILENT " + words(200, 255))
	c.fails("STORE 1 FLAGS (oneMore)", "NO [LIMIT]")
	wantAll(t, c.ok("STORE 1 FLAGS (WORD0)"), `(FLAGS (\Recent word0))`)
	if got := c.ok("SELECT Archive"); !strings.Contains(got, "word254") || strings.Contains(got, `\*`) {
		t.Errorf("a mailbox with all keywords says that it takes more: %s", got)
	}
}

func TestSearch(t *testing.T) {
	f := newFixture(t, nil)
	c := f.login()
	c.upload("INBOX", `(\Seen) "01-Feb-2024 10:00:00 +0000" `, hello)
	c.upload("INBOX", `(\Flagged red) "02-Feb-2024 23:59:59 -1000" `, "Subject: other\r\nX-Spam:\r\n\r\n"+strings.Repeat("filler ", 1000)+"needle in hay\r\n")
	c.upload("INBOX", `"03-Feb-2024 00:00:00 +0000" `, "nothing\r\n")
	c.ok("SELECT INBOX")
	for query, want := range map[string]string{
		"ALL": "1 2 3", "SEEN": "1", "UNSEEN": "2 3", "FLAGGED UNSEEN": "2", "NOT FLAGGED": "1 3",
		"KEYWORD RED": "2", "UNKEYWORD red": "1 3", "OR SEEN KEYWORD red": "1 2", "(OR SEEN FLAGGED) NOT SEEN": "2",
		"LARGER 1000": "2", "SMALLER 1000": "1 3", "2:*": "2 3", "UID 1,3": "1 3", "3:2": "2 3", "NOT 1": "2 3",
		"SINCE 2-Feb-2024": "2 3", "ON 2-Feb-2024": "2", "BEFORE 2-Feb-2024": "1", "SENTON 2-Feb-2026": "1", "SENTBEFORE 3-Feb-2026": "1",
		"SENTSINCE 1-Jan-2000": "1", "FROM BOB": "1", "TO alice": "1", "CC alice": "",
		`HEADER X-Spam ""`: "2", "HEADER Message-ID far": "1", "BODY well": "1", `BODY "NEEDLE IN"`: "2", "TEXT nothing": "3",
		"NOT TEXT o": "", "NOT (BODY needle)": "1 3", "OLD": "", "NEW": "2 3", "RECENT": "1 2 3",
		"CHARSET utf-8 SUBJECT {6+}\r\nGR\xc3\x9c\xc3\x9f": "1",
	} {
		untagged, tagged := c.do("SEARCH " + query)
		if got := strings.Join(untagged, "\n"); got != strings.TrimSpace("* SEARCH "+want) {
			t.Errorf("%s: %q %q, want %s", query, got, tagged, want)
		}
	}
	c.fails("SEARCH CHARSET KOI8-R SUBJECT x", "NO [BADCHARSET (US-ASCII UTF-8)]")
	c.fails("SEARCH "+strings.Repeat("NOT ", 60)+"SEEN", "BAD [LIMIT]")
	c.fails("SEARCH "+strings.Repeat("(", 60), "BAD")
	c.fails("SEARCH NOSUCH", "BAD")
	c.fails("SEARCH 9", "BAD")
	wantAll(t, c.ok("UID SEARCH 1:2"), "* SEARCH 1 2")
}

func TestBadCommands(t *testing.T) {
	f := newFixture(t, func(s *Server) { s.Config.MaxBad = 5 })
	c := f.dial()
	c.send("\r\n")
	if l := c.line(); !strings.HasPrefix(l, "* BAD") {
		t.Errorf("empty line: %q", l)
	}
	c.fails("NOSUCH", "BAD")
	c.fails("LOGIN {2000}", "BAD [LIMIT]")
	c.fails("NOOP x", "BAD")
	c.send("t UID\r\n")
	c.line()
	if l := c.line(); !strings.HasPrefix(l, "* BYE") {
		t.Errorf("too many: %q", l)
	}
	d := f.dial()
	d.send("a LOGIN {99999999+}\r\n")
	if l := d.line(); !strings.HasPrefix(l, "a BAD [LIMIT]") {
		t.Errorf("large literal before login: %q", l)
	}
	wantAll(t, d.line(), "* BYE")
}

// TestPipelined: commands that came together are executed in order.
func TestPipelined(t *testing.T) {
	f := newFixture(t, nil)
	c := f.login()
	c.send("a SELECT INBOX\r\nb NOOP\r\nc UNSELECT\r\nd NOOP\r\n")
	var tags string
	for len(tags) < 4 {
		if l := c.line(); l[0] != '*' {
			tags += l[:1]
		}
	}
	if tags != "abcd" {
		t.Errorf("order %s", tags)
	}
}

func TestShutdown(t *testing.T) {
	f := newFixture(t, nil)
	idle, waits := f.login(), f.login()
	idle.send("i IDLE\r\n")
	idle.line()
	waits.ok("NOOP")
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := f.server.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*client{idle, waits} {
		if l := c.line(); !strings.HasPrefix(l, "* BYE") {
			t.Errorf("shutdown: %q", l)
		}
	}
}

func TestValidate(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	c := Config{Listen: []string{":143", "x"}, PlaintextLogin: true, IdleTimeout: time.Minute}
	wantAll(t, c.Validate().Error(), "imapd.plaintext_login", `"x" is not an address`, "imapd.idle_timeout: 1m0s is below 30m")
}
