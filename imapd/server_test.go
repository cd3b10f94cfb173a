package imapd

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"mailbox/internal/login"
	"mailbox/storage"
)

const (
	alice  = "alice@home.example"
	secret = "wonderland 7"
)

// accounts shows the store to the authenticator.
type accounts struct{ db *storage.DB }

func (a accounts) Account(ctx context.Context, name string) (login.Account, error) {
	acc, creds, err := a.db.AccountByLogin(ctx, name)
	if errors.Is(err, storage.ErrNotFound) {
		return login.Account{}, login.ErrUnknown
	}
	out := login.Account{ID: int64(acc.ID), Name: acc.Name, Salt: acc.Salt, Iterations: acc.Iterations}
	for _, c := range creds {
		out.Credentials = append(out.Credentials, login.Credential{ID: c.ID, Name: c.Name, StoredKey: c.StoredKey, ServerKey: c.ServerKey})
	}
	return out, err
}

func (a accounts) UseCredential(ctx context.Context, account, credential int64, from netip.Addr) error {
	return a.db.UseCredential(ctx, storage.AccountID(account), credential, from.String())
}

func (a accounts) LoginAddresses(context.Context, int64) ([]netip.Addr, error) { return nil, nil }

// A fixture is a running server with one account.
type fixture struct {
	t       testing.TB
	db      *storage.DB
	dir     string // of the store
	server  *Server
	account storage.AccountID
	addr    string // plain
	tlsAddr string
	panics  int64 // that are meant to happen
}

func newFixture(t testing.TB, change func(*Server)) *fixture {
	t.Helper()
	f := newServer(t, change)
	f.addr = f.listen(f.server.Serve)
	f.tlsAddr = f.listen(f.server.ServeTLS)
	return f
}

// newServer is a fixture that listens nowhere yet.
func newServer(t testing.TB, change func(*Server)) *fixture {
	t.Helper()
	ctx := context.Background()
	quiet := slog.New(slog.DiscardHandler)
	dir := t.TempDir()
	db, err := storage.Open(ctx, storage.Options{Dir: dir, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.SetDomains([]string{"home.example"}, ""); err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, db: db, dir: dir}
	f.account = f.addAccount(alice) // who gets what is delivered
	f.server = &Server{
		Store: db, TLS: selfSigned(t), Log: quiet, Config: Config{PlaintextLogin: true},
		Auth: &login.Authenticator{Accounts: accounts{db}, Secret: make([]byte, 32), Iterations: iterations, Log: quiet},
	}
	if change != nil {
		change(f.server)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := f.server.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if n := f.server.Stats().Panics; n != f.panics {
			t.Errorf("%d connections panicked", n)
		}
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return f
}

// iterations make logins cheap here.
const iterations = 1000

// addAccount makes an account.
func (f *fixture) addAccount(name string) storage.AccountID {
	f.t.Helper()
	salt, _ := storage.NewSalt()
	stored, serverKey := login.NewCredential(secret, salt, iterations)
	id, err := f.db.CreateAccount(context.Background(), storage.Account{Name: name, Salt: salt, Iterations: iterations},
		storage.Credential{StoredKey: stored, ServerKey: serverKey})
	if err != nil {
		f.t.Fatal(err)
	}
	return id
}

func (f *fixture) listen(serve func(net.Listener) error) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.t.Fatal(err)
	}
	go serve(l) //nolint:errcheck // it ends with ErrClosed
	return l.Addr().String()
}

func selfSigned(t testing.TB) *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// deliver puts messages into INBOX as the MDA would.
func (f *fixture) deliver(texts ...string) {
	f.t.Helper()
	var all []*storage.Delivery
	for _, text := range texts {
		s := f.db.NewSpool()
		io.WriteString(s, text)
		m, err := s.Finish(nil)
		if err != nil {
			f.t.Fatal(err)
		}
		defer m.Close()
		all = append(all, &storage.Delivery{Message: m, Received: time.Now(), To: []storage.Target{{Account: f.account, Mailbox: "INBOX"}}})
	}
	if err := f.db.Deliver(context.Background(), all...); err != nil {
		f.t.Fatal(err)
	}
}

// A client speaks IMAP by hand.
type client struct {
	t  testing.TB
	nc net.Conn
	r  *bufio.Reader
	n  int
}

func (f *fixture) dial() *client {
	f.t.Helper()
	nc, err := net.Dial("tcp", f.addr)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { nc.Close() })
	c := &client{t: f.t, nc: nc, r: bufio.NewReader(nc)}
	if l := c.line(); !strings.HasPrefix(l, "* OK [CAPABILITY IMAP4rev1") {
		f.t.Fatalf("greeting %q", l)
	}
	return c
}

// login is a client that is logged in.
func (f *fixture) login() *client {
	f.t.Helper()
	c := f.dial()
	c.ok("LOGIN " + alice + ` "` + secret + `"`)
	return c
}

func (c *client) startTLS() {
	c.t.Helper()
	c.ok("STARTTLS")
	c.nc = tls.Client(c.nc, &tls.Config{InsecureSkipVerify: true})
	c.r.Reset(c.nc)
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.nc, s); err != nil {
		c.t.Fatal(err)
	}
}

// line reads one response, with the literals in it and without its CRLF.
func (c *client) line() string {
	c.t.Helper()
	l, err := c.tryLine()
	if err != nil {
		c.t.Fatalf("read: %v, after %q", err, l)
	}
	return l
}

func (c *client) tryLine() (string, error) {
	c.nc.SetReadDeadline(time.Now().Add(time.Minute))
	var out bytes.Buffer
	for {
		l, err := c.r.ReadString('\n')
		out.WriteString(l)
		if err != nil {
			return out.String(), err
		}
		var n int64
		if i := strings.LastIndexByte(l, '{'); i >= 0 && strings.HasSuffix(l, "}\r\n") {
			fmt.Sscanf(l[i:], "{%d}", &n)
			if _, err := io.CopyN(&out, c.r, n); err != nil {
				return out.String(), err
			}
			continue
		}
		return strings.TrimSuffix(out.String(), "\r\n"), nil
	}
}

// do sends a command and returns its untagged responses and its tagged one.
func (c *client) do(command string) (untagged []string, tagged string) {
	c.t.Helper()
	c.n++
	tag := fmt.Sprintf("t%d ", c.n)
	c.send(tag + command + "\r\n")
	for {
		l := c.line()
		if after, found := strings.CutPrefix(l, tag); found {
			return untagged, after
		}
		untagged = append(untagged, l)
	}
}

// ok is do for a command that must succeed; the responses are joined by "\n".
func (c *client) ok(command string) string {
	c.t.Helper()
	untagged, tagged := c.do(command)
	if !strings.HasPrefix(tagged, "OK") {
		c.t.Fatalf("%.80s: %s", command, tagged)
	}
	return strings.Join(append(untagged, tagged), "\n")
}

// fails is do for a command that must end with the given begin of a tagged response.
func (c *client) fails(command, want string) []string {
	c.t.Helper()
	untagged, tagged := c.do(command)
	if !strings.HasPrefix(tagged, want) {
		c.t.Fatalf("%.80s: %q, want %q", command, tagged, want)
	}
	return untagged
}

// upload appends a message.
func (c *client) upload(mailbox, options, text string) string {
	c.t.Helper()
	return c.ok(fmt.Sprintf("APPEND %s %s{%d+}\r\n%s", mailbox, options, len(text), text))
}

func wantAll(t testing.TB, got string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(got, p) {
			t.Errorf("%q is not in\n%s", p, got)
		}
	}
}
