package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// An Origin is a mailbox of another server in one life of its UIDs, from which
// mail is pulled.
type Origin struct {
	Source      string // the account there
	Mailbox     string // its name there
	UIDValidity uint32
}

// A Pulled is what is remembered of a message that came from an origin.
type Pulled struct {
	UID     uint32   // there
	Email   EmailID  // here; it may be gone
	Mailbox string   // here, that it was put into; "" where that is gone
	Size    int64    // octets, as they came
	SHA256  []byte   // of these
	Flags   []string // as last seen there
}

// A Pull is a message to put into a mailbox, and to be remembered.
type Pull struct {
	Pulled
	Upload Upload // not used where Email says that the message is here already
}

// A PullChange is what happened to a message of an origin.
type PullChange struct {
	UID    uint32   // there
	Flags  []string // that it has there now
	Gone   bool     // it is no longer there, and is forgotten
	Remove bool     // with Gone: it goes here too
}

// Pulled calls yield for each message that is remembered of an origin, in the
// order of UIDs.
func (db *DB) Pulled(ctx context.Context, account AccountID, o Origin, yield func(Pulled) error) error {
	for after, n := int64(0), contentSlice; n == contentSlice; {
		rows, err := db.readDB.QueryContext(ctx, `SELECT p.uid, p.email, p.mailbox, p.size, p.sha256, p.flags
			FROM origin o JOIN pulled p ON p.origin = o.id
			WHERE o.account = ? AND o.source = ? AND o.mailbox = ? AND o.validity = ? AND p.uid > ? ORDER BY p.uid LIMIT ?`,
			account, o.Source, o.Mailbox, o.UIDValidity, after, contentSlice)
		list, err := collect(rows, err, func(scan func(...any) error) (p Pulled, err error) {
			var flags string
			err = scan(&p.UID, &p.Email, &p.Mailbox, &p.Size, &p.SHA256, &flags)
			p.Flags = strings.Fields(flags)
			return p, err
		})
		if err != nil {
			return err
		}
		for _, p := range list {
			after = int64(p.UID)
			if err := yield(p); err != nil {
				return err
			}
		}
		n = len(list)
	}
	return nil
}

// PulledCopies calls yield for each message that is remembered of an origin and
// still here, with its size and the SHA-256 of its octets as they are stored.
func (db *DB) PulledCopies(ctx context.Context, account AccountID, o Origin, yield func(Pulled) error) error {
	for after, n := int64(0), contentSlice; n == contentSlice; {
		rows, err := db.readDB.QueryContext(ctx, `SELECT p.uid, e.id, b.id, b.size, CASE WHEN EXISTS (SELECT 1 FROM piece WHERE id = b.id * 8) THEN b.sha256 END
			FROM origin o JOIN pulled p ON p.origin = o.id LEFT JOIN email e ON e.id = p.email LEFT JOIN blob b ON b.id = e.blob
			WHERE o.account = ? AND o.source = ? AND o.mailbox = ? AND o.validity = ? AND p.uid > ? ORDER BY p.uid LIMIT ?`,
			account, o.Source, o.Mailbox, o.UIDValidity, after, contentSlice)
		type row struct {
			uid               uint32
			email, blob, size sql.NullInt64
			sum               []byte
		}
		list, err := collect(rows, err, func(scan func(...any) error) (r row, err error) {
			return r, scan(&r.uid, &r.email, &r.blob, &r.size, &r.sum)
		})
		if err != nil {
			return err
		}
		for _, r := range list {
			after = int64(r.uid)
			if !r.blob.Valid {
				continue
			}
			if r.sum == nil {
				if r.sum, err = db.digest(ctx, BlobID(r.blob.Int64)); err != nil {
					return err
				}
			}
			if err := yield(Pulled{UID: r.uid, Email: EmailID(r.email.Int64), Size: r.size.Int64, SHA256: r.sum}); err != nil {
				return err
			}
		}
		n = len(list)
	}
	return nil
}

// Pull puts messages into a mailbox and remembers their UIDs of the origin, all
// of it or nothing. A UID that is remembered already is left out, and so are the
// keywords of a message for which the mailbox has no room. See Append for errors.
func (db *DB) Pull(ctx context.Context, account AccountID, mailbox MailboxID, o Origin, list []Pull) error {
	contents := make([]*content, len(list))
	var err error
	for i, p := range list {
		if p.Email == 0 && err == nil {
			contents[i], err = db.content(p.Upload.Message, p.Upload.Received, true)
		}
	}
	if err == nil {
		err = db.writer.do(ctx, func(t *tx) error { return t.pull(account, mailbox, o, list, contents) })
	}
	for _, c := range contents {
		if c != nil {
			err = c.settle(db, err)
		}
	}
	return err
}

