package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"mailbox/internal/message"
)

// A searchSource reads from the store what the search index is built of.
type searchSource struct{ db *DB }

// An emailText is what of an email can be searched, by kind. It is unfinished
// where a search has to read the email.
type emailText struct {
	id         EmailID
	texts      map[textKind]string
	unfinished bool
}

func (s searchSource) room() bool { return s.db.writer.reserve.there() }

func (s searchSource) accounts(ctx context.Context) ([]AccountID, error) {
	rows, err := s.db.readDB.QueryContext(ctx, `SELECT id FROM account WHERE removed = 0`)
	return collect(rows, err, func(scan func(...any) error) (id AccountID, err error) { return id, scan(&id) })
}

// busy tells whether somebody writes mail.
func (s searchSource) busy() bool {
	return time.Now().UnixNano()-s.db.writer.last.Load() < int64(100*time.Millisecond)
}

// texts returns up to n next emails of an account behind the given one, fewer
// where their text is over maxText. An email
// that cannot be read is unfinished.
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
	size := 0
	for _, r := range list {
		if size > maxText {
			break
		}
		e := emailText{id: r.id, texts: map[textKind]string{inHeader: "", inBody: ""}}
		for _, kind := range searchFields {
			e.texts[kind] = ""
		}
		root, err := message.UnmarshalParts(r.parts)
		if err == nil {
			e.unfinished, err = s.text(ctx, r.blob, root, e.texts)
		}
		e.unfinished = e.unfinished || err != nil
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil && !errors.Is(err, ErrExpunged) {
			s.db.log.Error("email cannot be indexed; run mailbox verify", "email", r.id, "err", err)
		}
		texts = append(texts, e)
		size += len(e.texts[inHeader]) + len(e.texts[inBody])
	}
	return texts, nil
}

// maxHeader is how much of a header is looked at, as by internal/message.
const maxHeader = 1 << 20

func readHeader(blob *Blob, root *message.Part) (message.Header, error) {
	raw := make([]byte, min(root.BodyOffset-root.Offset, maxHeader))
	if _, err := blob.ReadAt(raw, root.Offset); err != nil && err != io.EOF {
		return nil, fmt.Errorf("read header: %w", err)
	}
	return message.ParseHeader(raw), nil
}

// text decodes a message, and tells whether its body has more than maxText.
func (s searchSource) text(ctx context.Context, id BlobID, root *message.Part, texts map[textKind]string) (more bool, err error) {
	blob, err := s.db.OpenBlob(ctx, id)
	if err != nil {
		return false, err
	}
	defer blob.Close()
	header, err := readHeader(blob, root)
	if err != nil {
		return false, err
	}
	var h, b strings.Builder
	for _, f := range header {
		value := message.DecodeWords(f.Value())
		if kind, ok := searchFields[strings.ToLower(f.Name)]; ok {
			texts[kind] += value + "\n"
		}
		if f.Name != "" {
			h.WriteString(f.Name + ": " + value + "\n")
		} else { // a line that is no field
			h.Write(f.Raw)
		}
	}
	err = message.Text(blob, root, func(piece []byte) bool {
		b.Write(piece)
		more = b.Len() >= maxText
		return !more
	})
	texts[inHeader], texts[inBody] = h.String(), b.String()
	return more, err
}
