package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// submitText hides carol in fields that no recipient may see.
const submitText = "From: Alice <alice@home.example>\r\nTo: bob@home.example\r\nBcc: Carol\r\n <carol@home.example>\r\n" +
	"Subject: %s\r\nresent-bcc: carol@home.example\r\n\r\n.dot\r\n..\r\n\xff\xfe 8-bit\r\nend\r\n"

// A clientPort is a port on which clients submit.
type clientPort struct {
	name, address string
	tls           bool // from the first octet
}

// submitSite is a site with the usual ports, where they can be had, and with
// carol, and an alias of alice's.
func submitSite(t *testing.T) (*site, []clientPort) {
	t.Helper()
	s := (&site{
		t: t, domain: "home.example",
		submission: usualPort(t, "127.0.0.24:587"), submissions: usualPort(t, "127.0.0.24:465"), alternate: usualPort(t, "127.0.0.24:2525"),
	}).configure()
	s.run(testPassword, "admin", "user", "add", "carol@home.example", "--password-stdin")
	s.run("", "admin", "alias", "add", "support@home.example", "alice@home.example")
	s.start()
	return s, []clientPort{{"587", s.submission, false}, {"465", s.submissions, true}, {"2525", s.alternate, false}}
}

// A sendingClient sends with a program, logging in as alice with a mechanism.
type sendingClient struct {
	program    string
	mechanisms []string
	send       func(t *testing.T, s *site, p clientPort, mechanism, text string)
}

var sendingClients = []sendingClient{
	{"swaks", []string{"PLAIN", "LOGIN"}, submitSwaks},
	{"curl", []string{"PLAIN", "LOGIN"}, submitCurl},
	{"msmtp", []string{"PLAIN", "LOGIN", "SCRAM-SHA-256"}, submitMsmtp},
	{"python3", []string{"PLAIN", "LOGIN", "SCRAM-SHA-256"}, submitPython},
	{"go-smtp", []string{"PLAIN", "LOGIN", "SCRAM-SHA-256-PLUS"}, submitGo},
}

// TestSubmit has every client log in at every port with every mechanism that it
// knows. What alice sends gets to bob and to carol as it was, but for the
// fields that would show that carol got it.
func TestSubmit(t *testing.T) {
	s, ports := submitSite(t)
	bob, carol := s.imapClient("bob"), s.imapClient("carol")
	sent := 0
	for _, c := range sendingClients {
		t.Run(c.program, func(t *testing.T) {
			if c.program != "go-smtp" {
				program(t, c.program)
			}
			if c.program == "swaks" && !swaksKnowsTLS() {
				t.Skip("SKIPPED: swaks cannot speak TLS without Net::SSLeay")
			}
			for _, p := range ports {
				for _, mechanism := range c.mechanisms {
					subject := strings.Join([]string{c.program, p.name, mechanism}, " ")
					t.Log(subject)
					login := `"msg":"login","room":"msa"`
					before := strings.Count(s.logged(), login)
					c.send(t, s, p, mechanism, fmt.Sprintf(submitText, subject))
					sent++
					lines := strings.Split(s.logged(), login)
					if len(lines) != before+2 || !strings.Contains(lines[before+1], `"mechanism":"`+mechanism+`","tls":true`) {
						t.Errorf("%s: the log has %d logins more, the last one: %s", subject, len(lines)-before-1, lines[len(lines)-1])
					}
					for _, inbox := range []*imapClient{bob, carol} {
						checkSubmitted(t, inbox, sent, subject)
					}
				}
			}
		})
	}
}

// checkSubmitted checks the n-th message of an inbox, which must be the last.
func checkSubmitted(t *testing.T, inbox *imapClient, n int, subject string) {
	t.Helper()
	inbox.t = t
	if got := inbox.ok("SELECT INBOX"); !strings.Contains(got, fmt.Sprintf("* %d EXISTS\r\n", n)) {
		t.Fatalf("%s: the inbox should have %d messages: %s", subject, n, got)
	}
	got := inbox.body(n, "")
	head, body, _ := strings.Cut(got, "\r\n\r\n")
	if !strings.Contains(head, "\r\nSubject: "+subject+"\r\n") && !strings.HasSuffix(head, "\r\nSubject: "+subject) {
		t.Errorf("%s: got %q", subject, head)
	}
	if body != ".dot\r\n..\r\n\xff\xfe 8-bit\r\nend\r\n" {
		t.Errorf("%s: the body came as %q", subject, body)
	}
	if strings.Contains(strings.ToLower(head), "bcc:") || strings.Contains(head, "carol@") {
		t.Errorf("%s: the header shows who else got it: %q", subject, head)
	}
	if !strings.Contains(head, "\r\nDate: ") || !strings.Contains(head, "\r\nMessage-ID: <") {
		t.Errorf("%s: Date or Message-ID is missing: %q", subject, head)
	}
	if strings.Contains(head, "127.0.0.") {
		t.Errorf("%s: the header tells where alice is: %q", subject, head)
	}
}

