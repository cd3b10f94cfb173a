package tls

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mailbox/internal/dns/dnstest"
	"mailbox/tls/acmetest"
)

const zone = `
$ORIGIN home.example.
@         SOA ns hostmaster 1 3600 600 86400 60
@         NS  ns
ns        A   127.0.0.1
mail      A   127.0.0.1
mta-sts   A   127.0.0.1
`

// A house has a CA, a DNS server, and the ports at which a challenge is answered.
type house struct {
	t     *testing.T
	ca    *acmetest.CA
	dns   *dnstest.Server
	dir   string
	log   logBuffer
	cfg   Config
	names []string

	http, https net.Listener
	manager     atomic.Pointer[Manager]
}

// A logBuffer keeps what is logged.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newHouse(t *testing.T, o acmetest.Options) *house {
	t.Helper()
	h := &house{t: t, dir: t.TempDir(), names: []string{"mail.home.example"}}
	h.dns = dnstest.New(t, "127.0.0.1:0", zone)
	var err error
	if h.http, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	if h.https, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	o.DNS, o.HTTPPort, o.HTTPSPort = h.dns.Addr, h.http.Addr().(*net.TCPAddr).Port, h.https.Addr().(*net.TCPAddr).Port
	h.ca = acmetest.New(t, o)
	h.cfg = DefaultConfig()
	h.cfg.AcceptTerms, h.cfg.Directory, h.cfg.CAFile = true, h.ca.Directory, h.ca.RootsFile
	plain := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.manager.Load().HTTPChallenge(http.NotFoundHandler()).ServeHTTP(w, r)
	})}
	secure := &http.Server{Handler: http.NotFoundHandler(), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)}
	go plain.Serve(h.http)
	go secure.Serve(tls.NewListener(h.https, &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return h.manager.Load().Web(), nil
	}}))
	t.Cleanup(func() {
		plain.Close()
		secure.Close()
	})
	return h
}

