package mta

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"testing"

	"mailbox/storage"
)

// intoInbox files every message in the INBOX of its recipients.
type intoInbox struct{ db *storage.DB }

func (d intoInbox) Deliver(ctx context.Context, m *Message) ([]string, error) {
	var to []storage.Target
	for _, r := range m.To {
		to = append(to, storage.Target{Account: r.Account, Mailbox: "INBOX"})
	}
	return []string{"INBOX"}, d.db.Deliver(ctx, &storage.Delivery{Message: m.Spooled, To: to})
}

type fixture struct {
	db     *storage.DB
	server *Server
	addr   string
	alice  storage.AccountID
}

// newStore opens a store for home.example with one user, alice.
func newStore(t testing.TB) (*storage.DB, storage.AccountID) {
	t.Helper()
	ctx := context.Background()
	db, err := storage.Open(ctx, storage.Options{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.SetDomains([]string{"home.example"}, ""); err != nil {
		t.Fatal(err)
	}
	salt, n := storage.NewSalt()
	id, err := db.CreateAccount(ctx, storage.Account{Name: "alice@home.example", Salt: salt, Iterations: n}, storage.Credential{StoredKey: []byte{1}, ServerKey: []byte{2}})
	if err != nil {
		t.Fatal(err)
	}
	return db, id
}

func newFixture(t testing.TB, change func(*Config)) *fixture {
	t.Helper()
	return newFixtureOf(t, nil, change)
}

// newFixtureOf also changes the server before it is configured.
func newFixtureOf(t testing.TB, changeServer func(*Server), change func(*Config)) *fixture {
	t.Helper()
	ctx := context.Background()
	quiet := slog.New(slog.DiscardHandler)
	db, id := newStore(t)
	f := &fixture{db: db, alice: id, server: &Server{Hostname: "mx.home.example", Store: db, Deliver: intoInbox{db}, Log: quiet, TLS: &tls.Config{}}}
	if changeServer != nil {
		changeServer(f.server)
	}
	cfg := DefaultConfig()
	if change != nil {
		change(&cfg)
	}
	if err := f.server.Configure(cfg, "home.example"); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.addr = l.Addr().String()
	go f.server.Serve(l) //nolint:errcheck // it ends with Shutdown
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		f.server.Shutdown(ctx) //nolint:errcheck // the connections are cut on purpose
		db.Close()
	})
	return f
}
