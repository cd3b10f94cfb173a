package msa

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"mailbox/internal/dialogue"
	"mailbox/internal/login"
	"mailbox/storage"
)

var ctx = context.Background()

const password = "wonderland 7"

// people shows the store's accounts to login.
type people struct{ db *storage.DB }

func (p people) Account(ctx context.Context, name string) (login.Account, error) {
	a, creds, err := p.db.AccountByLogin(ctx, name)
	if errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrInvalid) {
		return login.Account{}, login.ErrUnknown
	}
	out := login.Account{ID: int64(a.ID), Name: a.Name, Salt: a.Salt, Iterations: a.Iterations}
	for _, c := range creds {
		out.Credentials = append(out.Credentials, login.Credential{ID: c.ID, Name: c.Name, StoredKey: c.StoredKey, ServerKey: c.ServerKey})
	}
	return out, err
}

func (people) UseCredential(context.Context, int64, int64, netip.Addr) error { return nil }

func (people) LoginAddresses(context.Context, int64) ([]netip.Addr, error) { return nil, nil }

// inboxes files every message in the INBOX of its recipients, and queues it.
type inboxes struct{ db *storage.DB }

func (d inboxes) Submit(ctx context.Context, m *Message) ([]string, error) {
	var to []storage.Target
	for _, r := range m.To {
		to = append(to, storage.Target{Account: r.Account, Mailbox: "INBOX"})
	}
	return []string{"INBOX"}, d.db.Deliver(ctx, &storage.Delivery{Message: m.Spooled, Received: time.Now(), To: to, Queue: m.Queue})
}

// A fixture is a submission server on loopback, which takes passwords without
// TLS there, and a store with these addresses:
//
//	alice@home.example, a.liddell@home.example  the first account, the postmaster
//	bob@home.example                            the second; it has all of open.example that is nobody's
//	carol@open.example                          the third
//	staff@home.example                          an alias for alice, bob and out@elsewhere.example
//	all@home.example                            an alias for staff
type fixture struct {
	db                *storage.DB
	server            *Server
	clear, secure     string // addresses
	alice, bob, carol storage.AccountID
}

func newFixture(t testing.TB, change func(*Config)) *fixture {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	db, err := storage.Open(ctx, storage.Options{Dir: t.TempDir(), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := db.SetDomains([]string{"home.example", "open.example", "bücher.example"}, ""); err != nil {
		t.Fatal(err)
	}
	f := &fixture{db: db, server: &Server{
		Hostname: "mail.home.example", Store: db, Submit: inboxes{db}, Log: quiet, TLS: &tls.Config{Certificates: []tls.Certificate{certificate(t)}},
		Auth: &login.Authenticator{Accounts: people{db}, Secret: []byte("0123456789abcdef"), Iterations: 10, Log: quiet},
	}}
	f.alice = f.account(t, "alice@home.example")
	f.bob = f.account(t, "bob@home.example")
	f.carol = f.account(t, "carol@open.example")
	for address, owner := range map[string]storage.AccountID{
		"a.liddell@home.example": f.alice, "alice@bücher.example": f.alice, "jörg@home.example": f.alice, "@open.example": f.bob,
	} {
		if err := db.AddAddress(ctx, owner, address); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range []storage.Alias{
		{Address: "staff@home.example", Targets: []string{"alice@home.example", "bob@home.example", "out@elsewhere.example"}},
		{Address: "all@home.example", Targets: []string{"staff@home.example"}},
		{Address: "sales@open.example", Targets: []string{"carol@open.example"}},
	} {
		if err := db.AddAlias(ctx, a); err != nil {
			t.Fatal(err)
		}
	}
	cfg := DefaultConfig()
	cfg.Listen, cfg.PlaintextLogin, cfg.MaxErrors = []string{"127.0.0.1:0"}, true, 1000
	if change != nil {
		change(&cfg)
	}
	if err := f.server.Configure(cfg, "home.example"); err != nil {
		t.Fatal(err)
	}
	f.clear, f.secure = f.listen(t, f.server.Serve), f.listen(t, f.server.ServeTLS)
	return f
}

func (f *fixture) account(t testing.TB, name string) storage.AccountID {
	t.Helper()
	salt, _ := storage.NewSalt()
	stored, server := login.NewCredential(password, salt, 10)
	id, err := f.db.CreateAccount(ctx, storage.Account{Name: name, Salt: salt, Iterations: 10}, storage.Credential{StoredKey: stored, ServerKey: server})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func (f *fixture) listen(t testing.TB, serve func(net.Listener) error) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go serve(l) //nolint:errcheck // it ends with Shutdown
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		f.server.Shutdown(ctx) //nolint:errcheck // the connections are cut on purpose
	})
	return l.Addr().String()
}

// certificate is one that only these tests believe.
func certificate(t testing.TB) tls.Certificate {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"mail.home.example"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
}

// dial connects to the service "submission" or "submissions".
func (f *fixture) dial(service string) (net.Conn, error) {
	if service == "submissions" {
		return tls.Dial("tcp", f.secure, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // our own certificate
	}
	return net.Dial("tcp", f.clear)
}

// token is what AUTH PLAIN takes.
func token(name, password string) string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + name + "\x00" + password))
}

