package smtpd

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"mailbox/internal/listen"
)

const (
	readBuffer    = 16 << 10
	writeTimeout  = time.Minute
	handshakeTime = 30 * time.Second
	lingerTime    = 2 * time.Second
	maxLinger     = 256 << 10
)

// A Conn is one SMTP connection. It stands above TLS and below go-smtp, and
// knows lines: go-smtp is given one command at a time, and only what is safe
// to give to it.
type Conn struct {
	net.Conn                // the transport: TCP, or TLS over it
	budget   *listen.Budget // below TLS
	server   *Server
	cfg      *Config
	ctx      context.Context // of the server; ends when its last connections must
	log      *slog.Logger
	id       uint64
	secured  bool // a connection that went over to TLS: its greeting is not repeated
	state    *tls.ConnectionState

	br       *bufio.Reader
	out      []byte // replies that wait for the next read that would block
	writeErr error

	pending       []byte    // of the current command, what go-smtp has not taken yet
	verb          string    // of the current command
	first         bool      // the next reply line is the first of its reply
	helo          string    // the name that the peer gave itself
	extended      bool      // it said EHLO
	release       time.Time // that MAIL asked for
	failed        int       // logins
	authenticated bool
	sasl          bool   // the next line answers a challenge
	chunk         int64  // octets of BDAT that go-smtp has not taken yet
	onward        bool   // the last BDAT brought octets, or ended a message
	last          bool   // it was the last of its message
	partial       bool   // there are chunks of a message that has not ended
	givenUp       int    // messages of which that was all
	body          *body  // not nil between 354 and the end of the message
	tail          string // what makes go-smtp see the end that body saw
	commands      int
	errors        int
	rate          rate

	lastReply atomic.Bool // nothing more is read: what comes after the next reply is the end
	upgrade   bool        // go-smtp's connection ends, TLS begins

	mu      sync.Mutex
	waiting bool // for a command
	stopped bool

	done chan struct{} // closed when go-smtp is through
	once sync.Once
}

func newConn(s *Server, cfg *Config, ctx context.Context, nc net.Conn) *Conn {
	b := listen.NewBudget(nc)
	b.Lift() // without TLS
	c := &Conn{
		Conn: b, budget: b, server: s, cfg: cfg, ctx: ctx, id: s.nextID.Add(1),
		br: bufio.NewReaderSize(b, readBuffer), done: make(chan struct{}), first: true,
	}
	c.log = s.Log.With("conn", c.id, "peer", c.Addr())
	return c
}

// over returns the connection that goes on over TLS, knowing nothing of what
// was said before it (RFC 3207 section 4.2).
func (c *Conn) over(t *tls.Conn) *Conn {
	n := &Conn{
		Conn: secret{t, c.budget}, budget: c.budget, server: c.server, cfg: c.cfg, ctx: c.ctx, id: c.id, log: c.log, secured: true,
		br: c.br, done: make(chan struct{}), first: true, commands: c.commands, errors: c.errors, failed: c.failed,
	}
	n.br.Reset(n.Conn)
	st := t.ConnectionState()
	n.state = &st
	return n
}

// A secret is a connection over TLS, which may take so much from the peer
// without giving us anything, and no more. A handshake has 256 KiB of memory
// else, when it begins and at any time later (RFC 8446 section 4.6).
type secret struct {
	*tls.Conn
	below *listen.Budget
}

// Read implements net.Conn.
func (s secret) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if n > 0 {
		s.below.Renew()
	}
	return n, err
}

// Addr is the address of the peer; not valid where it has none.
func (c *Conn) Addr() netip.Addr {
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// TLS describes the encryption of the connection; nil where there is none.
func (c *Conn) TLS() *tls.ConnectionState { return c.state }

// ID tells this connection from others in the log.
func (c *Conn) ID() uint64 { return c.id }

// Log is the connection's logger.
func (c *Conn) Log() *slog.Logger { return c.log }

// protocol is the word for Received (RFC 3848, RFC 6531 section 4.3).
func (c *Conn) protocol(utf8 bool) string {
	word := "ESMTP"
	switch {
	case !c.extended:
		return "SMTP"
	case utf8:
		word = "UTF8SMTP"
	}
	if c.state != nil {
		word += "S"
	}
	if c.authenticated {
		word += "A"
	}
	return word
}

// Close implements net.Conn. go-smtp calls it when it is through; it would go
// on to read commands then, and execute them without a session.
func (c *Conn) Close() error {
	c.once.Do(func() {
		defer close(c.done)
		defer c.recovered()
		c.flush()
	})
	return nil
}

// isClosed tells whether Close was called.
func (c *Conn) isClosed() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// linger lets a peer that still sends read our last reply: who closes over
// unread octets makes TCP drop what was sent before.
func (c *Conn) linger() {
	if !c.lastReply.Load() || c.writeErr != nil {
		return
	}
	cw, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || cw.CloseWrite() != nil || c.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, c.Conn, maxLinger) // until the peer closes, sends more than that, or time is up
}

// flush sends the replies that wait.
func (c *Conn) flush() error {
	if c.writeErr == nil && len(c.out) > 0 {
		c.Conn.SetWriteDeadline(time.Now().Add(writeTimeout)) //nolint:errcheck // the write tells
		_, c.writeErr = c.Conn.Write(c.out)
	}
	c.out = c.out[:0]
	return c.writeErr
}

// fill makes sure that octets are buffered, and returns them. Before it waits
// for the peer, the peer gets its replies.
func (c *Conn) fill() ([]byte, error) {
	if c.br.Buffered() == 0 {
		if err := c.flush(); err != nil {
			return nil, err
		}
		if err := c.arm(time.Now().Add(c.cfg.Idle)); err != nil {
			return nil, err
		}
		if _, err := c.br.Peek(1); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return nil, Reply(421, "4.4.2", "idle for too long")
			}
			return nil, fmt.Errorf("%w: %v", io.ErrUnexpectedEOF, err) // not io.EOF, which would mean a whole message
		}
		if err := c.rate.add(c.br.Buffered(), time.Now()); err != nil {
			return nil, err
		}
	}
	b, _ := c.br.Peek(c.br.Buffered())
	return b, nil
}

// arm sets the deadline for the next read.
func (c *Conn) arm(by time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting && c.stopped {
		return Reply(421, "4.3.2", "server is shutting down")
	}
	return c.SetReadDeadline(by)
}

func (c *Conn) setWaiting(on bool) {
	c.mu.Lock()
	c.waiting = on
	c.mu.Unlock()
}

// stop ends the connection as soon as it waits for a command.
func (c *Conn) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	if c.waiting {
		c.SetReadDeadline(time.Unix(1, 0)) //nolint:errcheck // a closed connection has ended too
	}
}

func (c *Conn) isStopped() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stopped
}

// A rate holds the peer to a pace while it sends a message. The zero rate
// does not measure.
type rate struct {
	since time.Time
	n     int64
}

const (
	rateWindow = 5 * time.Minute
	rateFloor  = 1 << 10 // octets a second
)

var errSlow = Reply(451, "4.4.2", "message comes in too slowly")

// add counts octets that came in.
func (r *rate) add(n int, now time.Time) error {
	if r.since.IsZero() {
		return nil
	}
	r.n += int64(n)
	if now.Sub(r.since) < rateWindow {
		return nil
	}
	if float64(r.n) < rateFloor*now.Sub(r.since).Seconds() {
		return errSlow
	}
	r.since, r.n = now, 0
	return nil
}
