package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// program names a program that we did not write. Where it is missing the test
// is skipped, except in CI, which installs it. With -short there is none.
func program(t testing.TB, name string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIPPED: short")
	}
	path, err := exec.LookPath(name)
	if err != nil && os.Getenv("MAILBOX_REQUIRE_PROGRAMS") != "" {
		t.Fatalf("%s is required and missing", name)
	}
	if err != nil {
		t.Skipf("SKIPPED: %s is not installed", name)
	}
	return path
}

// must runs a program and returns what it wrote to standard output.
func must(t testing.TB, stdin, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(program(t, name), args...)
	cmd.Stdin = strings.NewReader(stdin)
	var errOut strings.Builder
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, errOut.String())
	}
	return string(out)
}

// sameBelowTrace checks that got is want under our three trace fields.
func sameBelowTrace(t *testing.T, got, want string) {
	t.Helper()
	trace, ok := strings.CutSuffix(got, want)
	if !ok {
		t.Errorf("came back as\n%q\ninstead of\n%q", got, want)
	}
	fields := 0
	for line := range strings.Lines(trace) {
		if line[0] != ' ' && line[0] != '\t' {
			fields++
		}
	}
	if fields != 3 || !strings.HasPrefix(trace, "Return-Path: <") || !strings.Contains(trace, "\r\nAuthentication-Results: mail.home.example;\r\n") || !strings.Contains(trace, "\r\nReceived: from ") {
		t.Errorf("trace fields %q", trace)
	}
}

const interopText = "From: you@client.example\r\nSubject: Gr\xc3\xbc\xc3\x9fe\r\n\r\n.dot\r\n..\r\n\xff\xfe 8-bit\r\nend\r\n"

// TestCurl sends with curl, plain and over STARTTLS, and reads with it over
// imap and imaps.
func TestCurl(t *testing.T) {
	program(t, "curl")
	s := newSite(t)
	s.start()
	ca := filepath.Join(s.dir, "data", "tls", "ca.pem")
	to := func(address string) (url, resolve string) {
		port := address[strings.LastIndexByte(address, ':')+1:]
		return "mail.home.example:" + port, "mail.home.example:" + port + ":127.0.0.1"
	}
	smtp, smtpResolve := to(s.smtp)
	imaps, imapsResolve := to(s.imaps)
	imap, imapResolve := to(s.imap)
	send := []string{"-sS", "--resolve", smtpResolve, "smtp://" + smtp, "--mail-from", "you@client.example", "--mail-rcpt", "alice@home.example", "-T", "-"}
	must(t, interopText, "curl", send...)
	must(t, interopText, "curl", append(send, "--ssl-reqd", "--cacert", ca)...)
	login := "alice@home.example:" + testPassword
	for n := 1; n <= 2; n++ {
		path := fmt.Sprintf("/INBOX;MAILINDEX=%d", n)
		sameBelowTrace(t, must(t, "", "curl", "-sS", "-u", login, "--resolve", imapResolve, "imap://"+imap+path), interopText)
		sameBelowTrace(t, must(t, "", "curl", "-sS", "-u", login, "--resolve", imapsResolve, "--cacert", ca, "imaps://"+imaps+path), interopText)
		sameBelowTrace(t, must(t, "", "curl", "-sS", "-u", login, "--resolve", imapResolve, "--ssl-reqd", "--cacert", ca, "imap://"+imap+path), interopText)
	}
	if got := s.imapClient("alice").received(t, 2); !strings.Contains(got, "with ESMTPS\r\n\t(TLS1.3 TLS_") {
		t.Errorf("over TLS Received says %q", got)
	} else if !strings.Contains(got, "\r\n\tfor <alice@home.example>; ") {
		t.Errorf("the only recipient is not named: %q", got)
	}
}

func (c *imapClient) received(t *testing.T, n int) string {
	t.Helper()
	c.ok("EXAMINE INBOX")
	return c.body(n, "HEADER.FIELDS (RECEIVED)")
}

// swaksKnowsTLS tells whether swaks has the library that it needs for TLS.
func swaksKnowsTLS() bool {
	return exec.Command("perl", "-MNet::SSLeay", "-e", "1").Run() == nil || os.Getenv("MAILBOX_REQUIRE_PROGRAMS") != ""
}

// TestSwaks has swaks speak to port 25.
func TestSwaks(t *testing.T) {
	program(t, "swaks")
	s := newSite(t)
	s.start()
	common := []string{
		"--server", s.smtp, "--from", "you@client.example", "--to", "alice@home.example,bob@home.example",
		"--data", strings.TrimSuffix(interopText, "\r\n"), "--suppress-data", // swaks puts CRLF in front of the dot
	}
	ways := [][]string{{}, {"--pipeline"}, {"--protocol", "SMTP"}}
	if swaksKnowsTLS() {
		ways = append(ways, []string{"--tls"})
	}
	for _, more := range ways {
		must(t, "", "swaks", append(common[:len(common):len(common)], more...)...)
	}
	for _, user := range []string{"alice", "bob"} {
		c := s.imapClient(user)
		c.ok("SELECT INBOX")
		for n := range ways {
			text := c.body(n+1, "")
			sameBelowTrace(t, text, interopText)
			if strings.Contains(text, "for <") {
				t.Errorf("one of two recipients is named: %q", text)
			}
		}
	}
}

// TestPython sends with smtplib and reads with imaplib, while another session
// idles and a third looks on.
func TestPython(t *testing.T) {
	program(t, "python3")
	s := newSite(t)
	s.start()
	idle := s.imapClient("alice")
	idle.ok("SELECT INBOX")
	fmt.Fprint(idle.nc, "i IDLE\r\n")
	if got := idle.response(); !strings.HasPrefix(got, "+ ") {
		t.Fatalf("idle: %q", got)
	}
	script := filepath.Join("testdata", "interop.py")
	out := must(t, "", "python3", script, s.smtp, s.imap, filepath.Join(s.dir, "data", "tls", "ca.pem"), testPassword)
	if !strings.Contains(out, "all is well") {
		t.Error(out)
	}
	began := time.Now()
	if got := idle.response(); got != "* 1 EXISTS\r\n" {
		t.Errorf("the idle session was told %q after %s", got, time.Since(began))
	}
}