// play plays a dialogue. ${ALICE} and ${BOB} are their tokens.
func (f *fixture) play(t testing.TB, text string) {
	t.Helper()
	p := dialogue.Player{Dial: f.dial, TLS: &tls.Config{InsecureSkipVerify: true}, Vars: map[string]string{ //nolint:gosec // our own certificate
		"ALICE": token("alice@home.example", password), "BOB": token("bob@home.example", password), "CAROL": token("carol@open.example", password),
		"WRONG": token("alice@home.example", "wrong"),
	}}
	if err := p.Play(t.Name(), text); err != nil {
		t.Error(err)
	}
}

// loggedIn begins a dialogue as a user.
func loggedIn(user string) string {
	return "connect submission\nS: 220 *\nC: EHLO client.example\nS* 250 *\nC: AUTH PLAIN ${" + user + "}\nS: 235 *\n"
}

// submit has a user submit a message over a connection of its own, and returns
// the reply: to MAIL or RCPT where that is refused, else to the message.
func (f *fixture) submit(t testing.TB, user, from string, to []string, text string) string {
	t.Helper()
	c := f.client(t, user)
	defer c.Close() //nolint:errcheck // over
	return c.submit(from, to, text)
}

// A client speaks to the server.
type client struct {
	net.Conn
	t testing.TB
}

func (f *fixture) client(t testing.TB, user string) *client {
	t.Helper()
	c := f.bare(t)
	if reply := c.say("AUTH PLAIN " + token(user, password)); !strings.HasPrefix(reply, "235") {
		t.Fatalf("%s cannot log in: %s", user, reply)
	}
	return c
}

// bare is a client that has not logged in.
func (f *fixture) bare(t testing.TB) *client {
	t.Helper()
	nc, err := net.Dial("tcp", f.clear)
	if err != nil {
		t.Fatal(err)
	}
	nc.SetDeadline(time.Now().Add(20 * time.Second)) //nolint:errcheck // the reads tell
	c := &client{nc, t}
	c.reply()
	c.say("EHLO client.example")
	return c
}

func (c *client) say(line string) string {
	c.t.Helper()
	if _, err := io.WriteString(c, line+"\r\n"); err != nil {
		c.t.Fatal(err)
	}
	return c.reply()
}

// reply returns the last line of a reply.
func (c *client) reply() string {
	c.t.Helper()
	var all []byte
	for buf := make([]byte, 4096); ; {
		n, err := c.Read(buf)
		all = append(all, buf[:n]...)
		text, whole := strings.CutSuffix(string(all), "\r\n")
		last := text[strings.LastIndexByte(text, '\n')+1:]
		if whole && len(last) > 3 && last[3] == ' ' {
			return last
		}
		if err != nil {
			c.t.Fatalf("%v after %q", err, all)
		}
	}
}

func (c *client) submit(from string, to []string, text string) string {
	c.t.Helper()
	lines := []string{"MAIL FROM:<" + from + ">"}
	for _, a := range to {
		lines = append(lines, "RCPT TO:<"+a+">")
	}
	for _, line := range append(lines, "DATA") {
		if reply := c.say(line); reply[0] > '3' {
			c.say("RSET")
			return reply
		}
	}
	return c.say(text + "\r\n.")
}

// inbox returns the messages in an account's INBOX, the oldest first.
func (f *fixture) inbox(t testing.TB, id storage.AccountID) []string {
	t.Helper()
	boxes, err := f.db.Mailboxes(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, b := range boxes {
		if b.Name != "INBOX" {
			continue
		}
		x, err := f.db.Index(ctx, id, b.ID)
		if err != nil {
			t.Fatal(err)
		}
		var uids []storage.UID
		for _, e := range x.All {
			uids = append(uids, e.UID)
		}
		rows, err := f.db.Messages(ctx, id, b.ID, uids, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			texts = append(texts, f.blob(t, r.Blob))
		}
	}
	return texts
}

func (f *fixture) blob(t testing.TB, id storage.BlobID) string {
	t.Helper()
	b, err := f.db.OpenBlob(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close() //nolint:errcheck // it was read
	text, err := io.ReadAll(io.NewSectionReader(b, 0, 1<<30))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// queued returns the messages of the queue, with all their recipients.
func (f *fixture) queued(t testing.TB) []storage.QueuedMessage {
	t.Helper()
	entries, err := f.db.QueueEntries(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var all []storage.QueuedMessage
	for _, e := range entries {
		if n := len(all); n > 0 && all[n-1].ID == e.Message {
			continue
		}
		m, err := f.db.QueuedMessage(ctx, e.Message)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}
