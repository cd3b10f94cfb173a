package storage

import (
	"context"
	"slices"
)

// The + keeps the account out of the choice of an index: expunged_mailbox fits.
const vanishedQuery = `SELECT uid FROM expunged WHERE mailbox = ? AND modseq > ? AND modseq <= ? AND +account = ? AND uid > 0`

// Vanished returns, ascending, the UIDs of a mailbox's messages that went away
// after one modseq and not after another (RFC 7162 section 3.2.10). Tombstones
// are kept for as long as their mailbox, so the answer is whole however far
// back it begins.
func (db *DB) Vanished(ctx context.Context, account AccountID, mailbox MailboxID, after, upTo ModSeq) ([]UID, error) {
	rows, err := db.readDB.QueryContext(ctx, vanishedQuery, mailbox, after, upTo, account)
	uids, err := collect(rows, err, func(scan func(...any) error) (u UID, err error) { return u, scan(&u) })
	slices.Sort(uids)
	return uids, err
}
