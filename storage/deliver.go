package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"mailbox/internal/message"
)

// A Delivery is one message for all of its recipients, here and elsewhere, and
// what its being on its way settles.
type Delivery struct {
	Message  *Spooled
	Received time.Time // INTERNALDATE; kept in UTC
	To       []Target
	Queue    *Outgoing    // for recipients elsewhere; nil where there are none
	Settle   []Settlement // recipients of the queue that this message reports on, or that it is for
}

// A Target is a mailbox that gets a copy.
type Target struct {
	Account  AccountID
	Mailbox  string // where it is missing, INBOX gets the message
	Flags    Flags
	Keywords []string
	Met      []string // whose mail this is, for Acquainted; none where it is not to be trusted
}

// Deliver files each message for all of its targets and queues it for all its
// recipients elsewhere, or does nothing at all. Two targets of a message that
// are one mailbox get one copy. Quotas do not matter: what was accepted is kept.
// Accounts that were removed meanwhile are left out; ErrNotFound says that
// nobody else was left, that it was one of them who sends, or that all
// recipients which a message settles are gone. ErrLimit: see Outgoing.
// ErrQueueFull: the queue would grow beyond what it may hold; a report that
// takes the place of what it reports on never does.
func (db *DB) Deliver(ctx context.Context, list ...*Delivery) error {
	contents := make([]*content, 0, len(list))
	err := db.roomInQueue(list)
	for i := 0; err == nil && i < len(list); i++ {
		var c *content
		if c, err = db.content(list[i].Message, list[i].Received.UTC(), len(list[i].To) > 0); err == nil {
			c.elsewhere = db.elsewhere(list[i].Queue)
			contents = append(contents, c)
		}
	}
	if err == nil {
		err = db.writer.do(ctx, func(t *tx) error {
			n := 0
			for i, d := range list {
				filed, err := t.deliverAll(contents[i], d)
				if err != nil {
					return err
				}
				n += filed
			}
			if n == 0 {
				return ErrNotFound
			}
			return nil
		})
	}
	for _, c := range contents {
		err = c.settle(db, err)
	}
	return err
}

func (db *DB) roomInQueue(list []*Delivery) error {
	more, less := 0, 0
	for _, d := range list {
		if d.Queue != nil {
			more += len(d.Queue.To)
		}
		less += d.done()
	}
	if more > 0 && db.queue.full(more-less) {
		return ErrQueueFull
	}
	return nil
}

// done is how many recipients leave the queue.
func (d *Delivery) done() (n int) {
	for _, s := range d.Settle {
		if s.Done {
			n++
		}
	}
	return n
}

// deliverAll returns how many got the message.
func (t *tx) deliverAll(c *content, d *Delivery) (n int, err error) {
	c.begin()
	if settled, err := t.settle(d.Settle); err != nil || settled == 0 && len(d.Settle) > 0 {
		return 0, cmp.Or(err, ErrNotFound)
	}
	for _, target := range d.To {
		err := t.deliver(c, target)
		if errors.Is(err, errNoAccount) {
			continue
		}
		if err != nil {
			return n, fmt.Errorf("deliver to account %d: %w", target.Account, err)
		}
		n++
	}
	if d.Queue != nil {
		n += len(d.Queue.To)
		if err := t.enqueue(c, d.Queue, d.Received.Unix()); err != nil {
			return n, fmt.Errorf("queue: %w", err)
		}
	}
	return n, nil
}

var errNoAccount = fmt.Errorf("account: %w", ErrNotFound)

func (t *tx) deliver(c *content, target Target) error {
	a, err := t.touch(target.Account)
	if errors.Is(err, ErrNotFound) {
		return errNoAccount
	}
	if err != nil {
		return err
	}
	b, err := t.openNamed(target.Account, target.Mailbox)
	if errors.Is(err, ErrNonexistent) {
		b, err = t.openNamed(target.Account, "INBOX")
	}
	if err != nil {
		return err
	}
	if err := t.meet(target.Account, target.Met, now()); err != nil {
		return err
	}
	email, err := c.email(t, a)
	if err != nil {
		return err
	}
	if c.filed[b.ID] {
		return nil
	}
	c.filed[b.ID] = true
	_, err = b.add(email, c.size, dayOf(c.received), target.Flags, target.Keywords)
	if errors.Is(err, ErrLimit) && len(target.Keywords) > 0 { // better without its keywords than not at all
		_, err = b.add(email, c.size, dayOf(c.received), target.Flags, nil)
	}
	return err
}

// An Upload is a message that a client puts into a mailbox.
type Upload struct {
	Message  *Spooled
	Received time.Time // INTERNALDATE, in the zone that is to be given back
	Flags    Flags
	Keywords []string
}

// Append puts messages into a mailbox, all or none (RFC 3502). ErrOverQuota,
// ErrNonexistent, ErrLimit (keywords) say why none was.
func (db *DB) Append(ctx context.Context, account AccountID, mailbox MailboxID, uploads []Upload) (validity uint32, uids []UID, err error) {
	contents := make([]*content, 0, len(uploads))
	for _, u := range uploads {
		c, cerr := db.content(u.Message, u.Received, true)
		if cerr != nil {
			err = cerr
			break
		}
		contents = append(contents, c)
	}
	if err == nil {
		err = db.writer.do(ctx, func(t *tx) error {
			b, err := t.open(account, mailbox)
			if err != nil {
				return err
			}
			validity, uids = b.UIDValidity, nil
			for i, c := range contents {
				uid, err := b.upload(c, uploads[i], 0)
				if err != nil {
					return err
				}
				uids = append(uids, uid)
			}
			return nil
		})
	}
	for _, c := range contents {
		err = c.settle(db, err)
	}
	return validity, uids, err
}

