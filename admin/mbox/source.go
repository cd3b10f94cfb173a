package mbox

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"mailbox/admin/archive"
)

// maxHeader is how much of a message is searched for notes.
const maxHeader = 1 << 20

// A source reads one mbox. It holds a header at a time, and no body.
type source struct {
	file    io.ReaderAt
	size    int64
	variant Variant
	name    string // for Message.Place

	r       *bufio.Reader
	offset  int64 // of what r gives next
	midLine bool  // r is not at the beginning of a line
	lines   archive.Lines
	cut     bool // the last line has no end
}

func newSource(file io.ReaderAt, size int64, name string, v Variant) *source {
	s := &source{file: file, size: size, variant: v, name: name, r: bufio.NewReaderSize(nil, 64<<10)}
	s.seek(0)
	return s
}

func (s *source) seek(offset int64) {
	s.r.Reset(io.NewSectionReader(s.file, offset, s.size-offset))
	s.offset = offset
	s.midLine = false
}

// piece reads a line, or as much of it as there is room for.
func (s *source) piece() ([]byte, error) {
	b, err := s.r.ReadSlice('\n')
	s.offset += int64(len(b))
	if len(b) > 0 {
		s.midLine = b[len(b)-1] != '\n'
		return b, nil
	}
	return nil, err
}

// fromLine reports whether a From_ line is next.
func (s *source) fromLine() (fromLine, bool) {
	if start, _ := s.r.Peek(len(fromPrefix)); s.midLine || !bytes.Equal(start, fromPrefix) {
		return fromLine{}, false
	}
	b, _ := s.r.Peek(maxFromLine)
	return parseFromLine(b[:lineLength(b)])
}

// atEnd reports whether the message ends here.
func (s *source) atEnd() bool {
	if _, err := s.r.Peek(1); errors.Is(err, io.EOF) {
		return true
	}
	_, ok := s.fromLine()
	return ok
}

// place is where r stands, for people.
func (s *source) place(offset int64) string {
	return fmt.Sprintf("%s: octet %d", s.name, offset)
}

// messages calls yield for each message of the file.
func (s *source) messages(yield func(*archive.Message) error) error {
	var last [1]byte
	if s.size > 0 {
		if _, err := s.file.ReadAt(last[:], s.size-1); err != nil {
			return err
		}
		s.cut = last[0] != '\n'
	}
	if err := s.garbage(yield); err != nil {
		return err
	}
	for first := true; s.offset < s.size; first = false {
		if err := s.message(first, yield); err != nil {
			return err
		}
	}
	return nil
}

// garbage reads up to the first From_ line, and tells what is not empty before it.
func (s *source) garbage(yield func(*archive.Message) error) error {
	if start, _ := s.r.Peek(len(fromPrefix)); bytes.Equal(start, fromPrefix) {
		return nil // whatever date it has
	}
	empty := true
	for !s.atEnd() {
		b, err := s.piece()
		if err != nil {
			return err
		}
		empty = empty && len(bytes.TrimSpace(b)) == 0
	}
	if _, err := s.r.Peek(1); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if empty {
		return nil
	}
	return yield(&archive.Message{Place: s.place(0), Err: fmt.Errorf("%d octets before the first From_ line are no message", s.offset)})
}

// message reads a message, at whose From_ line r stands.
func (s *source) message(first bool, yield func(*archive.Message) error) error {
	m := &archive.Message{Place: s.place(s.offset)}
	from, _ := s.fromLine()
	line, err := s.piece()
	if err != nil {
		return err
	}
	if first {
		s.lines = archive.LF
		if bytes.HasSuffix(line, []byte("\r\n")) {
			s.lines = archive.CRLF
		}
		if s.variant == Detect {
			s.variant, _ = from.wrote()
		}
	}
	for s.midLine { // only the first line of a file is so long
		if _, err := s.piece(); err != nil {
			break
		}
	}
	raw, blank, err := s.header()
	if err != nil {
		return err
	}
	bare := s.atEnd() // then the empty line is not the message's, unless its body looks like a From_ line
	_, written := from.wrote()
	h := parseHeader(raw, written)
	internal := first && !written && h.internal()
	body, loss := s.body(h)
	if s.variant == Detect && !internal {
		s.variant = O // nothing says that it is another
	}
	if state := h.state(); !internal && !state.deleted {
		m.Received, m.Flags, m.Labels, m.Loss = from.at, state.flags, state.labels, loss
		if !written && from.at.Unix() <= 0 {
			m.Received = h.date()
		}
		if m.Loss == nil && s.cut && body.last() {
			m.Loss = archive.Loss("the file ends within a line of it")
		}
		if bare && body.left == 0 {
			blank = nil
		}
		m.Content = archive.WithCRLF(io.MultiReader(bytes.NewReader(h.message(body.counted() || written)), bytes.NewReader(blank), body), s.lines)
		if err := yield(m); err != nil {
			return err
		}
	}
	return body.skip()
}

