package mda

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"mailbox/storage"
)

var ctx = context.Background()

// rules is a Filter by account.
type rules map[storage.AccountID]Decision

func (r rules) Filter(_ context.Context, _ *Message, to storage.Recipient) (Decision, error) {
	return r[to.Account], nil
}

// junkFor scores everything as junk for one account.
type junkFor storage.AccountID

func (j junkFor) Junk(_ context.Context, _ *Message, to storage.Recipient) (bool, error) {
	return to.Account == storage.AccountID(j), nil
}

type fixture struct {
	t          *testing.T
	agent      *Agent
	alice, bob storage.AccountID
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	db, err := storage.Open(ctx, storage.Options{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := db.SetDomains([]string{"home.example"}, ""); err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, agent: &Agent{Store: db}}
	for name, id := range map[string]*storage.AccountID{"alice": &f.alice, "bob": &f.bob} {
		salt, n := storage.NewSalt()
		*id, err = db.CreateAccount(ctx, storage.Account{Name: name + "@home.example", Salt: salt, Iterations: n}, storage.Credential{StoredKey: []byte{1}, ServerKey: []byte{1}})
		if err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func (f *fixture) deliver(to ...string) ([]Outcome, error) {
	f.t.Helper()
	m := &Message{From: "x@client.example", Received: time.Now()}
	for _, a := range to {
		r, err := f.agent.Store.Resolve(ctx, a)
		if err != nil {
			f.t.Fatal(err)
		}
		m.To = append(m.To, r.Local...)
	}
	s := f.agent.Store.NewSpool()
	io.WriteString(s, "Subject: x\r\n\r\n") //nolint:errcheck // it is short
	var err error
	if m.Spooled, err = s.Finish(nil); err != nil {
		f.t.Fatal(err)
	}
	defer m.Close() //nolint:errcheck // it is stored or not wanted
	return f.agent.Deliver(ctx, m)
}

// holds checks which mailboxes of an account have messages.
func (f *fixture) holds(id storage.AccountID, want ...string) {
	f.t.Helper()
	all, err := f.agent.Store.Mailboxes(ctx, id)
	if err != nil {
		f.t.Fatal(err)
	}
	var got []string
	for _, m := range all {
		for range m.Messages {
			got = append(got, m.Name)
		}
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		f.t.Errorf("messages are in %q, not in %q", got, want)
	}
}

func TestTags(t *testing.T) {
	f := newFixture(t)
	if _, err := f.agent.Store.CreateMailbox(ctx, f.alice, "Lists", ""); err != nil {
		t.Fatal(err)
	}
	f.deliver("alice+lists@home.example")
	f.holds(f.alice, "INBOX")
	if err := f.agent.Store.SetTagFolders(ctx, f.alice, true); err != nil {
		t.Fatal(err)
	}
	f.deliver("alice+lists@home.example")
	f.deliver("alice+other@home.example")
	f.holds(f.alice, "INBOX", "INBOX", "Lists")
}

// TestFilters: what a filter wants happens, and junk is only asked about what
// the filter has no wish for.
func TestFilters(t *testing.T) {
	f := newFixture(t)
	f.agent.Junk = junkFor(f.alice)
	f.deliver("alice@home.example", "bob@home.example")
	f.holds(f.alice, "Junk")
	f.holds(f.bob, "INBOX")
	f.agent.Filter = rules{
		f.alice: {File: []Filing{{Mailbox: "Archive", Flags: storage.Seen}, {Mailbox: "Sent"}}},
		f.bob:   {Discard: true},
	}
	f.deliver("alice@home.example", "bob@home.example")
	f.holds(f.alice, "Archive", "Junk", "Sent")
	f.holds(f.bob, "INBOX")
	f.agent.Filter = rules{f.bob: {Discard: true}}
	if _, err := f.deliver("bob@home.example"); err != nil {
		t.Errorf("discarded: %v", err)
	}
}

// TestRefusals: refused by all means refused; refused by some means filed in
// their Junk, marked.
func TestRefusals(t *testing.T) {
	f := newFixture(t)
	f.agent.Filter = rules{f.bob: {Refuse: "go away"}}
	outcomes, err := f.deliver("alice@home.example", "bob@home.example")
	if err != nil || outcomes[1].Refused != "go away" {
		t.Fatalf("%+v %v", outcomes, err)
	}
	f.holds(f.alice, "INBOX")
	f.holds(f.bob, "Junk")
	var refusal *Refusal
	if _, err := f.deliver("bob@home.example"); !errors.As(err, &refusal) || !strings.Contains(err.Error(), "go away") {
		t.Errorf("refused by all: %v", err)
	}
	f.holds(f.bob, "Junk")
}
