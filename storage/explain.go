package storage

import (
	"context"
	"strings"
	"sync"
	"time"
)

// An Explanation says what became of a message that a peer brought, and why.
// It has nothing of the message but its Message-ID.
type Explanation struct {
	At         time.Time
	Trace      string // the id in our Received field and in the log
	MessageID  string
	Sender     string // reverse-path
	Recipients []string
	Peer       string // IP address
	Outcome    string // in words: "filed", "550 5.7.26 …"
	Checks     string // JSON
}

const (
	maxExplanations = 100_000
	explanationLife = 30 * 24 * time.Hour
	explainEvery    = time.Second
	maxUnwritten    = 1000
	dailyWork       = 24 * time.Hour
)

// explanations gathers what is to be written, since none of it is worth a
// commit of its own. What a crash takes is not missed.
type explanations struct {
	writing sync.Mutex // one write at a time, which those wait for who look something up

	mu    sync.Mutex
	list  []Explanation
	ready chan struct{}
}

// Explain keeps an explanation for 30 days, if it is among the last 100,000.
// It never blocks; what comes faster than it can be written is left out.
func (db *DB) Explain(e Explanation) {
	db.explained.mu.Lock()
	if len(db.explained.list) < maxUnwritten {
		db.explained.list = append(db.explained.list, e)
	}
	db.explained.mu.Unlock()
	select {
	case db.explained.ready <- struct{}{}:
	default:
	}
}

// Explanations returns what became of the messages of a trace id, a Message-ID,
// or an address (as sender or recipient), the newest first, at most limit.
func (db *DB) Explanations(ctx context.Context, what string, limit int) ([]Explanation, error) {
	db.writeExplanations() //nolint:errcheck // what could not be written is not found
	if what == "" {
		return nil, nil
	}
	where, args := `trace = ?1 OR message_id IN (?1, '<' || ?1 || '>')`, []any{what}
	if address, err := ParseAddress(what); err == nil && !strings.HasPrefix(what, "<") {
		where += ` OR sender = ?2 OR instr(' ' || recipients || ' ', ' ' || ?2 || ' ') > 0`
		args = append(args, address)
	}
	rows, err := db.readDB.QueryContext(ctx, `SELECT at, trace, message_id, sender, recipients, peer, outcome, checks FROM explanation
		WHERE `+where+` ORDER BY id DESC LIMIT ?`, append(args, limit)...)
	return collect(rows, err, func(scan func(...any) error) (e Explanation, err error) {
		var at int64
		var recipients string
		err = scan(&at, &e.Trace, &e.MessageID, &e.Sender, &recipients, &e.Peer, &e.Outcome, &e.Checks)
		e.At, e.Recipients = time.UnixMilli(at), strings.Fields(recipients)
		return e, err
	})
}

// explainInBackground writes explanations once a second.
func (db *DB) explainInBackground(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-db.explained.ready:
		}
		if err := db.writeExplanations(); err != nil {
			db.log.Warn("explanations could not be written", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(explainEvery):
		}
	}
}

// writeExplanations does not stop half-way: what was taken from the list would
// be lost.
func (db *DB) writeExplanations() error {
	db.explained.writing.Lock()
	defer db.explained.writing.Unlock()
	db.explained.mu.Lock()
	list := db.explained.list
	db.explained.list = nil
	db.explained.mu.Unlock()
	if len(list) == 0 {
		return nil
	}
	return db.writer.do(context.Background(), func(t *tx) error {
		for _, e := range list {
			err := t.exec(`INSERT INTO explanation (at, trace, message_id, sender, recipients, peer, outcome, checks) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
				e.At.UnixMilli(), e.Trace, e.MessageID, cleanOrSame(e.Sender), recipientList(e.Recipients), e.Peer, e.Outcome, e.Checks)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// recipientList renders addresses parted by spaces, of which they have none.
func recipientList(list []string) string {
	clean := make([]string, len(list))
	for i, a := range list {
		clean[i] = strings.Join(strings.Fields(cleanOrSame(a)), "?")
	}
	return strings.Join(clean, " ")
}

func cleanOrSame(address string) string {
	if clean, err := ParseAddress(address); err == nil {
		return clean
	}
	return address
}

// forgetDaily forgets once a day, beginning soon after the start.
func (db *DB) forgetDaily(ctx context.Context) error {
	for wait := time.Minute; ; wait = dailyWork {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		if err := db.forget(ctx); err != nil && ctx.Err() == nil {
			db.log.Warn("old explanations could not be removed", "err", err)
		}
	}
}

// forget removes what is too old, or too much.
func (db *DB) forget(ctx context.Context) error {
	return db.writer.do(ctx, func(t *tx) error {
		err := t.exec(`DELETE FROM explanation WHERE at < ? OR id <= (SELECT max(id) FROM explanation) - ?`,
			time.Now().Add(-explanationLife).UnixMilli(), maxExplanations)
		if err != nil {
			return err
		}
		return t.forgetAcquaintances()
	})
}
