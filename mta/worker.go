package mta

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"mailbox/storage"
)

// A worker takes messages to a destination over one connection, for as long as
// there are some.
type worker struct {
	q        *Queue
	d        *destination
	doubtful bool // it counts among Queue.doubtful
	conn     Connection
	used     int // transactions of conn
}

func (w *worker) run() {
	defer w.leave()
	defer w.q.recovered()
	for items := w.next(); items != nil; items = w.next() {
		if !w.send(items) {
			return
		}
		if w.used >= maxReuse {
			w.hangUp()
		}
	}
}

// hangUp closes the connection, if there is one.
func (w *worker) hangUp() {
	if c := w.conn; c != nil {
		defer w.q.recovered()
		w.conn = nil
		c.Close()
	}
}

// leave gives the connection back.
func (w *worker) leave() {
	w.hangUp()
	w.q.guarded(func() {
		w.d.active--
		w.q.open--
		if w.doubtful {
			w.q.doubtful--
		}
		w.q.ask(w.d)
		w.q.forget(w.d)
		w.q.dispatch()
	})
}

// next returns recipients of one message to send to, or nil when it is time to
// leave. An open connection is kept a while for the next message, unless
// connections are scarce.
func (w *worker) next() []*item {
	q, d := w.q, w.d
	for waited := false; ; waited = true {
		var items []*item
		keep := false
		q.locked(func() {
			items = w.take()
			keep = items == nil && !waited && !q.stopped && w.conn != nil && q.open <= q.config.Load().SendConnections/2
			if keep {
				d.idle++
			}
		})
		if !keep {
			return items
		}
		timer := time.NewTimer(idleTime)
		select {
		case <-d.wake:
		case <-timer.C:
		case <-q.stopping:
		}
		timer.Stop()
		q.mu.Lock()
		d.idle--
		q.mu.Unlock()
	}
}

// take returns what is ready, if the worker may go on.
func (w *worker) take() []*item {
	if w.q.stopped || w.d.until.After(time.Now()) {
		return nil
	}
	return w.d.take()
}

// send sends one message to some of its recipients and records what became of
// it. It returns whether the worker may go on.
func (w *worker) send(items []*item) (goOn bool) {
	q := w.q
	defer q.release(items)
	defer func() {
		if p := recover(); p != nil {
			q.panicked(items[0].Message, p)
			q.put(items, time.Now().Add(q.config.Load().Retry[0]))
			goOn = false
		}
	}()
	began := time.Now()
	fail := w.connect() // before the message takes up memory
	m, blob, err := q.load(items)
	if err != nil {
		q.unread(items, err)
		return fail == nil
	}
	defer blob.Close() //nolint:errcheck // it was only read
	var results []Result
	v := unreachable
	if fail != nil {
		results = refuseAll(m, fail)
	} else {
		results, v = w.attempt(m)
	}
	q.settle(m, items, results, began)
	w.learn(v, results)
	switch v {
	case defers:
		w.hangUp()
	case unreachable:
		q.giveUp(w.d, results[0].Failure)
	}
	return v <= defers
}

// recovered is deferred where a panic is to end no more than what is being done.
func (q *Queue) recovered() {
	if p := recover(); p != nil {
		q.panicked(0, p)
	}
}

func (q *Queue) panicked(id storage.QueueID, p any) {
	q.stats.panics.Add(1)
	q.Log.Error("panic while sending", "id", id, "panic", p, "stack", string(debug.Stack()))
}

// A verdict is what an attempt says about the destination.
type verdict uint8

const (
	works       verdict = iota
	defers              // it wants nothing now, and may think better of it on another connection
	breaks              // the connection was lost, or the host wants no more
	unreachable         // there was no connection
)

// connect makes sure that there is a connection, where one is needed.
func (w *worker) connect() (fail *Failure) {
	defer func() {
		if p := recover(); p != nil {
			w.q.panicked(0, p)
			fail = failed("connect", "4.3.0", "internal error")
		}
	}()
	if w.conn != nil || w.d.Here {
		return nil
	}
	c, err := w.q.Carrier.Connect(w.q.hard, w.d.Destination)
	if err != nil {
		return asFailure(err)
	}
	w.conn, w.used = c, 0
	return nil
}

// attempt sends a message over the connection. One that was kept and turns out
// to be dead counts for nothing.
func (w *worker) attempt(m *Outbound) (results []Result, v verdict) {
	defer func() {
		if p := recover(); p != nil {
			w.q.panicked(m.ID, p)
			w.hangUp()
			results, v = refuseAll(m, failed("send", "4.3.0", "internal error")), works
		}
	}()
	if w.d.Here {
		return w.q.deliverHere(m), works
	}
	kept := w.used > 0
	results, again := w.conn.Send(w.q.hard, m)
	via := w.conn.Attempt()
	for i := range results {
		results[i].Via = via
	}
	w.used++
	if again && slices.ContainsFunc(results, Result.settled) {
		return results, works
	}
	if again {
		return results, defers
	}
	w.hangUp()
	if f := results[0].Failure; kept && f != nil && f.HostDown && f.Stage == "mail" {
		if fail := w.connect(); fail != nil {
			return refuseAll(m, fail), unreachable
		}
		return w.attempt(m)
	}
	if hostDown(results) {
		return results, breaks
	}
	return results, works
}

