package imapd

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestDocumented: docs/imap.md has every capability that is announced and no other.
func TestDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/imap.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if cells := strings.Split(line, "|"); len(cells) == 6 {
			for name := range strings.SplitSeq(cells[1], ",") {
				rows[strings.TrimSpace(name)] = true
			}
		}
	}
	c := newFixture(t, func(s *Server) { s.Config.PlaintextLogin = false }).dial()
	announced := c.ok("CAPABILITY")
	c.startTLS()
	announced += "\n" + c.ok("CAPABILITY")
	announced += "\n" + newFixture(t, nil).login().ok("CAPABILITY")
	value := regexp.MustCompile(`=\d+$`) // of APPENDLIMIT
	for _, name := range strings.Fields(announced) {
		name = value.ReplaceAllString(name, "")
		if name != "*" && name != "OK" && name != "CAPABILITY" && name != "completed" && !rows[name] {
			t.Errorf("%s has no row", name)
		}
	}
	for name := range rows {
		if name != "capability" && !strings.HasPrefix(name, "---") && !strings.Contains(announced, " "+name) {
			t.Errorf("%s is not announced", name)
		}
	}
}