// open starts a manager, and ends the one before.
func (h *house) open() *Manager {
	h.t.Helper()
	h.close()
	m, err := New(h.cfg, Options{
		Dir: h.dir, Names: h.names, Resolvers: []string{h.dns.Addr},
		Log: slog.New(slog.NewTextHandler(&h.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		h.t.Fatal(err)
	}
	h.manager.Store(m)
	h.t.Cleanup(h.close)
	m.Ready()
	return m
}

func (h *house) close() {
	if m := h.manager.Swap(nil); m != nil {
		m.Close()
	}
}

// eventually waits until a condition holds, for as long as any machine needs.
func (h *house) eventually(what string, ok func() bool) {
	h.t.Helper()
	for until := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			text := h.log.String()
			h.t.Fatalf("not in time: %s\n%s", what, text[max(0, len(text)-6000):])
		}
	}
}

// serving is the serial number that clients of a service see, if they trust the CA.
func (h *house) serving(service, name string) string {
	h.t.Helper()
	st, err := connect(h.t, h.manager.Load().Server(service), &tls.Config{RootCAs: h.ca.Roots(), ServerName: name})
	if err != nil {
		return ""
	}
	return st.PeerCertificates[0].SerialNumber.Text(16)
}

func (h *house) obtained(name string) func() bool {
	return func() bool { return h.serving("imapd", name) != "" }
}

// TestChallenges: a certificate by each challenge; it is there again after a
// restart, which asks for none.
func TestChallenges(t *testing.T) {
	for _, challenge := range []string{http01, tlsALPN01, dns01} {
		t.Run(challenge, func(t *testing.T) {
			h := newHouse(t, acmetest.Options{})
			h.cfg.Challenges = []string{challenge}
			if challenge == dns01 {
				h.cfg.DNSProvider, h.cfg.DNSServer, h.cfg.DNSKeyName = "rfc2136", h.dns.Addr, dnstest.UpdateKeyName
				h.cfg.DNSKeyFile = secretFile(t, dnstest.UpdateKey)
				h.http.Close()
				h.https.Close()
			}
			m := h.open()
			h.eventually("a certificate", h.obtained("mail.home.example"))
			serial := h.serving("imapd", "mail.home.example")
			if got := h.serving("mta", "mail.home.example"); got != serial {
				t.Errorf("SMTP has %s, IMAP %s", got, serial)
			}
			if got := m.Certificates(); len(got) != 1 || got[0].Source != "acme" || got[0].Serial != serial || got[0].Problem != "" {
				t.Errorf("listed as %+v", got)
			}
			h.open()
			if got := h.serving("imapd", "mail.home.example"); got != serial {
				t.Errorf("after a restart %q, before %s", got, serial)
			}
			if n := h.ca.Orders(); n != 1 {
				t.Errorf("%d certificates were asked for", n)
			}
			filepath.WalkDir(filepath.Join(h.dir, "tls"), func(path string, d os.DirEntry, err error) error { //nolint:errcheck // it returns none
				if fi, err := d.Info(); err != nil || fi.Mode().Perm()&0o077 != 0 {
					t.Errorf("%s: %v %v", path, fi.Mode(), err)
				}
				return nil
			})
		})
	}
}

func secretFile(t *testing.T, secret string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestExternalAccount: a CA that wants accounts bound gets that, and gives
// nothing without.
func TestExternalAccount(t *testing.T) {
	h := newHouse(t, acmetest.Options{EAB: true})
	m := h.open()
	h.eventually("a failure", func() bool { return m.Certificates()[0].Problem != "" })
	if got := h.serving("imapd", "mail.home.example"); got != "" {
		t.Errorf("%s was given without an account", got)
	}
	h.cfg.EABKid, h.cfg.EABKeyFile = acmetest.EABKid, secretFile(t, acmetest.EABKey)
	h.cfg.Email = "postmaster@home.example"
	h.open()
	h.eventually("a certificate", h.obtained("mail.home.example"))
}

// TestTermsFirst: nobody is asked before the operator accepts the terms, and
// the self-signed certificate serves.
func TestTermsFirst(t *testing.T) {
	h := newHouse(t, acmetest.Options{})
	h.cfg.AcceptTerms = false
	m := h.open()
	h.eventually("a warning", func() bool { return strings.Contains(h.log.String(), "accept_terms") })
	if _, err := connect(t, m.Server("imapd"), trusting(t, m.CAFile())); err != nil {
		t.Errorf("nothing serves: %v", err)
	}
	if err := m.Renew(context.Background(), false); err == nil {
		t.Error("Renew asked a CA")
	}
	if n := h.ca.Requests(); n != 0 {
		t.Errorf("%d requests", n)
	}
}

// TestOneNameFails: a name that cannot be validated holds up no other; clients
// of it get the first one's certificate.
func TestOneNameFails(t *testing.T) {
	h := newHouse(t, acmetest.Options{})
	h.names = []string{"mail.home.example", "autoconfig.home.example", "mta-sts.home.example"}
	m := h.open()
	h.eventually("the last certificate", h.obtained("mta-sts.home.example"))
	list := m.Certificates()
	if list[0].Problem != "" || list[1].Problem == "" || list[2].Problem != "" || list[1].NextAttempt.Before(time.Now().Add(25*time.Minute)) {
		t.Errorf("%+v", list)
	}
	if h.serving("imapd", "mail.home.example") == "" || h.serving("imapd", "autoconfig.home.example") != "" {
		t.Error("a certificate that nobody can have, or none for the host")
	}
	st, err := connect(t, m.Server("web"), &tls.Config{InsecureSkipVerify: true, ServerName: "autoconfig.home.example"})
	if err != nil || !slices.Equal(st.PeerCertificates[0].DNSNames, []string{"mail.home.example"}) {
		t.Errorf("%v %v", st.PeerCertificates[0].DNSNames, err)
	}
	orders := h.ca.Orders()
	h.open()
	h.eventually("the last certificate again", h.obtained("mta-sts.home.example"))
	if n := h.ca.Orders(); n != orders {
		t.Errorf("a restart asked for %d more", n-orders)
	}
}

// TestKeysStay: the key is there before the first certificate, it outlives
// renewals and another CA, and the one that follows it is known.
func TestKeysStay(t *testing.T) {
	h := newHouse(t, acmetest.Options{})
	h.ca.Instead(http.NotFoundHandler())
	m := h.open()
	h.eventually("a failure", func() bool { return m.Certificates()[0].Problem != "" })
	before := m.Certificates()[0]
	if before.Source != "self-signed" || len(before.Key) != 64 || len(before.NextKey) != 64 || before.Key == before.NextKey {
		t.Fatalf("%+v", before)
	}
	h.ca.Instead(nil)
	renew := func(newKey bool) Certificate {
		t.Helper()
		old := h.serving("imapd", "mail.home.example")
		if err := h.manager.Load().Renew(context.Background(), newKey); err != nil {
			t.Fatal(err)
		}
		if got := h.serving("imapd", "mail.home.example"); got == old || got == "" {
			t.Errorf("renewed from %q to %q", old, got)
		}
		return h.manager.Load().Certificates()[0]
	}
	for range 2 {
		if c := renew(false); c.Key != before.Key || c.NextKey != before.NextKey || c.Source != "acme" {
			t.Errorf("%+v", c)
		}
	}
	h.open()
	if c := h.manager.Load().Certificates()[0]; c.Key != before.Key || c.NextKey != before.NextKey {
		t.Errorf("after a restart %+v", c)
	}
	c := renew(true)
	if c.Key != before.NextKey || c.NextKey == before.NextKey {
		t.Errorf("rotated to %+v", c)
	}
	other := acmetest.New(t, acmetest.Options{DNS: h.dns.Addr, HTTPPort: h.http.Addr().(*net.TCPAddr).Port})
	other.Instead(http.NotFoundHandler())
	h.cfg.Directory, h.cfg.CAFile = other.Directory, other.RootsFile
	h.open()
	if h.serving("imapd", "mail.home.example") != c.Serial {
		t.Error("the old CA's certificate does not serve until the new one gives one")
	}
	other.Instead(nil)
	h.ca = other
	h.cfg.Challenges = []string{http01} // a changed configuration is tried at once
	h.open()
	h.eventually("the other CA's certificate", h.obtained("mail.home.example"))
	if got := h.manager.Load().Certificates()[0]; got.Key != c.Key || got.NextKey != c.NextKey {
		t.Errorf("another CA, another key: %+v", got)
	}
}

// TestRotationCutShort: a crash after the CA gave a certificate for the next
// key, and before that became the current one.
func TestRotationCutShort(t *testing.T) {
	h := newHouse(t, acmetest.Options{})
	m := h.open()
	h.eventually("a certificate", h.obtained("mail.home.example"))
	next := m.Certificates()[0].NextKey
	r := m.renewer
	if err := r.attempt(context.Background(), "mail.home.example", r.keys.next()); err != nil {
		t.Fatal(err)
	}
	c := h.open().Certificates()[0]
	if c.Key != next || c.NextKey == next || h.serving("imapd", "mail.home.example") != c.Serial {
		t.Errorf("%+v; the next was %s", c, next)
	}
	if err := h.manager.Load().Renew(context.Background(), false); err != nil {
		t.Fatal(err)
	}
	if c := h.manager.Load().Certificates()[0]; c.Key != next {
		t.Errorf("the renewal has key %s, not %s", c.Key, next)
	}
}

// TestTornFiles: what a crash or a full disk leaves of a certificate costs no key.
func TestTornFiles(t *testing.T) {
	h := newHouse(t, acmetest.Options{})
	m := h.open()
	h.eventually("a certificate", h.obtained("mail.home.example"))
	first := m.Certificates()[0]
	files, err := filepath.Glob(filepath.Join(h.dir, "tls/acme/certificates/*/mail.home.example/*"))
	if err != nil || len(files) != 3 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		if strings.HasSuffix(f, ".key") {
			os.Remove(f)
		}
	}
	if c := h.open().Certificates()[0]; c.Serial != first.Serial {
		t.Errorf("without certmagic's copy of the key: %+v", c)
	}
	for _, f := range files {
		if strings.HasSuffix(f, ".crt") {
			os.WriteFile(f, []byte("torn"), 0o600)
		}
	}
	m = h.open()
	h.eventually("another certificate", h.obtained("mail.home.example"))
	if c := m.Certificates()[0]; c.Key != first.Key || c.Serial == first.Serial {
		t.Errorf("%+v", c)
	}
}

// TestRevoked: a CA that has revoked a certificate says that it should be
// renewed now (RFC 9773 section 4.2), and it is.
func TestRevoked(t *testing.T) {
	h := newHouse(t, acmetest.Options{})
	m := h.open()
	h.eventually("a certificate", h.obtained("mail.home.example"))
	first := h.serving("imapd", "mail.home.example")
	h.ca.Revoke(t, m.current.Load().first.Leaf)
	h.open()
	h.eventually("another one", func() bool {
		now := h.serving("imapd", "mail.home.example")
		return now != "" && now != first
	})
	if n := h.ca.Orders(); n != 2 {
		t.Errorf("%d orders", n)
	}
}

// TestRateLimited: who is told to come later comes later, whatever happens:
// not after a restart, and not when the operator asks.
func TestRateLimited(t *testing.T) {
	h := newHouse(t, acmetest.Options{})
	later := time.Now().Add(34 * time.Hour).UTC()
	refuse := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.Header().Set("Retry-After", "122400")
		w.WriteHeader(http.StatusTooManyRequests)
		json.NewEncoder(w).Encode(map[string]any{ //nolint:errcheck // the client has gone
			"type":   "urn:ietf:params:acme:error:rateLimited",
			"detail": "too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s, retry after " + later.Format("2006-01-02 15:04:05 UTC") + ": see https://ca.test/limits",
			"status": http.StatusTooManyRequests,
		})
	})
	h.ca.Instead(refuse)
	m := h.open()
	h.eventually("a refusal", func() bool { return m.Certificates()[0].Problem != "" })
	if at := m.Certificates()[0].NextAttempt; at.Before(later.Truncate(time.Second)) || at.After(later.Add(time.Hour)) {
		t.Errorf("it is asked again at %s, and said %s", at, later)
	}
	requests := h.ca.Requests()
	if requests > 3 {
		t.Errorf("%d requests for one attempt", requests)
	}
	for range 3 {
		h.open().renewer.pass(context.Background())
		if err := h.manager.Load().Renew(context.Background(), false); err == nil || !strings.Contains(err.Error(), "may not be asked before") {
			t.Errorf("Renew: %v", err)
		}
	}
	if n := h.ca.Requests(); n != requests {
		t.Errorf("%d requests after the refusal", n-requests)
	}
}