func refuseAll(m *Outbound, f *Failure) []Result {
	results := make([]Result, len(m.To))
	fillAll(results, f)
	return results
}

// asFailure is the Failure that a Carrier returned.
func asFailure(err error) *Failure {
	var f *Failure
	if errors.As(err, &f) {
		return f
	}
	return failed("connect", "4.3.0", "%v", err)
}

func hostDown(results []Result) bool {
	return slices.ContainsFunc(results, func(r Result) bool { return r.Failure != nil && r.Failure.HostDown })
}

// learn notes what an attempt says about the destination.
func (w *worker) learn(v verdict, results []Result) {
	q := w.q
	q.mu.Lock()
	defer q.mu.Unlock()
	if v <= defers {
		q.believe(w.d, v == works)
		if w.doubtful {
			w.doubtful = false
			q.doubtful--
		}
	} else {
		q.doubt(w.d, results[0].Failure)
	}
	q.dispatch()
}

// load reads a message with those of its recipients that are to get it now.
func (q *Queue) load(items []*item) (*Outbound, *storage.Blob, error) {
	wanted := make(map[storage.QueuedID]bool, len(items))
	first, last := items[0].Recipient, items[0].Recipient
	for _, it := range items {
		wanted[it.Recipient] = true
		first, last = min(first, it.Recipient), max(last, it.Recipient)
	}
	m, err := q.Store.QueuedPart(q.hard, items[0].Message, first, last)
	if err != nil {
		return nil, nil, err
	}
	out := &Outbound{QueuedMessage: m}
	out.To = nil
	for _, r := range m.To {
		if wanted[r.ID] {
			out.To = append(out.To, r)
		}
	}
	if len(out.To) == 0 {
		return nil, nil, storage.ErrNotFound
	}
	blob, err := q.Store.OpenBlob(q.hard, m.Blob)
	if err != nil {
		return nil, nil, fmt.Errorf("message %d: %w", m.ID, err)
	}
	out.Content = sectionAt{blob, m.Skip}
	return out, blob, nil
}

// sectionAt is what of a blob goes out.
type sectionAt struct {
	blob *storage.Blob
	skip int64
}

// ReadAt implements io.ReaderAt.
func (s sectionAt) ReadAt(p []byte, off int64) (int, error) { return s.blob.ReadAt(p, s.skip+off) }

// release puts items that a worker had where they belong now.
func (q *Queue) release(items []*item) {
	q.guarded(q.absorb)
	for _, it := range items {
		q.guarded(func() {
			if it.state == busy && q.items[it.Recipient] == it {
				it.state = idle
				q.place(it)
			}
		})
	}
	q.wake()
}

// unread says why a message was not read, and has it tried later.
func (q *Queue) unread(items []*item, err error) {
	if errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrExpunged) || q.hard.Err() != nil {
		return // it has left the queue, or we are about to
	}
	q.Log.Error("queued message cannot be read", "id", items[0].Message, "err", err)
	q.put(items, time.Now().Add(time.Minute))
}

// put makes items due at another time, until the process ends.
func (q *Queue) put(items []*item, due time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, it := range items {
		it.Due = due
	}
}

// giveUp defers all else that is ready for a destination that cannot be
// reached, for the same reason.
func (q *Queue) giveUp(d *destination, f *Failure) {
	for q.hard.Err() == nil {
		var batch [][]*item
		q.locked(func() {
			for len(batch) < maxTogether && d.ready.len() > 0 {
				batch = append(batch, d.take())
			}
		})
		if batch == nil {
			return
		}
		q.giveUpOn(batch, f)
	}
}

func (q *Queue) giveUpOn(batch [][]*item, f *Failure) {
	defer q.release(slices.Concat(batch...))
	var list []storage.Settlement
	for _, items := range batch {
		list = append(list, q.giveUpOne(items, f)...)
	}
	q.record(list)
}

func (q *Queue) giveUpOne(items []*item, f *Failure) []storage.Settlement {
	defer func() {
		if p := recover(); p != nil {
			q.panicked(items[0].Message, p)
			q.put(items, time.Now().Add(q.config.Load().Retry[0]))
		}
	}()
	began := time.Now()
	m, blob, err := q.load(items)
	if err != nil {
		q.unread(items, err)
		return nil
	}
	defer blob.Close() //nolint:errcheck // it was only read
	return q.tell(m, items, refuseAll(m, f), began)
}

// record writes settlements until it succeeds: what happened, happened.
func (q *Queue) record(list []storage.Settlement) {
	for wait := time.Second; ; wait = min(2*wait, time.Minute) {
		err := q.Store.Settle(context.WithoutCancel(q.hard), list)
		if err == nil {
			return
		}
		q.Log.Error("outcome of an attempt cannot be recorded; trying again", "err", err, "recipients", len(list))
		select {
		case <-time.After(wait):
		case <-q.hard.Done():
			return
		}
	}
}
