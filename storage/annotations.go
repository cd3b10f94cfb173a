package storage

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// The bounds of annotations, in octets where nothing else is said.
const (
	MaxAnnotation         = 64 << 10  // a value
	maxAnnotations        = 100       // entries of a mailbox, or of the account itself
	maxAnnotationsSize    = 256 << 10 // of those together, names included
	maxAccountAnnotations = 16 << 20  // of an account in all
)

// An Annotation is an entry of RFC 5464: a note of a client about a mailbox, or
// about the account, which the RFC calls the server.
type Annotation struct {
	Entry string // "/private/…" or "/shared/…", in lower case
	Value []byte // nil: there is none
}

// Annotations returns what a mailbox is annotated with, or the account where
// mailbox is 0, by entry.
func (db *DB) Annotations(ctx context.Context, account AccountID, mailbox MailboxID) ([]Annotation, error) {
	rows, err := db.readDB.QueryContext(ctx, `SELECT entry, value FROM annotation WHERE account = ? AND mailbox = ? ORDER BY entry`, account, mailbox)
	return collect(rows, err, scanAnnotation)
}

func scanAnnotation(scan func(...any) error) (a Annotation, err error) {
	err = scan(&a.Entry, &a.Value)
	if a.Value == nil {
		a.Value = []byte{} // the driver's form of an empty one
	}
	return a, err
}

// SetAnnotations changes annotations of a mailbox, or of the account where
// mailbox is 0, all or none; one without a value is removed. Of two for the same
// entry the last counts. ErrInvalid: a value is over MaxAnnotation; ErrLimit:
// there would be too many; ErrNonexistent: the mailbox is gone.
func (db *DB) SetAnnotations(ctx context.Context, account AccountID, mailbox MailboxID, list []Annotation) error {
	if slices.ContainsFunc(list, func(a Annotation) bool { return len(a.Value) > MaxAnnotation }) {
		return fmt.Errorf("value is over %d octets: %w", MaxAnnotation, ErrInvalid)
	}
	return db.writer.do(ctx, func(t *tx) error {
		if _, err := t.touch(account); err != nil {
			return err
		}
		if mailbox != 0 {
			if _, err := t.mailbox(account, mailbox); err != nil {
				return err
			}
		}
		return t.annotate(account, mailbox, list)
	})
}

func (t *tx) annotate(account AccountID, mailbox MailboxID, list []Annotation) error {
	for _, a := range list {
		var err error
		if a.Value == nil {
			err = t.exec(`DELETE FROM annotation WHERE account = ? AND mailbox = ? AND entry = ?`, account, mailbox, a.Entry)
		} else {
			err = t.exec(`INSERT INTO annotation (account, mailbox, entry, value) VALUES (?, ?, ?, ?)
				ON CONFLICT (account, mailbox, entry) DO UPDATE SET value = excluded.value`, account, mailbox, a.Entry, a.Value)
		}
		if err != nil {
			return err
		}
	}
	var n, size, all int64
	err := t.queryRow(`SELECT coalesce(sum(mailbox = ?), 0), coalesce(sum((mailbox = ?) * (length(entry) + length(value))), 0),
		coalesce(sum(length(entry) + length(value)), 0) FROM annotation WHERE account = ?`, mailbox, mailbox, account).Scan(&n, &size, &all)
	if err != nil {
		return err
	}
	more := slices.ContainsFunc(list, func(a Annotation) bool { return a.Value != nil })
	if more && (n > maxAnnotations || size > maxAnnotationsSize || all > maxAccountAnnotations) {
		return fmt.Errorf("%d annotations of %d octets, %d in the account: %w", n, size, all, ErrLimit)
	}
	return nil
}

// Below tells whether an entry lies under another one, at most depth levels
// down; 0 is the entry itself, a depth below 0 is any.
func (a Annotation) Below(entry string, depth int) bool {
	rest, under := strings.CutPrefix(a.Entry, entry)
	if !under || rest != "" && rest[0] != '/' {
		return false
	}
	return depth < 0 || strings.Count(rest, "/") <= depth
}
