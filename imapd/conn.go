package imapd

import (
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
	"time"

	"mailbox/imapd/wire"
	"mailbox/internal/listen"
	"mailbox/internal/login"
	"mailbox/storage"
)

// state is how far a session has come (RFC 3501 section 3), as a bit, so that
// a command can name several.
type state uint8

const (
	notAuthenticated state = 1 << iota
	authenticated
	selected
)

// A connError is an error of the connection: nothing can be answered after it.
type connError struct{ err error }

func (e *connError) Error() string { return e.err.Error() }
func (e *connError) Unwrap() error { return e.err }

// A conn is the session of one connection. Only its own goroutine uses it,
// save for the fields under mu.
type conn struct {
	s     *Server
	cfg   *Config // the one that the connection began with
	id    uint64
	log   *slog.Logger
	addr  netip.Addr
	since time.Time // of the connection, or of the end of the login before
	dec   *wire.Decoder
	enc   *wire.Encoder

	tlsState *tls.ConnectionState // nil without TLS
	state    state
	account  storage.AccountID
	name     string // of the account
	view     *view  // nil unless selected
	enabled  extension
	bad      int  // commands answered BAD
	failed   int  // logins that failed
	idling   bool // IDLE's own goroutine reads; who reads must not flush

	tag  string    // of the command that runs
	told time.Time // when the client last heard of it

	inflater *inflater      // nil while nothing is compressed
	pushed   []byte         // read from the connection, and to be read again
	budget   *listen.Budget // below TLS

	// upload judges the literal of an APPEND in place of the rule for strings.
	upload func(size int64) error

	mu      sync.Mutex
	nc      net.Conn
	waiting bool   // for the next command: what stop may interrupt
	stopped string // why the session must end; "" means it need not
	desc    Session
}

const (
	handshakeTime = 30 * time.Second
	literalTime   = 5 * time.Minute // for the next octets inside of a command
)

func newConn(s *Server, nc net.Conn) *conn {
	b := listen.NewBudget(nc)
	c := &conn{s: s, cfg: s.current.Load(), id: s.nextID.Add(1), nc: b, budget: b, since: time.Now(), state: notAuthenticated}
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		c.addr = a.AddrPort().Addr().Unmap()
	}
	c.log = c.logger()
	c.desc = Session{ID: c.id, Addr: c.addr.String(), Since: c.since}
	c.dec = wire.NewDecoder(reader{c}, &s.buffers)
	c.dec.SetLimits(limitsBeforeLogin())
	c.dec.OnLiteral = c.onLiteral
	c.enc = wire.NewEncoder(writer{c}, &s.buffers)
	return c
}

func limitsBeforeLogin() wire.Limits {
	return wire.Limits{Line: 8 << 10, Literal: 1 << 10, Command: 4 << 10, Skip: 16 << 10}
}

func (c *conn) logger() *slog.Logger { return c.s.Log.With("conn", c.id, "peer", c.addr) }

// reader is the connection as the decoder reads it: before it may block, what
// was answered goes out, so that a pipelined group costs one write.
type reader struct{ c *conn }

func (r reader) Read(p []byte) (int, error) {
	c := r.c
	if len(c.pushed) > 0 {
		n := copy(p, c.pushed)
		c.pushed = c.pushed[n:]
		return n, nil
	}
	if !c.idling {
		if err := c.enc.Flush(); err != nil {
			return 0, &connError{err}
		}
	}
	nc, err := c.armed()
	n := 0
	if err == nil {
		n, err = nc.Read(p)
	}
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, io.EOF) && c.waiting:
		return n, io.EOF
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	return n, &connError{err}
}

// armed returns the connection with the deadline for the next read.
func (c *conn) armed() (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting && c.stopped != "" {
		return nil, os.ErrDeadlineExceeded
	}
	return c.nc, c.nc.SetReadDeadline(c.readDeadline())
}

func (c *conn) readDeadline() time.Time {
	cfg := c.cfg
	switch {
	case c.state == notAuthenticated:
		return c.since.Add(cfg.LoginTimeout)
	case c.waiting:
		return time.Now().Add(cfg.IdleTimeout)
	}
	return time.Now().Add(literalTime)
}

type writer struct{ c *conn }

func (w writer) Write(p []byte) (int, error) {
	nc := w.c.nc
	if err := nc.SetWriteDeadline(time.Now().Add(w.c.cfg.WriteTimeout)); err != nil {
		return 0, err
	}
	return nc.Write(p)
}

func (c *conn) handshake(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	t := tls.Server(c.nc, c.s.TLS)
	if err := t.HandshakeContext(ctx); err != nil {
		return err
	}
	st := t.ConnectionState()
	c.tlsState = &st
	c.mu.Lock()
	c.nc, c.desc.TLS = t, true
	c.mu.Unlock()
	return nil
}

