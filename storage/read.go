package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Columns says what Messages is to read besides the numbers; what is not asked
// for costs nothing.
type Columns uint8

const (
	WantEnvelope Columns = 1 << iota
	WantBodyStructure
	WantParts
)

// Messages returns those of the messages that are still there, in UID order.
// The caller asks for at most 500 at a time and bounds memory by that; UIDs
// must be ascending.
func (db *DB) Messages(ctx context.Context, account AccountID, mailbox MailboxID, uids []UID, want Columns) ([]Message, error) {
	if len(uids) == 0 {
		return nil, nil
	}
	optional := func(c Columns, name, empty string) string {
		if want&c != 0 {
			return "e." + name
		}
		return empty
	}
	var q strings.Builder
	fmt.Fprintf(&q, `SELECT m.uid, m.email, e.thread, e.blob, e.size, e.received, e.zone, m.saved, %s, %s, %s
		FROM message m JOIN mailbox b ON b.id = m.mailbox JOIN email e ON e.id = m.email
		WHERE b.account = ? AND m.mailbox = ? AND `,
		optional(WantEnvelope, "envelope", "NULL"), optional(WantBodyStructure, "bodystructure", "NULL"),
		optional(WantParts, "parts", "NULL"))
	args := []any{account, mailbox}
	first, last := uids[0], uids[len(uids)-1]
	whole := int64(last)-int64(first)+1 == int64(len(uids))
	if whole {
		q.WriteString(`m.uid BETWEEN ? AND ?`)
		args = append(args, first, last)
	} else {
		q.WriteString(`m.uid IN (?` + strings.Repeat(",?", len(uids)-1) + `)`)
		for _, u := range uids {
			args = append(args, u)
		}
	}
	q.WriteString(` ORDER BY m.uid`)
	rows, err := db.readDB.QueryContext(ctx, q.String(), args...)
	return collect(rows, err, scanMessage)
}

func scanMessage(scan func(...any) error) (Message, error) {
	var m Message
	var received, saved int64
	var zone int
	err := scan(&m.UID, &m.Email, &m.Thread, &m.Blob, &m.Size, &received, &zone, &saved,
		&m.Envelope, &m.BodyStructure, &m.Parts)
	m.Received = time.Unix(received, 0).In(time.FixedZone("", zone))
	m.Saved = time.Unix(saved, 0).UTC()
	return m, err
}

// reads are queries that are asked for every message that comes, is sent or is
// read: to prepare them takes longer than to run them.
type reads struct{ queued, blob, address, owner, mailbox, overQuota, acquaintance *sql.Stmt }

func (r *reads) prepare(ctx context.Context, db *sql.DB) (err error) {
	for _, q := range []struct {
		stmt  **sql.Stmt
		query string
	}{
		{&r.queued, selectQueued},
		{&r.blob, selectPieces},
		{&r.address, selectAddress},
		{&r.owner, selectOwner},
		{&r.mailbox, selectMailbox},
		{&r.overQuota, selectOverQuota},
		{&r.acquaintance, selectAcquaintance},
	} {
		if *q.stmt, err = db.PrepareContext(ctx, q.query); err != nil {
			return err
		}
	}
	return nil
}

// DeletedSize is how many bytes of a mailbox have the \Deleted flag (RFC 9208
// section 4.1.4, DELETED-STORAGE).
func (db *DB) DeletedSize(ctx context.Context, account AccountID, mailbox MailboxID) (n int64, err error) {
	err = db.readDB.QueryRowContext(ctx, `SELECT coalesce(sum(e.size), 0)
		FROM message m JOIN mailbox b ON b.id = m.mailbox JOIN email e ON e.id = m.email
		WHERE b.account = ? AND m.mailbox = ? AND m.flags & ? <> 0`, account, mailbox, Deleted).Scan(&n)
	return n, err
}

// OpenBlob opens the bytes of a message that a row named. ErrExpunged: they are gone.
func (db *DB) OpenBlob(ctx context.Context, id BlobID) (*Blob, error) {
	data, size, err := readPieces(ctx, db.reads.blob, id)
	if errors.Is(err, ErrNotFound) {
		// Its row went after the caller read the message's; a file stays for ten minutes.
		return nil, ErrExpunged
	}
	if err != nil {
		return nil, fmt.Errorf("blob %d: %w", id, err)
	}
	if data != nil {
		return db.blobs.openRow(data, size)
	}
	return db.blobs.openFile(id, size)
}
