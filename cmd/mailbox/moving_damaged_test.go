package main

import (
	"compress/gzip"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// damaged makes a Maildir with what goes wrong on old disks, and an mbox.
func damaged(t *testing.T) (maildir, mbox string) {
	t.Helper()
	maildir, mbox = t.TempDir(), t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(maildir, "cur", "1.a:2,S"), "Subject: whole\n\nx\n")
	var torn strings.Builder
	z := gzip.NewWriter(&torn)
	fmt.Fprint(z, "Subject: torn\n\n")
	if err := z.Flush(); err != nil { // and no end
		t.Fatal(err)
	}
	write(filepath.Join(maildir, "cur", "2.b:2,"), torn.String())
	write(filepath.Join(maildir, ".Stra\xdfe", "cur", "3.c:2,"), "Subject: Latin-1\n\nx\n")
	write(filepath.Join(maildir, ".a\ab*", "cur", "4.d:2,"), "Subject: no name for IMAP\n\nx\n")
	for _, err := range []error{
		syscall.Mkfifo(filepath.Join(maildir, "cur", "5.e:2,"), 0o600),
		os.Symlink("/etc/passwd", filepath.Join(maildir, "cur", "6.f:2,")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(mbox, "cut.mbox"), "From a@b Thu Jan  1 00:00:00 2004\nSubject: one\n\nx\n\nFrom a@b Thu Jan  1 00:00:01 2004\nSubject: cut\n\nin the mid")
	write(filepath.Join(mbox, "garbage.mbox"), "\x00\x00\x00 junk\n\nFrom a@b Thu Jan  1 00:00:02 2004\nSubject: behind it\n\nx\n")
	return maildir, mbox
}

// TestMoveDamaged: what can be read comes, what cannot is named, and what was
// there before is unharmed, however often it is tried.
func TestMoveDamaged(t *testing.T) {
	maildir, mbox := damaged(t)
	s := newSite(t)
	s.start()
	s.run("", "import", "maildir", filepath.Dir(whole(t)), "--user", "alice@home.example")
	before := mailOf(t, s.imap, "alice@home.example", testPassword)["INBOX"]
	for range 2 {
		aside := filepath.Join(t.TempDir(), "aside")
		out, err := s.try("", "import", "maildir", maildir, "--user", "alice@home.example", "--aside", aside)
		if err == nil {
			t.Errorf("no error:\n%s", out)
		}
		says(t, out, "cur/2.b:2,", "cur/5.e:2,: ", "cur/6.f:2,: ", "3 messages were left out")
		out, err = s.try("", "import", "mbox", mbox, "--user", "alice@home.example", "--aside", aside)
		if err == nil {
			t.Errorf("no error:\n%s", out)
		}
		says(t, out, "garbage.mbox: octet 0: ", "the file ends within a line of it", "1 messages were left out")
	}
	got := mailOf(t, s.imap, "alice@home.example", testPassword)
	if list := got["INBOX"]; len(list) != len(before)+1 || !slices.Equal(list[:len(before)], before) {
		t.Errorf("INBOX has %v, and had %v", list, before)
	}
	counts := map[string]int{}
	for name, list := range got {
		if len(list) > 0 {
			counts[name] = len(list)
		}
	}
	if want := map[string]int{"INBOX": 2, "Stra=DFe": 1, "a_b_": 1, "cut": 2, "garbage": 1}; !maps.Equal(counts, want) {
		t.Errorf("there are %v, not %v", counts, want)
	}
	s.run("", "verify")
}

// whole makes a Maildir with one message, and returns its directory cur.
func whole(t *testing.T) string {
	t.Helper()
	cur := filepath.Join(t.TempDir(), "cur")
	if err := os.Mkdir(cur, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(cur, "0.z:2,FS"), []byte("Subject: here first\n\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return cur
}

func says(t *testing.T, out string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(out, w) {
			t.Errorf("nothing says %q:\n%s", w, out)
		}
	}
}

// TestAsideIsBesideTheCaller: a relative directory is one of whoever calls, not
// of the server.
func TestAsideIsBesideTheCaller(t *testing.T) {
	maildir, _ := damaged(t)
	s := newSite(t)
	s.start()
	file, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(file, "import", "maildir", maildir, "--user", "alice@home.example", "--aside", "kept", "--config", s.config)
	cmd.Dir = t.TempDir()
	if out, err := cmd.CombinedOutput(); err == nil {
		t.Errorf("no error:\n%s", out)
	}
	kept, err := os.ReadFile(filepath.Join(cmd.Dir, "kept", "000001.eml"))
	if err != nil || !strings.HasPrefix(string(kept), "Subject: torn\r\n") {
		t.Errorf("kept is %q, %v", kept, err)
	}
}
