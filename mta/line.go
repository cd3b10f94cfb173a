package mta

import (
	"errors"
	"net"
	"time"
)

// maxAnswer is how many octets a host may answer to one command.
const maxAnswer = 64 << 10

var errTalkative = errors.New("answer is longer than 64 KiB")

// A line is the connection to a host, below TLS. It bounds what the host may
// say between two of our writes, and how long it may take over our octets.
type line struct {
	net.Conn
	timeout time.Duration // no wait is longer
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
	if err := l.SetWriteDeadline(time.Now().Add(l.wait(blockTime))); err != nil {
		return 0, err
	}
	return l.Conn.Write(p)
}

// greeted gives go-smtp a greeting, since the host's own has been read.
type greeted struct {
	net.Conn
	greeting []byte
}

// Read implements net.Conn.
func (g *greeted) Read(p []byte) (int, error) {
	if len(g.greeting) > 0 {
		n := copy(p, g.greeting)
		g.greeting = g.greeting[n:]
		return n, nil
	}
	return g.Conn.Read(p)
}
