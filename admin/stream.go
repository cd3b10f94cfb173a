package admin

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Mail goes over the socket as a stream of records. Each is a line of JSON; that
// of a message is followed by its octets. A stream ends with a record that says
// so, and with the reason where it ends too early: what breaks off without one
// was cut.

// A record is a line of a stream, with one of its fields set.
type record struct {
	Mailbox *mailboxRef  `json:"mailbox,omitempty"`
	Message *messageHead `json:"message,omitempty"`
	Content *contentSum  `json:"content,omitempty"`
	Origin  *pullOrigin  `json:"origin,omitempty"`
	Place   string       `json:"place,omitempty"` // with Origin: what the puller calls the mailbox
	Pulled  *pulledHead  `json:"pulled,omitempty"`
	End     bool         `json:"end,omitempty"`
	Error   string       `json:"error,omitempty"`
}

// A mailboxRef names a mailbox of a user.
type mailboxRef struct {
	Address string `json:"address"`
	Name    string `json:"name"`
}

// A messageHead says what follows.
type messageHead struct {
	UID      uint32   `json:"uid,omitempty"`
	Email    int64    `json:"email,omitempty"` // the message is this one, which is here already; no octets follow
	Received int64    `json:"received"`        // Unix seconds
	Zone     int      `json:"zone"`            // seconds east of UTC
	Flags    []string `json:"flags,omitempty"`
	Size     int64    `json:"size"`
	SHA256   []byte   `json:"sha256,omitempty"` // of the octets, where they are remembered
}

// received is INTERNALDATE.
func (h *messageHead) received() time.Time {
	return time.Unix(h.Received, 0).In(time.FixedZone("", h.Zone))
}

// headOf is the head of a message that has a date.
func headOf(received time.Time, flags []string, size int64) *messageHead {
	_, zone := received.Zone()
	return &messageHead{Received: received.Unix(), Zone: zone, Flags: flags, Size: size}
}

// A contentSum is what tells messages apart.
type contentSum struct {
	Received int64  `json:"received"`
	Size     int64  `json:"size"`
	SHA256   []byte `json:"sha256"`
	Email    int64  `json:"email"`
}

// maxRecord bounds a line, in octets: a message may have 255 keywords.
const maxRecord = 256 << 10

// A streamWriter writes records.
type streamWriter struct {
	w   *bufio.Writer
	out *countedWriter
}

func newStreamWriter(w io.Writer) *streamWriter {
	out := &countedWriter{w: w}
	return &streamWriter{bufio.NewWriterSize(out, 64<<10), out}
}

// begun tells whether anything of the stream has left it.
func (s *streamWriter) begun() bool { return s.out.n > 0 }

// A countedWriter counts what is written.
type countedWriter struct {
	w io.Writer
	n int64
}

// Write implements io.Writer.
func (c *countedWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

func (s *streamWriter) record(r record) error {
	line, err := json.Marshal(r)
	if err == nil {
		_, err = s.w.Write(append(line, '\n'))
	}
	return err
}

// message writes a message, of which content must have just as much as its head says.
func (s *streamWriter) message(h *messageHead, content io.Reader) error {
	if err := s.record(record{Message: h}); err != nil {
		return err
	}
	n, err := io.Copy(s.w, io.LimitReader(content, h.Size))
	if err == nil && n < h.Size {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// end ends the stream: well, or with an error.
func (s *streamWriter) end(err error) error {
	r := record{End: true}
	if err != nil {
		r = record{Error: err.Error()}
	}
	return errors.Join(s.record(r), s.w.Flush())
}

// A streamReader reads records.
type streamReader struct {
	r    *bufio.Reader
	body *io.LimitedReader // of the last message; what is left of it is skipped
}

func newStreamReader(r io.Reader) *streamReader {
	return &streamReader{r: bufio.NewReaderSize(r, maxRecord)}
}

// next returns the next record, and the octets of a message, which are gone when
// next is called again. The end of the stream is io.EOF; that of one that was
// cut is io.ErrUnexpectedEOF.
func (s *streamReader) next() (record, io.Reader, error) {
	if s.body != nil {
		if _, err := io.Copy(io.Discard, s.body); err != nil {
			return record{}, nil, err
		}
		if s.body.N > 0 {
			return record{}, nil, io.ErrUnexpectedEOF
		}
		s.body = nil
	}
	line, err := s.r.ReadSlice('\n')
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return record{}, nil, fmt.Errorf("stream of mail: %w", err)
	}
	var r record
	if err := json.Unmarshal(line, &r); err != nil {
		return record{}, nil, fmt.Errorf("stream of mail: %w", err)
	}
	switch {
	case r.Error != "":
		return r, nil, errors.New(r.Error)
	case r.End:
		return r, nil, io.EOF
	case r.Message != nil:
		if r.Message.Size < 0 {
			return r, nil, errors.New("stream of mail: a message of negative size")
		}
		if r.Message.Email != 0 {
			return r, nil, nil
		}
		s.body = &io.LimitedReader{R: s.r, N: r.Message.Size}
		return r, s.body, nil
	}
	return r, nil, nil
}
