package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"mailbox/internal/message"
)

// A searchSource reads from the store what the search index is built of.
type searchSource struct{ db *DB }

// An emailText is what of an email can be searched.
type emailText struct {
	id           EmailID
	header, body string
}

func (s searchSource) accounts(ctx context.Context) ([]AccountID, error) {
	rows, err := s.db.readDB.QueryContext(ctx, `SELECT id FROM account WHERE removed = 0`)
	return collect(rows, err, func(scan func(...any) error) (id AccountID, err error) { return id, scan(&id) })
}

// texts returns the next n emails of an account behind the given one. An email
// that cannot be read has no text: a damaged blob is not for this to report.
func (s searchSource) texts(ctx context.Context, account AccountID, after EmailID, n int) ([]emailText, error) {
	type row struct {
		id    EmailID
		blob  BlobID
		parts []byte
	}
	first := max(after+1, EmailID(account)<<32)
	rows, err := s.db.readDB.QueryContext(ctx, `SELECT id, blob, parts FROM email WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?`,
		first, EmailID(account)<<32|0xffffffff, n)
	list, err := collect(rows, err, func(scan func(...any) error) (r row, err error) {
		return r, scan(&r.id, &r.blob, &r.parts)
	})
	if err != nil {
		return nil, err
	}
	texts := make([]emailText, 0, len(list))
	for _, r := range list {
		e := emailText{id: r.id}
		root, err := message.UnmarshalParts(r.parts)
		if err == nil {
			e.header, e.body, err = s.text(ctx, r.blob, root)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil && !errors.Is(err, ErrExpunged) {
			s.db.log.Error("email cannot be indexed; run mailbox verify", "email", r.id, "err", err)
		}
		texts = append(texts, e)
	}
	return texts, nil
}

// text decodes up to maxText of a message.
func (s searchSource) text(ctx context.Context, id BlobID, root *message.Part) (header, body string, err error) {
	blob, err := s.db.OpenBlob(ctx, id)
	if err != nil {
		return "", "", err
	}
	defer blob.Close()
	raw := make([]byte, root.BodyOffset)
	if _, err := blob.ReadAt(raw, 0); err != nil && err != io.EOF {
		return "", "", fmt.Errorf("read header: %w", err)
	}
	var h, b strings.Builder
	for _, f := range message.ParseHeader(raw) {
		h.WriteString(message.DecodeWords(f.Value()))
		h.WriteByte('\n')
	}
	root.Walk(func(p *message.Part) bool {
		if p.Filename != "" {
			b.WriteString(p.Filename + "\n")
		}
		return b.Len() < maxText
	})
	err = message.Text(blob, root, func(piece []byte) bool {
		b.Write(piece)
		return b.Len() < maxText
	})
	return h.String(), b.String(), err
}
