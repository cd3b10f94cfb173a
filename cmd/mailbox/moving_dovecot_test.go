package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"mailbox/internal/dovecottest"
)

// fillDovecot puts messages into the account of alice, in two folders of her own
// beside INBOX and Sent, and in more.
func fillDovecot(t *testing.T, d *dovecottest.Server, n int, more ...string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	c, err := imapclient.DialInsecure(d.IMAP, nil)
	must(err)
	defer c.Close()
	must(c.Login("alice", dovecottest.Password).Wait())
	boxes := append([]string{"INBOX", "Sent", "Projekte/Brücke über den Fluß", "R und D"}, more...)
	for _, b := range boxes[1:] {
		must(c.Create(b, nil).Wait())
		must(c.Subscribe(b).Wait())
	}
	flags := [][]imap.Flag{nil, {imap.FlagSeen}, {imap.FlagSeen, imap.FlagAnswered, "blue"}, {imap.FlagFlagged, imap.FlagDraft, "$Forwarded"}, {imap.FlagDeleted}}
	for i := range n {
		octets := []byte(fmt.Sprintf("From: a@client.example\r\nSubject: letter %d\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n%s\r\nFrom here\r\n>From there\r\n.\r\n",
			i, strings.Repeat("Zeile für Zeile \xff\r\n", i%70)))
		a := c.Append(boxes[i%len(boxes)], int64(len(octets)), &imap.AppendOptions{
			Flags: flags[i%len(flags)], Time: time.Date(2001, 2, 3, 4, 5, i, 0, time.UTC),
		})
		_, err := a.Write(octets)
		must(err)
		must(a.Close())
		_, err = a.Wait()
		must(err)
	}
}

// TestMoveFromDovecot: the Maildirs of a Dovecot come in equal, and what is
// written as Maildirs, a Dovecot shows equal.
func TestMoveFromDovecot(t *testing.T) {
	d := dovecottest.Start(t, "")
	fillDovecot(t, d, 120)
	want := mailOf(t, d.IMAP, "alice", dovecottest.Password)
	s := newSite(t)
	s.start()
	source := filepath.Join(d.Home("alice"), "mail")
	if out := s.run("", "import", "maildir", source, "--user", "alice@home.example", "--dry-run"); !strings.Contains(out, "120") {
		t.Errorf("dry run: %s", out)
	}
	s.run("", "import", "maildir", source, "--user", "alice@home.example")
	sameMail(t, mailOf(t, s.imap, "alice@home.example", testPassword), want)
	s.run("", "import", "maildir", source, "--user", "alice@home.example")
	sameMail(t, mailOf(t, s.imap, "alice@home.example", testPassword), want)

	s.stop() // and without a server
	dest := filepath.Join(d.Home("carol"), "mail")
	s.run("", "export", "maildir", dest, "--user", "alice@home.example")
	s.run("", "export", "maildir", dest, "--user", "alice@home.example")
	must(t, "", "chown", "-R", "65534:65534", d.Home("carol"))
	sameMail(t, mailOf(t, d.IMAP, "carol", dovecottest.Password), want)
}

// TestMoveByMbox: all mail of an account goes out and comes into another one,
// equal, in each variant that can do that.
func TestMoveByMbox(t *testing.T) {
	d := dovecottest.Start(t, "")
	fillDovecot(t, d, 80)
	want := mailOf(t, d.IMAP, "alice", dovecottest.Password)
	s := newSite(t)
	s.start()
	s.run("", "import", "maildir", filepath.Join(d.Home("alice"), "mail"), "--user", "alice@home.example")
	for i, variant := range []string{"mboxrd", "mboxcl2"} {
		dest, user := t.TempDir(), fmt.Sprintf("user%d@home.example", i)
		s.run("", "export", "mbox", dest, "--user", "alice@home.example", "--variant", variant)
		s.run(testPassword, "admin", "user", "add", user, "--password-stdin")
		for range 2 {
			s.run("", "import", "mbox", dest, "--user", user)
		}
		sameMail(t, mailOf(t, s.imap, user, testPassword), want)
	}
	if out, err := s.try("", "import", "mbox", filepath.Join(t.TempDir(), "none"), "--user", "alice@home.example"); err == nil || !strings.Contains(out, "no such file") {
		t.Errorf("what is not there: %s", out)
	}
}

