package storage

import "sync"

// A queueFeed hands committed changes of the queue to the one who sends, and
// counts what is in the queue.
type queueFeed struct {
	c chan struct{}

	mu      sync.Mutex
	there   map[QueuedID]struct{}
	changed []QueueEntry
	watched bool
}

func newQueueFeed() *queueFeed {
	return &queueFeed{c: make(chan struct{}, 1), there: map[QueuedID]struct{}{}}
}

// add never blocks.
func (f *queueFeed) add(list []QueueEntry) {
	if len(list) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range list {
		if e.Gone {
			delete(f.there, e.Recipient)
		} else {
			f.there[e.Recipient] = struct{}{}
		}
	}
	if f.watched {
		f.changed = append(f.changed, list...)
	}
	select {
	case f.c <- struct{}{}:
	default:
	}
}

func (f *queueFeed) size() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.there)
}

// full tells whether there is no place for more recipients.
func (f *queueFeed) full(more int) bool { return more > 0 && f.size()+more > maxQueue }

// WatchQueue returns a channel that has a value after the queue has changed.
// From now on QueueChanges gathers what changed. There is one watcher.
func (db *DB) WatchQueue() <-chan struct{} {
	db.queue.mu.Lock()
	defer db.queue.mu.Unlock()
	db.queue.watched = true
	return db.queue.c
}

// QueueChanges returns what was committed since the last call, in order. A
// caller of Deliver or Settle that has its answer finds its changes.
func (db *DB) QueueChanges() []QueueEntry {
	db.queue.mu.Lock()
	defer db.queue.mu.Unlock()
	list := db.queue.changed
	db.queue.changed = nil
	return list
}

// QueueSize is the number of recipients in the queue.
func (db *DB) QueueSize() int { return db.queue.size() }
