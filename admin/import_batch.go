package admin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"time"

	"mailbox/admin/archive"
	"mailbox/storage"
)

// The bounds of what is sent at a time. A message of more octets waits in a file.
const (
	batchMessages = 200
	batchBytes    = 4 << 20
)

// A pending message waits to be sent.
type pending struct {
	head       *messageHead
	sum        []byte // SHA-256
	place      string
	octets     bytes.Buffer // empty, where they are in file
	file       *os.File     // without a name; nil: there is none
	size       int64
	unreadable error // what came instead of the end of the message
	others     int   // batches that it is in, but for one
}

// readPending reads a message. Its error is ours, not that of the source.
func readPending(m *archive.Message) (*pending, error) {
	p := &pending{place: m.Place}
	sum := sha256.New()
	from := &sourceReader{r: m.Content}
	_, err := io.Copy(&p.octets, io.TeeReader(io.LimitReader(from, batchBytes), sum))
	p.size = int64(p.octets.Len())
	if err == nil && p.size == batchBytes {
		err = p.spill(io.TeeReader(from, sum))
	}
	if err != nil && from.err == nil {
		p.close()
		return nil, err
	}
	p.unreadable = from.err
	p.sum = sum.Sum(nil)
	p.head = headOf(dated(m.Received), fitFlags(m.Flags), p.size)
	return p, nil
}

// dated is a date that can be kept: one before 1970 becomes its begin.
func dated(t time.Time) time.Time {
	if t.Unix() < 0 {
		return time.Unix(0, 0).UTC()
	}
	return t
}

// A sourceReader remembers the error of its reader.
type sourceReader struct {
	r   io.Reader
	err error
}

// Read implements io.Reader.
func (s *sourceReader) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// spill moves what was read of a large message to a file, and the rest too.
func (p *pending) spill(rest io.Reader) error {
	f, err := os.CreateTemp("", "mailbox-import-*")
	if err != nil {
		return err
	}
	p.file = f
	if err := os.Remove(f.Name()); err != nil {
		return err
	}
	if _, err := p.octets.WriteTo(f); err != nil {
		return err
	}
	p.octets = bytes.Buffer{}
	n, err := io.Copy(f, rest)
	p.size += n
	return err
}

func (p *pending) content() io.Reader {
	if p.file == nil {
		return bytes.NewReader(p.octets.Bytes())
	}
	return io.NewSectionReader(p.file, 0, p.size)
}

// close is called once for each batch that it is in.
func (p *pending) close() {
	if p.others--; p.others < 0 && p.file != nil {
		p.file.Close() //nolint:errcheck // it has no name, and goes
	}
}

// A batch is what is sent at a time.
type batch struct {
	list []*pending
	size int64
}

// add tells whether the batch is full now.
func (b *batch) add(p *pending) bool {
	b.list = append(b.list, p)
	b.size += p.size
	return b.size >= batchBytes || len(b.list) == batchMessages
}

func (b *batch) close() {
	for _, p := range b.list {
		p.close()
	}
}

// A sentBatch is what became of a batch.
type sentBatch struct {
	batch
	added   int64
	refused []refusedMessage
	bare    []*pending // that came without their keywords
	err     error
}

// A refusedMessage is one that the store does not take.
type refusedMessage struct {
	*pending
	err error
}

// deliver sends messages together, and where the store refuses one of them, each alone.
func (s *sentBatch) deliver(ctx context.Context, c *Client, to mailboxRef, list []*pending) error {
	err := send(ctx, c, to, list)
	if err == nil {
		s.added += int64(len(list))
		return nil
	}
	if !errors.Is(err, storage.ErrInvalid) {
		return err
	}
	if len(list) > 1 {
		for i := range list {
			if err := s.deliver(ctx, c, to, list[i:i+1]); err != nil {
				return err
			}
		}
		return nil
	}
	p := list[0]
	if flags, keywords, _ := storage.ParseFlags(p.head.Flags); len(keywords) > 0 {
		bare, head := *p, *p.head // another batch may have the message too, and is on its way
		bare.head, head.Flags = &head, flags.Names()
		s.bare = append(s.bare, p)
		return s.deliver(ctx, c, to, []*pending{&bare})
	}
	s.refused = append(s.refused, refusedMessage{p, err})
	return nil
}

func send(ctx context.Context, c *Client, to mailboxRef, list []*pending) error {
	var done Imported
	return c.send(ctx, "import/messages", &done, func(s *streamWriter) error {
		if err := s.record(record{Mailbox: &to}); err != nil {
			return err
		}
		for _, p := range list {
			if err := s.message(p.head, p.content()); err != nil {
				return err
			}
		}
		return nil
	})
}