// TestImportIMAP: an import that is cut again and again ends equal, and does not
// bring anything twice; what is done at the source meanwhile arrives. With
// MAILBOX_LONG set it is 5,000 messages in 40 folders.
func TestImportIMAP(t *testing.T) {
	messages, cuts, pause := 200, 5, 150
	var more []string
	if os.Getenv("MAILBOX_LONG") != "" {
		messages, cuts, pause = 5000, 10, 1000
		for i := range 36 {
			more = append(more, fmt.Sprintf("Folder %d/below", i))
		}
	}
	d := dovecottest.Start(t, "")
	fillDovecot(t, d, messages, more...)
	s := newSite(t)
	s.start()
	source := "imap+plain://alice@" + d.IMAP
	file, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	start := func(args ...string) (*exec.Cmd, *strings.Builder) {
		cmd := exec.Command(file, append([]string{"import", "imap", source, "--user", "alice@home.example", "--password-stdin", "--config", s.config}, args...)...)
		cmd.Stdin = strings.NewReader(dovecottest.Password + "\n")
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd, &out
	}
	for range cuts {
		cmd, _ := start()
		time.Sleep(time.Duration(rand.IntN(pause)) * time.Millisecond)
		cmd.Process.Kill() //nolint:errcheck // it may have ended
		cmd.Wait()         //nolint:errcheck // it was killed
	}
	cmd, out := start()
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	sameMail(t, mailOf(t, s.imap, "alice@home.example", testPassword), mailOf(t, d.IMAP, "alice", dovecottest.Password))

	cmd, out = start("--follow", "--poll", "200ms")
	c, err := imapclient.DialInsecure(d.IMAP, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	change := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	change(c.Login("alice", dovecottest.Password).Wait())
	_, err = c.Select("INBOX", nil).Wait()
	change(err)
	change(c.Store(imap.SeqSetNum(1, 2), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagFlagged, "green"}}, nil).Close())
	arrives := func(mailbox string) {
		t.Helper()
		for until := time.Now().Add(60 * time.Second); ; time.Sleep(100 * time.Millisecond) {
			got, want := mailOf(t, s.imap, "alice@home.example", testPassword), mailOf(t, d.IMAP, "alice", dovecottest.Password)
			if fmt.Sprint(got[mailbox]) == fmt.Sprint(want[mailbox]) {
				return
			}
			if time.Now().After(until) {
				sameMail(t, got, want)
				t.Fatal("what happened at the source did not arrive")
			}
		}
	}
	arrives("INBOX")
	s.stop() // what follows outlives our own server
	change(c.Create("later", nil).Wait())
	_, err = c.Copy(imap.SeqSetNum(3), "later").Wait()
	change(err)
	time.Sleep(500 * time.Millisecond) // a poll or two
	s.start()
	arrives("later")
	change(cmd.Process.Signal(os.Interrupt))
	if err := cmd.Wait(); err != nil || strings.Contains(out.String(), "differs") || !strings.Contains(out.String(), "later") {
		t.Errorf("%v: %s", err, out)
	}
}

// TestSourceIsRenumbered: a Dovecot that has lost what it knows of its mail
// gives all of it new UIDs. Nothing comes twice for that.
func TestSourceIsRenumbered(t *testing.T) {
	d := dovecottest.Start(t, "")
	fillDovecot(t, d, 40)
	s := newSite(t)
	s.start()
	pull := func() {
		t.Helper()
		s.run(dovecottest.Password, "import", "imap", "imap+plain://alice@"+d.IMAP, "--user", "alice@home.example", "--password-stdin")
	}
	validity := func() string {
		return d.Doveadm(t, "", "mailbox", "status", "-u", "alice", "uidvalidity", "INBOX")
	}
	pull()
	want, before := mailOf(t, s.imap, "alice@home.example", testPassword), validity()
	for until := time.Now().Add(20 * time.Second); validity() == before; time.Sleep(time.Second) { // it counts in seconds
		if time.Now().After(until) {
			t.Fatalf("it is still %s", before)
		}
		// A process that has just served somebody may write once more what it knew.
		err := filepath.WalkDir(filepath.Join(d.Home("alice"), "mail"), func(path string, e fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err == nil && strings.HasPrefix(e.Name(), "dovecot") && !e.IsDir() && e.Name() != "dovecot-keywords" {
				err = os.Remove(path)
			}
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	pull()
	sameMail(t, mailOf(t, s.imap, "alice@home.example", testPassword), want)
}
