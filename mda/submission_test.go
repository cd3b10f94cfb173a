package mda

import (
	"errors"
	"io"
	"testing"
	"time"

	"mailbox/storage"
)

// submit delivers a message to accounts here and to recipients elsewhere.
func (f *fixture) submit(q *storage.Outgoing, to ...storage.AccountID) error {
	f.t.Helper()
	m := &Message{From: "alice@home.example", Received: time.Now(), Queue: q}
	for _, id := range to {
		m.To = append(m.To, storage.Recipient{Account: id})
	}
	s := f.agent.Store.NewSpool()
	io.WriteString(s, "Subject: x\r\n\r\n") //nolint:errcheck // it is short
	var err error
	if m.Spooled, err = s.Finish(nil); err != nil {
		f.t.Fatal(err)
	}
	defer m.Close() //nolint:errcheck // it is stored or not wanted
	_, err = f.agent.Deliver(ctx, m)
	return err
}

// queued checks how many recipients wait in the queue.
func (f *fixture) queued(want int) {
	f.t.Helper()
	if n := f.agent.Store.QueueSize(); n != want {
		f.t.Errorf("%d recipients are queued, not %d", n, want)
	}
}

// TestSubmission: a message is filed here and queued for elsewhere, both or
// neither, whatever the filters of the recipients here want.
func TestSubmission(t *testing.T) {
	f := newFixture(t)
	elsewhere := func(limit int) *storage.Outgoing {
		return &storage.Outgoing{Account: f.alice, DailyLimit: limit, To: []storage.OutgoingRecipient{{Address: "a@x.example"}, {Address: "b@x.example"}}}
	}
	if err := f.submit(elsewhere(4), f.bob); err != nil {
		t.Fatal(err)
	}
	f.holds(f.bob, "INBOX")
	f.queued(2)
	if err := f.submit(elsewhere(3), f.bob); !errors.Is(err, storage.ErrLimit) {
		t.Errorf("over the limit: %v", err)
	}
	f.holds(f.bob, "INBOX")
	f.queued(2)
	if err := f.submit(elsewhere(4)); err != nil {
		t.Errorf("to nobody here: %v", err)
	}
	f.queued(4)
	f.agent.Filter = rules{f.bob: {Discard: true}}
	if err := f.submit(elsewhere(0), f.bob); err != nil {
		t.Errorf("discarded here: %v", err)
	}
	f.holds(f.bob, "INBOX")
	f.queued(6)
	f.agent.Filter = rules{f.bob: {Refuse: "go away"}}
	if err := f.submit(elsewhere(0), f.bob); err != nil {
		t.Errorf("refused here: %v", err)
	}
	f.holds(f.bob, "INBOX", "Junk")
	f.queued(8)
	var refusal *Refusal
	if err := f.submit(nil, f.bob); !errors.As(err, &refusal) {
		t.Errorf("refused by all: %v", err)
	}
	f.holds(f.bob, "INBOX", "Junk")
	f.queued(8)
}
