package mta

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"mailbox/internal/dns"
	"mailbox/internal/dns/dnstest"
	"mailbox/storage"
)

// What a remoteHost may do instead of, or behind, an answer.
const (
	hang   = "<hang>"  // say nothing, read nothing
	hangUp = "<close>" // close
)

// A remoteHost is a small SMTP server of somebody else. It answers as a host
// should, except where its script says otherwise.
type remoteHost struct {
	addr netip.AddrPort
	done chan struct{}

	mu         sync.Mutex
	extensions []string
	tls        *tls.Config // nil: STARTTLS is not offered
	implicit   bool        // TLS from the first octet instead
	script     func(stage, line string) string
	calls      int // connections
	mails      []receivedMail
	lines      []string // commands, of all connections
}

// offers sets the answer to EHLO.
func (h *remoteHost) offers(extensions ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.extensions = extensions
}

// secures lets the host speak TLS, by STARTTLS or from the first octet.
func (h *remoteHost) secures(config *tls.Config, implicit bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tls, h.implicit = config, implicit
}

// answers sets a script, which returns the answer to a command at a stage:
// "greeting", a verb in upper case, "response" of AUTH, or "." after a message.
// "" is the usual one; it may hold several lines, and end with hang or hangUp.
func (h *remoteHost) answers(script func(stage, line string) string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.script = script
}

// A receivedMail is a message that a host took: what went over the wire.
type receivedMail struct {
	mail string   // the MAIL command
	rcpt []string // the accepted RCPT commands
	body string   // without the stuffed dots and the last one
	tls  bool
	user string // "name:password"
}

// newHosts starts a host on each address, all on the same port.
func newHosts(t testing.TB, addrs ...string) []*remoteHost {
	t.Helper()
	for range 20 {
		var listeners []net.Listener
		port := "0"
		for _, a := range addrs {
			l, err := net.Listen("tcp", net.JoinHostPort(a, port))
			if err != nil {
				break
			}
			_, port, _ = net.SplitHostPort(l.Addr().String())
			listeners = append(listeners, l)
		}
		if len(listeners) < len(addrs) {
			for _, l := range listeners {
				l.Close()
			}
			continue
		}
		var hosts []*remoteHost
		for _, l := range listeners {
			hosts = append(hosts, startHost(t, l))
		}
		return hosts
	}
	t.Fatalf("no port is free on all of %v", addrs)
	return nil
}

func newHost(t testing.TB) *remoteHost { return newHosts(t, "127.0.0.1")[0] }

func startHost(t testing.TB, l net.Listener) *remoteHost {
	h := &remoteHost{
		addr:       netip.MustParseAddrPort(l.Addr().String()),
		extensions: []string{"PIPELINING", "8BITMIME", "SIZE 100000000", "ENHANCEDSTATUSCODES", "SMTPUTF8", "DSN"},
		done:       make(chan struct{}),
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			h.mu.Lock()
			h.calls++
			h.mu.Unlock()
			all.Go(func() {
				defer c.Close()
				(&hostConn{h: h, Conn: c}).serve()
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		close(h.done)
		all.Wait()
	})
	return h
}

func (h *remoteHost) received() []receivedMail {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.mails
}

// commands returns what the host was told.
func (h *remoteHost) commands() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lines
}

func (h *remoteHost) connections() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.calls
}

// A hostConn is one connection of a remoteHost.
type hostConn struct {
	net.Conn
	h          *remoteHost
	extensions []string
	config     *tls.Config
	r          *bufio.Reader
	tls        bool
	user       string
	mail       receivedMail
	inMail     bool
}

func (c *hostConn) serve() {
	c.h.mu.Lock()
	c.extensions, c.config = c.h.extensions, c.h.tls
	implicit := c.h.implicit
	c.h.mu.Unlock()
	if implicit && !c.handshake() {
		return
	}
	c.r = bufio.NewReader(c.Conn)
	if !c.answer("greeting", "", "220 host.example ESMTP") {
		return
	}
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSuffix(line, "\r\n")
		c.h.mu.Lock()
		c.h.lines = append(c.h.lines, line)
		c.h.mu.Unlock()
		verb, _, _ := strings.Cut(strings.ToUpper(line), " ")
		if !c.command(verb, line) {
			return
		}
	}
}