func (s *site) caFile() string { return filepath.Join(s.dir, "data", "tls", "ca.pem") }

func submitSwaks(t *testing.T, s *site, p clientPort, mechanism, text string) {
	t.Helper()
	must(t, "", "swaks", append(swaksArgs(p),
		"--tls-verify", "--tls-ca-path", s.caFile(), "--auth", mechanism, "--auth-user", "alice@home.example", "--auth-password", testPassword,
		"--from", "alice@home.example", "--to", "bob@home.example,carol@home.example",
		"--data", strings.TrimSuffix(text, "\r\n"), "--suppress-data")...) // swaks puts CRLF in front of the dot
}

// swaksArgs has swaks speak TLS to a port.
func swaksArgs(p clientPort) []string {
	if p.tls {
		return []string{"--server", p.address, "--tlsc"}
	}
	return []string{"--server", p.address, "--tls"}
}

func submitCurl(t *testing.T, s *site, p clientPort, mechanism, text string) {
	t.Helper()
	host, port, _ := strings.Cut(p.address, ":")
	scheme := "smtp"
	if p.tls {
		scheme = "smtps"
	}
	must(t, text, "curl", "-sS", "--ssl-reqd", "--cacert", s.caFile(), "--resolve", "mail.home.example:"+port+":"+host,
		scheme+"://mail.home.example:"+port, "-u", "alice@home.example:"+testPassword, "--login-options", "AUTH="+mechanism,
		"--mail-from", "alice@home.example", "--mail-rcpt", "bob@home.example", "--mail-rcpt", "carol@home.example", "-T", "-")
}

func submitMsmtp(t *testing.T, s *site, p clientPort, mechanism, text string) {
	t.Helper()
	host, port, _ := strings.Cut(p.address, ":")
	starttls := "on"
	if p.tls {
		starttls = "off"
	}
	file := filepath.Join(t.TempDir(), "msmtprc")
	config := fmt.Sprintf(`account default
host %s
port %s
tls on
tls_starttls %s
tls_trust_file %s
tls_host_override mail.home.example
auth %s
user alice@home.example
password %q
from alice@home.example
remove_bcc_headers off
`, host, port, starttls, s.caFile(), strings.ToLower(mechanism), testPassword)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, strings.ReplaceAll(text, "\r\n", "\n"), "msmtp", "-C", file, "bob@home.example", "carol@home.example")
}

func submitPython(t *testing.T, s *site, p clientPort, mechanism, text string) {
	t.Helper()
	way := "starttls"
	if p.tls {
		way = "tls"
	}
	must(t, text, "python3", filepath.Join("testdata", "submit.py"), p.address, way, mechanism, s.caFile(), testPassword,
		"alice@home.example", "bob@home.example", "carol@home.example")
}

