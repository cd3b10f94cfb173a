package mta

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"time"
)

// What a host may say in answer to one command.
const (
	maxAnswer     = 64 << 10 // octets, above which the connection ends
	maxAnswerLine = 1000     // octets of a line that are kept
)

var (
	errTalkative = errors.New("the host's answer is longer than 64 KiB")
	errUnasked   = errors.New("the host says more than it was asked for")
)

// A line is the connection to a host, below TLS. It bounds what the host may
// say between two of our writes, and how long it may take over our octets.
type line struct {
	net.Conn
	timeout time.Duration // no wait is longer
	until   time.Time     // when all must be written; zero: whenever
	unread  int           // octets since we last wrote
}

// wait is how long to wait where RFC 5321 asks for d.
func (l *line) wait(d time.Duration) time.Duration { return min(d, l.timeout) }

// limit sets the time by which what follows must have been answered.
func (l *line) limit(d time.Duration) {
	l.SetDeadline(time.Now().Add(l.wait(d))) //nolint:errcheck // the read tells
}

// Read implements net.Conn.
func (l *line) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	if l.unread += n; l.unread > maxAnswer {
		return 0, errTalkative
	}
	return n, err
}

// Write implements net.Conn.
func (l *line) Write(p []byte) (int, error) {
	l.unread = 0
	by := time.Now().Add(l.wait(blockTime))
	if !l.until.IsZero() && l.until.Before(by) {
		by = l.until
	}
	if err := l.SetWriteDeadline(by); err != nil {
		return 0, err
	}
	return l.Conn.Write(p)
}

// A wire is the connection to a host, above TLS. It gives its reader one line
// at a time, in a form that textproto and go-smtp take: one that is too long is
// cut, and a code without a text (RFC 5321 section 4.2) gets its space. Nothing
// is written while there is something to read: an answer that came before its
// question would be taken for that of another one.
type wire struct {
	net.Conn
	r     *bufio.Reader
	given []byte // to be read before what the host says
	mute  bool   // the next write goes nowhere, since its answer was given
}

func newWire(nc net.Conn) *wire { return &wire{Conn: nc, r: bufio.NewReader(nc)} }

// Read implements net.Conn.
func (w *wire) Read(p []byte) (int, error) {
	if len(w.given) == 0 {
		text, err := w.readLine()
		if err != nil {
			return 0, err
		}
		w.given = text
	}
	n := copy(p, w.given)
	w.given = w.given[n:]
	return n, nil
}

// readLine returns a whole line: one that is cut off by the end says nothing.
func (w *wire) readLine() ([]byte, error) {
	part, err := w.r.ReadSlice('\n')
	text := bytes.TrimRight(part[:min(len(part), maxAnswerLine)], "\r\n")
	text = append(make([]byte, 0, len(text)+3), text...)
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = w.r.ReadSlice('\n')
	}
	if errors.Is(err, io.EOF) {
		return nil, io.ErrUnexpectedEOF
	}
	if len(text) == 3 {
		text = append(text, ' ')
	}
	return append(text, "\r\n"...), err
}

// Write implements net.Conn.
func (w *wire) Write(p []byte) (int, error) {
	if w.mute {
		w.mute = false
		return len(p), nil
	}
	if w.r.Buffered() > 0 {
		return 0, errUnasked
	}
	return w.Conn.Write(p)
}
