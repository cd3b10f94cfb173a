package storage

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"
)

// A Content tells messages apart that come from elsewhere: two of a mailbox
// that agree in all but Email are the same message.
type Content struct {
	Received int64             // Unix seconds
	Size     int64             // octets
	SHA256   [sha256.Size]byte // of the octets
	Email    EmailID
}

// contentSlice is how many messages one read transaction of Contents and
// Letters looks at.
const contentSlice = 500

// Contents calls yield for each message of a mailbox, in the order of UIDs. The
// large ones are read for it: a blob in a file has another digest.
func (db *DB) Contents(ctx context.Context, account AccountID, mailbox MailboxID, yield func(Content) error) error {
	type row struct {
		Content
		uid  UID
		blob BlobID
		sum  []byte // nil: in a file
	}
	const query = `SELECT m.uid, e.received, e.size, e.id, b.id, CASE WHEN EXISTS (SELECT 1 FROM piece WHERE id = b.id * 8) THEN b.sha256 END
		FROM message m JOIN mailbox x ON x.id = m.mailbox JOIN email e ON e.id = m.email JOIN blob b ON b.id = e.blob
		WHERE x.account = ? AND m.mailbox = ? AND m.uid > ? ORDER BY m.uid LIMIT ?`
	scan := func(scan func(...any) error) (r row, err error) {
		return r, scan(&r.uid, &r.Received, &r.Size, &r.Email, &r.blob, &r.sum)
	}
	return eachMessage(ctx, db, query, account, mailbox, scan, func(r row) (UID, error) {
		var err error
		if r.sum == nil {
			if r.sum, err = db.digest(ctx, r.blob); err != nil {
				return r.uid, fmt.Errorf("message %d: %w", r.uid, err)
			}
		}
		r.SHA256 = [sha256.Size]byte(r.sum)
		return r.uid, yield(r.Content)
	})
}

// A Letter is a message as it goes elsewhere.
type Letter struct {
	UID      UID
	Blob     BlobID
	Received time.Time // INTERNALDATE
	Flags    Flags
	Keywords []string
}

// Letters calls yield for each message of a mailbox, in the order of UIDs. It
// does not need the mailbox's index, which takes memory for as long as it is kept.
func (db *DB) Letters(ctx context.Context, account AccountID, mailbox MailboxID, yield func(Letter) error) error {
	const query = `SELECT m.uid, e.blob, e.received, e.zone, m.flags, m.keywords, x.keywords
		FROM message m JOIN mailbox x ON x.id = m.mailbox JOIN email e ON e.id = m.email
		WHERE x.account = ? AND m.mailbox = ? AND m.uid > ? ORDER BY m.uid LIMIT ?`
	scan := func(scan func(...any) error) (l Letter, err error) {
		var received int64
		var zone int
		var set []byte
		var names string
		err = scan(&l.UID, &l.Blob, &received, &zone, &l.Flags, &set, &names)
		l.Received = time.Unix(received, 0).In(time.FixedZone("", zone))
		if len(set) > 0 {
			l.Keywords = keywordNames(string(set), splitKeywords(names))
		}
		return l, err
	}
	return eachMessage(ctx, db, query, account, mailbox, scan, func(l Letter) (UID, error) { return l.UID, yield(l) })
}

// eachMessage calls yield for the rows of a mailbox, which tells the UID of
// each. No transaction is open meanwhile.
func eachMessage[T any](ctx context.Context, db *DB, query string, account AccountID, mailbox MailboxID,
	scan func(func(...any) error) (T, error), yield func(T) (UID, error),
) error {
	for after := UID(0); ; {
		rows, err := db.readDB.QueryContext(ctx, query, account, mailbox, after, contentSlice)
		list, err := collect(rows, err, scan)
		if err != nil {
			return err
		}
		for _, row := range list {
			if after, err = yield(row); err != nil {
				return err
			}
		}
		if len(list) < contentSlice {
			return nil
		}
	}
}

// digest reads a blob. What went meanwhile has one that nothing else has.
func (db *DB) digest(ctx context.Context, id BlobID) ([]byte, error) {
	h := sha256.New()
	blob, err := db.OpenBlob(ctx, id)
	if err == nil {
		_, err = io.Copy(h, io.NewSectionReader(blob, 0, blob.Size))
		blob.Close() //nolint:errcheck // it was only read
	}
	if errors.Is(err, ErrExpunged) {
		return make([]byte, sha256.Size), nil
	}
	return h.Sum(nil), err
}