func submitGo(t *testing.T, s *site, p clientPort, mechanism, text string) {
	t.Helper()
	dial := smtp.DialStartTLS
	if p.tls {
		dial = smtp.DialTLS
	}
	c, err := dial(p.address, s.clientTLS())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // what matters was answered
	if err := c.Hello("client.example"); err != nil {
		t.Fatal(err)
	}
	state, _ := c.TLSConnectionState()
	login := map[string]sasl.Client{
		"PLAIN":              sasl.NewPlainClient("", "alice@home.example", testPassword),
		"LOGIN":              sasl.NewLoginClient("alice@home.example", testPassword),
		"SCRAM-SHA-256-PLUS": &scramPlus{state: state, name: "alice@home.example", password: testPassword},
	}[mechanism]
	if err := c.Auth(login); err != nil {
		t.Fatalf("%s at %s: %v", mechanism, p.name, err)
	}
	if err := c.SendMail("alice@home.example", []string{"bob@home.example", "carol@home.example"}, strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
}

// TestChannelBoundLogin logs in with a program that binds SCRAM to TLS, where
// it can, and sees in what is answered to MAIL that it did.
func TestChannelBoundLogin(t *testing.T) {
	program(t, "gsasl")
	s, ports := submitSite(t)
	for _, p := range ports {
		if p.tls {
			continue // gsasl cannot
		}
		out := must(t, "MAIL FROM:<alice@home.example>\r\n", "gsasl", "--verbose", "--smtp", "--connect", p.address, "--starttls",
			"--x509-ca-file", "", "--mechanism", "SCRAM-SHA-256-PLUS", "--authentication-id", "alice@home.example", "--password", testPassword)
		if !strings.Contains(out, "\n235 2.7.0 ") || !strings.Contains(s.logged(), `"mechanism":"SCRAM-SHA-256-PLUS","tls":true`) {
			t.Errorf("%s: %s", p.name, out)
		}
	}
}

// TestSenderRules: a user sends in no other name than their own, and nobody
// sends without a login.
func TestSenderRules(t *testing.T) {
	program(t, "swaks")
	if !swaksKnowsTLS() {
		t.Skip("SKIPPED: swaks cannot speak TLS without Net::SSLeay")
	}
	s, ports := submitSite(t)
	login := []string{"--auth", "PLAIN", "--auth-user", "alice@home.example", "--auth-password", testPassword}
	from := func(address string) []string { return append([]string{"--from", address}, login...) }
	mine := from("alice@home.example")
	for i, c := range []struct {
		name   string
		args   []string
		header string
		want   string // in what swaks prints
	}{
		{"no login", []string{"--from", "alice@home.example"}, "From: alice@home.example", "<~* 530 5.7.0 "},
		{"wrong password", append(slices.Clone(mine), "--auth-password", "wrong"), "From: alice@home.example", "<~* 535 5.7.8 "},
		{"another's envelope", from("bob@home.example"), "From: alice@home.example", "<~* 553 5.7.1 "},
		{"nobody's envelope", from("nobody@home.example"), "From: alice@home.example", "<~* 553 5.7.1 "},
		{"a foreign envelope", from("alice@elsewhere.example"), "From: alice@home.example", "<~* 553 5.7.1 "},
		{"another's From", mine, "From: bob@home.example", "<~* 553 5.7.1 "},
		{"a foreign From", mine, "From: Alice <alice@elsewhere.example>", "<~* 553 5.7.1 "},
		{"two in From", mine, "From: alice@home.example, bob@home.example", "<~* 553 5.7.1 "},
		{"two From", mine, "From: alice@home.example\r\nFrom: bob@home.example", "<~* 554 5.6.0 "},
		{"no From", mine, "X-From: alice@home.example", "<~* 554 5.6.0 "},
		{"a group in From", mine, "From: all: alice@home.example;", "<~* 554 5.6.0 "},
		{"another's display name", mine, "From: \"bob@home.example\" <alice@home.example>", "<~* 553 5.7.1 "},
		{"another's Sender", mine, "From: alice@home.example\r\nSender: bob@home.example", "<~* 553 5.7.1 "},
		{"another's Resent-From", mine, "From: alice@home.example\r\nResent-From: bob@home.example", "<~* 553 5.7.1 "},
		{"another's Resent-Sender", mine, "From: alice@home.example\r\nResent-Sender: bob@home.example", "<~* 553 5.7.1 "},
		{"nobody to write to", append(slices.Clone(mine), "--to", "nobody@home.example"), "From: alice@home.example", "<~* 550 5.1.1 "},
	} {
		p := ports[i%len(ports)]
		args := append(append(swaksArgs(p), "--to", "bob@home.example", "--data", c.header+"\r\nSubject: breach\r\n\r\nbody"), c.args...)
		out, err := exec.Command("swaks", args...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), c.want) {
			t.Errorf("%s at %s: %v, not %q:\n%s", c.name, p.name, err, c.want, out)
		}
	}
	for _, p := range ports {
		if p.tls {
			continue
		}
		args := append([]string{"--server", p.address, "--to", "bob@home.example"}, mine...)
		if out, err := exec.Command("swaks", args...).CombinedOutput(); err == nil || !strings.Contains(string(out), "did not advertise authentication") {
			t.Errorf("login without TLS at %s: %v\n%s", p.name, err, out)
		}
	}
	for _, name := range []string{"alice@home.example", "alice+shop@home.example", "support@home.example", "<>"} {
		author := name
		if name == "<>" {
			author = "Alice@HOME.example"
		}
		must(t, "", "swaks", append(append(swaksArgs(ports[0]), "--to", "bob@home.example", "--data", "From: "+author+"\r\nSubject: rightful\r\n\r\nbody"), from(name)...)...)
	}
	bob := s.imapClient("bob")
	if got := bob.ok("SELECT INBOX"); !strings.Contains(got, "* 4 EXISTS\r\n") {
		t.Errorf("bob should have the 4 messages that alice had a right to send: %s", got)
	}
}
