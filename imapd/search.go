package imapd

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"mailbox/internal/message"
	"mailbox/storage"
)

// A level says where the answer to a search key lies, the cheapest first.
type level uint8

const (
	inIndex level = iota
	inRow
	inMessage
)

// A verdict on a message is unknown where a dearer level has to be asked.
type verdict uint8

const (
	unknown verdict = iota
	isNot
	is
)

// A key judges messages with what is known of them at a level. At inMessage no
// verdict is unknown. It is asked at ascending levels, so that what is cheap
// spares what is dear.
type key interface {
	judge(m *candidate, at level) verdict
	needs() level // the dearest level that it may ask
}

type (
	leaf struct {
		level level
		test  func(*candidate) bool
	}
	and []key
	or  [2]key
	not [1]key
)

func (k leaf) needs() level { return k.level }

func (k leaf) judge(m *candidate, at level) verdict {
	switch {
	case at < k.level:
		return unknown
	case k.test(m):
		return is
	}
	return isNot
}

func dearest(keys []key) level {
	var l level
	for _, k := range keys {
		l = max(l, k.needs())
	}
	return l
}

func (k and) needs() level { return dearest(k) }

func (k and) judge(m *candidate, at level) verdict {
	v := is
	for _, part := range k {
		switch part.judge(m, at) {
		case isNot:
			return isNot
		case unknown:
			v = unknown
		}
	}
	return v
}

func (k or) needs() level { return dearest(k[:]) }

func (k or) judge(m *candidate, at level) verdict {
	v := isNot
	for _, part := range k {
		switch part.judge(m, at) {
		case is:
			return is
		case unknown:
			v = unknown
		}
	}
	return v
}

func (k not) needs() level                         { return k[0].needs() }
func (k not) judge(m *candidate, at level) verdict { return invert(k[0].judge(m, at)) }

func invert(v verdict) verdict {
	switch v {
	case is:
		return isNot
	case isNot:
		return is
	}
	return unknown
}

// A candidate is a message that a search looks at.
type candidate struct {
	storage.Entry
	seq  uint32
	nth  uint32 // of the messages that are looked at
	view *view

	row    *storage.Message
	blob   *storage.Blob
	root   *message.Part
	header message.Header
	err    error // why the message could not be read
}

// find returns the messages that k fits, in their order: at least those of a
// page, and all between it and the end from which it counts. Rows are read in
// batches, and only for messages that the index does not decide.
func (c *conn) find(ctx context.Context, k key, need page) ([]hit, error) {
	var found []hit
	var open []*candidate // undecided
	want := storage.Columns(0)
	if k.needs() == inMessage {
		want |= storage.WantParts
	}
	batch := maxRows
	if want != 0 {
		batch = maxRows / 5
	}
	failed := c.readColumns(ctx, c.askIndex(ctx, k, nil))
	if failed != nil {
		return nil, failed
	}
	v := c.view
	decide := func() bool {
		failed = c.decide(ctx, k, want, open, func(m *candidate) { found = append(found, hit{m.UID, m.seq, m.ModSeq}) })
		open = open[:0]
		return failed == nil
	}
	walk := v.cur.All
	if need.last {
		walk = v.cur.Backward
	}
	m, nth := &candidate{view: v}, uint32(0)
	walk(func(pos int, e storage.Entry) bool {
		nth++
		ghosts, _ := slices.BinarySearch(v.ghosts, e.UID)
		m.Entry, m.seq, m.nth = e, uint32(pos+1+ghosts), nth
		switch k.judge(m, inIndex) {
		case is:
			found = append(found, hit{m.UID, m.seq, m.ModSeq})
		case unknown:
			open = append(open, m)
			m = &candidate{view: v}
		}
		if len(open) == batch && !decide() {
			return false
		}
		return len(open) > 0 || uint64(len(found)) < need.reach()
	})
	if failed == nil && len(open) > 0 {
		decide()
	}
	// What was decided at once stands before what had to be read.
	slices.SortFunc(found, func(a, b hit) int { return cmp.Compare(a.uid, b.uid) })
	return found, failed
}

// decide reads what it takes to judge the candidates.
func (c *conn) decide(ctx context.Context, k key, want storage.Columns, open []*candidate, yield func(*candidate)) error {
	uids := make([]storage.UID, len(open))
	for i, m := range open {
		uids[i] = m.UID
	}
	slices.Sort(uids)
	rows, err := c.s.Store.Messages(ctx, c.account, c.view.mailbox, uids, want)
	if err != nil {
		return err
	}
	for _, m := range open {
		i, there := slices.BinarySearchFunc(rows, m.UID, func(r storage.Message, u storage.UID) int { return cmp.Compare(r.UID, u) })
		if !there {
			continue // gone meanwhile
		}
		m.row = &rows[i]
		c.progress(m.nth, c.view.len())
		v := k.judge(m, inRow)
		if v == unknown {
			v = c.readAndJudge(ctx, k, m)
		}
		if errors.Is(m.err, storage.ErrExpunged) {
			continue
		}
		if m.err != nil {
			return m.err
		}
		if v == is {
			yield(m)
		}
	}
	return nil
}

func (c *conn) readAndJudge(ctx context.Context, k key, m *candidate) verdict {
	if m.root, m.err = message.UnmarshalParts(m.row.Parts); m.err != nil {
		return unknown
	}
	if m.blob, m.err = c.s.Store.OpenBlob(ctx, m.row.Blob); m.err != nil {
		return unknown
	}
	defer func() {
		m.blob.Close() //nolint:errcheck // it was only read
		m.blob, m.header = nil, nil
	}()
	return k.judge(m, inMessage)
}

// headerHas looks for a folded text in the fields of a name, or of all names.
// The message is read for it once.
func (m *candidate) headerHas(name, want string) bool {
	if m.header == nil && m.err == nil {
		m.header, m.err = readHeader(m.blob, m.root.Offset, m.root.BodyOffset)
	}
	for _, f := range m.header {
		switch {
		case name == "":
			text := string(f.Raw) // of a line that is no field
			if f.Name != "" {
				text = f.Name + ": " + message.DecodeWords(f.Value())
			}
			if strings.Contains(message.Fold(text), want) {
				return true
			}
		case strings.EqualFold(f.Name, name):
			if strings.Contains(message.Fold(message.DecodeWords(f.Value())), want) {
				return true
			}
		}
	}
	return false
}

// bodyHas looks for a folded text in the text parts. Of the text only what
// may be the begin of a match is kept between two pieces.
func (m *candidate) bodyHas(want string) bool {
	if want == "" {
		return true
	}
	found, tail := false, ""
	err := message.Text(m.blob, m.root, func(piece []byte) bool {
		text := tail + message.Fold(string(piece))
		found = strings.Contains(text, want)
		tail = text[max(0, len(text)-len(want)+1):]
		return !found
	})
	if err != nil && m.err == nil {
		m.err = err
	}
	return found
}
