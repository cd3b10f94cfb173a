package imapd

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDocumented: docs/imap.md has every capability that is announced and no
// other, and the tests that it names exist.
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
	var sources strings.Builder
	for _, dir := range []string{".", "wire", "../internal/login", "../internal/message", "../storage", "../cmd/mailbox"} {
		files, _ := filepath.Glob(filepath.Join(dir, "*_test.go"))
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			sources.Write(b)
		}
	}
	for _, m := range regexp.MustCompile("`((Test|imapd_)\\w+)`").FindAllStringSubmatch(string(text), -1) {
		name := m[1]
		if m[2] == "Test" && !strings.Contains(sources.String(), "func "+name+"(") {
			t.Errorf("there is no test %s", name)
		}
		if m[2] != "Test" {
			if _, err := os.Stat("../testdata/dialogues/" + name + ".txt"); err != nil {
				t.Error(err)
			}
		}
	}
}
