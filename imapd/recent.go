package imapd

import (
	"context"
	"sync"
	"time"

	"mailbox/storage"
)

// recent knows from which UID on no session has been told of the messages of
// a mailbox: those have \Recent (RFC 3501 section 2.3.2). It lives in memory
// and is lost at a restart: what is recent then is what arrived after it.
type recent struct {
	since time.Time // of the start, in whole seconds

	mu   sync.Mutex
	from map[storage.MailboxID]storage.UID
}

// first returns the first recent UID of a mailbox. Where claim is set, no
// later session will call its messages recent.
func (r *recent) first(ctx context.Context, db *storage.DB, x *storage.Index, claim bool) (storage.UID, error) {
	r.mu.Lock()
	from, known := r.from[x.Mailbox]
	r.mu.Unlock()
	if !known {
		var err error
		if from, err = firstSaved(ctx, db, x, r.since); err != nil {
			return 0, err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.from == nil {
		r.from = map[storage.MailboxID]storage.UID{}
	}
	if now, known := r.from[x.Mailbox]; known { // another session may have been quicker
		from = now
	}
	r.from[x.Mailbox] = from
	if claim {
		r.from[x.Mailbox] = max(from, x.UIDNext)
	}
	return from, nil
}

// firstSaved finds the first message that was saved at a time or later, with
// a few looks into the rows: the dates ascend with the UIDs.
func firstSaved(ctx context.Context, db *storage.DB, x *storage.Index, since time.Time) (storage.UID, error) {
	lo, hi := 0, x.Len()
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		rows, err := db.Messages(ctx, x.Account, x.Mailbox, []storage.UID{x.At(mid).UID}, 0)
		if err != nil {
			return 0, err
		}
		if len(rows) > 0 && rows[0].Saved.Before(since) {
			lo = mid + 1
		} else { // one that is gone meanwhile is taken for a new one: it has no flags to show
			hi = mid
		}
	}
	if lo < x.Len() {
		return x.At(lo).UID, nil
	}
	return x.UIDNext, nil
}
