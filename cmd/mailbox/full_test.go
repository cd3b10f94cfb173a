package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// TestDiskFull fills a small disk: senders are told to come again, readers read
// on, and delete, also after a restart; and when there is room again mail is
// taken again, by the same process.
func TestDiskFull(t *testing.T) {
	s := newSite(t)
	data := filepath.Join(s.dir, "data")
	if err := os.RemoveAll(data); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", data, "tmpfs", 0, "size=64m"); err != nil {
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
	if err := os.WriteFile(ballast, make([]byte, 44<<20), 0o600); err != nil {
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
	c.ok(`STORE 1:5 +FLAGS.SILENT (\Deleted)`)
	c.ok("EXPUNGE")
	s.stop()
	s.start()
	c = s.imapClient("alice")
	if got := c.ok("SELECT INBOX"); !strings.Contains(got, fmt.Sprintf("* %d EXISTS", taken-5)) {
		t.Errorf("%d messages were taken, five deleted, and\n%s", taken, got)
	}
	c.ok("MOVE 1:5 Trash")
	c.ok(`STORE 1:5 +FLAGS.SILENT (\Deleted)`)
	c.ok("EXPUNGE")
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	in = &smtpPeer{t: t, s: s}
	for again := 0; ; again++ {
		in.begin()
		in.send("DATA\r\n", "354")
		reply := in.reply("Subject: room again\r\n\r\n.\r\n")
		if strings.HasPrefix(reply, "250 ") {
			break
		}
		if !strings.HasPrefix(reply, "452 4.3.1 ") || again > 300 {
			t.Fatalf("there is room again: %q", reply)
		}
		time.Sleep(100 * time.Millisecond)
	}
	if out, err := s.try("", "verify"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestDiskFails: when the disk refuses what is to be committed, all who wait
// are told to come again, the process ends with status 1, and what was
// acknowledged before is there at the next start.
func TestDiskFails(t *testing.T) {
	s := newSite(t)
	s.start()
	first := &smtpPeer{t: t, s: s}
	first.data("Subject: acknowledged\r\n\r\n")
	var peers []*smtpPeer
	for range 3 {
		p := &smtpPeer{t: t, s: s}
		p.begin()
		p.send("DATA\r\n", "354")
		peers = append(peers, p)
	}
	c := s.imapClient("bob")
	fmt.Fprint(c.nc, "x APPEND INBOX {10}\r\n")
	if got := c.response(); !strings.HasPrefix(got, "+ ") {
		t.Fatal(got)
	}
	// No file may grow: the kernel answers EFBIG, which is no full disk.
	limit := syscall.Rlimit{Cur: 1, Max: 1}
	if _, _, err := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(s.cmd.Process.Pid), syscall.RLIMIT_FSIZE, uintptr(unsafe.Pointer(&limit)), 0, 0, 0); err != 0 {
		t.Fatal(err)
	}
	for _, p := range peers {
		io.WriteString(p.nc, "Subject: lost\r\n\r\n.\r\n") //nolint:errcheck // the reply tells
	}
	fmt.Fprint(c.nc, "0123456789\r\n")
	for _, p := range peers {
		if got, err := io.ReadAll(p.nc); !strings.HasPrefix(string(got), "451 4.3.0 ") {
			t.Errorf("smtp: %q %v", got, err)
		}
	}
	for got := ""; !strings.HasPrefix(got, "x NO "); {
		if got = c.response(); strings.HasPrefix(got, "x OK") {
			t.Errorf("imap: %q", got)
		}
	}
	var exit *exec.ExitError
	if err := s.cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("serve ended with %v", err)
	}
	s.start()
	c = s.imapClient("alice")
	if got := c.ok("SELECT INBOX"); !strings.Contains(got, "* 1 EXISTS") {
		t.Errorf("one message was acknowledged, and\n%s", got)
	}
	if out, err := s.try("", "verify"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