func (c *hostConn) command(verb, line string) bool {
	switch verb {
	case "EHLO":
		return c.answer(verb, line, c.ehlo())
	case "STARTTLS":
		if !c.answer(verb, line, "220 2.0.0 ready") {
			return false
		}
		return c.handshake()
	case "AUTH":
		return c.auth(verb, line)
	case "MAIL":
		ok := c.ask(verb, line, "250 2.1.0 ok")
		c.mail, c.inMail = receivedMail{mail: line, tls: c.tls, user: c.user}, ok == 2
		return ok != 0
	case "RCPT":
		ok := c.ask(verb, line, "250 2.1.5 ok")
		if ok == 2 {
			c.mail.rcpt = append(c.mail.rcpt, line)
		}
		return ok != 0
	case "DATA":
		return c.data(verb, line)
	case "RSET":
		c.inMail = false
		return c.answer(verb, line, "250 2.0.0 ok")
	case "QUIT":
		c.answer(verb, line, "221 2.0.0 bye")
		return false
	}
	return c.answer(verb, line, "250 2.0.0 ok")
}

func (c *hostConn) ehlo() string {
	lines := append([]string{"host.example greets you"}, c.extensions...)
	if c.config != nil && !c.tls {
		lines = append(lines, "STARTTLS")
	}
	text := "250-" + strings.Join(lines, "\n250-")
	i := strings.LastIndex(text, "250-")
	return text[:i] + "250 " + text[i+4:]
}

func (c *hostConn) handshake() bool {
	if c.config == nil {
		return false
	}
	t := tls.Server(c.Conn, c.config)
	if t.Handshake() != nil {
		return false
	}
	c.Conn, c.r, c.tls = t, bufio.NewReader(t), true
	return true
}

// auth checks for alice with the password "sesame".
func (c *hostConn) auth(verb, line string) bool {
	words := strings.Fields(line)
	var got string
	if words[1] == "PLAIN" {
		raw, _ := base64.StdEncoding.DecodeString(words[2])
		got = strings.TrimPrefix(strings.ReplaceAll(string(raw), "\x00", ":"), ":")
	} else {
		for i, question := range []string{"User Name", "pass:"} {
			if c.ask("response", "", "334 "+base64.StdEncoding.EncodeToString([]byte(question))) == 0 {
				return false
			}
			answer, err := c.r.ReadString('\n')
			if err != nil {
				return false
			}
			raw, _ := base64.StdEncoding.DecodeString(strings.TrimSpace(answer))
			got += strings.Repeat(":", i) + string(raw)
		}
	}
	if got != "alice:sesame" {
		return c.answer(verb, line, "535 5.7.8 wrong")
	}
	c.user = got
	return c.answer(verb, line, "235 2.7.0 welcome")
}

func (c *hostConn) data(verb, line string) bool {
	usual := "354 go on"
	if !c.inMail || len(c.mail.rcpt) == 0 {
		usual = "503 5.5.1 nobody to send to"
	}
	switch c.ask(verb, line, usual) {
	case 0:
		return false
	case 3:
	default:
		return true
	}
	var body strings.Builder
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return false
		}
		if line == ".\r\n" {
			break
		}
		body.WriteString(strings.TrimPrefix(line, "."))
	}
	c.mail.body = body.String()
	c.inMail = false
	text := c.h.choose(".", "", "250 2.0.0 taken")
	if text[0] == '2' {
		c.h.mu.Lock()
		c.h.mails = append(c.h.mails, c.mail)
		c.h.mu.Unlock()
	}
	return c.say(text) != 0
}

func (c *hostConn) answer(stage, line, usual string) bool { return c.ask(stage, line, usual) != 0 }

func (c *hostConn) ask(stage, line, usual string) int { return c.say(c.h.choose(stage, line, usual)) }

