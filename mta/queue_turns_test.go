package mta

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mailbox/storage"
)

// A flakyHost is a Carrier to hosts that are slow, cannot be reached, break
// off, and want nothing for now, each of it at random, until they are mended.
type flakyHost struct {
	mended atomic.Bool

	mu         sync.Mutex
	random     *rand.Rand
	open, most int // connections at a time
}

// chance is true once in n, and never again when the hosts are mended.
func (h *flakyHost) chance(n int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.random.IntN(n) == 0 && !h.mended.Load()
}

func (h *flakyHost) dawdle() {
	if h.chance(3) {
		h.mu.Lock()
		d := time.Duration(h.random.IntN(300)) * time.Second
		h.mu.Unlock()
		time.Sleep(d)
	}
}

func (h *flakyHost) Connect(context.Context, Destination) (Connection, error) {
	h.mu.Lock()
	h.open++
	h.most = max(h.most, h.open)
	h.mu.Unlock()
	h.dawdle()
	if h.chance(3) {
		h.Close()
		return nil, failed("connect", "4.4.1", "no answer")
	}
	return h, nil
}

func (h *flakyHost) Send(_ context.Context, m *Outbound) ([]Result, bool) {
	h.dawdle()
	switch {
	case h.chance(6):
		return refuseAll(m, failed("mail", "4.4.2", "connection lost")), false
	case h.chance(6):
		return refuseAll(m, said("4.3.2", "451 later")), true
	}
	return make([]Result, len(m.To)), true
}

func (h *flakyHost) Attempt() storage.Attempt { return storage.Attempt{Stage: "data"} }

func (h *flakyHost) Close() {
	h.mu.Lock()
	h.open--
	h.mu.Unlock()
}

// TestQueueForgetsNobody: with few connections, many destinations and hosts
// that fail at random, whoever waits gets a turn, and all limits hold.
func TestQueueForgetsNobody(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	synctest.Test(t, func(t *testing.T) {
		f := newQueueFixture(t, nil)
		f.queue.Shutdown(context.Background()) //nolint:errcheck // it has no error
		hosts := &flakyHost{random: rand.New(rand.NewPCG(seed, 1))}
		random := rand.New(rand.NewPCG(seed, 2))
		q := &Queue{Store: f.db, Carrier: hosts, Deliver: intoStore{f.db}, Log: f.queue.Log}
		c := DefaultConfig()
		c.SendConnections, c.PerDestination, c.Retry = 4, 3, []time.Duration{time.Minute, 10 * time.Minute}
		q.Configure(c, "home.example")
		go q.Run() //nolint:errcheck // ended below
		for range 200 {
			f.send(fromAlice, fmt.Sprintf("bob@d%d.example", random.IntN(20)), fmt.Sprintf("carol@d%d.example", random.IntN(20)))
			time.Sleep(time.Duration(random.IntN(120)) * time.Second)
		}
		hosts.mended.Store(true)
		time.Sleep(2 * time.Hour)
		if n := f.db.QueueSize(); n != 0 {
			t.Errorf("%d recipients wait for a turn that does not come", n)
		}
		q.mu.Lock()
		if q.open != 0 || q.doubtful != 0 || len(q.items) != 0 || len(q.destinations) != 0 || len(q.paused) != 0 {
			t.Errorf("nothing waits, and there are %d connections, %d doubtful, %d items, %d destinations, %d paused",
				q.open, q.doubtful, len(q.items), len(q.destinations), len(q.paused))
		}
		q.mu.Unlock()
		q.Shutdown(context.Background()) //nolint:errcheck // it has no error
		if hosts.most > 4 || hosts.open != 0 {
			t.Errorf("%d connections at a time, %d left open", hosts.most, hosts.open)
		}
	})
}

// TestQueueTurnOfTheProven: a host that proved good while it stood in line
// behind dead ones gets more connections without waiting for them.
func TestQueueTurnOfTheProven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newQueueFixture(t, func(c *Config) { c.SendConnections = 8 }) // four of them for those that are doubted
		f.host.delay = time.Second
		f.host.down = func(domain string) *Failure {
			if domain == "good.example" {
				return nil
			}
			f.host.mu.Unlock()
			time.Sleep(time.Hour)
			f.host.mu.Lock()
			return failed("connect", "4.4.1", "no answer in time")
		}
		f.send(fromAlice, "first@good.example")
		synctest.Wait()
		for i := range 10 {
			f.send(fromAlice, fmt.Sprintf("bob@dead%d.example", i))
		}
		for i := range 20 {
			f.send(fromAlice, fmt.Sprintf("bob%d@good.example", i))
		}
		time.Sleep(time.Minute)
		f.host.mu.Lock()
		defer f.host.mu.Unlock()
		if len(f.host.took) != 21 || f.host.most["good.example"] != 2 {
			t.Errorf("%d of 21 messages were taken over %d connections at a time", len(f.host.took), f.host.most["good.example"])
		}
		f.queue.cut() // the rest does not matter
	})
}

// TestQueueStartPanics: a recipient whose entry cannot be taken in at the start
// costs the others nothing.
func TestQueueStartPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &queueFixture{t: t, host: newFakeHost()}
		f.db, f.alice = newStore(t)
		defer f.db.Close()
		f.send(fromAlice, "bob@odd.example")
		f.send(fromAlice, "carol@far.example")
		f.queue = &Queue{Hostname: "mx.home.example", Store: f.db, Carrier: f.host, Deliver: intoStore{f.db}, Log: slog.New(slog.DiscardHandler)}
		f.queue.Configure(DefaultConfig(), "home.example")
		entries, err := f.db.QueueEntries(t.Context())
		if err != nil || len(entries) != 2 {
			t.Fatalf("%d entries, %v", len(entries), err)
		}
		f.db.QueueChanges()                                               // they are among the entries
		f.queue.items[entries[0].Recipient] = &item{state: ready, at: -1} // at no destination
		go f.queue.Run()                                                  //nolint:errcheck // the test ends it
		f.pass(time.Minute)
		if f.host.took["carol@far.example"] != 1 || f.queue.Stats().Panics != 1 {
			t.Errorf("taken: %v; %d panics were counted", f.host.took, f.queue.Stats().Panics)
		}
		f.queue.Shutdown(context.Background()) //nolint:errcheck // it has no error
	})
}
