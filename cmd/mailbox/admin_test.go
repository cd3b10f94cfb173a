package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"mailbox/admin"
)

// TestAdmin runs every admin command with the server stopped and running: the
// same commands do the same.
func TestAdmin(t *testing.T) {
	for _, running := range []bool{false, true} {
		t.Run(map[bool]string{false: "stopped", true: "running"}[running], func(t *testing.T) {
			s := newSite(t)
			if running {
				s.start()
			}
			has := func(want string, args ...string) {
				t.Helper()
				if out := s.run("", args...); !strings.Contains(out, want) {
					t.Errorf("mailbox %s says\n%s\nwithout %q", strings.Join(args, " "), out, want)
				}
			}
			fails := func(want string, args ...string) {
				t.Helper()
				out, err := s.try("", args...)
				exit, ok := err.(*exec.ExitError)
				if !ok || exit.ExitCode() != 1 || !strings.Contains(out, want) {
					t.Errorf("mailbox %s: %v, says\n%s\nwithout %q", strings.Join(args, " "), err, out, want)
				}
			}
			opens := func(password string, want string) {
				t.Helper()
				if !running {
					return
				}
				c := s.imapDial()
				if _, got := c.do(fmt.Sprintf("LOGIN carol@home.example %q", password)); !strings.HasPrefix(got, want) {
					t.Errorf("a login is answered %q, not %s", got, want)
				}
				c.nc.Close()
			}
			s.run("another pass 5", "admin", "user", "add", "carol@home.example", "--password-stdin", "--quota", "5GiB")
			opens("another pass 5", "OK")
			has("5.0 GiB", "admin", "user", "list")
			has("carol@home.example", "admin", "user", "show", "carol@home.example")
			for address, want := range map[string]string{"Carol@home.example": "already exists", "carol@elsewhere.example": "not among the domains"} {
				if out, err := s.try("another pass 5", "admin", "user", "add", address, "--password-stdin"); err == nil || !strings.Contains(out, want) {
					t.Errorf("add %s: %v, says %q", address, err, out)
				}
			}
			fails("empty", "admin", "user", "add", "dora@home.example", "--password-stdin")
			fails("not found", "admin", "user", "show", "nobody@home.example")
			s.run("yet another 6", "admin", "user", "passwd", "carol@home.example", "--password-stdin")
			opens("another pass 5", "NO [AUTHENTICATIONFAILED]")
			opens("yet another 6", "OK")
			has("none", "admin", "user", "set", "carol@home.example", "--quota", "none", "--tag-folders")

			var p admin.AppPassword
			if err := json.Unmarshal([]byte(s.run("", "admin", "user", "app-password", "add", "carol@home.example", "phone", "--json")), &p); err != nil || len(p.Password) < 20 {
				t.Errorf("app password %q: %v", p.Password, err)
			}
			has("phone", "admin", "user", "app-password", "list", "carol@home.example")
			opens(p.Password, "OK")
			fails("already exists", "admin", "user", "app-password", "add", "carol@home.example", "phone")
			s.run("", "admin", "user", "app-password", "remove", "carol@home.example", "phone")
			opens(p.Password, "NO [AUTHENTICATIONFAILED]")
			fails("not found", "admin", "user", "app-password", "remove", "carol@home.example", "phone")

			s.run("", "admin", "alias", "add", "info@home.example", "carol@home.example", "alice@home.example")
			has("info@home.example", "admin", "alias", "list")
			s.run("", "admin", "alias", "add", "out@home.example", "x@elsewhere.example")
			has("x@elsewhere.example", "admin", "alias", "list")
			fails("not among the domains", "admin", "alias", "add", "out@elsewhere.example", "alice@home.example")
			s.run("", "admin", "alias", "remove", "info@home.example")
			fails("not found", "admin", "alias", "remove", "info@home.example")

			has(`\Sent`, "admin", "mailbox", "list", "carol@home.example")
			has("0 problems", "verify")
			s.run("", "admin", "user", "remove", "carol@home.example")
			fails("not found", "admin", "user", "show", "carol@home.example")
			if !running {
				fails("needs a running server", "admin", "session", "list")
				return
			}
			c := s.imapClient("bob")
			c.ok("SELECT INBOX")
			var sessions []admin.Session
			if err := json.Unmarshal([]byte(s.run("", "admin", "session", "list", "--json")), &sessions); err != nil || len(sessions) != 1 || sessions[0].Mailbox != "INBOX" {
				t.Fatalf("sessions %+v: %v", sessions, err)
			}
			s.run("", "admin", "session", "kill", sessions[0].ID)
			fails("not found", "admin", "session", "kill", "9999")
			if got := c.response(); !strings.HasPrefix(got, "* BYE") {
				t.Errorf("the killed session was told %q", got)
			}
			has("debug", "admin", "log-level", "debug")
			has("debug", "admin", "log-level")
			fails("is not debug, info, warn or error", "admin", "log-level", "loud")
			has("\x1f\x8b", "admin", "profile", "heap") // gzip, as pprof has it
			has("\x1f\x8b", "admin", "profile", "cpu", "--seconds", "1")
			fails("1 to 600 seconds", "admin", "profile", "cpu", "--seconds", "0")
			fails("there are cpu, heap", "admin", "profile", "luck")
		})
	}
}