// secure goes over to TLS; nothing that came before it is remembered (RFC 3501
// section 6.2.1).
func (c *conn) secure(ctx context.Context) error {
	if err := c.enc.Flush(); err != nil {
		return err
	}
	if err := c.handshake(ctx); err != nil {
		return &connError{err}
	}
	c.dec.Reset(reader{c})
	c.enc.Reset(writer{c})
	return nil
}

// run greets the client and executes its commands, until either side ends.
func (c *conn) run(ctx context.Context) {
	defer context.AfterFunc(ctx, func() { c.stop("server is shutting down") })()
	// Commands that run when Shutdown begins may finish.
	ctx = context.WithoutCancel(ctx)
	text := "IMAP4rev1 ready"
	if c.s.Hostname != "" {
		text = c.s.Hostname + " " + text
	}
	c.enc.Status("*", "OK", "CAPABILITY "+c.capabilities(), text)
	var err error
	for err == nil {
		if err = c.wait(); err == nil {
			err = c.command(ctx)
		}
	}
	c.farewell(err)
}

// wait blocks until the next command begins.
func (c *conn) wait() error {
	c.mu.Lock()
	c.waiting, c.desc.Command = true, ""
	c.mu.Unlock()
	err := c.dec.Wait()
	c.setWaiting(false)
	if err != nil {
		return &connError{err}
	}
	return nil
}

func (c *conn) setWaiting(on bool) {
	c.mu.Lock()
	c.waiting = on
	c.mu.Unlock()
}

// farewell says BYE where the client may still hear it.
func (c *conn) farewell(err error) {
	c.mu.Lock()
	why := c.stopped
	c.mu.Unlock()
	var s *status
	var timeout net.Error
	switch {
	case errors.Is(err, errLogout):
	case why != "":
		c.enc.Status("*", "BYE", "", why)
	case errors.As(err, &s):
		c.enc.Status("*", "BYE", s.code, s.text)
	case errors.Is(err, wire.ErrUnskippable):
		c.enc.Status("*", "BYE", "TOOBIG", "command is too large")
	case errors.Is(err, listen.ErrBudget):
		c.enc.Status("*", "BYE", "TOOBIG", "too much before a login")
	case errors.As(err, &timeout) && timeout.Timeout():
		c.enc.Status("*", "BYE", "", "autologout; idle for too long")
	case !errors.Is(err, io.EOF):
		c.log.Debug("connection ended", "err", err)
	}
	if c.enc.Flush() != nil {
		return
	}
	// Whoever closes over unread octets makes TCP drop what was just sent.
	if cw, ok := c.nc.(interface{ CloseWrite() error }); ok && c.dec.Buffered() == 0 {
		_ = cw.CloseWrite() // the connection is closed at once anyway
	}
}

// end frees what the session holds.
func (c *conn) end() {
	c.view = nil
	if c.account != 0 {
		c.log.Debug("session ended", "account", c.name)
	}
}

// stop ends the session for a reason that its client is told, as soon as it
// waits for a command. It reports whether it does so now.
func (c *conn) stop(why string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = why
	if c.waiting {
		_ = c.nc.SetReadDeadline(time.Unix(1, 0)) // a closed connection ends the session too
	}
	return c.waiting
}

func (c *conn) close() {
	c.mu.Lock()
	nc := c.nc
	c.mu.Unlock()
	nc.Close()
}

func (c *conn) describe() Session {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.desc
}

// onLiteral lets the client send a literal (RFC 3501 section 4.3).
func (c *conn) onLiteral(size int64, nonSync, _ bool) error {
	if c.upload != nil {
		if err := c.upload(size); err != nil {
			return err
		}
	}
	if !nonSync {
		c.enc.Continue("go ahead")
	}
	return nil
}

// line reads the answer to a continuation request.
func (c *conn) line() ([]byte, error) {
	if err := c.dec.Wait(); err != nil {
		return nil, &connError{err}
	}
	return c.dec.Line()
}

// loggedIn moves the session on (RFC 3501 section 3.2).
func (c *conn) loggedIn(id login.Identity) {
	c.account, c.name, c.state = storage.AccountID(id.AccountID), id.Name, authenticated
	c.dec.SetLimits(wire.Limits{Skip: max(1<<20, c.cfg.AppendLimit)})
	c.budget.Lift()
	c.log = c.log.With("account", id.Name)
	c.mu.Lock()
	c.desc.Account = id.Name
	c.mu.Unlock()
	c.s.stats.logins.Add(1)
	c.log.Info("login", "tls", c.tlsState != nil, "credential", id.CredentialName)
}

func (c *conn) untagged(format string, args ...any) {
	fmt.Fprintf(c.enc, "* "+format+"\r\n", args...) //nolint:errcheck // the encoder keeps its error
}
