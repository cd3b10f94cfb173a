package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailbox/admin"
	"mailbox/internal/dns/dnstest"
	"mailbox/tls/acmetest"
)

// A certified site has its certificates from a CA, and listens for HTTP.
type certified struct {
	*site
	ca          *acmetest.CA
	http, https string
}

func newCertified(t *testing.T) *certified {
	t.Helper()
	s := &certified{site: newSite(t), http: freePort(t), https: freePort(t)}
	zone := dnstest.New(t, "127.0.0.1:0", "$ORIGIN home.example.\nmail A 127.0.0.1\nmta-sts A 127.0.0.1\nautoconfig A 127.0.0.1\n")
	s.ca = acmetest.New(t, acmetest.Options{DNS: zone.Addr, HTTPPort: portOf(t, s.http), HTTPSPort: portOf(t, s.https)})
	text, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.NewReplacer(
		"listen = []\n", fmt.Sprintf("listen = [%q]\n", s.http), "listen_tls = []\n", fmt.Sprintf("listen_tls = [%q]\nmta_sts = \"enforce\"\n", s.https),
		`mode = "self-signed"`, fmt.Sprintf("mode = \"acme\"\naccept_terms = true\ndirectory = %q\nca_file = %q", s.ca.Directory, s.ca.RootsFile),
	).Replace(string(text))
	if err := os.WriteFile(s.config, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

func portOf(t *testing.T, address string) int {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// certs is what "admin cert list" says.
func (s *certified) certs() []admin.Certificate {
	s.t.Helper()
	var all []admin.Certificate
	if err := json.Unmarshal([]byte(s.run("", "admin", "cert", "list", "--json")), &all); err != nil {
		s.t.Fatal(err)
	}
	return all
}

// serials are those that clients see at SMTP, IMAPS and HTTPS.
func (s *certified) serials(roots *x509.CertPool) map[string]string {
	s.t.Helper()
	seen := map[string]string{}
	client := &tls.Config{RootCAs: roots, ServerName: "mail.home.example"}
	smtp, err := net.DialTimeout("tcp", s.smtp, 10*time.Second)
	if err != nil {
		s.t.Fatal(err)
	}
	defer smtp.Close()
	smtp.SetDeadline(time.Now().Add(20 * time.Second))
	lines := bufio.NewReader(smtp)
	for _, command := range []string{"", "EHLO client.example\r\n", "STARTTLS\r\n"} {
		io.WriteString(smtp, command) //nolint:errcheck // the answer tells
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				s.t.Fatal(err)
			}
			if line[3] == ' ' {
				break
			}
		}
	}
	for service, c := range map[string]net.Conn{"smtp": smtp, "imaps": mustDial(s.t, s.imaps), "https": mustDial(s.t, s.https)} {
		tc := tls.Client(c, client)
		if err := tc.Handshake(); err != nil {
			s.t.Errorf("%s: %v", service, err)
			continue
		}
		seen[service] = tc.ConnectionState().PeerCertificates[0].SerialNumber.Text(16)
		tc.Close()
	}
	return seen
}

func mustDial(t testing.TB, address string) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestCertificates is the life of certificates in the real program: a CA that
// is down at the start, certificates for every name, the same one at every
// service, renewal while sessions run, a new key.
func TestCertificates(t *testing.T) {
	s := newCertified(t)
	s.ca.Instead(http.NotFoundHandler())
	s.start()
	if st := s.serials(s.clientTLS().RootCAs); len(st) != 3 {
		t.Errorf("without a CA %v serve", st)
	}
	for until := time.Now().Add(20 * time.Second); s.certs()[0].Problem == "" && time.Now().Before(until); {
		time.Sleep(10 * time.Millisecond)
	}
	before := s.certs()
	if len(before) != 3 || before[0].Source != "self-signed" || before[0].Problem == "" {
		t.Fatalf("%+v", before)
	}
	session := tls.Client(mustDial(t, s.imaps), s.clientTLS())
	defer session.Close()
	session.SetDeadline(time.Now().Add(60 * time.Second))
	lines := bufio.NewReader(session)
	answers := func(command, want string) {
		t.Helper()
		io.WriteString(session, command) //nolint:errcheck // the answer tells
		if line, err := lines.ReadString('\n'); err != nil || !strings.Contains(line, want) {
			t.Errorf("%q: %q %v", command, line, err)
		}
	}
	answers("", "OK")
	s.ca.Instead(nil)
	out := s.run("", "admin", "cert", "renew")
	for _, want := range []string{"mail.home.example", "mta-sts.home.example", "autoconfig.home.example", "acme", before[0].TLSA, before[0].NextTLSA} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	answers("a NOOP\r\n", "a OK")
	last := ""
	for _, command := range [][]string{{"cert", "list"}, {"cert", "renew"}, {"cert", "renew", "--new-key"}} {
		s.run("", append([]string{"admin"}, command...)...)
		listed := s.certs()[0]
		for service, serial := range s.serials(s.ca.Roots()) {
			if serial != listed.Serial || serial == last {
				t.Errorf("after %v: %s has %s, the list %s; before it was %s", command, service, serial, listed.Serial, last)
			}
		}
		last = listed.Serial
	}
	if after := s.certs()[0]; after.TLSA != before[0].NextTLSA || after.NextTLSA == before[0].NextTLSA {
		t.Errorf("the keys are %+v, and were %+v", after, before[0])
	}
	answers("b NOOP\r\n", "b OK")
	s.policyIs("mode: enforce\r\nmx: mail.home.example\r\n")
	text, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.config, []byte(strings.Replace(string(text), `"enforce"`, `"none"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(20 * time.Second); !strings.Contains(s.logged(), "configuration reloaded") && time.Now().Before(until); {
		time.Sleep(5 * time.Millisecond)
	}
	s.policyIs("mode: none\r\n")
	s.stop()
	s.start()
	if got := s.certs()[0].Serial; got != last {
		t.Errorf("after a restart %s, before %s", got, last)
	}
}

// policyIs fetches our MTA-STS policy as another server does.
func (s *certified) policyIs(want string) {
	s.t.Helper()
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: s.ca.Roots()},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, s.https)
		},
	}}
	defer client.CloseIdleConnections()
	res, err := client.Get("https://mta-sts.home.example/.well-known/mta-sts.txt")
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err != nil || !strings.Contains(string(body), want) {
		s.t.Errorf("the policy is %q, %v", body, err)
	}
}
