package storage

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

// maxQueue is how many recipients may wait in the queue.
const maxQueue = 200_000

// An Outgoing is a message for recipients elsewhere, and for those of ours who
// get it later or whose sender wants a report.
type Outgoing struct {
	Account    AccountID // who submitted it; 0: it is forwarded, or a report of ours
	DailyLimit int       // recipients elsewhere, of the account on a day (UTC), beyond which ErrLimit; 0 means no limit
	Sender     string    // reverse-path; "" is the null one
	Skip       int64     // octets at the begin of the message that stay here
	UTF8       bool      // the header needs SMTPUTF8 (RFC 6531)
	RequireTLS bool      // RFC 8689
	Ret, EnvID string    // RFC 3461
	Release    time.Time // not before; zero: at once
	To         []OutgoingRecipient
}

// An OutgoingRecipient is one of its recipients.
type OutgoingRecipient struct {
	Address string
	Notify  string // RFC 3461: "NEVER", or of "SUCCESS,FAILURE,DELAY"; "" is the default
	ORCPT   string // "rfc822;address"; "" is none
}

// A QueueEntry is where a recipient of the queue stands: what is needed to
// know when and where to send.
type QueueEntry struct {
	Recipient QueuedID
	Message   QueueID
	Sender    string
	Domain    string    // of the address, in lower-case A-labels
	Route     string    // a host that the operator named instead; "" is none
	Queued    time.Time // accepted, or released where that is later
	Release   time.Time // not before; zero: at once
	Due       time.Time
	Attempts  int
	Noticed   bool // its sender was told that it is late
	Held      bool // by the operator
	TLS       bool // the sender asked for REQUIRETLS (RFC 8689)
	Gone      bool // delivered, failed, or dropped
}

// A QueuedMessage is a message of the queue with those recipients that were asked for.
type QueuedMessage struct {
	ID         QueueID
	Account    AccountID
	Blob       BlobID
	Skip       int64
	Size       int64 // octets behind Skip
	Sender     string
	MessageID  string
	UTF8       bool
	RequireTLS bool
	Ret, EnvID string
	Queued     time.Time
	Release    time.Time // zero: at once
	To         []QueuedRecipient
}

// A QueuedRecipient is a recipient that waits for its message.
type QueuedRecipient struct {
	ID       QueuedID
	Address  string
	Domain   string
	Route    string
	Notify   string
	ORCPT    string
	Due      time.Time
	Held     bool
	Noticed  bool
	Attempts int
	Last     Attempt // zero where there was none
}

// An Attempt is one try to send to one recipient.
type Attempt struct {
	At      time.Time
	Took    time.Duration
	Host    string // "mx.example.org", or what was tried where no host was found
	Address string // its IP address and port; "" where none was reached
	TLS     string // "TLS 1.3, certificate not checked"; "" is plain text
	Stage   string // "dns", "connect", "greeting", "mail", "rcpt", "data" …
	Reply   string // "451 4.3.0 …", or what went wrong
}

// A Settlement is what became of an attempt for one recipient.
type Settlement struct {
	Recipient QueuedID
	Done      bool      // delivered or given up: the recipient leaves the queue
	Due       time.Time // of the next attempt where it is not done
	Noticed   bool      // the sender is told now that it is late
	Attempt   *Attempt  // nil where none was made
}

const messageColumns = `m.id, m.account, m.blob, m.skip, m.size, m.sender, m.message_id, m.utf8, m.require_tls, m.ret, m.envid, m.queued, m.release`

func scanQueued(scan func(...any) error, more ...any) (m QueuedMessage, err error) {
	var queued, release int64
	err = scan(append([]any{
		&m.ID, &m.Account, &m.Blob, &m.Skip, &m.Size, &m.Sender, &m.MessageID, &m.UTF8, &m.RequireTLS, &m.Ret, &m.EnvID, &queued, &release,
	}, more...)...)
	m.Queued = time.Unix(queued, 0)
	if release > 0 {
		m.Release = time.Unix(release, 0)
	}
	return m, err
}

