package wire

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// minAvailable is the room that AvailableBuffer gives at least, in octets.
const minAvailable = 1 << 10

// An Encoder writes responses. What is written is collected in a buffer that
// is lent from Buffers, and given back by Flush. Errors of the connection
// stick: Flush and Err return the first one, and every other method does
// nothing after it. An Encoder is not safe for concurrent use.
type Encoder struct {
	// UTF8 allows UTF-8 in quoted strings and mailbox names: the client
	// enabled IMAP4rev2 or UTF8=ACCEPT.
	UTF8 bool

	dst  io.Writer
	bufs *Buffers
	buf  *[writeSize]byte // nil while nothing is buffered
	n    int              // octets in buf
	err  error
}

// NewEncoder returns an Encoder that writes to dst. Buffers are lent from
// bufs, which must not be nil.
func NewEncoder(dst io.Writer, bufs *Buffers) *Encoder { return &Encoder{dst: dst, bufs: bufs} }

// Reset makes e write to dst, as after STARTTLS and COMPRESS. What was not
// flushed and any error are forgotten; UTF8 stays.
func (e *Encoder) Reset(dst io.Writer) {
	e.n = 0
	e.release()
	e.dst, e.err = dst, nil
}

// Err returns the first error of the connection.
func (e *Encoder) Err() error { return e.err }

// Buffered returns the number of octets that Flush would write.
func (e *Encoder) Buffered() int { return e.n }

// Flush writes what is buffered, and gives the buffer back.
func (e *Encoder) Flush() error {
	e.drain()
	e.release()
	return e.err
}

// drain writes what is buffered.
func (e *Encoder) drain() {
	if e.n > 0 {
		e.send(e.buf[:e.n])
		e.n = 0
	}
}

// release gives the buffer back, which must be empty.
func (e *Encoder) release() {
	if e.buf != nil {
		e.bufs.putWrite(e.buf)
		e.buf = nil
	}
}

// send writes p to the connection.
func (e *Encoder) send(p []byte) {
	if e.err != nil {
		return
	}
	n, err := e.dst.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		e.err = fmt.Errorf("write: %w", err)
	}
}

// room returns the free part of the buffer, of at least n octets; n is at
// most writeSize.
func (e *Encoder) room(n int) []byte {
	if e.buf == nil {
		e.buf = e.bufs.getWrite()
	}
	if writeSize-e.n < n {
		e.drain()
	}
	return e.buf[e.n:]
}

// AvailableBuffer returns an empty slice with room for at least 1 KiB, to be
// appended to and then given to Write at once: such a Write copies nothing.
func (e *Encoder) AvailableBuffer() []byte { return e.room(minAvailable)[:0] }

// Write appends p as it is. It implements io.Writer.
func (e *Encoder) Write(p []byte) (int, error) {
	if e.err != nil {
		return 0, e.err
	}
	if len(p) > writeSize-e.n {
		e.drain()
		if len(p) >= writeSize {
			e.send(p)
			return len(p), e.err
		}
	}
	e.n += copy(e.room(len(p)), p)
	return len(p), e.err
}

// Raw appends s as it is.
func (e *Encoder) Raw(s string) {
	for len(s) > 0 && e.err == nil {
		n := copy(e.room(1), s)
		e.n += n
		s = s[n:]
	}
}

// commit writes b. Its error sticks in e, so that no caller has to look.
func (e *Encoder) commit(b []byte) { _, _ = e.Write(b) }

// SP writes a space.
func (e *Encoder) SP() { e.Raw(" ") }

// CRLF ends the line. It does not flush.
func (e *Encoder) CRLF() { e.Raw("\r\n") }

// Nil writes NIL.
func (e *Encoder) Nil() { e.Raw("NIL") }

// Atom writes s, which must be an atom, as it is.
func (e *Encoder) Atom(s string) { e.Raw(s) }

// Number writes n.
func (e *Encoder) Number(n uint32) { e.commit(AppendNumber(e.AvailableBuffer(), n)) }

// Number64 writes n.
func (e *Encoder) Number64(n uint64) { e.commit(AppendNumber(e.AvailableBuffer(), n)) }

// String writes s as AppendString does.
func (e *Encoder) String(s string) { e.commit(AppendString(e.AvailableBuffer(), s, e.UTF8)) }

// NString writes s as a string, or NIL if ok is false.
func (e *Encoder) NString(s string, ok bool) {
	e.commit(AppendNString(e.AvailableBuffer(), s, ok, e.UTF8))
}

// Mailbox writes the name of a mailbox as AppendMailbox does.
func (e *Encoder) Mailbox(name string) { e.commit(AppendMailbox(e.AvailableBuffer(), name, e.UTF8)) }

// Flags writes flags in parentheses.
func (e *Encoder) Flags(flags []string) { e.commit(AppendFlags(e.AvailableBuffer(), flags)) }

// DateTime writes t as a date-time in its zone.
func (e *Encoder) DateTime(t time.Time) { e.commit(AppendDateTime(e.AvailableBuffer(), t)) }

// Numbers writes a set of numbers, which must not be empty.
func (e *Encoder) Numbers(rs Ranges) { e.commit(rs.Append(e.AvailableBuffer())) }

// List writes n items in parentheses, separated by spaces. item writes the
// one with index i, from 0 to n-1.
func (e *Encoder) List(n int, item func(i int)) {
	e.Raw("(")
	for i := range n {
		if i > 0 {
			e.SP()
		}
		item(i)
	}
	e.Raw(")")
}

// Status writes a status response with its CRLF, as AppendStatus does.
func (e *Encoder) Status(tag, kind, code, text string) {
	e.commit(AppendStatus(e.AvailableBuffer(), tag, kind, code, text))
}

// Continue writes a continuation request with its CRLF (RFC 9051 section
// 7.6). The text may be empty, which AUTHENTICATE needs. It does not flush.
func (e *Encoder) Continue(text string) {
	b := append(e.AvailableBuffer(), "+ "...)
	if text != "" {
		b = AppendText(b, text)
	}
	e.commit(append(b, "\r\n"...))
}

// Literal writes a literal of size octets from r, as they are; binary makes
// it a literal8 (RFC 3516). Octets beyond size are not read. If r has fewer
// or fails, what was promised cannot be kept: the error sticks, is returned,
// and the connection must be closed.
func (e *Encoder) Literal(r io.Reader, size int64, binary bool) error {
	e.commit(appendHeader(e.AvailableBuffer(), size, binary))
	idle := 0
	for size > 0 && e.err == nil {
		room := e.room(minAvailable)
		n, err := r.Read(room[:min(int64(len(room)), size)])
		e.n += n
		size -= int64(n)
		if n > 0 {
			idle = 0
			continue // an error beside octets will come again, or not matter
		}
		if idle++; err == nil && idle < 100 {
			continue
		}
		switch {
		case errors.Is(err, io.EOF):
			err = io.ErrUnexpectedEOF
		case err == nil:
			err = io.ErrNoProgress
		}
		e.err = fmt.Errorf("literal: %d octets missing: %w", size, err)
	}
	return e.err
}

// LiteralBytes writes p as a literal, as it is, NUL included; binary makes it
// a literal8.
func (e *Encoder) LiteralBytes(p []byte, binary bool) {
	e.commit(appendHeader(e.AvailableBuffer(), int64(len(p)), binary))
	e.commit(p)
}
