package storage

import (
	"context"
	"fmt"
)

// A CopyResult says which message became which (RFC 4315 COPYUID).
type CopyResult struct {
	UIDValidity uint32
	From, To    []UID // in step
}

// Copy puts messages into another mailbox of the account, all or none.
// ErrExpunged: one of them is gone; ErrOverQuota; ErrNonexistent: a mailbox is gone.
func (db *DB) Copy(ctx context.Context, account AccountID, from MailboxID, uids []UID, to MailboxID) (CopyResult, error) {
	return db.transfer(ctx, account, from, uids, to, false)
}

// Move is Copy that takes the messages out of their mailbox (RFC 6851). Its
// emails stay what they are, and quotas do not matter.
func (db *DB) Move(ctx context.Context, account AccountID, from MailboxID, uids []UID, to MailboxID) (CopyResult, error) {
	return db.transfer(ctx, account, from, uids, to, true)
}

func (db *DB) transfer(ctx context.Context, account AccountID, from MailboxID, uids []UID, to MailboxID, move bool) (CopyResult, error) {
	var r CopyResult
	write := db.writer.do
	if move { // to Trash, more often than not
		write = db.writer.free
	}
	err := write(ctx, func(t *tx) (err error) {
		r, err = t.transfer(account, from, uids, to, move)
		return err
	})
	return r, err
}

func (t *tx) transfer(account AccountID, from MailboxID, uids []UID, to MailboxID, move bool) (CopyResult, error) {
	src, err := t.open(account, from)
	if err != nil {
		return CopyResult{}, err
	}
	dst, err := t.open(account, to)
	if err != nil {
		return CopyResult{}, err
	}
	r := CopyResult{UIDValidity: dst.UIDValidity, From: make([]UID, 0, len(uids)), To: make([]UID, 0, len(uids))}
	err = src.each(uids, func(s stored) error {
		if !move && !dst.account.fits(s.size) {
			return ErrOverQuota
		}
		n, err := dst.add(s.email, s.size, s.day, s.flags, keywordNames(s.keywords, src.Keywords))
		if err == nil && move {
			err = src.take(s)
		}
		r.From, r.To = append(r.From, s.uid), append(r.To, n)
		return err
	}, func(uid UID) error { return fmt.Errorf("message %d: %w", uid, ErrExpunged) })
	return r, err
}
