package storage

import (
	"slices"
	"sync"
)

// A ChangeKind says what happened to the messages of a Change.
type ChangeKind uint8

const (
	Added          ChangeKind = iota + 1 // Entries are new, in UID order
	FlagsSet                             // Entries have new flags or keywords
	Expunged                             // Entries (their UIDs) are gone
	MailboxChanged                       // created, renamed, deleted, subscribed: no Entries
)

// A Change is what one committed function did to one mailbox. All its rows
// carry ModSeq. Changes of an account come in ModSeq order.
type Change struct {
	Account AccountID
	Mailbox MailboxID
	ModSeq  ModSeq
	Kind    ChangeKind
	Entries []entryChange

	keywords []string // of the mailbox, where this change added one
	gone     bool     // the mailbox was deleted
}

// An entryChange is an index entry on its way from the writer to the index.
type entryChange struct {
	uid      UID
	flags    Flags
	keywords string // bit set, lowest bit first; "" is none
	email    EmailID
	day      uint16 // of an added one
}

// A Watcher is woken when an account that it watches has changed. It holds
// nothing but the signal: what changed is read from the index.
type Watcher struct {
	// C has a value after a change since the last receive.
	C <-chan struct{}

	c        chan struct{}
	feed     *feed
	accounts []AccountID
}

// Close ends the watch. C is not closed.
func (w *Watcher) Close() {
	w.feed.mu.Lock()
	defer w.feed.mu.Unlock()
	for _, id := range w.accounts {
		list := w.feed.watchers[id]
		if i := slices.Index(list, w); i >= 0 {
			list = slices.Delete(list, i, i+1)
		}
		if len(list) == 0 {
			delete(w.feed.watchers, id)
		} else {
			w.feed.watchers[id] = list
		}
	}
	w.accounts = nil
}

// A feed hands committed changes to the watchers of their accounts.
type feed struct {
	mu       sync.Mutex
	watchers map[AccountID][]*Watcher
}

func (f *feed) watch(accounts []AccountID) *Watcher {
	w := &Watcher{c: make(chan struct{}, 1), feed: f, accounts: slices.Clone(accounts)}
	w.C = w.c
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range accounts {
		f.watchers[id] = append(f.watchers[id], w)
	}
	return w
}

// wake never blocks: a watcher that is behind has its signal already.
func (f *feed) wake(changes []Change) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var last AccountID
	for _, c := range changes {
		if c.Account == last {
			continue
		}
		last = c.Account
		for _, w := range f.watchers[c.Account] {
			select {
			case w.c <- struct{}{}:
			default:
			}
		}
	}
}