// Replace puts a message into a mailbox and takes another one away, in one
// (RFC 8508). A message that is no larger than the one that it replaces is
// never over quota. ErrExpunged: that one is gone; otherwise see Append.
func (db *DB) Replace(ctx context.Context, account AccountID, from MailboxID, old UID, to MailboxID, up Upload) (validity uint32, uid UID, err error) {
	c, err := db.content(up.Message, up.Received, true)
	if err != nil {
		return 0, 0, err
	}
	err = db.writer.do(ctx, func(t *tx) error {
		dst, err := t.open(account, to)
		if err != nil {
			return err
		}
		src, err := t.open(account, from)
		if err != nil {
			return err
		}
		s, err := src.row(old)
		if errors.Is(err, ErrNotFound) {
			return fmt.Errorf("message %d: %w", old, ErrExpunged)
		}
		if err != nil {
			return err
		}
		validity = dst.UIDValidity
		if uid, err = dst.upload(c, up, s.size); err != nil {
			return err
		}
		return src.remove(s)
	})
	return validity, uid, c.settle(db, err)
}

// upload files a message of a client in the mailbox; credit is how many bytes
// the function frees.
func (b *box) upload(c *content, up Upload, credit int64) (UID, error) {
	if c.size > credit && !b.account.fits(c.size-credit) {
		return 0, ErrOverQuota
	}
	c.begin()
	email, err := c.email(b.t, b.account)
	if err != nil {
		return 0, err
	}
	return b.add(email, c.size, dayOf(c.received), up.Flags, up.Keywords)
}

// A content is the rows that a message becomes, made before the writer is
// asked, so that the writer does nothing but write.
type content struct {
	blob          BlobID
	size          int64
	sha256        []byte
	data          []byte // compressed; nil where the blob is a file
	received      time.Time
	envelope      []byte
	bodystructure []byte
	parts         []byte
	keys          message.Keys
	messageID     string
	elsewhere     int // recipients of the queue that have no domain of ours

	stored bool // the blob has its row
	emails map[AccountID]EmailID
	filed  map[MailboxID]bool
}

// content makes the rows of a message, rendered where somebody will read it.
// The bytes of a large one are in their place on the disk, fsynced with their
// directory, when it returns.
func (db *DB) content(s *Spooled, received time.Time, render bool) (*content, error) {
	c := &content{blob: db.blobs.next(), size: s.Size, sha256: s.SHA256[:], received: received, messageID: s.Message.MessageID}
	if render {
		m := s.Message
		c.envelope, c.bodystructure = m.Envelope(), m.BodyStructure()
		c.parts = message.MarshalParts(m.Root)
		c.keys = message.KeysOf(m.Header())
	}
	if data, ok := s.row(); ok {
		c.data = data
		return c, nil
	}
	return c, s.adopt(c.blob)
}

// begin forgets what a first run of the write function did.
func (c *content) begin() {
	c.stored, c.emails, c.filed = false, map[AccountID]EmailID{}, map[MailboxID]bool{}
}

// settle clears up after a write: the file of a blob that no row names goes.
func (c *content) settle(db *DB, err error) error {
	if err != nil && c.data == nil && !isContext(err) {
		db.blobs.unlinkLater(c.blob)
	}
	return err
}

// isContext tells whether a caller stopped waiting, so that the write may still happen.
func isContext(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// store inserts the blob, the first time that it is called.
func (c *content) store(t *tx) error {
	if c.stored {
		return nil
	}
	c.stored = true
	err := t.exec(`INSERT INTO blob (id, size, sha256) VALUES (?, ?, ?)`, c.blob, c.size, c.sha256)
	if err == nil && c.data != nil {
		err = t.storePieces(c.blob, c.data)
	}
	return err
}

// email returns the account's email of this content, and inserts it.
func (c *content) email(t *tx, a *touched) (EmailID, error) {
	if id, ok := c.emails[a.id]; ok {
		return id, nil
	}
	if err := c.store(t); err != nil {
		return 0, err
	}
	id := a.nextEmail()
	thread, err := t.threadOf(a.id, id, threadIDs(c.keys))
	if err != nil {
		return 0, err
	}
	_, zone := c.received.Zone()
	err = t.exec(`INSERT INTO email (id, blob, size, received, zone, thread, envelope, bodystructure, parts)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		id, c.blob, c.size, c.received.Unix(), zone, thread, c.envelope, c.bodystructure, c.parts)
	if err == nil {
		err = t.addKeys(id, c.received, c.size, c.keys)
	}
	c.emails[a.id] = id
	return id, err
}

const selectOverQuota = `SELECT quota > 0 AND used + ? > quota FROM account WHERE id = ? AND removed = 0`

// OverQuota tells whether size more bytes would be over an account's quota.
func (db *DB) OverQuota(ctx context.Context, account AccountID, size int64) (bool, error) {
	var over bool
	err := db.reads.overQuota.QueryRowContext(ctx, size, account).Scan(&over)
	return over, classify(err)
}