// choose returns what the script wants, else the usual answer.
func (h *remoteHost) choose(stage, line, usual string) string {
	h.mu.Lock()
	script := h.script
	h.mu.Unlock()
	if script != nil {
		if s := script(stage, line); s != "" {
			return s
		}
	}
	return usual
}

// say returns the first digit of the answer; 0 where the connection is over.
func (c *hostConn) say(text string) int {
	text, closes := strings.CutSuffix(text, hangUp)
	text, hangs := strings.CutSuffix(text, hang)
	if text != "" {
		if _, err := io.WriteString(c, strings.ReplaceAll(text, "\n", "\r\n")+"\r\n"); err != nil {
			return 0
		}
	}
	if hangs {
		<-c.h.done
	}
	if closes || hangs {
		return 0
	}
	return int(text[0] - '0')
}

// An authority issues certificates.
type authority struct {
	cert  *x509.Certificate
	key   *ecdsa.PrivateKey
	roots *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{roots: x509.NewCertPool()}
	der, key := a.issue(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a.cert, a.key = cert, key
	a.roots.AddCert(cert)
	return a
}

func (a *authority) issue(t testing.TB, template *x509.Certificate) ([]byte, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber, template.Subject = big.NewInt(1), pkix.Name{CommonName: "test"}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := template, key
	if a.cert != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	return der, key
}

// config is that of a server with these names or addresses.
func (a *authority) config(t testing.TB, names ...string) *tls.Config {
	t.Helper()
	template := &x509.Certificate{}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	der, key := a.issue(t, template)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// newRemote returns a Remote that asks a zone, and calls the hosts in it on a port.
func newRemote(t testing.TB, port uint16, zone string, change func(*Config)) (*Remote, *dnstest.Server) {
	t.Helper()
	names := dnstest.New(t, "127.0.0.1:0", "example. SOA a. b. 1 1 1 1 1\n"+zone)
	resolver, err := dns.New(dns.Config{Servers: []string{names.Addr}})
	if err != nil {
		t.Fatal(err)
	}
	r := &Remote{Hostname: "mx.home.example", DNS: resolver, Log: slog.New(slog.DiscardHandler), Port: port}
	cfg := DefaultConfig()
	cfg.PrivateDestinations, cfg.Timeout = true, 10*time.Second
	if change != nil {
		change(&cfg)
	}
	r.Configure(cfg)
	return r, names
}

// toHost is a Remote and a Destination that lead to one host.
func toHost(t testing.TB, h *remoteHost, change func(*Config)) (*Remote, Destination) {
	t.Helper()
	r, _ := newRemote(t, h.addr.Port(), fmt.Sprintf("there.example. MX 10 host.example.\nhost.example. A %s\n", h.addr.Addr()), change)
	return r, Destination{Domain: "there.example"}
}

// newMail is a message from alice.
func newMail(content string, to ...string) *Outbound {
	m := &Outbound{Content: strings.NewReader(content)}
	m.Sender, m.Size = "alice@home.example", int64(len(content))
	for _, a := range to {
		m.To = append(m.To, storage.QueuedRecipient{Address: a})
	}
	return m
}

const shortMail = "Subject: hi\r\n\r\nhello\r\n"

// deliver sends a message over a connection of its own.
func deliver(t testing.TB, r *Remote, d Destination, m *Outbound) []Result {
	t.Helper()
	c, err := r.Connect(context.Background(), d)
	if err != nil {
		results := make([]Result, len(m.To))
		fillAll(results, err.(*Failure))
		return results
	}
	defer c.Close()
	results, _ := c.Send(context.Background(), m)
	return results
}

// outcome is a result in short: "ok", or stage and status of the failure.
func outcome(r Result) string {
	if r.Failure == nil {
		return "ok"
	}
	return r.Failure.Stage + " " + r.Failure.Status
}

func wantOutcome(t *testing.T, r Result, want string) {
	t.Helper()
	if got := outcome(r); got != want {
		t.Errorf("outcome is %q, want %q (%v)", got, want, r.Failure)
	}
}
