package imapd

import (
	"context"
	"errors"
	"io"
	"slices"

	"mailbox/imapd/wire"
	"mailbox/internal/message"
	"mailbox/storage"
)

const (
	maxRows      = 500     // messages that are read from the store at once
	maxRowOctets = 1 << 20 // and about how much of them
)

// A fetching is one FETCH on its way.
type fetching struct {
	*conn
	items   []fetchItem
	want    storage.Columns
	rows    bool // the index does not have it all
	blob    bool // the message itself is read
	seen    bool // \Seen is to be set
	missing bool // a message went away meanwhile

	unknownCTE bool // a part could not be decoded
}

// fetch is FETCH and UID FETCH (RFC 3501 section 6.4.5). Rows come in batches,
// each read whole before any of it is sent. A message that went away is left
// out, and the command that named it by its sequence number fails.
func (c *conn) fetch(ctx context.Context, uid bool) (ok, error) {
	set, err := c.messageSet()
	if err != nil {
		return ok{}, err
	}
	items, err := c.fetchItems()
	if err != nil {
		return ok{}, err
	}
	modifiers, err := c.fetchModifiers(uid)
	if err != nil {
		return ok{}, err
	}
	if modifiers.vanished {
		if err := c.tellVanishedSince(ctx, set, modifiers.since); err != nil {
			return ok{}, err
		}
	}
	if err := c.sync(ctx, syncOptions{}); err != nil {
		return ok{}, err
	}
	uids, missing, err := c.view.resolve(set, uid, modifiers.page)
	if err != nil {
		return ok{}, err
	}
	if modifiers.changed { // of the page (RFC 9394 section 3.4)
		uids = c.view.changedSince(uids, modifiers.since)
	}
	f := &fetching{conn: c}
	f.prepare(items, uid, modifiers.changed)
	if err := f.run(ctx, uids); err != nil {
		return ok{}, err
	}
	if !uid && (missing || f.missing) {
		return ok{}, errExpungeIssued
	}
	if f.unknownCTE {
		return ok{}, errUnknownCTE
	}
	return ok{text: "FETCH completed"}, nil
}

// prepare takes the items, and adds those that the client is to hear unasked.
func (f *fetching) prepare(items []fetchItem, uid, modSeq bool) {
	f.want, f.rows, f.blob, f.seen = needs(items)
	f.seen = f.seen && !f.view.readOnly
	lacks := func(k fetchKind) bool {
		return !slices.ContainsFunc(items, func(i fetchItem) bool { return i.kind == k })
	}
	if uid && lacks(fetchUID) {
		items = append([]fetchItem{{kind: fetchUID, name: "UID"}}, items...)
	}
	if f.seen && lacks(fetchFlags) { // the client is told of what it causes
		items = append(items, fetchItem{kind: fetchFlags, name: "FLAGS"})
	}
	if (modSeq || f.seen && f.has(condStore)) && lacks(fetchModSeq) {
		items = append(items, fetchItem{kind: fetchModSeq, name: "MODSEQ"})
	}
	f.items = items
}

func (f *fetching) run(ctx context.Context, uids []storage.UID) error {
	n := maxRows
	if f.want&^storage.WantParts != 0 {
		n = maxRows / 10 // until it is known how large they are
	}
	for len(uids) > 0 && f.enc.Err() == nil {
		batch := uids[:min(n, len(uids))]
		uids = uids[len(batch):]
		if f.seen {
			if err := f.setSeen(ctx, batch); err != nil {
				return err
			}
		}
		if !f.rows {
			for _, u := range batch {
				if err := f.message(ctx, &storage.Message{UID: u}); err != nil {
					return err
				}
			}
			continue
		}
		rows, err := f.s.Store.Messages(ctx, f.account, f.view.mailbox, batch, f.want)
		if err != nil {
			return err
		}
		f.missing = f.missing || len(rows) < len(batch)
		size := 0
		for i := range rows {
			size += len(rows[i].Envelope) + len(rows[i].BodyStructure) + len(rows[i].Parts)
			if err := f.message(ctx, &rows[i]); err != nil {
				return err
			}
		}
		n = min(maxRows, max(1, len(batch)*maxRowOctets/max(size, 1)))
	}
	return nil
}

// setSeen sets \Seen where it is not set. A store that cannot write (its disk
// is full) must not keep anyone from reading.
func (f *fetching) setSeen(ctx context.Context, batch []storage.UID) error {
	var unseen []storage.UID
	for _, u := range batch {
		if pos, found := f.view.cur.Search(u); found && f.view.cur.At(pos).Flags&storage.Seen == 0 {
			unseen = append(unseen, u)
		}
	}
	if len(unseen) == 0 {
		return nil
	}
	_, err := f.s.Store.StoreFlags(ctx, f.account, f.view.mailbox, unseen, storage.FlagChange{Op: storage.AddFlags, Flags: storage.Seen})
	if err != nil {
		f.log.Warn("messages that were read stay unseen", "err", err)
		return nil
	}
	return f.sync(ctx, syncOptions{known: func(_, _ *storage.Index, _, now *storage.Entry) bool {
		_, named := slices.BinarySearch(unseen, now.UID)
		return named
	}})
}