func (t *tx) pull(account AccountID, mailbox MailboxID, o Origin, list []Pull, contents []*content) error {
	b, err := t.open(account, mailbox)
	if err != nil {
		return err
	}
	origin, err := t.origin(account, o)
	if err != nil {
		return err
	}
	for i, p := range list {
		if c := contents[i]; c != nil {
			c.begin()
		}
		_, err := t.pulled(origin, p.UID)
		if err == nil {
			continue
		}
		if !errors.Is(err, ErrNotFound) {
			return err
		}
		email := p.Email
		if contents[i] == nil && email.Account() != account {
			return fmt.Errorf("email %d is of another account: %w", email, ErrInvalid)
		}
		if c := contents[i]; c != nil {
			_, err := b.upload(c, p.Upload, 0)
			if errors.Is(err, ErrLimit) && len(p.Upload.Keywords) > 0 { // better without its keywords than not at all
				p.Upload.Keywords = nil
				_, err = b.upload(c, p.Upload, 0)
			}
			if err != nil {
				return fmt.Errorf("UID %d: %w", p.UID, err)
			}
			email = c.emails[account]
		}
		if err := t.exec(`INSERT INTO pulled (origin, uid, email, mailbox, size, sha256, flags) VALUES (?, ?, ?, ?, ?, ?, ?)`,
			origin, p.UID, email, p.Mailbox, p.Size, p.SHA256, strings.Join(p.Flags, " ")); err != nil {
			return err
		}
	}
	return nil
}

// origin returns the number of an origin, which it may get now.
func (t *tx) origin(account AccountID, o Origin) (id int64, err error) {
	err = t.queryRow(`SELECT id FROM origin WHERE account = ? AND source = ? AND mailbox = ? AND validity = ?`,
		account, o.Source, o.Mailbox, o.UIDValidity).Scan(&id)
	if errors.Is(err, ErrNotFound) {
		return t.insert(`INSERT INTO origin (account, source, mailbox, validity) VALUES (?, ?, ?, ?)`, account, o.Source, o.Mailbox, o.UIDValidity)
	}
	return id, err
}

func (t *tx) pulled(origin int64, uid uint32) (p Pulled, err error) {
	var flags string
	err = t.queryRow(`SELECT email, flags FROM pulled WHERE origin = ? AND uid = ?`, origin, uid).Scan(&p.Email, &flags)
	p.Flags = strings.Fields(flags)
	return p, err
}

// ChangePulled does what happened at an origin to the messages here, all of it
// or nothing. Of the flags only what changed there since it was last seen is
// done here, so that what the user did stays. A keyword that a mailbox cannot
// have any more is left out.
func (db *DB) ChangePulled(ctx context.Context, account AccountID, o Origin, changes []PullChange) error {
	return db.writer.do(ctx, func(t *tx) error {
		origin, err := t.origin(account, o)
		if err != nil {
			return err
		}
		for _, c := range changes {
			if err := t.changePulled(account, origin, c); err != nil {
				return fmt.Errorf("UID %d: %w", c.UID, err)
			}
		}
		return nil
	})
}

func (t *tx) changePulled(account AccountID, origin int64, c PullChange) error {
	was, err := t.pulled(origin, c.UID)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if c.Gone {
		if err := t.exec(`DELETE FROM pulled WHERE origin = ? AND uid = ?`, origin, c.UID); err != nil || !c.Remove {
			return err
		}
		return t.eachOf(account, was.Email, func(b *box, uid UID) error {
			s, err := b.row(uid)
			if err != nil {
				return err
			}
			return b.remove(s)
		})
	}
	if err := t.exec(`UPDATE pulled SET flags = ? WHERE origin = ? AND uid = ?`, strings.Join(c.Flags, " "), origin, c.UID); err != nil {
		return err
	}
	more, fewer := difference(c.Flags, was.Flags), difference(was.Flags, c.Flags)
	return t.eachOf(account, was.Email, func(b *box, uid UID) error {
		return errors.Join(b.storeNames(uid, AddFlags, more), b.storeNames(uid, RemoveFlags, fewer))
	})
}

// eachOf calls do for each message that is an email.
func (t *tx) eachOf(account AccountID, email EmailID, do func(*box, UID) error) error {
	if email.Account() != account {
		return fmt.Errorf("email %d is of another account: %w", email, ErrInvalid)
	}
	type place struct {
		mailbox MailboxID
		uid     UID
	}
	rows, err := t.query(`SELECT mailbox, uid FROM message WHERE email = ? ORDER BY mailbox, uid`, email)
	places, err := collect(rows, err, func(scan func(...any) error) (p place, err error) { return p, scan(&p.mailbox, &p.uid) })
	for _, p := range places {
		b, err := t.open(account, p.mailbox)
		if err != nil {
			return err
		}
		if err := do(b, p.uid); err != nil {
			return err
		}
	}
	return err
}

// storeNames adds flags to a message or takes them away, by their names.
func (b *box) storeNames(uid UID, op FlagOp, names []string) error {
	flags, keywords, _ := ParseFlags(names)
	if len(names) == 0 {
		return nil
	}
	err := b.store([]UID{uid}, FlagChange{Op: op, Flags: flags, Keywords: keywords}, &FlagResult{})
	if errors.Is(err, ErrLimit) {
		err = b.store([]UID{uid}, FlagChange{Op: op, Flags: flags}, &FlagResult{})
	}
	return err
}

// difference is what of a is not in b, in any case.
func difference(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(name string) bool {
		return slices.ContainsFunc(b, func(other string) bool { return strings.EqualFold(name, other) })
	})
}
