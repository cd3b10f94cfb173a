package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestDiskFull fills a small disk: senders are told to come again, readers
// read on, and when there is room again mail is taken again, by the same process.
func TestDiskFull(t *testing.T) {
	s := newSite(t)
	data := filepath.Join(s.dir, "data")
	if err := os.RemoveAll(data); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", data, "tmpfs", 0, "size=6m"); err != nil {
		t.Skipf("SKIPPED: mounting a small disk needs root: %v", err)
	}
	t.Cleanup(func() {
		s.stop()
		if err := syscall.Unmount(data, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	for _, user := range []string{"alice", "bob"} {
		s.run(testPassword, "admin", "user", "add", user+"@home.example", "--password-stdin")
	}
	s.trust("client.example")
	ballast := filepath.Join(data, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	in := &smtpPeer{t: t, s: s}
	noise := oddity{}.incompressible(100_000)
	large := oddity{}.incompressible(600_000)
	taken := 0
	for full := 0; full < 3; { // at RCPT, while it is spooled, at the commit: wherever it hurts
		in.begin()
		in.send("DATA\r\n", "354")
		text := noise
		if taken%3 == 2 {
			text = large
		}
		switch reply := in.reply(fmt.Sprintf("Subject: %d\r\n\r\n%s\r\n.\r\n", taken, text)); {
		case strings.HasPrefix(reply, "250 "):
			taken++
		case strings.HasPrefix(reply, "452 4.3.1 "):
			full++
		default:
			t.Fatalf("message %d on a full disk: %q", taken, reply)
		}
		if taken > 200 {
			t.Fatal("the disk does not fill")
		}
	}
	c := s.imapClient("alice")
	if got := c.ok("SELECT INBOX"); !strings.Contains(got, fmt.Sprintf("* %d EXISTS", taken)) {
		t.Errorf("%d messages were taken, and\n%s", taken, got)
	}
	c.body(1, "")
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	in.data("Subject: room again\r\n\r\n")
	if out, err := s.try("", "verify"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
