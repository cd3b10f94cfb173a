package imapd

import (
	"fmt"
	"strings"
	"testing"
)

// TestMetadataLimits: what is too long or too many is refused by the RFC's
// codes, before its octets are sent where that can be.
func TestMetadataLimits(t *testing.T) {
	c := newFixture(t, nil).login()
	c.ok("SETMETADATA INBOX (/private/a {65536+}\r\n" + strings.Repeat("v", 65536) + ")")
	c.fails("SETMETADATA INBOX (/private/b {65537}", "NO [METADATA MAXSIZE 65536]")
	large := strings.Repeat(fmt.Sprintf("/private/c {65000+}\r\n%s ", strings.Repeat("v", 65000)), 4)
	c.fails("SETMETADATA INBOX ("+large+"/private/d {65000}", "NO [LIMIT]")
	var many strings.Builder
	for i := range 99 {
		fmt.Fprintf(&many, "/private/n%d v ", i)
	}
	for _, wrong := range []string{
		"INBOX (/private/a v)", "INBOX (/private v", "INBOX ()", "INBOX /private/a \"v\"", "INBOX (/private/a)", "INBOX (\"/priv\u00e4te/a\" \"v\")",
		"INBOX (/private/" + strings.Repeat("a", 250) + " \"v\")", "INBOX (/private/a {1+}\r\n\x00)",
	} {
		c.fails("SETMETADATA "+wrong, "BAD")
	}
	entries := strings.ReplaceAll(many.String(), " v ", ` "v" `)
	c.ok("SETMETADATA INBOX (" + strings.TrimSuffix(entries, " ") + ")")
	c.fails(`SETMETADATA INBOX (/private/m "v")`, "NO [METADATA TOOMANY]")
	c.ok(`SETMETADATA INBOX (/private/a NIL /private/m "v")`)
	c.fails(`SETMETADATA &AAE- (/private/m "v")`, "NO [NONEXISTENT]") // not the server
	c.fails(`SETMETADATA "" (/private "v")`, "NO [CANNOT]")
	wantAll(t, c.ok(`GETMETADATA (DEPTH infinity) "" /private`), "OK GETMETADATA")
	if got := c.ok("GETMETADATA (DEPTH infinity) INBOX (/private /private/n1)"); strings.Count(got, "/private/n1 ") != 1 || strings.Count(got, "/private/n") != 99 {
		t.Errorf("everything: %s", got)
	}
	for _, wrong := range []string{"INBOX", "INBOX ()", "INBOX private", "(MAXSIZE x) INBOX /private/a", "(MAXSIZE 5) INBOX", "() INBOX /private/a", "INBOX (DEPTH 1) (MAXSIZE 2)"} {
		c.fails("GETMETADATA "+wrong, "BAD")
	}
}

// FuzzEntryName: a name that passes is what it is once more, and has no part
// that would make it lie elsewhere.
func FuzzEntryName(f *testing.F) {
	for _, s := range []string{"/private/comment", "/SHARED/x y", "/private", "/private//a", "/shared/", "/other/a", "/private/*"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		name, err := cleanEntry(in)
		if err != nil {
			return
		}
		again, err := cleanEntry(name)
		if err != nil || again != name || !strings.EqualFold(name, in) {
			t.Errorf("%q became %q, then %q, %v", in, name, again, err)
		}
		if strings.ContainsAny(name, "\r\n\x00*%") || strings.Contains(name, "//") || !strings.HasPrefix(name, "/private") && !strings.HasPrefix(name, "/shared") {
			t.Errorf("%q passed", name)
		}
	})
}
