package imapd

import (
	"fmt"
	"strings"
	"testing"
)

// TestESearch: what is asked for is told, in one response, and only that.
func TestESearch(t *testing.T) {
	f := newFixture(t, nil)
	c := filled(f, 7)
	c.ok(`STORE 2:3,5 +FLAGS (\Flagged)`)
	c.ok(`STORE 1 +FLAGS (\Deleted)`)
	c.ok("EXPUNGE") // numbers are UIDs less one
	for query, want := range map[string]string{
		"SEARCH RETURN () FLAGGED":                      ` ALL 1:2,4`,
		"SEARCH RETURN (ALL) FLAGGED":                   ` ALL 1:2,4`,
		"UID SEARCH RETURN (ALL) FLAGGED":               ` UID ALL 2:3,5`,
		"SEARCH RETURN (MIN) FLAGGED":                   ` MIN 1`,
		"UID SEARCH RETURN (MAX MIN) FLAGGED":           ` UID MIN 2 MAX 5`,
		"SEARCH RETURN (COUNT) FLAGGED":                 ` COUNT 3`,
		"SEARCH RETURN (MIN MAX ALL COUNT) FLAGGED":     ` MIN 1 MAX 4 COUNT 3 ALL 1:2,4`,
		"SEARCH RETURN (MIN MAX ALL COUNT) SUBJECT x":   ` COUNT 0`,
		"SEARCH RETURN (MIN MAX ALL) SUBJECT x":         ``,
		"SEARCH RETURN (MIN) CHARSET UTF-8 NOT FLAGGED": ` MIN 3`,
		"UID SEARCH RETURN (COUNT SAVE) UNFLAGGED":      ` UID COUNT 3`,
	} {
		got := c.untaggedOf(query)
		if want := fmt.Sprintf(`* ESEARCH (TAG "t%d")`, c.n) + want; got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	for _, wrong := range []string{"RETURN (NOSUCH) ALL", "RETURN ALL", "RETURN (ALL)", "ALL RETURN (ALL)", "RETURN (ALL) RETURN (MIN) ALL", "RETURN (ALL ALL) ALL"} {
		c.fails("SEARCH "+wrong, "BAD")
	}
	if got := c.untaggedOf("SEARCH FLAGGED"); got != "* SEARCH 1 2 4" {
		t.Errorf("without RETURN: %s", got)
	}
}

// TestSavedResult: "$" stands for what was found, in every command, without
// what has gone since.
func TestSavedResult(t *testing.T) {
	f := newFixture(t, nil)
	c := filled(f, 6)
	saved := func() string {
		t.Helper()
		var uids []string
		for _, l := range strings.Split(c.untaggedOf("FETCH $ UID"), "\n") {
			if uid := uidInFetch.FindStringSubmatch(l); uid != nil {
				uids = append(uids, uid[1])
			}
		}
		return strings.Join(uids, " ")
	}
	want := func(command, want string) {
		t.Helper()
		if got := saved(); got != want {
			t.Errorf("after %s: $ is %q, want %q", command, got, want)
		}
	}
	want("nothing", "")
	c.ok(`STORE 2,4:5 +FLAGS (\Flagged)`)
	for command, uids := range map[string]string{
		"SEARCH RETURN (SAVE) FLAGGED":                "2 4 5",
		"UID SEARCH RETURN (SAVE) UID 3:4":            "3 4",
		"SEARCH RETURN (SAVE MIN) FLAGGED":            "2",
		"SEARCH RETURN (MAX SAVE) FLAGGED":            "5",
		"SEARCH RETURN (SAVE MIN MAX) FLAGGED":        "2 5",
		"SEARCH RETURN (SAVE MIN COUNT) FLAGGED":      "2 4 5",
		"SEARCH RETURN (SAVE MIN ALL) FLAGGED":        "2 4 5",
		"SEARCH RETURN (SAVE) SUBJECT nothing":        "",
		"SEARCH RETURN (SAVE MIN MAX) KEYWORD nosuch": "",
	} {
		got := c.untaggedOf(command)
		if strings.Contains(command, "(SAVE)") && got != "" {
			t.Errorf("%s says %s", command, got)
		}
		want(command, uids)
	}
	c.ok("SEARCH RETURN (SAVE) FLAGGED")
	c.ok("SEARCH ALL")
	c.fails("SEARCH RETURN (SAVE) NOSUCH", "BAD")
	want("a search that saves nothing, and a wrong one", "2 4 5")
	c.fails("SEARCH RETURN (SAVE) CHARSET KOI8-R ALL", "NO [BADCHARSET")
	want("a search that was refused", "")

	c.ok("SEARCH RETURN (SAVE) FLAGGED")
	wantAll(t, c.ok("SEARCH $ NOT 4"), "* SEARCH 2 5\n")
	wantAll(t, c.ok("UID SEARCH NOT UID $"), "* SEARCH 1 3 6\n")
	wantAll(t, c.ok("UID SEARCH RETURN (SAVE COUNT) $ UID 4:5"), "UID COUNT 2\n")
	wantAll(t, c.ok("COPY $ Archive"), "COPYUID ", " 4:5 1:2]")
	wantAll(t, c.ok("STORE $ +FLAGS (blue)"), "* 4 FETCH", "* 5 FETCH")
	wantAll(t, c.ok("UID STORE $ +FLAGS (red)"), "UID 4 ", "UID 5 ")
	wantAll(t, c.ok("UID MOVE 5 Archive"), "* 5 EXPUNGE\n")
	want("a MOVE", "4")
	other := f.login()
	other.ok("SELECT INBOX")
	other.ok("UID MOVE 4 Archive")
	want("a MOVE that is not told yet", "")
	wantAll(t, c.ok("MOVE $ Archive"), "OK MOVE completed")
	c.ok("SEARCH RETURN (SAVE) 1")
	c.ok(`STORE $ +FLAGS.SILENT (\Deleted)`)
	wantAll(t, c.ok("UID EXPUNGE $"), "* 1 EXPUNGE\n")
	c.ok("SEARCH RETURN (SAVE) 1")
	c.ok("SELECT Archive")
	want("another mailbox", "")
	c.fails("FETCH $,1 UID", "BAD")
}