// header reads the lines up to an empty one, and that too.
func (s *source) header() (header, blank []byte, err error) {
	for len(header) < maxHeader && !s.atEnd() {
		start := !s.midLine
		b, err := s.piece()
		if err != nil {
			return nil, nil, err
		}
		if start && isBlank(b) {
			return header, bytes.Clone(b), nil
		}
		header = append(header, s.unquote(b, start)...)
	}
	return header, nil, nil
}

func isBlank(line []byte) bool {
	return len(line) == 1 && line[0] == '\n' || len(line) == 2 && line[0] == '\r' && line[1] == '\n'
}

// unquote takes the ">" off a quoted line, which only mboxrd allows.
func (s *source) unquote(line []byte, start bool) []byte {
	if start && s.variant == RD && line[0] == '>' && bytes.HasPrefix(bytes.TrimLeft(line, ">"), fromPrefix) {
		return line[1:]
	}
	return line
}

// body finds out where the body ends that begins here.
func (s *source) body(h *header) (b *body, loss error) {
	b = &body{s: s}
	n, rest := h.contentLength(), s.size-s.offset
	if n < 0 || s.midLine || s.variant != Detect && !s.variant.counted() {
		return b, nil
	}
	switch {
	case n <= rest && s.lands(s.offset+n):
		if s.variant == Detect {
			s.variant = CL2
		}
		b.left, b.end = n, s.offset+n
	case n > rest && s.variant.counted():
		loss = archive.Loss(fmt.Sprintf("its Content-Length is %d, and the file ends after %d", n, rest))
	}
	return b, loss
}

// lands reports whether a From_ line, or the end, is at an offset or at most two
// empty lines behind it.
func (s *source) lands(offset int64) bool {
	b := make([]byte, min(maxFromLine+4, s.size-offset))
	if n, err := s.file.ReadAt(b, offset); n < len(b) && err != nil {
		return false
	}
	for range 2 {
		if end := lineLength(b); isBlank(b[:end]) {
			b = b[end:]
		}
	}
	if len(b) == 0 {
		return true
	}
	_, ok := parseFromLine(b[:lineLength(b)])
	return ok
}

// A body reads a body: of a known length, or up to the next From_ line.
type body struct {
	s    *source
	end  int64  // where it ends, if Content-Length says so
	left int64  // how much of it was not read then
	rest []byte // of the line that was read last
	done bool
}

func (b *body) counted() bool { return b.end > 0 }

// last reports whether the body ends with the file, for want of a From_ line.
func (b *body) last() bool {
	if b.counted() {
		return false
	}
	ahead := *b.s
	ahead.r = bufio.NewReaderSize(nil, 64<<10)
	ahead.seek(b.s.offset)
	ahead.midLine = b.s.midLine
	for !ahead.atEnd() {
		if _, err := ahead.piece(); err != nil {
			break
		}
	}
	return ahead.offset == ahead.size
}

func (b *body) Read(p []byte) (int, error) {
	if b.counted() {
		return b.readCounted(p)
	}
	if len(b.rest) == 0 {
		if err := b.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

func (b *body) readCounted(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	n, err := b.s.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	b.s.offset += int64(n)
	return n, err
}

// next reads the next line, or a part of it. The empty line before a From_ line
// is no part of the message.
func (b *body) next() error {
	s := b.s
	if b.done || s.atEnd() {
		b.done = true
		return io.EOF
	}
	start := !s.midLine
	line, err := s.piece()
	if err != nil {
		return err
	}
	if start && isBlank(line) {
		b.rest = []byte("\r\n")[2-len(line):]
		if s.atEnd() {
			b.rest, b.done = nil, true
			return io.EOF
		}
		return nil
	}
	b.rest = s.unquote(line, start)
	return nil
}

// skip goes on to the next From_ line.
func (b *body) skip() error {
	if !b.counted() {
		_, err := io.Copy(io.Discard, b)
		return err
	}
	b.s.seek(b.end)
	for !b.s.atEnd() {
		if line, err := b.s.piece(); err != nil || !isBlank(line) {
			return err
		}
	}
	return nil
}
