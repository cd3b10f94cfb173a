package storage

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
)

// A Content tells messages apart that come from elsewhere: two of a mailbox
// that agree in all but Email are the same message.
type Content struct {
	Received int64             // Unix seconds
	Size     int64             // octets
	SHA256   [sha256.Size]byte // of the octets
	Email    EmailID
}

// contentSlice is how many messages one read transaction of Contents looks at.
const contentSlice = 1000

// Contents calls yield for each message of a mailbox, in the order of UIDs. The
// large ones are read for it: a blob in a file has another digest.
func (db *DB) Contents(ctx context.Context, account AccountID, mailbox MailboxID, yield func(Content) error) error {
	type row struct {
		Content
		uid  UID
		blob BlobID
		sum  []byte // nil: in a file
	}
	for after := UID(0); ; {
		rows, err := db.readDB.QueryContext(ctx, `SELECT m.uid, e.received, e.size, e.id, b.id, CASE WHEN b.data IS NULL THEN NULL ELSE b.sha256 END
			FROM message m JOIN mailbox x ON x.id = m.mailbox JOIN email e ON e.id = m.email JOIN blob b ON b.id = e.blob
			WHERE x.account = ? AND m.mailbox = ? AND m.uid > ? ORDER BY m.uid LIMIT ?`, account, mailbox, after, contentSlice)
		list, err := collect(rows, err, func(scan func(...any) error) (r row, err error) {
			return r, scan(&r.uid, &r.Received, &r.Size, &r.Email, &r.blob, &r.sum)
		})
		if err != nil {
			return err
		}
		for i := range list {
			r := &list[i]
			after = r.uid
			if r.sum == nil {
				if r.sum, err = db.digest(ctx, r.blob); err != nil {
					return fmt.Errorf("message %d: %w", r.uid, err)
				}
			}
			r.SHA256 = [sha256.Size]byte(r.sum)
			if err := yield(r.Content); err != nil {
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
