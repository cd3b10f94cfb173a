package smtpd

import (
	"bytes"
	"errors"
	"io"
)

var (
	errBare     = Reply(554, "5.6.0", "bare CR or LF in message")
	errTooLarge = Reply(552, "5.3.4", "message is too large")
)

// A body reads the message behind 354: dots taken off, ended by CRLF.CRLF and
// by nothing else (RFC 5321 section 4.5.2). Lines may have any length. A bare
// CR or LF is an attempt to smuggle and ends the connection.
type body struct {
	c     *Conn
	limit int64
	left  int64 // octets that may still be given out
	over  int64 // octets beyond the limit that are read, but not given out
	line  int   // octets of the current line so far, up to 2
	cr    bool  // the last octet was a CR
	dot   bool  // the line began with a dot, which was held back
	lf    bool  // a LF that did not fit is to be given out
	end   error // io.EOF after the end, or why there is none
}

func newBody(c *Conn, limit int64) *body {
	return &body{c: c, limit: limit, left: limit, over: limit}
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if b.end != nil {
		return 0, b.end
	}
	if len(p) == 0 {
		return 0, nil
	}
	if b.lf {
		b.lf = false
		p[0] = '\n'
		b.left--
		return 1, nil
	}
	for {
		in, err := b.c.fill()
		if err != nil {
			b.fail(err)
			return 0, b.end
		}
		n, used := b.decode(p, in)
		b.c.br.Discard(used) //nolint:errcheck // they are buffered
		if b.left -= int64(n); b.left < 0 {
			if b.over += b.left; b.over < 0 {
				b.fail(errTooLarge)
				return 0, b.end
			}
			b.left = 0
			if b.end == nil || b.end == io.EOF {
				return 0, errTooLarge
			}
		}
		if n > 0 || b.end != nil {
			if n > 0 {
				return n, nil
			}
			return 0, b.end
		}
	}
}

// fail ends the connection with the body: what follows would be read as
// commands. The reply to this message is the last that the peer gets.
func (b *body) fail(err error) {
	b.end = err
	b.c.lastReply.Store(true)
}

// decode copies octets of in to p. It tells how many it wrote and how many it used.
func (b *body) decode(p, in []byte) (n, used int) {
	for used < len(in) && n < len(p) && b.end == nil {
		if b.line == 0 && !b.dot && !b.cr && in[used] == '.' {
			b.dot = true
			used++
			continue
		}
		if !b.cr && (!b.dot || b.line > 0) {
			// the common case: all octets up to the next CR or LF
			run := in[used:min(len(in), used+len(p)-n)]
			if i := bytes.IndexByte(run, '\r'); i >= 0 {
				run = run[:i]
			}
			if i := bytes.IndexByte(run, '\n'); i >= 0 {
				b.fail(errBare)
				return n, used
			}
			if len(run) > 0 {
				n += copy(p[n:], run)
				used += len(run)
				b.line = 1
				continue
			}
		}
		c := in[used]
		used++
		if b.cr != (c == '\n') {
			b.fail(errBare)
			return n, used
		}
		switch {
		case c == '\r':
			b.cr = true
			continue // given out with its LF, in case that this is the end
		case c == '\n' && b.dot && b.line == 0:
			b.cr = false
			b.end = io.EOF
			return n, used
		case c == '\n':
			b.cr, b.dot, b.line = false, false, 0
			p[n] = '\r'
			n++
			if n == len(p) {
				b.lf = true
				return n, used
			}
			p[n] = '\n'
			n++
		default:
			p[n] = c
			n++
			b.line = 1
		}
	}
	return n, used
}

// drain reads what the session left of the body. It returns what the peer must
// be told in place of the session's answer, or nil.
func (b *body) drain() error {
	large := b.over < b.limit
	buf := make([]byte, 4096)
	for b.end == nil {
		if _, err := b.Read(buf); err == errTooLarge {
			large = true
		}
	}
	b.c.endBody()
	switch {
	case large && b.end == io.EOF:
		return errTooLarge
	case b.end != io.EOF:
		var s *Status
		if errors.As(b.end, &s) {
			return s
		}
	}
	return nil
}

// Lines gives out r as long as its lines end in CRLF, and then errBare, a
// *Status: what is to be sent on may hold no other CR or LF (RFC 5321 section
// 2.3.8). DATA lets none through; BDAT does.
func Lines(r io.Reader) io.Reader { return &lines{r: r} }

type lines struct {
	r   io.Reader
	cr  bool // the last octet was a CR
	err error
}

func (l *lines) Read(p []byte) (int, error) {
	if l.err != nil {
		return 0, l.err
	}
	n, err := l.r.Read(p)
	for rest := p[:n]; len(rest) > 0; {
		if l.cr != (rest[0] == '\n') {
			return 0, l.fail()
		}
		l.cr = false
		i := bytes.IndexAny(rest[min(1, len(rest)):], "\r\n")
		switch {
		case rest[0] == '\r':
			l.cr, rest = true, rest[1:]
		case i < 0:
			rest = nil
		default:
			rest = rest[1+i:]
		}
	}
	if err == io.EOF && l.cr {
		return 0, l.fail()
	}
	return n, err
}

func (l *lines) fail() error {
	l.err = errBare
	return l.err
}
