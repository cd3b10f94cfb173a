package archive

import (
	"bufio"
	"bytes"
	"io"
)

// Lines is how the lines of a file end.
type Lines int

const (
	ByFirstLine Lines = iota // as the first one does
	LF                       // in LF; a CR before it is part of the ending, too
	CRLF                     // in CRLF; whatever else is there is meant so
)

// WithCRLF reads r as a message in the store: where the lines end in LF, every
// LF that has no CR before it gets one; where they end in CRLF, nothing is
// changed. Dovecot does the same, for each line.
func WithCRLF(r io.Reader, lines Lines) io.Reader {
	return &crlfReader{r: bufio.NewReader(r), lines: lines}
}

type crlfReader struct {
	r     *bufio.Reader
	lines Lines
	last  byte // what was returned last
}

func (c *crlfReader) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if n > 0 && c.r.Buffered() == 0 {
			break
		}
		if _, err := c.r.Peek(1); err != nil {
			if n > 0 {
				break
			}
			return 0, err
		}
		chunk, _ := c.r.Peek(min(c.r.Buffered(), len(p)-n))
		n += c.take(p[n:], chunk)
	}
	return n, nil
}

// take copies what it can of chunk up to the next LF that needs a CR, and
// returns how many octets of p it filled.
func (c *crlfReader) take(p, chunk []byte) int {
	n := 0
	for len(chunk) > 0 && c.lines != CRLF {
		i := bytes.IndexByte(chunk, '\n')
		if i < 0 {
			break
		}
		before := c.last
		if i > 0 {
			before = chunk[i-1]
		}
		if c.lines == ByFirstLine {
			if c.lines = LF; before == '\r' {
				c.lines = CRLF
				break
			}
		}
		if before != '\r' {
			n += c.copy(p[n:], chunk[:i])
			p[n] = '\r'
			c.last = '\r'
			return n + 1
		}
		n += c.copy(p[n:], chunk[:i+1])
		chunk = chunk[i+1:]
	}
	return n + c.copy(p[n:], chunk)
}

func (c *crlfReader) copy(p, chunk []byte) int {
	if len(chunk) == 0 {
		return 0
	}
	n := copy(p, chunk)
	c.last = chunk[n-1]
	_, _ = c.r.Discard(n) // it was peeked at
	return n
}

// WithLF writes to w what it gets, without the CR of each CRLF. A CR before a
// CRLF keeps it: WithCRLF would take what is left for a whole ending.
func WithLF(w io.Writer) *LFWriter {
	return &LFWriter{w: w}
}

// An LFWriter is what WithLF returns.
type LFWriter struct {
	w   io.Writer
	crs int // CRs that were not written yet: at most two
}

func (l *LFWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if err := l.step(&p); err != nil {
			return n - len(p), err
		}
	}
	return n, nil
}

// step writes what is before the next CR of p, or decides about the CRs that wait.
func (l *LFWriter) step(p *[]byte) error {
	b := *p
	if b[0] == '\r' {
		*p = b[1:]
		if l.crs == 2 {
			_, err := l.w.Write([]byte{'\r'})
			return err
		}
		l.crs++
		return nil
	}
	if b[0] != '\n' || l.crs == 2 {
		if err := l.Flush(); err != nil {
			return err
		}
	}
	l.crs = 0
	end := bytes.IndexByte(b, '\r')
	if end < 0 {
		end = len(b)
	}
	_, err := l.w.Write(b[:end])
	*p = b[end:]
	return err
}

// Flush writes the CR that the last Write ended in.
func (l *LFWriter) Flush() error {
	_, err := l.w.Write([]byte("\r\r")[:l.crs])
	l.crs = 0
	return err
}
