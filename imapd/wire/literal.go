package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
)

// headerSize is more than the octets of the longest header of a literal that
// is understood: ~{9223372036854775807+} CRLF.
const headerSize = 32

// A header is what announces a literal: {n}, {n+}, ~{n} or ~{n+}.
type header struct {
	size    int64
	nonSync bool // {n+}: the client does not wait (RFC 7888)
	binary  bool // literal8 (RFC 3516)
}

// A Literal is the octets of one literal, still in the connection. It reads
// exactly Size octets, then io.EOF; a connection that ends before is
// io.ErrUnexpectedEOF.
type Literal struct {
	Size    int64
	NonSync bool // it was announced as {n+}
	Binary  bool // it was announced as ~{n}: NUL is legal (RFC 3516)

	d *Decoder
}

// Read implements io.Reader.
func (l *Literal) Read(p []byte) (int, error) { return l.d.readLiteral(p) }

// LiteralReader reads the header of a literal of any size, asks OnLiteral, and
// returns the literal to be read, without a limit of its own: size limits are
// for OnLiteral. It must be read to its end before the next primitive is
// called, or SkipLine be called instead.
func (d *Decoder) LiteralReader() (*Literal, error) {
	h, err := d.header()
	if err != nil {
		return nil, err
	}
	if err := d.accept(h); err != nil {
		return nil, err
	}
	return &Literal{Size: h.size, NonSync: h.nonSync, Binary: h.binary, d: d}, nil
}

// literalString reads a literal into memory. NUL and literal8 are refused, as
// the grammar of string does (RFC 9051 section 9).
func (d *Decoder) literalString() (string, error) {
	h, err := d.header()
	if err != nil {
		return "", err
	}
	switch {
	case h.binary:
		d.refuse(h)
		return "", syntaxf("a binary literal is not allowed here")
	case h.size > int64(d.lim.Literal):
		d.refuse(h)
		return "", &LimitError{
			Text: fmt.Sprintf("literal is over %d octets", d.lim.Literal),
			Max:  int64(d.lim.Literal),
		}
	case h.size > int64(d.lim.Command-d.memory):
		d.refuse(h)
		return "", &LimitError{
			Text: fmt.Sprintf("literals of the command are over %d octets", d.lim.Command),
			Max:  int64(d.lim.Command),
		}
	}
	if err := d.accept(h); err != nil {
		return "", err
	}
	d.memory += int(h.size)
	var s strings.Builder
	s.Grow(int(h.size))
	for d.pending > 0 {
		if d.r == d.w {
			if err := d.fill(); err != nil {
				return "", err
			}
		}
		n := int(min(d.pending, int64(d.w-d.r)))
		part := d.buf[d.r : d.r+n]
		s.Write(part)
		d.consumeLiteral(n)
	}
	if strings.IndexByte(s.String(), 0) >= 0 {
		return "", syntaxf("NUL is not allowed in a string")
	}
	return s.String(), nil
}

// header reads the header of a literal with its line end. A header that is
// not well formed is left in the buffer for SkipLine to judge.
func (d *Decoder) header() (header, error) {
	var line [headerSize]byte
	n := 0
	for {
		c, err := d.peekAt(n)
		if err != nil {
			return header{}, err
		}
		if n == 0 && c != '{' && c != '~' {
			return header{}, expected("a literal", c)
		}
		line[n] = c
		n++
		if c == '\n' {
			break
		}
		if d.used+n >= d.lim.Line {
			return header{}, d.lineTooLong()
		}
		if n == len(line) {
			return header{}, syntaxf("the size of a literal is not followed by the end of the line")
		}
	}
	h, ok := headerAtEnd(line[:n])
	start := 0
	if h.binary {
		start = 1
	}
	switch {
	case !ok || line[start] != '{' || bytes.Count(line[:n], []byte{'{'}) != 1:
		return header{}, syntaxf("malformed literal %+q", bytes.TrimRight(line[:n], "\r\n"))
	case h.size == math.MaxInt64:
		return header{}, &LimitError{Text: "literal is too large", Max: math.MaxInt64 - 1}
	}
	d.advance(n)
	d.line = d.r
	return h, nil
}

// peekAt returns the octet n places behind the next one, where n is less than
// headerSize.
func (d *Decoder) peekAt(n int) (byte, error) {
	if _, err := d.window(); err != nil {
		return 0, err
	}
	for d.w-d.r <= n {
		if err := d.fill(); err != nil {
			return 0, err
		}
	}
	return d.buf[d.r+n], nil
}

// headerAtEnd finds the header of a literal at the end of a line, given with
// its line end. A size that does not fit is math.MaxInt64.
func headerAtEnd(line []byte) (h header, ok bool) {
	line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte{'\n'}), []byte{'\r'})
	line, ok = bytes.CutSuffix(line, []byte{'}'})
	if !ok {
		return header{}, false
	}
	line, h.nonSync = bytes.CutSuffix(line, []byte{'+'})
	digits := len(line)
	for digits > 0 && classes[line[digits-1]]&digit != 0 {
		digits--
	}
	if digits == len(line) {
		return header{}, false
	}
	if digits == 0 || line[digits-1] != '{' {
		// More digits than the part of the line that is remembered can hold
		// are a size all the same.
		h.size = math.MaxInt64
		return h, digits == 0 && len(line) > 20
	}
	h.binary = digits > 1 && line[digits-2] == '~'
	for _, c := range line[digits:] {
		v := int64(c - '0')
		if h.size > (math.MaxInt64-v)/10 {
			h.size = math.MaxInt64
			break
		}
		h.size = h.size*10 + v
	}
	return h, true
}

// accept asks OnLiteral, and makes the literal's octets the next to be read.
func (d *Decoder) accept(h header) error {
	if d.OnLiteral == nil {
		d.refuse(h)
		return syntaxf("a literal is not allowed here")
	}
	if err := d.OnLiteral(h.size, h.nonSync, h.binary); err != nil {
		d.refuse(h)
		return err
	}
	d.pending = h.size
	return nil
}

// refuse records that the literal will not be read: its octets are in the
// way if the client did not wait, and else the command ends here.
func (d *Decoder) refuse(h header) {
	if h.nonSync {
		d.pending = h.size
		return
	}
	d.endLine()
}

// readLiteral reads octets of the current literal.
func (d *Decoder) readLiteral(p []byte) (int, error) {
	if d.pending == 0 {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	if int64(len(p)) > d.pending {
		p = p[:d.pending]
	}
	if d.r < d.w {
		n := copy(p, d.buf[d.r:d.w])
		d.consumeLiteral(n)
		return n, nil
	}
	if len(p) >= readSize {
		// Nothing is buffered, so large reads go around the buffer.
		n, err := d.readSource(p)
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return 0, fmt.Errorf("read: %w", err)
		}
		d.pending -= int64(n)
		return n, nil
	}
	if err := d.fill(); err != nil {
		return 0, err
	}
	n := copy(p, d.buf[d.r:d.w])
	d.consumeLiteral(n)
	return n, nil
}

// consumeLiteral takes n buffered octets as octets of the literal. The line
// goes on behind them.
func (d *Decoder) consumeLiteral(n int) {
	d.r += n
	d.line = d.r
	d.pending -= int64(n)
}

// discardLiteral reads the rest of the current literal away.
func (d *Decoder) discardLiteral() error {
	for d.pending > 0 {
		if d.r == d.w {
			if err := d.fill(); err != nil {
				return err
			}
		}
		d.consumeLiteral(int(min(d.pending, int64(d.w-d.r))))
	}
	return nil
}
