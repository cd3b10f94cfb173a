package storage

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// A QueueFilter chooses recipients of the queue: those to which everything
// holds that is set. The zero filter chooses all.
type QueueFilter struct {
	Message   QueueID
	Recipient string        // an address, in any case
	Domain    string        // of the recipient, in any case, A-labels or not
	Account   AccountID     // that submitted the message
	OlderThan time.Duration // since it was accepted or released
	Released  bool          // not such as wait for their release time
	Held      *bool
}

// where renders the filter as a condition on r and m.
func (f QueueFilter) where() (string, []any) {
	cond, args := []string{"true"}, []any(nil)
	add := func(c string, a ...any) { cond, args = append(cond, c), append(args, a...) }
	if f.Message != 0 {
		add("r.message = ?", f.Message)
	}
	if f.Recipient != "" {
		local, domain, _ := cutAddress(f.Recipient)
		add("lower(r.address) IN (lower(?), lower(?))", f.Recipient, local+"@"+nextDomain(domain))
	}
	if f.Domain != "" {
		add("r.domain = ?", nextDomain(f.Domain))
	}
	if f.Account != 0 {
		add("m.account = ?", f.Account)
	}
	if f.OlderThan != 0 {
		add("max(m.queued, m.release) <= ?", time.Now().Add(-f.OlderThan).Unix())
	}
	if f.Released {
		add("m.release <= ?", now())
	}
	if f.Held != nil {
		add("r.held = ?", *f.Held)
	}
	return strings.Join(cond, " AND "), args
}

// A QueueRow is a recipient with its message.
type QueueRow struct {
	QueuedMessage
	QueuedRecipient
}

// Queue lists the chosen recipients, the oldest first, at most limit.
func (db *DB) Queue(ctx context.Context, f QueueFilter, limit int) ([]QueueRow, error) {
	where, args := f.where()
	rows, err := db.readDB.QueryContext(ctx, `SELECT `+recipientColumns+`, `+messageColumns+` FROM queue_recipient r
		JOIN queue_message m ON m.id = r.message `+lastAttempt+` WHERE `+where+` ORDER BY r.id LIMIT ?`, append(args, limit)...)
	return collect(rows, err, scanRow)
}

func scanRow(scan func(...any) error) (q QueueRow, err error) {
	q.QueuedMessage, err = scanQueued(func(message ...any) error {
		q.QueuedRecipient, err = scanRecipient(scan, message...)
		return err
	})
	return q, err
}

// A QueueAction is what the operator wants of recipients: one of its fields.
type QueueAction struct {
	Retry bool    // try now, also before the release time; what is held stays held
	Hold  bool    // do not try
	Free  bool    // undo Hold; the release time stands
	Drop  bool    // forget, without a report
	Route *string // send there instead of to the domain's own hosts; "" undoes it
}

// ActOnQueue does it to all chosen recipients, 500 at a time, and returns how
// many there were.
func (db *DB) ActOnQueue(ctx context.Context, f QueueFilter, a QueueAction) (int, error) {
	where, args := f.where()
	rows, err := db.readDB.QueryContext(ctx, `SELECT r.id FROM queue_recipient r JOIN queue_message m ON m.id = r.message WHERE `+where, args...)
	ids, err := collect(rows, err, func(scan func(...any) error) (id QueuedID, err error) { return id, scan(&id) })
	if err != nil {
		return 0, err
	}
	total := 0
	for len(ids) > 0 {
		part := ids[:min(len(ids), slice)]
		ids = ids[len(part):]
		n := 0
		err := db.writer.free(ctx, func(t *tx) error {
			n = 0
			for _, id := range part {
				there, err := t.actOnQueued(id, a)
				if err != nil {
					return fmt.Errorf("recipient %d: %w", id, err)
				}
				if there {
					n++
				}
			}
			return nil
		})
		if err != nil {
			return total, err
		}
		total += n
	}
	return total, nil
}

func (t *tx) actOnQueued(id QueuedID, a QueueAction) (there bool, err error) {
	var n int64
	switch {
	case a.Drop:
		return t.dequeue(id)
	case a.Hold:
		n, err = t.affected(`UPDATE queue_recipient SET held = 1 WHERE id = ?`, id)
	case a.Free:
		n, err = t.affected(`UPDATE queue_recipient SET held = 0 WHERE id = ?`, id)
	case a.Retry:
		n, err = t.affected(`UPDATE queue_recipient SET due = min(due, ?) WHERE id = ?`, now(), id)
	case a.Route != nil:
		n, err = t.affected(`UPDATE queue_recipient SET route = ? WHERE id = ?`, *a.Route, id)
	}
	if err != nil || n == 0 {
		return false, err
	}
	return true, t.noteQueued(id)
}
