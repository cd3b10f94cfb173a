package mta

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"mailbox/storage"
)

const year = 365 * 24 * time.Hour

// TestQueueClockSetBack: what was queued and tried while the clock was a year
// ahead is sent when it is right again, once, and then tried as ever; what its
// sender wants held is held until then.
func TestQueueClockSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newQueueFixture(t, nil)
		f.queue.Shutdown(context.Background()) //nolint:errcheck // it has no error
		f.sendAt(time.Now().Add(year), fromAlice, "new@far.example", "tried@far.example", "late@far.example")
		rows, err := f.db.Queue(t.Context(), storage.QueueFilter{}, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			if r.Address == "new@far.example" {
				continue
			}
			tried := storage.Settlement{Recipient: r.QueuedRecipient.ID, Due: time.Now().Add(year + time.Hour), Attempt: &storage.Attempt{At: time.Now().Add(year)}}
			if err := f.db.Settle(t.Context(), []storage.Settlement{tried}); err != nil {
				t.Fatal(err)
			}
		}
		held := fromAlice
		held.Release = time.Now().Add(48 * time.Hour)
		f.send(held, "held@far.example")

		f.host.rcpt = func(_, address string) *Failure {
			if address == "late@far.example" {
				return said("4.3.2", "451 later")
			}
			return nil
		}
		next := &Queue{Hostname: "mx.home.example", Store: f.db, Carrier: f.host, Deliver: intoStore{f.db}, Log: f.queue.Log}
		next.Configure(DefaultConfig(), "home.example")
		go next.Run()                             //nolint:errcheck // ended below
		defer next.Shutdown(context.Background()) //nolint:errcheck // it has no error
		f.pass(time.Minute)
		f.took("new@far.example", 1)
		f.took("tried@far.example", 1)
		f.host.rcpt = nil
		f.pass(24 * time.Hour)
		f.took("late@far.example", 1)
		f.took("held@far.example", 0)
		f.pass(24*time.Hour + time.Minute)
		f.took("held@far.example", 1)
		f.took("new@far.example", 1)
		if n := f.db.QueueSize(); n != 0 {
			t.Errorf("%d are queued", n)
		}
	})
}

// TestQueueClockSetForward: what was queued before the clock went a year ahead
// is tried once before its sender hears that it is given up.
func TestQueueClockSetForward(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newQueueFixture(t, nil)
		f.host.rcpt = func(_, address string) *Failure {
			if address == "away@far.example" {
				return said("4.3.2", "451 later")
			}
			return nil
		}
		f.sendAt(time.Now().Add(-year), fromAlice, "there@far.example", "away@far.example")
		f.pass(time.Minute)
		f.took("there@far.example", 1)
		if got := f.reports(); len(got) != 1 || f.db.QueueSize() != 0 {
			t.Errorf("%d are queued; alice has %q", f.db.QueueSize(), got)
		}
	})
}

func (f *queueFixture) took(address string, times int) {
	f.t.Helper()
	f.host.mu.Lock()
	defer f.host.mu.Unlock()
	if n := f.host.took[address]; n != times {
		f.t.Errorf("%s got %d copies instead of %d", address, n, times)
	}
}
