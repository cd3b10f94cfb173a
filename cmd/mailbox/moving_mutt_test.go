package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestMuttReadsExports: what is exported, mutt shows equal: it copies all that
// it sees into another Maildir. It knows nothing of the quotes of mboxrd.
func TestMuttReadsExports(t *testing.T) {
	program(t, "mutt")
	source := filepath.Join(t.TempDir(), "Maildir")
	makeMaildir(t, source)
	for i, flags := range []string{"", "S", "RS", "FS", "F", ""} {
		text := fmt.Sprintf("From: a@client.example\nSubject: letter %d\nDate: Thu, 1 Jan 2004 00:00:0%[1]d +0000\nMessage-ID: <%[1]d@client.example>\n\nFrom here\n>From there\n%s", i, strings.Repeat("Zeile \xff\n\n.\n", i))
		if err := os.WriteFile(filepath.Join(source, "cur", fmt.Sprintf("%d.x:2,%s", i, flags)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := muttSees(t, source)
	if len(want) != 6 {
		t.Fatalf("it sees %d messages at the source", len(want))
	}
	s := newSite(t)
	s.run("", "import", "maildir", source, "--user", "alice@home.example")
	quoted := strings.NewReplacer("\nFrom ", "\n>From ", "\n>From ", "\n>>From ")
	for _, args := range [][]string{{"maildir"}, {"mbox", "--variant", "mboxcl2"}, {"mbox"}} {
		dest := t.TempDir()
		s.run("", append([]string{"export", args[0], dest, "--user", "alice@home.example"}, args[1:]...)...)
		if args[0] == "mbox" {
			dest = filepath.Join(dest, "INBOX.mbox")
		}
		if len(args) == 1 && args[0] == "mbox" {
			for i := range want {
				want[i] = quoted.Replace(want[i])
			}
		}
		if got := muttSees(t, dest); !slices.Equal(got, want) {
			t.Errorf("%v: mutt sees\n%q, not\n%q", args, got, want)
		}
	}
}

// muttAdds are fields that mutt or an mbox needs for itself.
var muttAdds = regexp.MustCompile(`(?m)^(Content-Length|Lines|Status|X-IMAPbase): .*\n`)

func makeMaildir(t *testing.T, name string) {
	t.Helper()
	for _, dir := range []string{"cur", "new", "tmp"} {
		if err := os.MkdirAll(filepath.Join(name, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
}

// muttSees returns all messages that mutt shows in a mailbox, with their flags,
// in order.
func muttSees(t *testing.T, mailbox string) (all []string) {
	t.Helper()
	home := t.TempDir()
	out := filepath.Join(home, "out")
	makeMaildir(t, out)
	rc := fmt.Sprintf("set folder=%s mbox_type=Maildir noconfirmcreate noconfirmappend nomark_old nomove quit=yes sleep_time=0 sort=mailbox-order wait_key=no\npush \"<tag-pattern>~A<enter><tag-prefix><copy-message>%s<enter><exit>\"\n", home, out)
	if err := os.WriteFile(filepath.Join(home, "muttrc"), []byte(rc), 0o600); err != nil {
		t.Fatal(err)
	}
	inTerminal(t, home, "mutt -F muttrc -R -f "+mailbox)
	for _, dir := range []string{"cur", "new"} {
		files, err := os.ReadDir(filepath.Join(out, dir))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			text, err := os.ReadFile(filepath.Join(out, dir, f.Name()))
			if err != nil {
				t.Fatal(err)
			}
			_, flags, _ := strings.Cut(f.Name(), ":2,")
			all = append(all, flags+" "+muttAdds.ReplaceAllString(string(text), ""))
		}
	}
	slices.Sort(all)
	return all
}
