package mta

import (
	"context"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// oddHost is a fakeHost whose connections panic when they are closed.
type oddHost struct{ *fakeHost }

type oddConnection struct{ Connection }

func (h oddHost) Connect(ctx context.Context, d Destination) (Connection, error) {
	c, err := h.fakeHost.Connect(ctx, d)
	return oddConnection{c}, err
}

func (c oddConnection) Close() {
	c.Connection.Close()
	panic("on purpose")
}

// TestQueueClosePanics: a connection that panics when it is closed gives its
// place back all the same.
func TestQueueClosePanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newQueueFixture(t, func(c *Config) { c.SendConnections = 2 })
		f.queue.Carrier = oddHost{f.host}
		to := []string{"a@one.example", "b@two.example", "c@three.example", "d@four.example"}
		for _, address := range to {
			f.send(fromAlice, address)
			f.pass(time.Hour)
		}
		for _, address := range to {
			if f.host.took[address] != 1 {
				t.Errorf("%s got %d copies", address, f.host.took[address])
			}
		}
		if s := f.queue.Stats(); s.Panics != 4 || s.Connections != 0 || s.Waiting != 0 {
			t.Errorf("counted %+v", s)
		}
	})
}

// TestQueueTakePanics: a panic while a connection gets its next message leaves the
// queue unlocked, and the connection's place free.
func TestQueueTakePanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newQueueFixture(t, nil)
		once := false
		f.host.down = func(domain string) *Failure { // called by a worker
			if domain != "odd.example" || once {
				return nil
			}
			once = true
			f.queue.mu.Lock()
			defer f.queue.mu.Unlock()
			for to, d := range f.queue.destinations {
				if to.Domain == domain { // its next message is for nobody
					d.ready.items[1000], d.ready.order = []*item{nil}, append(d.ready.order, 1000)
				}
			}
			return nil
		}
		for _, to := range []string{"a@odd.example", "b@odd.example", "c@far.example"} {
			f.send(fromAlice, to)
			f.pass(time.Hour)
			if f.host.took[to] != 1 {
				t.Errorf("%s got %d copies", to, f.host.took[to])
			}
		}
		if s := f.queue.Stats(); s.Panics != 1 || s.Connections != 0 || s.Waiting != 0 {
			t.Errorf("counted %+v", s)
		}
	})
}

// TestBlocklistPanics: a blocklist that cannot be asked for a panic lists nobody.
func TestBlocklistPanics(t *testing.T) {
	var panics atomic.Int64
	b := &Blocklists{Log: slog.New(slog.DiscardHandler), OnPanic: func(any, []byte) { panics.Add(1) }} // without DNS, to make it panic
	if got := b.Begin(t.Context(), []string{"one.example", "two.example"}, netip.MustParseAddr("192.0.2.1"))(); len(got) != 0 {
		t.Errorf("listed by %v", got)
	}
	if panics.Load() != 2 {
		t.Errorf("%d panics were counted", panics.Load())
	}
}