// enqueue inserts a message into the queue.
func (t *tx) enqueue(c *content, o *Outgoing, at int64) error {
	if err := t.countSent(c, o, at); err != nil {
		return err
	}
	if err := c.store(t); err != nil {
		return err
	}
	release := int64(0)
	if !o.Release.IsZero() {
		release = o.Release.Unix()
	}
	due := max(at, release)
	id, err := t.insert(`INSERT INTO queue_message (account, blob, skip, size, sender, message_id, utf8, require_tls, ret, envid, queued, release)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		o.Account, c.blob, o.Skip, c.size-o.Skip, o.Sender, c.messageID, o.UTF8, o.RequireTLS, o.Ret, o.EnvID, at, release)
	if err != nil {
		return err
	}
	for _, r := range o.To {
		_, domain, _ := cutAddress(r.Address)
		domain = nextDomain(domain)
		n, err := t.insert(`INSERT INTO queue_recipient (message, address, domain, notify, orcpt, due) VALUES (?, ?, ?, ?, ?, ?)`,
			id, r.Address, domain, r.Notify, r.ORCPT, due)
		if err != nil {
			return err
		}
		e := QueueEntry{
			Recipient: QueuedID(n), Message: QueueID(id), Sender: o.Sender, Domain: domain, Queued: time.Unix(due, 0), Due: time.Unix(due, 0), TLS: o.RequireTLS,
		}
		if release > 0 {
			e.Release = time.Unix(release, 0)
		}
		t.queue = append(t.queue, e)
	}
	return nil
}

// nextDomain brings the domain of a recipient to the one form by which the
// queue knows it: lower-case A-labels, or an address literal.
func nextDomain(domain string) string {
	if clean, err := cleanDomain(domain); err == nil {
		return clean
	}
	return strings.ToLower(domain)
}

const secondsOfDay = 24 * 60 * 60

// elsewhere is how many recipients have no domain of ours.
func (db *DB) elsewhere(o *Outgoing) (n int) {
	if o == nil {
		return 0
	}
	for _, r := range o.To {
		if _, domain, _ := cutAddress(r.Address); !db.LocalDomain(domain) {
			n++
		}
	}
	return n
}

// countSent adds to what the account has sent elsewhere today.
func (t *tx) countSent(c *content, o *Outgoing, at int64) error {
	if o.Account == 0 {
		return nil
	}
	day := at / secondsOfDay
	var n int
	err := t.queryRow(`INSERT INTO sent (account, day, recipients) SELECT id, ?, ? FROM account WHERE id = ? AND removed = 0
		ON CONFLICT DO UPDATE SET recipients = recipients + excluded.recipients RETURNING recipients`, day, c.elsewhere, o.Account).Scan(&n)
	if errors.Is(err, ErrNotFound) {
		return errNoAccount
	}
	if err != nil {
		return err
	}
	if o.DailyLimit > 0 && n > o.DailyLimit {
		return fmt.Errorf("more than %d recipients today: %w", o.DailyLimit, ErrLimit)
	}
	return t.exec(`DELETE FROM sent WHERE account = ? AND day < ?`, o.Account, day)
}

// SentToday is how many recipients elsewhere an account has written to since
// midnight (UTC).
func (db *DB) SentToday(ctx context.Context, account AccountID) (n int, err error) {
	err = db.readDB.QueryRowContext(ctx, `SELECT coalesce(max(recipients), 0) FROM sent WHERE account = ? AND day = ?`, account, now()/secondsOfDay).Scan(&n)
	return n, err
}

// Settle records what became of recipients. Those that are gone already are
// left out.
func (db *DB) Settle(ctx context.Context, list []Settlement) error {
	if len(list) == 0 {
		return nil
	}
	return db.writer.free(ctx, func(t *tx) error {
		_, err := t.settle(list)
		return err
	})
}

// settle returns how many of the recipients were there.
func (t *tx) settle(list []Settlement) (n int, err error) {
	for _, s := range list {
		there := true
		if s.Done {
			there, err = t.dequeue(s.Recipient)
		} else {
			there, err = t.postpone(s)
		}
		if err != nil {
			return n, fmt.Errorf("settle recipient %d: %w", s.Recipient, err)
		}
		if there {
			n++
		}
	}
	return n, nil
}

// dequeue removes a recipient, and the message after its last one.
func (t *tx) dequeue(id QueuedID) (there bool, err error) {
	var m QueueID
	err = t.queryRow(`DELETE FROM queue_recipient WHERE id = ? RETURNING message`, id).Scan(&m)
	if err == ErrNotFound {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	t.queue = append(t.queue, QueueEntry{Recipient: id, Message: m, Gone: true})
	var blob BlobID
	err = t.queryRow(`DELETE FROM queue_message WHERE id = ? AND NOT EXISTS (SELECT 1 FROM queue_recipient WHERE message = ?) RETURNING blob`, m, m).Scan(&blob)
	if err == ErrNotFound {
		return true, nil
	}
	if err != nil {
		return true, err
	}
	return true, t.dropBlob(blob)
}

// postpone sets when a recipient is tried again.
func (t *tx) postpone(s Settlement) (there bool, err error) {
	tried := 0
	if s.Attempt != nil {
		tried = 1
	}
	n, err := t.affected(`UPDATE queue_recipient SET due = ?, noticed = max(noticed, ?), attempts = attempts + ? WHERE id = ?`,
		s.Due.Unix(), s.Noticed, tried, s.Recipient)
	if err != nil || n == 0 {
		return false, err
	}
	if a := s.Attempt; a != nil {
		err := t.exec(`INSERT INTO queue_attempt (recipient, number, at, took, host, address, tls, stage, reply)
			SELECT id, attempts, ?, ?, ?, ?, ?, ?, ? FROM queue_recipient WHERE id = ?`,
			a.At.UnixMilli(), a.Took.Milliseconds(), a.Host, a.Address, a.TLS, a.Stage, a.Reply, s.Recipient)
		if err != nil {
			return true, err
		}
	}
	return true, t.noteQueued(s.Recipient)
}

const entryColumns = `r.id, r.message, m.sender, r.domain, r.route, max(m.queued, m.release), m.release, r.due, r.attempts, r.noticed, r.held, m.require_tls`

func scanEntry(scan func(...any) error) (e QueueEntry, err error) {
	var queued, release, due int64
	err = scan(&e.Recipient, &e.Message, &e.Sender, &e.Domain, &e.Route, &queued, &release, &due, &e.Attempts, &e.Noticed, &e.Held, &e.TLS)
	e.Queued, e.Due = time.Unix(queued, 0), time.Unix(due, 0)
	if release > 0 {
		e.Release = time.Unix(release, 0)
	}
	return e, err
}

// noteQueued tells the watcher how a recipient stands.
func (t *tx) noteQueued(id QueuedID) error {
	e, err := scanEntry(t.queryRow(`SELECT `+entryColumns+` FROM queue_recipient r JOIN queue_message m ON m.id = r.message WHERE r.id = ?`, id).Scan)
	if err == nil {
		t.queue = append(t.queue, e)
	}
	return err
}

// QueueEntries returns where every recipient of the queue stands.
func (db *DB) QueueEntries(ctx context.Context) ([]QueueEntry, error) {
	rows, err := db.readDB.QueryContext(ctx, `SELECT `+entryColumns+` FROM queue_recipient r JOIN queue_message m ON m.id = r.message ORDER BY r.id`)
	return collect(rows, err, scanEntry)
}

// QueuedMessage returns a message of the queue with all of its recipients.
// ErrNotFound: it has left the queue.
func (db *DB) QueuedMessage(ctx context.Context, id QueueID) (QueuedMessage, error) {
	return db.QueuedPart(ctx, id, 1, math.MaxInt64)
}

// QueuedPart returns a message of the queue with those of its recipients whose
// numbers are from first to last. ErrNotFound: they have left the queue.
func (db *DB) QueuedPart(ctx context.Context, id QueueID, first, last QueuedID) (QueuedMessage, error) {
	rows, err := db.reads.queued.QueryContext(ctx, id, first, last)
	list, err := collect(rows, err, scanRow)
	if err != nil {
		return QueuedMessage{}, err
	}
	if len(list) == 0 {
		return QueuedMessage{}, ErrNotFound
	}
	m := list[0].QueuedMessage
	for _, row := range list {
		m.To = append(m.To, row.QueuedRecipient)
	}
	return m, nil
}

const selectQueued = `SELECT ` + recipientColumns + `, ` + messageColumns + ` FROM queue_message m JOIN queue_recipient r ON r.message = m.id ` + lastAttempt + `
	WHERE m.id = ? AND r.id BETWEEN ? AND ? ORDER BY r.id`

const (
	recipientColumns = `r.id, r.address, r.domain, r.route, r.notify, r.orcpt, r.due, r.held, r.noticed, r.attempts,
		coalesce(a.at, 0), coalesce(a.took, 0), coalesce(a.host, ''), coalesce(a.address, ''), coalesce(a.tls, ''), coalesce(a.stage, ''), coalesce(a.reply, '')`
	lastAttempt = `LEFT JOIN queue_attempt a ON a.recipient = r.id AND a.number = r.attempts`
)

func scanRecipient(scan func(...any) error, more ...any) (r QueuedRecipient, err error) {
	var due, at, took int64
	err = scan(append([]any{
		&r.ID, &r.Address, &r.Domain, &r.Route, &r.Notify, &r.ORCPT, &due, &r.Held, &r.Noticed, &r.Attempts,
		&at, &took, &r.Last.Host, &r.Last.Address, &r.Last.TLS, &r.Last.Stage, &r.Last.Reply,
	}, more...)...)
	r.Due = time.Unix(due, 0)
	if r.Attempts > 0 {
		r.Last.At, r.Last.Took = time.UnixMilli(at), time.Duration(took)*time.Millisecond
	}
	return r, err
}

// Attempts returns every attempt for a recipient, the first one first.
func (db *DB) Attempts(ctx context.Context, id QueuedID) ([]Attempt, error) {
	rows, err := db.readDB.QueryContext(ctx, `SELECT at, took, host, address, tls, stage, reply FROM queue_attempt WHERE recipient = ? ORDER BY number`, id)
	return collect(rows, err, func(scan func(...any) error) (a Attempt, err error) {
		var at, took int64
		err = scan(&at, &took, &a.Host, &a.Address, &a.TLS, &a.Stage, &a.Reply)
		a.At, a.Took = time.UnixMilli(at), time.Duration(took)*time.Millisecond
		return a, err
	})
}