// TestFailuresCostFewRequests: whatever is wrong with a CA, an attempt is a
// handful of requests, and the next one comes later.
func TestFailuresCostFewRequests(t *testing.T) {
	for what, handler := range map[string]http.HandlerFunc{
		"broken":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"overloaded": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"no CA":      func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>It works!</html>") },
		"hangs up":   func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(what, func(t *testing.T) {
			h := newHouse(t, acmetest.Options{})
			h.ca.Instead(handler)
			begin := time.Now()
			m := h.open()
			h.eventually("a failure", func() bool { return m.Certificates()[0].Problem != "" })
			if c := m.Certificates()[0]; c.NextAttempt.Before(begin.Add(time.Minute)) || c.Source != "self-signed" {
				t.Errorf("%+v", c)
			}
			m.renewer.pass(context.Background())
			if n := h.ca.Requests(); n == 0 || n > 9 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// TestSessionsOutliveRenewal: who is connected stays so; who comes next sees
// the new certificate; a session that is resumed may go on with the old.
func TestSessionsOutliveRenewal(t *testing.T) {
	h := newHouse(t, acmetest.Options{})
	m := h.open()
	h.eventually("a certificate", h.obtained("mail.home.example"))
	l, err := tls.Listen("tcp", "127.0.0.1:0", m.Server("imapd"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go io.Copy(c, c) //nolint:errcheck // an echo
		}
	}()
	dial := func() *tls.Conn {
		t.Helper()
		c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: h.ca.Roots(), ServerName: "mail.home.example"})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	echo := func(c *tls.Conn) {
		t.Helper()
		c.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	old := dial()
	defer old.Close()
	echo(old)
	if err := m.Renew(context.Background(), false); err != nil {
		t.Fatal(err)
	}
	echo(old)
	fresh := dial()
	defer fresh.Close()
	if a, b := old.ConnectionState().PeerCertificates[0], fresh.ConnectionState().PeerCertificates[0]; a.Equal(b) {
		t.Error("the new connection has the old certificate")
	} else if spki(a.PublicKey) != spki(b.PublicKey) {
		t.Error("the key has changed")
	}
}

// TestStrangersAndChallenges: without an open challenge nothing is answered
// for it, and mail clients that offer protocols are served.
func TestStrangersAndChallenges(t *testing.T) {
	h := newHouse(t, acmetest.Options{})
	m := h.open()
	h.eventually("a certificate", h.obtained("mail.home.example"))
	for _, path := range []string{"/.well-known/acme-challenge/abc", "/.well-known/acme-challenge/../../key.pem", "/"} {
		res, err := http.Get("http://" + h.http.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d", path, res.StatusCode)
		}
	}
	client := &tls.Config{RootCAs: h.ca.Roots(), ServerName: "mail.home.example", NextProtos: []string{"acme-tls/1"}}
	if _, err := connect(t, m.Web(), client); err == nil {
		t.Error("a challenge that is not open was answered")
	}
	if st, err := connect(t, m.Server("imapd"), client); err != nil || st.NegotiatedProtocol != "" {
		t.Errorf("a mail port: %q %v", st.NegotiatedProtocol, err)
	}
	client.NextProtos = []string{"h2", "acme-tls/1"}
	if st, err := connect(t, m.Web(), client); err != nil || st.NegotiatedProtocol != "h2" {
		t.Errorf("HTTP: %q %v", st.NegotiatedProtocol, err)
	}
	client.NextProtos, client.ServerName = []string{"imap"}, ""
	client.InsecureSkipVerify = true
	if st, err := connect(t, m.Server("imapd"), client); err != nil || st.PeerCertificates[0].DNSNames[0] != "mail.home.example" {
		t.Errorf("a client that names nobody: %v", err)
	}
}

// TestNamesFollow: a name that is new gets its certificate, and those that have
// theirs are not asked for again.
func TestNamesFollow(t *testing.T) {
	h := newHouse(t, acmetest.Options{})
	m := h.open()
	h.eventually("a certificate", h.obtained("mail.home.example"))
	serial := h.serving("mta", "mail.home.example")
	for range 2 { // the same again changes nothing
		if err := m.Reload(h.cfg, []string{"Mail.home.example", "mta-sts.home.example"}, []string{h.dns.Addr}); err != nil {
			t.Fatal(err)
		}
		if got := h.serving("mta", "mail.home.example"); got != serial {
			t.Errorf("%q serves, not %s", got, serial)
		}
		m.Ready()
	}
	h.eventually("the new one", h.obtained("mta-sts.home.example"))
	if n := h.ca.Orders(); n != 2 {
		t.Errorf("%d orders", n)
	}
}

// TestModesFollow: the modes follow each other without a restart.
func TestModesFollow(t *testing.T) {
	h := newHouse(t, acmetest.Options{})
	m := h.open()
	h.eventually("a certificate", h.obtained("mail.home.example"))
	if err := m.Reload(Config{Mode: "self-signed"}, h.names, []string{h.dns.Addr}); err != nil {
		t.Fatal(err)
	}
	if _, err := connect(t, m.Server("imapd"), trusting(t, m.CAFile())); err != nil {
		t.Errorf("self-signed: %v", err)
	}
	if err := m.Renew(context.Background(), false); err == nil {
		t.Error("a self-signed certificate was asked for at a CA")
	}
	if err := m.Reload(h.cfg, h.names, []string{h.dns.Addr}); err != nil {
		t.Fatal(err)
	}
	m.Ready()
	if h.serving("mta", "mail.home.example") == "" {
		t.Error("the certificate is gone")
	}
	bad := h.cfg
	bad.Challenges = nil
	if err := m.Reload(bad, h.names, []string{h.dns.Addr}); err == nil || h.serving("mta", "mail.home.example") == "" {
		t.Errorf("a configuration without challenges: %v", err)
	}
}
