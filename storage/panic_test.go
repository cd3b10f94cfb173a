package storage

import (
	"container/list"
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"
)

// still checks that a store takes and shows mail, after so many panics.
func still(t *testing.T, db *DB, panics int64) {
	t.Helper()
	if n := db.Panics(); n != panics {
		t.Errorf("%d panics were counted, not %d", n, panics)
	}
	a := account(t, db, "carol")
	deliver(t, db, letter(1), "INBOX", a)
	if got := uids(t, db, a, named(t, db, a, "INBOX").ID); len(got) != 1 {
		t.Errorf("the mailbox has %v", got)
	}
	found(t, db, a, "letter", 1)
}

// TestBackgroundPanics: a job that panics ends, and nothing else.
func TestBackgroundPanics(t *testing.T) {
	db := open(t)
	db.goBackground(ctx, "test", func(context.Context) error { panic("on purpose") })
	for until := time.Now().Add(20 * time.Second); db.Panics() == 0 && time.Now().Before(until); {
		time.Sleep(time.Millisecond)
	}
	still(t, db, 1)
}

// TestPublishPanics: what was committed is acknowledged, seen and told of though
// a picture of the mailbox could not be brought up to date, or the queue not
// be told.
func TestPublishPanics(t *testing.T) {
	db := open(t)
	a := account(t, db, "alice")
	deliver(t, db, letter(1), "INBOX", a)
	m := named(t, db, a, "INBOX").ID
	if got := uids(t, db, a, m); !slices.Equal(got, []UID{1}) {
		t.Fatal(got)
	}
	watcher := db.Watch(a)
	defer watcher.Close()
	db.indexes.mu.Lock()
	db.indexes.loaded[m] = &list.Element{} // which holds no picture
	db.indexes.mu.Unlock()
	deliver(t, db, letter(2), "INBOX", a)
	<-watcher.C
	if got := uids(t, db, a, m); !slices.Equal(got, []UID{1, 2}) {
		t.Errorf("the mailbox shows %v", got)
	}

	db.queue.mu.Lock()
	there := db.queue.there
	db.queue.there = nil
	db.queue.mu.Unlock()
	deliver(t, db, letter(3), "INBOX", a)
	err := db.writer.do(ctx, func(t *tx) error {
		t.queue = append(t.queue, QueueEntry{Recipient: 1})
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	db.queue.mu.Lock()
	db.queue.there = there
	db.queue.mu.Unlock()
	<-watcher.C
	still(t, db, 2)
}

// TestReadingPanics: nobody waits for ever for a mailbox that somebody else
// could not read for a panic.
func TestReadingPanics(t *testing.T) {
	db := open(t)
	a := account(t, db, "alice")
	m := named(t, db, a, "INBOX").ID
	broken := newIndexes(&DB{log: db.log}) // with nothing to read from
	for range 2 {
		if x, err := broken.get(ctx, a, m); err == nil {
			t.Errorf("it was read: %v", x)
		}
	}
	if n := broken.db.Panics(); n != 2 {
		t.Errorf("%d panics were counted", n)
	}
	still(t, db, 0)
}

// TestSearchPanics: what was not indexed for a panic is indexed later.
func TestSearchPanics(t *testing.T) {
	db := open(t)
	a := account(t, db, "alice")
	run := func(source searchSource) {
		db.search.cancel()
		db.search.done.Wait()
		running, cancel := context.WithCancel(ctx)
		db.search.cancel, db.search.source = cancel, source
		db.search.done.Go(func() { db.search.run(running) })
		db.search.kick()
	}
	broken := &DB{log: slog.New(slog.DiscardHandler)} // with nothing to read from
	run(searchSource{broken})
	deliver(t, db, letter(1), "INBOX", a)
	for until := time.Now().Add(20 * time.Second); broken.Panics() == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("nothing panicked")
		}
	}
	run(searchSource{db})
	found(t, db, a, "letter", 1)
	still(t, db, 0)
}
