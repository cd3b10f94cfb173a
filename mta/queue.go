package mta

import (
	"container/heap"
	"context"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"mailbox/internal/message"
	"mailbox/storage"
)

// A Queue sends what waits in the store, as often as it takes, and tells
// senders what became of it. All of it is recorded in the store before it is
// believed: after a crash nothing is lost, and nothing is sent again whose
// outcome was recorded.
//
// Store, Carrier and Deliver must be set; none of the fields may change after
// Configure.
type Queue struct {
	Hostname string
	Store    *storage.DB
	Carrier  Carrier      // to other servers
	Deliver  Deliverer    // to our own mailboxes, reports too
	Sign     Signer       // reports; nil: they are not signed
	Log      *slog.Logger // nil means slog.Default()

	config     atomic.Pointer[Config]
	postmaster atomic.Pointer[string]
	stats      queueCounters
	hard       context.Context // of transactions; ends when they must
	cut        context.CancelFunc
	work       sync.WaitGroup

	mu           sync.Mutex
	items        map[storage.QueuedID]*item
	waiting      dueHeap // those that are not due
	destinations map[Destination]*destination
	asking       []*destination            // those that may want a connection, in the order of their turn
	doubted      []*destination            // likewise, of those that failed last time or were never tried
	paused       map[*destination]struct{} // those that are left alone for a while
	open         int                       // connections, or tries to get one
	doubtful     int                       // of them, to destinations that were doubted
	stopping     chan struct{}             // closed by Shutdown
	stopped      bool
	kick         chan struct{} // the times of the next due or the next pause have changed
}

// A Signer signs messages of our domains (RFC 6376). It reads body, which
// follows the empty line, to its end, and returns the fields to put on top: none
// for a domain without a key.
type Signer interface {
	Sign(domain string, header message.Header, body io.Reader) ([]byte, error)
}

// queueCounters count what happened since the start of the process.
type queueCounters struct{ attempts, sent, deferred, failed, reports, panics atomic.Int64 }

// QueueStats are counts of recipients since the start of the process.
type QueueStats struct {
	Attempts    int64
	Sent        int64
	Deferred    int64 // to be tried again
	Failed      int64 // given up
	Reports     int64 // messages to senders
	Panics      int64
	Connections int64 // open now
	Waiting     int64 // in the queue now
}

// Stats returns the counts as they are now.
func (q *Queue) Stats() QueueStats {
	q.mu.Lock()
	open := q.open
	q.mu.Unlock()
	return QueueStats{
		Attempts: q.stats.attempts.Load(), Sent: q.stats.sent.Load(), Deferred: q.stats.deferred.Load(), Failed: q.stats.failed.Load(),
		Reports: q.stats.reports.Load(), Panics: q.stats.panics.Load(), Connections: int64(open), Waiting: int64(q.Store.QueueSize()),
	}
}