// TestUsage: what cannot be understood is told with exit status 2; every
// command has a help text.
func TestUsage(t *testing.T) {
	s := newSite(t)
	for _, args := range [][]string{
		{"nonsense"},
		{"serve", "now"},
		{"admin", "user", "add"},
		{"verify", "--colour"},
		{"admin", "user", "set", "alice@home.example"},
		{"admin", "user", "add", "x@home.example", "--quota", "much", "--password-stdin"},
		{"admin", "user", "passwd", "alice@home.example"},
	} {
		out, err := s.try("", args...)
		if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 2 {
			t.Errorf("mailbox %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	var helpful func(*cobra.Command)
	helpful = func(c *cobra.Command) {
		if c.Short == "" {
			t.Errorf("%s has no help", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			helpful(sub)
		}
	}
	helpful(newRootCommand())
	if out := s.run("", "admin", "user", "add", "--help"); !strings.Contains(out, "--password-stdin") {
		t.Errorf("help of user add:\n%s", out)
	}
}

// TestConfigCheck: every mistake is named with its line, and the exit status
// tells whether there was any.
func TestConfigCheck(t *testing.T) {
	s := newSite(t)
	if out := s.run("", "config", "check"); !strings.Contains(out, "has no mistakes") {
		t.Errorf("config check says %q", out)
	}
	file := filepath.Join(s.dir, "bad.toml")
	if err := os.WriteFile(file, []byte("hostname = \"x\"\ncolour = 1\n[mta]\nlisten = [\"25\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"config", "check", file}, {"config", "check", filepath.Join(s.dir, "missing.toml")}} {
		out, err := s.try("", args...)
		if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 1 || !strings.Contains(out, args[2]) {
			t.Errorf("%v: %v, says %q", args, err, out)
		}
	}
	if out, _ := s.try("", "config", "check", file); !strings.Contains(out, file+":2: colour: no such key") {
		t.Errorf("config check says %q", out)
	}
}

// TestVerify: a damaged message is named, and the exit status is 1, whether
// the server runs or not.
func TestVerify(t *testing.T) {
	s := newSite(t)
	s.start()
	in := &smtpPeer{t: t, s: s}
	in.data("Subject: large\r\n\r\n" + oddity{}.incompressible(400_000) + "\r\n")
	if out := s.run("", "verify"); !strings.Contains(out, " 1 messages, ") || !strings.Contains(out, ": 0 problems") {
		t.Errorf("verify says %q", out)
	}
	files, err := filepath.Glob(filepath.Join(s.dir, "data", "blobs", "*", "*"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	raw, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)/2] ^= 1
	if err := os.WriteFile(files[0], raw, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		out, err := s.try("", "verify")
		if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 1 || !strings.Contains(out, "blob "+filepath.Base(files[0])+": ") || !strings.Contains(out, ": 1 problems") {
			t.Errorf("verify of a damaged message: %v, says %q", err, out)
		}
		s.stop()
	}
}

// TestModes: nobody else can read the data.
func TestModes(t *testing.T) {
	s := newSite(t)
	s.start()
	err := filepath.WalkDir(filepath.Join(s.dir, "data"), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if fi, err := d.Info(); err != nil || fi.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v (%v)", path, fi.Mode(), err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if fi, err := os.Stat(filepath.Join(s.dir, "admin.sock")); err != nil || fi.Mode().Perm() != 0o660 {
		t.Errorf("socket: %v %v", fi.Mode(), err)
	}
}

// stranger is a user of the system who is nobody.
const stranger = 54321

// forStrangers lets every user of the system get to a site's directory and to
// the program, as far as their own modes go.
func (s *site) forStrangers() {
	s.t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("MAILBOX_REQUIRE_PROGRAMS") != "" {
			s.t.Fatal("becoming another user needs root, and is required")
		}
		s.t.Skip("SKIPPED: becoming another user needs root")
	}
	file, err := binary()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, dir := range []string{filepath.Dir(file), filepath.Dir(s.dir), s.dir, s.config} {
		if err := os.Chmod(dir, 0o755); err != nil {
			s.t.Fatal(err)
		}
	}
}

// TestOwner: what root does while no server runs belongs to the server's user.
func TestOwner(t *testing.T) {
	s := newSite(t)
	s.forStrangers()
	files := func(do func(path string, fi fs.FileInfo) error) {
		t.Helper()
		err := filepath.WalkDir(filepath.Join(s.dir, "data"), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			fi, err := d.Info()
			if err != nil {
				return err
			}
			return do(path, fi)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	files(func(path string, _ fs.FileInfo) error { return os.Chown(path, stranger, stranger) })
	if err := os.Remove(filepath.Join(s.dir, "data", "search.db")); err != nil { // so that something is made anew
		t.Fatal(err)
	}
	s.run("another pass 5", "admin", "user", "add", "carol@home.example", "--password-stdin")
	if _, err := os.Stat(filepath.Join(s.dir, "data", "search.db")); err != nil {
		t.Error(err)
	}
	files(func(path string, fi fs.FileInfo) error {
		if owner := fi.Sys().(*syscall.Stat_t); owner.Uid != stranger || owner.Gid != stranger {
			t.Errorf("%s belongs to %d:%d", path, owner.Uid, owner.Gid)
		}
		return nil
	})
}

// TestStranger: another user of the system gets nowhere, whether the server
// runs or not, and is told why.
func TestStranger(t *testing.T) {
	s := newSite(t)
	s.forStrangers()
	for _, running := range []bool{false, true} {
		if running {
			s.start()
		}
		file, err := binary()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(file, "admin", "user", "list", "--config", s.config)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stranger, Gid: stranger}}
		out, err := cmd.CombinedOutput()
		if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 1 || !strings.Contains(string(out), "permission denied") {
			t.Errorf("running %v: %v, says %q", running, err, out)
		}
	}
}

// TestReload: a mistake changes nothing; otherwise listeners come and go, and
// connections stay.
func TestReload(t *testing.T) {
	s := newSite(t)
	s.start()
	c := s.imapClient("alice")
	config, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	reload := func(text, logged string) {
		t.Helper()
		if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		for until := time.Now().Add(10 * time.Second); !strings.Contains(s.logged(), logged); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(until) {
				t.Fatalf("the log does not say %q:\n%s", logged, s.logged())
			}
		}
	}
	reload(string(config)+"\n[mta2]\n", "mta2: no such key")
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	reload(strings.Replace(strings.Replace(string(config), s.smtp, busy.Addr().String(), 1), s.imap, freePort(t), 1), "address already in use")
	for _, service := range []string{"smtp", "imap"} {
		nc, err := s.dial(service)
		if err != nil {
			t.Fatalf("after a reload that failed: %v", err)
		}
		nc.Close()
	}
	moved, metrics := freePort(t), freePort(t)
	text := strings.Replace(string(config), s.smtp, moved, 1) + "\n[metrics]\nlisten = [\"" + metrics + "\"]\n"
	elsewhere := strings.NewReplacer(`hostname = "mail.`, `hostname = "other.`, `/data"`, `/data2"`, `/admin.sock"`, `/admin2.sock"`)
	reload(elsewhere.Replace(text), `"configuration reloaded"`)
	if !strings.Contains(s.logged(), `"keys":["hostname","data","admin.socket"]`) {
		t.Error("nobody was told what needs a restart")
	}
	if _, err := s.dial("smtp"); err == nil {
		t.Error("the old address still answers")
	}
	s.smtp = moved
	in := &smtpPeer{t: t, s: s}
	in.data("Subject: after the reload\r\n\r\n")
	c.ok("SELECT INBOX")
	if got := c.body(1, ""); !strings.Contains(got, "after the reload") {
		t.Errorf("%q", got)
	}
	overSocket := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("unix", filepath.Join(s.dir, "admin.sock"))
	}}}
	for _, client := range []*http.Client{http.DefaultClient, overSocket} {
		res, err := client.Get("http://" + metrics + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		page, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || !strings.Contains(string(page), "mailbox_mta_messages_accepted_total 1\n") {
			t.Errorf("metrics: %v\n%.2000s", err, page)
		}
	}
}

// TestShutdown: idle peers are told, a message or command in progress is finished.
func TestShutdown(t *testing.T) {
	s := newSite(t)
	s.start()
	idle := &smtpPeer{t: t, s: s}
	idle.send("NOOP\r\n", "250")
	busy := &smtpPeer{t: t, s: s}
	busy.begin()
	busy.send("DATA\r\n", "354")
	c, upload := s.imapClient("bob"), s.imapClient("bob")
	fmt.Fprint(upload.nc, "u APPEND INBOX {10}\r\n")
	if got := upload.response(); !strings.HasPrefix(got, "+ ") {
		t.Fatal(got)
	}
	process := s.cmd.Process
	if err := process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	idle.send("", "421 4.3.2")
	if got := c.response(); !strings.HasPrefix(got, "* BYE") {
		t.Errorf("imap: %q", got)
	}
	if _, err := io.WriteString(busy.nc, "Subject: last\r\n\r\n.\r\n"); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(busy.nc); !strings.HasPrefix(string(got), "250 ") || !strings.Contains(string(got), "\r\n421 4.3.2") {
		t.Errorf("the message in progress was answered %q (%v)", got, err)
	}
	fmt.Fprint(upload.nc, "0123456789\r\n")
	if got := upload.response(); !strings.HasPrefix(got, "u OK ") {
		t.Errorf("the command in progress was answered %q", got)
	}
	if got := upload.response(); !strings.HasPrefix(got, "* BYE") {
		t.Errorf("after its last command the session was told %q", got)
	}
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("serve ended with %v", err)
	}
	s.start()
	after := s.imapClient("alice")
	after.ok("SELECT INBOX")
	if got := after.body(1, ""); !strings.Contains(got, "Subject: last") {
		t.Errorf("%q", got)
	}
}