// message sends the items of one message.
func (f *fetching) message(ctx context.Context, m *storage.Message) error {
	pos, found := f.view.cur.Search(m.UID)
	if !found {
		f.missing = true
		return nil
	}
	items := f.items
	var content *storage.Blob
	var root *message.Part
	if f.blob {
		var err error
		if content, err = f.s.Store.OpenBlob(ctx, m.Blob); errors.Is(err, storage.ErrExpunged) {
			f.missing = true
			return nil
		} else if err != nil {
			return err
		}
		defer content.Close() //nolint:errcheck // it was only read
		if root, err = message.UnmarshalParts(m.Parts); err != nil {
			return err
		}
		if items = f.decodable(root, m.Size); len(items) == 0 {
			return nil
		}
	}
	b := append(f.enc.AvailableBuffer(), "* "...)
	b = append(wire.AppendNumber(b, f.view.seq(m.UID)), " FETCH ("...)
	f.enc.Write(b) //nolint:errcheck // the encoder keeps its error
	for i := range items {
		if i > 0 {
			f.enc.SP()
		}
		item := &items[i]
		f.enc.Raw(item.name)
		f.enc.SP()
		var err error
		switch item.kind {
		case fetchSection:
			err = f.section(&item.section, content, m.Size, root)
		case fetchBinary, fetchBinarySize:
			err = f.binaryItem(item, content, m.Size, root)
		case fetchPreview:
			f.enc.String(message.Preview(content, root))
		default:
			f.row(item, m, f.view.cur.At(pos))
		}
		if err != nil {
			return &connError{err} // the line cannot be ended
		}
	}
	f.enc.Raw(")\r\n")
	return nil
}

// row sends an item that is rendered already.
func (f *fetching) row(item *fetchItem, m *storage.Message, e storage.Entry) {
	switch item.kind {
	case fetchUID:
		f.enc.Number(uint32(m.UID))
	case fetchFlags:
		f.enc.Write(f.appendFlags(f.enc.AvailableBuffer(), e)) //nolint:errcheck // the encoder keeps its error
	case fetchInternalDate:
		f.enc.DateTime(m.Received)
	case fetchModSeq:
		f.enc.Write(appendModSeq(f.enc.AvailableBuffer(), e.ModSeq)) //nolint:errcheck // the encoder keeps its error
	case fetchSize:
		f.enc.Number64(uint64(m.Size))
	case fetchEmailID:
		f.enc.Raw("(" + emailID(f.view.cur.Email(e)) + ")")
	case fetchThreadID:
		f.enc.Raw("(" + threadID(m.Thread) + ")")
	case fetchSaveDate:
		f.enc.DateTime(m.Saved)
	case fetchEnvelope:
		f.enc.Write(m.Envelope) //nolint:errcheck // the encoder keeps its error
	case fetchBodyStructure:
		f.enc.Write(m.BodyStructure) //nolint:errcheck // the encoder keeps its error
	case fetchBody:
		f.enc.Write(message.Body(m.BodyStructure)) //nolint:errcheck // the encoder keeps its error
	}
}

// section sends a part of the message, or NIL where it has no such part.
func (f *fetching) section(s *section, content io.ReaderAt, size int64, root *message.Part) error {
	from, to, found := s.bounds(root, size)
	if !found {
		f.enc.Nil()
		return nil
	}
	if s.what == headerFields || s.what == headerFieldsNot {
		header, err := readHeader(content, from, to)
		if err != nil {
			return err
		}
		b := header.Select(s.names, s.what == headerFieldsNot)
		n := int64(len(b))
		start, end := s.clip(0, n)
		f.enc.LiteralBytes(b[start:end], false)
		return nil
	}
	from, to = s.clip(from, to)
	return f.enc.Literal(io.NewSectionReader(content, from, to-from), to-from, false)
}

// clip applies the partial to a range of octets.
func (s *section) clip(from, to int64) (int64, int64) {
	if !s.cut {
		return from, to
	}
	from += min(s.offset, to-from)
	return from, from + min(s.size, to-from)
}

// bounds tells where in the message the section lies.
func (s *section) bounds(root *message.Part, size int64) (from, to int64, found bool) {
	p := root
	if len(s.path) > 0 {
		if p = root.Find(s.path...); p == nil {
			return 0, 0, false
		}
		switch s.what {
		case wholePart:
			return p.BodyOffset, p.End, true
		case mimePart:
			return p.Offset, p.BodyOffset, true
		}
		if !p.Message || len(p.Children) == 0 { // only a message has HEADER and TEXT
			return 0, 0, false
		}
		p = p.Children[0]
	}
	switch s.what {
	case wholePart:
		return 0, size, true
	case textPart:
		return p.BodyOffset, p.End, true
	}
	return p.Offset, p.BodyOffset, true
}

// maxHeader is how much of a header is looked at for its fields: what
// internal/message looks at too.
const maxHeader = 1 << 20

// readHeader reads the header that stands in a range of octets.
func readHeader(content io.ReaderAt, from, to int64) (message.Header, error) {
	b := make([]byte, min(to-from, maxHeader))
	if n, err := content.ReadAt(b, from); n < len(b) {
		return nil, err
	}
	return message.ParseHeader(b), nil
}
