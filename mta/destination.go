package mta

import (
	"slices"
	"time"

	"mailbox/storage"
)

const (
	// maxBatch is how many recipients go into one transaction: what every
	// server takes (RFC 5321 section 4.5.3.1.8).
	maxBatch = 100
	// maxTogether is how many messages are deferred in one transaction of the store.
	maxTogether = 25
	// maxReuse is how many transactions a connection serves.
	maxReuse = 100
	// idleTime is how long a connection is kept for the next message.
	idleTime = 5 * time.Second
)

// A destination is where messages go that may share a connection, and what was
// learned about it: how many connections it likes, and whether it works.
type destination struct {
	Destination
	ready    readyList
	limit    int // connections that it may have: grows with success, shrinks with refusals
	active   int // connections that it has
	idle     int // of them, with nothing to send
	wake     chan struct{}
	failures int       // in a row
	until    time.Time // left alone until then
	proven   bool      // it took what it was last given
	asks     bool      // it stands in Queue.asking or doubted
}

// ask puts a destination among those that may want a connection, and wakes
// those of its own that are idle.
func (q *Queue) ask(d *destination) {
	for range min(d.idle, d.ready.messages()) {
		select {
		case d.wake <- struct{}{}:
		default:
		}
	}
	if d.asks {
		return
	}
	d.asks = true
	if d.proven {
		q.asking = append(q.asking, d)
	} else {
		q.doubted = append(q.doubted, d)
	}
}

// dispatch opens connections for those that want them, each in its turn, while
// there are any to be had. Who has some already and gets no more asks again
// after each of its transactions.
func (q *Queue) dispatch() {
	if q.stopped {
		return
	}
	now, c := time.Now(), q.config.Load()
	for len(q.doubted) > 0 && q.open < c.SendConnections && q.doubtful < max(c.SendConnections/2, 1) {
		q.doubted = q.grant(q.doubted, now)
	}
	for len(q.asking) > 0 && q.open < c.SendConnections {
		q.asking = q.grant(q.asking, now)
	}
}

// grant gives the first one in turn what it may have, and returns the others.
func (q *Queue) grant(turns []*destination, now time.Time) []*destination {
	d := turns[0]
	turns[0] = nil
	d.asks = false
	for d.wants(now) && q.admits(d) {
		q.start(d)
	}
	if d.active == 0 && d.wants(now) {
		q.ask(d) // it came to be doubted while it waited
	}
	return turns[1:]
}

// wants tells whether one more connection would have something to do.
func (d *destination) wants(now time.Time) bool {
	return !d.until.After(now) && d.active < d.limit && max(d.active-d.idle, d.idle) < d.ready.messages()
}

// admits tells whether a destination may have one more connection. Those that
// may not work share one half of all; more than one connection is had only
// while a quarter is left for those that have none. So neither the dead nor the
// slow can take what the others need.
func (q *Queue) admits(d *destination) bool {
	c := q.config.Load()
	switch {
	case q.open >= c.SendConnections || d.active >= c.PerDestination:
		return false
	case d.active > 0 && !d.proven, d.active > 0 && q.open >= c.SendConnections*3/4:
		return false
	}
	return d.proven || q.doubtful < max(c.SendConnections/2, 1)
}

// start begins a worker.
func (q *Queue) start(d *destination) {
	d.active++
	q.open++
	w := &worker{q: q, d: d, doubtful: !d.proven}
	if w.doubtful {
		q.doubtful++
	}
	q.work.Go(w.run)
}

// believe notes that a destination answers, and took or refused for good what
// it was given; otherwise it may want to be asked by fewer at a time.
func (q *Queue) believe(d *destination, took bool) {
	if !d.proven {
		d.proven, d.asks = true, false // it may stand among the doubted
	}
	d.failures = 0
	if took {
		d.limit = min(d.limit+1, q.config.Load().PerDestination)
	} else {
		d.limit = max(d.limit/2, 1)
	}
	q.ask(d)
}

// doubt notes that a destination does not work. It is left alone for a while,
// unless it never will.
func (q *Queue) doubt(d *destination, f *Failure) {
	d.proven = false
	d.limit = max(d.limit/2, 1)
	if f == nil || !f.Permanent() {
		d.failures++
		d.until = time.Now().Add(q.config.Load().pause(d.failures))
		q.paused[d] = struct{}{}
	}
	q.wake()
}

// resume ends the pauses that are over, and returns when the next one is, or
// the time given.
func (q *Queue) resume(now, next time.Time) time.Time {
	for d := range q.paused {
		if d.until.After(now) {
			next = earlier(next, d.until)
			continue
		}
		delete(q.paused, d)
		q.ask(d)
		q.forget(d)
	}
	return next
}

// forget drops a destination, if it is one and there is nothing to do for it.
func (q *Queue) forget(d *destination) {
	if d == nil || d.active > 0 || d.ready.len() > 0 || q.destinations[d.Destination] != d {
		return
	}
	if _, paused := q.paused[d]; !paused {
		delete(q.destinations, d.Destination)
	}
}

// take gives recipients of one message to a worker, or nil.
func (d *destination) take() []*item {
	items := d.ready.take(maxBatch)
	for _, it := range items {
		it.state = busy
	}
	return items
}

// A readyList is the items of a destination that can be sent now, by message:
// the messages in the order in which they became ready.
type readyList struct {
	order []storage.QueueID
	items map[storage.QueueID][]*item
	n     int
}

func (l *readyList) len() int { return l.n }

func (l *readyList) messages() int { return len(l.items) }

func (l *readyList) add(it *item) {
	if l.items == nil {
		l.items = map[storage.QueueID][]*item{}
	}
	if len(l.items[it.Message]) == 0 {
		l.order = append(l.order, it.Message)
	}
	l.items[it.Message] = append(l.items[it.Message], it)
	l.n++
}

// remove takes an item out. Its message's place in the order goes with its turn.
func (l *readyList) remove(it *item) {
	list := l.items[it.Message]
	if i := slices.Index(list, it); i >= 0 {
		l.n--
		if list = slices.Delete(list, i, i+1); len(list) > 0 {
			l.items[it.Message] = list
		} else {
			delete(l.items, it.Message)
		}
	}
}

// take removes and returns up to n items of the first message.
func (l *readyList) take(n int) []*item {
	for len(l.order) > 0 {
		id := l.order[0]
		list := l.items[id]
		if len(list) <= n {
			l.order = l.order[1:]
			delete(l.items, id)
		} else {
			l.items[id] = list[n:]
			list = list[:n:n]
		}
		if len(list) > 0 {
			l.n -= len(list)
			return list
		}
	}
	l.order = nil
	return nil
}
