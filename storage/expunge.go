package storage

import (
	"context"
	"slices"
)

// Expunge removes messages that have the \Deleted flag, of the given UIDs
// (ascending) or of the whole mailbox where uids is nil, in slices of 500.
// Messages that are gone already are no error.
func (db *DB) Expunge(ctx context.Context, account AccountID, mailbox MailboxID, uids []UID) error {
	if uids == nil {
		rows, err := db.readDB.QueryContext(ctx, `SELECT uid FROM message WHERE mailbox = ? AND flags & ? <> 0 ORDER BY uid`, mailbox, Deleted)
		if uids, err = collect(rows, err, func(scan func(...any) error) (u UID, err error) { return u, scan(&u) }); err != nil {
			return err
		}
	}
	for part := range slices.Chunk(uids, slice) {
		err := db.writer.free(ctx, func(t *tx) error {
			b, err := t.open(account, mailbox)
			if err != nil {
				return err
			}
			return b.each(part, func(s stored) error {
				if s.flags&Deleted == 0 {
					return nil
				}
				return b.remove(s)
			}, func(UID) error { return nil })
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// clearMailbox removes up to n messages, whatever their flags; done says that none is left.
func (t *tx) clearMailbox(account AccountID, mailbox MailboxID, n int) (done bool, err error) {
	b, err := t.open(account, mailbox)
	if err != nil {
		return false, err
	}
	rows, err := t.query(storedQuery+` ORDER BY m.uid LIMIT ?`, mailbox, n)
	messages, err := collect(rows, err, scanStored)
	for _, s := range messages {
		if err := b.remove(s); err != nil {
			return false, err
		}
	}
	return len(messages) < n, err
}

// sweepAccount removes what a removed account still has, slice by slice.
func (db *DB) sweepAccount(ctx context.Context, id AccountID) error {
	for done := false; !done; {
		err := db.writer.free(ctx, func(t *tx) (err error) {
			done, err = t.sweepAccount(id)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// sweepAccount removes one slice of a removed account's rows, and the account
// when nothing else is left of it.
func (t *tx) sweepAccount(id AccountID) (done bool, err error) {
	rows, err := t.query(`SELECT m.mailbox, m.uid, m.email FROM message m JOIN mailbox b ON b.id = m.mailbox WHERE b.account = ? LIMIT ?`, id, slice)
	type named struct {
		mailbox MailboxID
		uid     UID
		email   EmailID
	}
	messages, err := collect(rows, err, func(scan func(...any) error) (n named, err error) { return n, scan(&n.mailbox, &n.uid, &n.email) })
	if err != nil {
		return false, err
	}
	a := &touched{id: id}
	for _, m := range messages {
		if err := t.exec(`DELETE FROM message WHERE mailbox = ? AND uid = ?`, m.mailbox, m.uid); err != nil {
			return false, err
		}
		if err := t.dropEmail(a, m.email); err != nil {
			return false, err
		}
	}
	if len(messages) == slice {
		return false, nil
	}
	rows, err = t.query(`SELECT id FROM mailbox WHERE account = ?`, id)
	boxes, err := collect(rows, err, func(scan func(...any) error) (m MailboxID, err error) { return m, scan(&m) })
	if err != nil {
		return false, err
	}
	for _, m := range boxes {
		t.note(Change{Account: id, Mailbox: m, Kind: MailboxChanged, gone: true})
	}
	for _, q := range []string{
		`DELETE FROM annotation WHERE account = ?`,
		`DELETE FROM origin WHERE account = ?`,
		`DELETE FROM mailbox WHERE account = ?`,
		`DELETE FROM expunged WHERE account = ?`,
		`DELETE FROM acquaintance WHERE account = ?`,
		`DELETE FROM account WHERE id = ? AND removed = 1`,
	} {
		if err := t.exec(q, id); err != nil {
			return false, err
		}
	}
	return true, nil
}