// Configure sets what holds from now on; postmaster is the domain in whose name
// reports are written. It must be called before Run, and may be called again.
func (q *Queue) Configure(c Config, postmaster string) {
	q.postmaster.Store(&postmaster)
	if q.config.Swap(&c) == nil {
		if q.Log == nil {
			q.Log = slog.Default()
		}
		q.hard, q.cut = context.WithCancel(context.Background())
		q.items, q.destinations, q.paused = map[storage.QueuedID]*item{}, map[Destination]*destination{}, map[*destination]struct{}{}
		q.stopping, q.kick = make(chan struct{}), make(chan struct{}, 1)
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, it := range q.items { // the routes may have changed
		if it.state != busy {
			q.place(it)
		}
	}
	q.dispatch()
}

// Run sends until Shutdown. An error says that the store's queue cannot be read.
func (q *Queue) Run() error {
	changed := q.Store.WatchQueue()
	entries, err := q.Store.QueueEntries(q.hard)
	if err != nil {
		return err
	}
	for i := range entries {
		q.guarded(func() { q.note(&entries[i]) })
	}
	for {
		timer := time.NewTimer(q.step())
		select {
		case <-changed:
		case <-q.kick:
		case <-timer.C:
		case <-q.stopping:
			timer.Stop()
			return nil
		}
		timer.Stop()
	}
}

// Shutdown lets transactions that run finish, and cuts them off when ctx ends.
func (q *Queue) Shutdown(ctx context.Context) error {
	q.mu.Lock()
	if !q.stopped {
		q.stopped = true
		close(q.stopping)
	}
	q.mu.Unlock()
	stop := context.AfterFunc(ctx, q.cut)
	defer stop()
	q.work.Wait()
	q.cut()
	return nil
}

// longest is how long the queue sleeps where nothing is to be done.
const longest = time.Hour

// guarded runs do under the lock. A panic ends do, and nothing else.
func (q *Queue) guarded(do func()) {
	defer q.recovered()
	q.locked(do)
}

// locked runs do under the lock, which a panic does not leave locked.
func (q *Queue) locked(do func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	do()
}

// step does what can be done now, and returns how long there is nothing else:
// a second, where it panicked.
func (q *Queue) step() time.Duration {
	wait := time.Second
	q.guarded(func() { wait = q.advance() })
	return wait
}

// advance is step under the lock.
func (q *Queue) advance() time.Duration {
	q.absorb()
	now := time.Now()
	for len(q.waiting) > 0 && !q.waiting[0].wake.After(now) {
		q.place(q.waiting[0])
	}
	next := now.Add(longest)
	if len(q.waiting) > 0 {
		next = earlier(next, q.waiting[0].wake)
	}
	next = q.resume(now, next)
	q.dispatch()
	return max(next.Sub(now), time.Millisecond)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// wake makes Run take another step.
func (q *Queue) wake() {
	select {
	case q.kick <- struct{}{}:
	default:
	}
}

// absorb takes in what was committed.
func (q *Queue) absorb() {
	changes := q.Store.QueueChanges()
	for i := range changes {
		q.note(&changes[i])
	}
}

// note takes in where a recipient stands now. If no worker has it and it was
// known, the operator has done something, and wants to see what comes of it.
func (q *Queue) note(e *storage.QueueEntry) {
	it := q.items[e.Recipient]
	switch {
	case e.Gone:
		if it != nil {
			before := it.dest
			q.unplace(it)
			q.forget(before)
			delete(q.items, e.Recipient)
		}
	case it == nil:
		it = &item{QueueEntry: *e, at: -1}
		q.items[e.Recipient] = it
		q.place(it)
	case it.state == busy:
		it.QueueEntry = *e
	default:
		it.QueueEntry = *e
		q.place(it)
		if it.state == ready {
			it.dest.until, it.dest.failures = time.Time{}, 0
			q.ask(it.dest)
		}
	}
}

// The states of an item.
type state uint8

const (
	idle  state = iota // held, gone
	timed              // not due
	ready              // at its destination
	busy               // with a worker
)

// An item is a recipient of the queue.
type item struct {
	storage.QueueEntry
	state state
	wake  time.Time    // when it is looked at again, whatever becomes of the clock on the wall
	at    int          // place in the heap
	dest  *destination // where it is ready or busy
}

// place puts an item where it belongs, unless a worker has it.
func (q *Queue) place(it *item) {
	before, now := it.dest, time.Now()
	q.unplace(it)
	wait := q.config.Load().wait(&it.QueueEntry, now)
	switch {
	case it.Held:
	case wait > 0:
		it.state, it.wake = timed, now.Add(wait)
		heap.Push(&q.waiting, it)
	default:
		it.state, it.dest = ready, q.destination(it)
		it.dest.ready.add(it)
		q.ask(it.dest)
	}
	q.forget(before)
}

// unplace takes an item from where it waits.
func (q *Queue) unplace(it *item) {
	switch it.state {
	case timed:
		heap.Remove(&q.waiting, it.at)
	case ready:
		it.dest.ready.remove(it)
	}
	it.state, it.dest = idle, nil
}

// destination returns where an item goes.
func (q *Queue) destination(it *item) *destination {
	key := q.config.Load().destination(it.QueueEntry, q.Store.LocalDomain)
	d := q.destinations[key]
	if d == nil {
		d = &destination{Destination: key, limit: 1, wake: make(chan struct{}, maxBatch)}
		q.destinations[key] = d
	}
	return d
}

// A dueHeap is a container/heap of items, the one to look at first on top.
type dueHeap []*item

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].wake.Before(h[j].wake) }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

// Push implements heap.Interface.
func (h *dueHeap) Push(x any) {
	it := x.(*item)
	it.at = len(*h)
	*h = append(*h, it)
}

// Pop implements heap.Interface.
func (h *dueHeap) Pop() any {
	last := len(*h) - 1
	it := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return it
}
