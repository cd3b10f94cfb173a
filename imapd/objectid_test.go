package imapd

import (
	"regexp"
	"strings"
	"testing"
)

// found returns the first group of a pattern in a text.
func found(t testing.TB, pattern, text string) string {
	t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("%s is not in %q", pattern, text)
	}
	return m[1]
}

// TestObjectIDs: a mailbox keeps its identifier when it is renamed and gets a
// new one when it is made again; copies are one email, uploads are not.
func TestObjectIDs(t *testing.T) {
	f := newFixture(t, nil)
	c := f.login()
	first := found(t, `\[MAILBOXID \(([\w-]+)\)\]`, c.ok("CREATE one"))
	c.upload("one", "", hello)
	c.upload("one", "", hello)
	c.ok("RENAME one two")
	if got := found(t, `MAILBOXID \(([\w-]+)\)`, c.ok("STATUS two (MAILBOXID)")); got != first {
		t.Errorf("after RENAME: %s, was %s", got, first)
	}
	if got := found(t, `\[MAILBOXID \(([\w-]+)\)\]`, c.ok("SELECT two")); got != first {
		t.Errorf("SELECT: %s, was %s", got, first)
	}
	const ids = `EMAILID \(([\w-]+)\)`
	a := found(t, ids, c.ok("FETCH 1 EMAILID"))
	if b := found(t, ids, c.ok("FETCH 2 EMAILID")); a == b {
		t.Errorf("two uploads are both %s", a)
	}
	thread := found(t, `THREADID \(([\w-]+)\)`, c.ok("FETCH 1 THREADID"))
	c.ok("COPY 1 INBOX")
	c.ok("MOVE 1 Archive")
	for _, box := range []string{"INBOX", "Archive"} {
		c.ok("SELECT " + box)
		if got := found(t, ids, c.ok("FETCH 1 EMAILID")); got != a {
			t.Errorf("in %s it is %s, was %s", box, got, a)
		}
		wantAll(t, c.ok("SEARCH EMAILID "+a), "* SEARCH 1")
		wantAll(t, c.ok("UID SEARCH THREADID "+thread), "* SEARCH 1")
	}
	c.ok("DELETE two")
	if again := found(t, `\[MAILBOXID \(([\w-]+)\)\]`, c.ok("CREATE two")); again == first {
		t.Errorf("made again it is still %s", again)
	}
}

// TestPreviewText: what is not plain ASCII is a literal, since the session has not enabled UTF-8.
func TestPreviewText(t *testing.T) {
	f := newFixture(t, nil)
	c := f.login()
	c.upload("INBOX", "", "Content-Type: text/plain; charset=utf-8\r\n\r\nGr\u00fc\u00dfe \"an\" alle\r\n")
	c.upload("INBOX", "", "\r\n"+strings.Repeat("word ", 100))
	c.ok("SELECT INBOX")
	wantAll(t, c.ok("FETCH 1 PREVIEW"), "PREVIEW {17}\r\nGr\u00fc\u00dfe \"an\" alle)")
	if text := found(t, `PREVIEW "(.*)"`, c.ok("UID FETCH 2 (PREVIEW (LAZY LAZY))")); len(text) > 200 || !strings.HasPrefix(text, "word word") {
		t.Errorf("preview of %d characters: %q", len(text), text)
	}
	if strings.Contains(c.ok("FETCH 1:2 FLAGS"), `\Seen`) {
		t.Error("a preview made the message seen")
	}
}
