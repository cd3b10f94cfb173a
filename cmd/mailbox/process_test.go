package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// binary builds the program once for all tests that run it as a process.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "mailbox-test-")
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "mailbox")
	out, err := exec.Command("go", "build", "-o", file, ".").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	return file, err
})

func TestMain(m *testing.M) {
	code := m.Run()
	if file, err := binary(); err == nil {
		os.RemoveAll(filepath.Dir(file)) //nolint:errcheck // a temporary directory
	}
	os.Exit(code)
}

const testPassword = "correct horse 9"

// A site is a configured server with two users, alice and bob, run as a
// process. What is empty in it is chosen by configure.
type site struct {
	t                       testing.TB
	domain                  string // its host is mail.domain
	dir, config             string
	smtp, imap, imaps       string
	submission, submissions string   // 587 and 465
	alternate               string   // 2525
	dns                     string   // the resolver; "" is one that does not answer, and that at once
	env                     []string // of the process, besides ours
	cmd                     *exec.Cmd
	log                     *os.File
}

// newSite configures a server for home.example.
func newSite(t testing.TB) *site {
	t.Helper()
	return (&site{t: t, domain: "home.example"}).configure()
}

// configure configures a server and adds the users while none runs.
func (s *site) configure() *site {
	t := s.t
	t.Helper()
	s.dir = t.TempDir()
	for _, address := range []*string{&s.smtp, &s.imap, &s.imaps, &s.submission, &s.submissions, &s.alternate} {
		if *address == "" {
			*address = freePort(t)
		}
	}
	s.config = filepath.Join(s.dir, "mailbox.toml")
	text := fmt.Sprintf(`hostname = "mail.%s"
domains = [%q]
data = %q
[mta]
listen = [%q]
per_address = 1000
[msa]
listen = [%q, %q]
listen_tls = [%q]
per_address = 1000
[imapd]
listen = [%q]
listen_tls = [%q]
plaintext_login = true
[dns]
servers = [%q]
[web]
listen = []
listen_tls = []
[tls]
mode = "self-signed"
[admin]
socket = %q
`, s.domain, s.domain, filepath.Join(s.dir, "data"), s.smtp, s.submission, s.alternate, s.submissions, s.imap, s.imaps, cmp.Or(s.dns, "127.0.0.1:1"), filepath.Join(s.dir, "admin.sock"))
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{"alice", "bob"} {
		s.run(testPassword, "admin", "user", "add", user+"@"+s.domain, "--password-stdin")
	}
	s.trust("client.example")
	t.Cleanup(s.stop)
	return s
}

// trust keeps mail of a sender out of Junk, whatever it lacks.
func (s *site) trust(sender string) {
	s.t.Helper()
	s.run("", "admin", "policy", "add", sender, "accept")
}

// set adds lines to a section of the configuration, "mta", or makes one more of
// its kind, "[mta.routes]"; "" is the begin of the file.
func (s *site) set(section, lines string) {
	s.t.Helper()
	old, err := os.ReadFile(s.config)
	if err != nil {
		s.t.Fatal(err)
	}
	head := "[" + section + "]\n"
	if section == "" {
		head = ""
	}
	text := strings.Replace(string(old), head, head+lines+"\n", 1)
	if text == string(old) || strings.HasPrefix(section, "[") {
		text = string(old) + head + lines + "\n"
	}
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// freePort returns an address that is free, and stays so while the server is
// down: its port is none of those that systems give to outgoing connections.
func freePort(t testing.TB) string {
	t.Helper()
	for range 100 {
		a := fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(20_000))
		if l, err := net.Listen("tcp", a); err == nil {
			l.Close()
			return a
		}
	}
	t.Fatal("no port is free")
	return ""
}

// run runs a command that must succeed, and returns what it printed.
func (s *site) run(stdin string, args ...string) string {
	s.t.Helper()
	out, err := s.try(stdin, args...)
	if err != nil {
		s.t.Fatalf("mailbox %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (s *site) try(stdin string, args ...string) (string, error) {
	s.t.Helper()
	file, err := binary()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(file, append(args, "--config", s.config)...)
	cmd.Stdin = strings.NewReader(stdin + "\n")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// start runs the server and waits until it listens.
func (s *site) start() {
	s.t.Helper()
	s.launch()
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		if strings.Contains(s.logged(), `"msg":"ready"`) {
			return
		}
	}
	s.t.Fatalf("the server did not become ready:\n%s", s.logged())
}

// launch runs the server.
func (s *site) launch() {
	s.t.Helper()
	file, err := binary()
	if err != nil {
		s.t.Fatal(err)
	}
	s.startAs(exec.Command(file, "serve", "--config", s.config))
}

// startAs is start by a command that becomes the server.
func (s *site) startAs(cmd *exec.Cmd) {
	s.t.Helper()
	var err error
	if s.log, err = os.CreateTemp(s.dir, "log-*"); err != nil {
		s.t.Fatal(err)
	}
	s.cmd = cmd
	s.cmd.Stderr = s.log
	s.cmd.Env = append(os.Environ(), s.env...)
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) logged() string {
	text, err := os.ReadFile(s.log.Name())
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// kill takes the process away as a power cut would, and waits for its end.
func (s *site) kill() {
	s.cmd.Process.Kill() //nolint:errcheck // it may have ended
	s.cmd.Wait()         //nolint:errcheck // it was killed
	s.cmd = nil
}

// stop ends the server as an operator would.
func (s *site) stop() {
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it may have ended
	if err := s.cmd.Wait(); err != nil {
		s.t.Errorf("serve ended with %v:\n%s", err, s.logged())
	}
	s.cmd = nil
	if s.t.Failed() {
		text := s.logged()
		s.t.Logf("the end of the server's log:\n%s", text[max(0, len(text)-4000):])
	}
	if text := s.logged(); bytes.Contains([]byte(text), []byte("panic")) {
		s.t.Errorf("the server panicked:\n%s", text)
	}
}

// clientTLS trusts the site's own authority.
func (s *site) clientTLS() *tls.Config {
	pem, err := os.ReadFile(filepath.Join(s.dir, "data", "tls", "ca.pem"))
	if err != nil {
		s.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return &tls.Config{RootCAs: pool, ServerName: "mail." + s.domain}
}

// dial connects to a service by its name in dialogues.
func (s *site) dial(service string) (net.Conn, error) {
	var d net.Dialer
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	switch service {
	case "smtp":
		return d.DialContext(ctx, "tcp", s.smtp)
	case "imap":
		return d.DialContext(ctx, "tcp", s.imap)
	case "submission":
		return d.DialContext(ctx, "tcp", s.submission)
	case "imaps", "submissions":
		nc, err := d.DialContext(ctx, "tcp", map[string]string{"imaps": s.imaps, "submissions": s.submissions}[service])
		if err != nil {
			return nil, err
		}
		return tls.Client(nc, s.clientTLS()), nil
	}
	return nil, fmt.Errorf("there is no service %q", service)
}

// usualPort is an address if it can be listened at, or else any that can.
func usualPort(t testing.TB, address string) string {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		return freePort(t)
	}
	l.Close() //nolint:errcheck // nobody used it
	return address
}
