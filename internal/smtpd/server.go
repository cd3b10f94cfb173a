// Package smtpd makes go-smtp strict, quiet and complete. Its Conn stands
// between the network and the library, and its Session between the library and
// those who decide about mail; neither sees go-smtp.
package smtpd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emersion/go-smtp"

	"mailbox/internal/listen"
)

// Config is what may change while a server runs. Connections keep the one that
// they began with.
type Config struct {
	Hostname      string        // our name in greeting and replies
	Postmaster    string        // domain of "RCPT TO:<postmaster>" (RFC 5321 section 4.5.1)
	MaxSize       int64         // largest message, in bytes
	MaxRecipients int           // of one transaction
	MaxCommands   int           // of one connection
	MaxErrors     int           // replies of 5xx to one connection
	Idle          time.Duration // silence tolerated (RFC 5321 section 4.5.3.2)
	GreetDelay    time.Duration // before the greeting
	RefuseEager   bool          // peers that speak before the greeting are refused
	TLS           *tls.Config   // nil means no STARTTLS

	// For submission only.
	DSN        bool          // the parameters of RFC 3461
	RequireTLS bool          // REQUIRETLS, over TLS (RFC 8689)
	MaxRelease time.Duration // FUTURERELEASE, up to so long (RFC 4865); 0 means that it is not offered
}

// A Server speaks SMTP (RFC 5321) on its listeners. NewSession must be set.
type Server struct {
	NewSession func(*Conn) Session
	Log        *slog.Logger // nil means slog.Default()

	pool    listen.Pool
	once    sync.Once
	nextID  atomic.Uint64
	stats   stats
	current atomic.Pointer[library]
}

// stats count what happened since the start of the process.
type stats struct{ connections, handshakes, eager, panics atomic.Int64 }

// Stats are counts since the start of the process.
type Stats struct {
	Connections      int64 // accepted
	Open             int64 // now
	FailedHandshakes int64
	Eager            int64 // spoke before the greeting
	Panics           int64 // connections that ended in a panic
}

// Stats returns the counts as they are now.
func (s *Server) Stats() Stats {
	return Stats{
		Connections: s.stats.connections.Load(), Open: int64(s.pool.Conns()), FailedHandshakes: s.stats.handshakes.Load(),
		Eager: s.stats.eager.Load(), Panics: s.stats.panics.Load(),
	}
}

// Configure sets the configuration of connections to come. It must be called
// before Serve, and may be called again.
func (s *Server) Configure(cfg Config) {
	s.once.Do(func() {
		if s.Log == nil {
			s.Log = slog.Default()
		}
		s.pool.Log = s.Log
		s.pool.OnPanic = func(any, []byte) { s.stats.panics.Add(1) }
	})
	old := s.current.Swap(newLibrary(s, cfg))
	if old != nil {
		old.conns.Close() //nolint:errcheck // it only stops handing out
	}
}

// Serve speaks to the connections of l until Shutdown, when it returns
// listen.ErrClosed.
func (s *Server) Serve(l net.Listener) error {
	return s.pool.Serve(l, func(ctx context.Context, nc net.Conn) { s.serve(ctx, nc, nil) })
}

// ServeTLS is Serve with TLS from the first octet (RFC 8314 section 3.3).
func (s *Server) ServeTLS(l net.Listener, cfg *tls.Config) error {
	return s.pool.Serve(l, func(ctx context.Context, nc net.Conn) { s.serve(ctx, nc, cfg) })
}

// Shutdown closes the listeners, tells idle peers 421, lets transactions that
// run finish, and closes everything when ctx ends.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.pool.Shutdown(ctx)
	if l := s.current.Load(); l != nil {
		l.conns.Close() //nolint:errcheck // it only stops handing out
	}
	return err
}

func (s *Server) serve(ctx context.Context, nc net.Conn, implicit *tls.Config) {
	s.stats.connections.Add(1)
	c := newConn(s, &s.current.Load().cfg, context.WithoutCancel(ctx), nc)
	if implicit != nil {
		t, err := s.handshake(ctx, c, implicit)
		if err != nil {
			return
		}
		c = c.over(t)
		c.secured = false // the greeting is still to come
	} else if c.cfg.RefuseEager && !c.patient() {
		s.stats.eager.Add(1)
		c.linger()
		return
	}
	for {
		stop := context.AfterFunc(ctx, c.stop)
		s.current.Load().hand(s, c)
		<-c.done
		stop()
		if !c.upgrade {
			c.linger()
			return
		}
		t, err := s.handshake(ctx, c, c.cfg.TLS)
		if err != nil {
			return
		}
		c = c.over(t)
	}
}

func (s *Server) handshake(ctx context.Context, c *Conn, cfg *tls.Config) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	c.budget.Renew()
	t := tls.Server(c.Conn, cfg)
	if err := t.HandshakeContext(ctx); err != nil {
		s.stats.handshakes.Add(1)
		c.log.Debug("tls handshake", "err", err)
		return nil, err
	}
	return t, nil
}

// patient waits for the greeting delay and tells whether the peer waited too.
func (c *Conn) patient() bool {
	c.SetReadDeadline(time.Now().Add(max(c.cfg.GreetDelay, time.Millisecond))) //nolint:errcheck // the read tells
	_, err := c.br.Peek(1)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return true
	}
	if err == nil {
		c.log.Info("refused: spoke before the greeting")
		c.out = fmt.Appendf(c.out, "554 5.5.1 %s: you spoke before the greeting\r\n", c.cfg.Hostname)
		c.lastReply.Store(true)
		c.flush() //nolint:errcheck // the peer may have gone
	}
	return false
}

// A library is go-smtp with one configuration.
type library struct {
	cfg   Config
	conns *handoff
}

func newLibrary(s *Server, cfg Config) *library {
	l := &library{cfg: cfg, conns: &handoff{ready: make(chan net.Conn), closed: make(chan struct{})}}
	g := smtp.NewServer(smtp.BackendFunc(func(sc *smtp.Conn) (smtp.Session, error) {
		c, ok := sc.Conn().(*Conn)
		if !ok {
			return nil, fmt.Errorf("connection is a %T", sc.Conn())
		}
		own := &session{c: c}
		return own, own.guard(func() error {
			own.s = s.NewSession(c)
			return nil
		})
	}))
	g.Domain = cfg.Hostname
	g.MaxRecipients, g.MaxMessageBytes, g.MaxLineLength = cfg.MaxRecipients, cfg.MaxSize, 0
	g.AllowInsecureAuth = true // sessions offer AUTH by the state of TLS, which go-smtp does not see
	g.EnableSMTPUTF8, g.EnableDSN, g.EnableREQUIRETLS = true, cfg.DSN, cfg.RequireTLS
	g.ErrorLog = slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug)
	go g.Serve(l.conns) //nolint:errcheck // it ends with the handoff, and says so
	return l
}

// hand gives c to go-smtp; to a newer one where this was replaced.
func (l *library) hand(s *Server, c *Conn) {
	select {
	case l.conns.ready <- c:
	case <-l.conns.closed:
		if newer := s.current.Load(); newer != l {
			newer.hand(s, c)
			return
		}
		c.Close() //nolint:errcheck // the server is shut down
	}
}

// A handoff is the listener that go-smtp accepts from.
type handoff struct {
	ready  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// Accept implements net.Listener.
func (h *handoff) Accept() (net.Conn, error) {
	select {
	case c := <-h.ready:
		return c, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (h *handoff) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}

// Addr implements net.Listener.
func (h *handoff) Addr() net.Addr { return &net.TCPAddr{} }
