// Package imapd speaks IMAP4rev2 (RFC 9051) and IMAP4rev1 (RFC 3501), with
// extensions, over the accounts of a store.
package imapd

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"mailbox/imapd/wire"
	"mailbox/internal/listen"
	"mailbox/internal/login"
	"mailbox/storage"
)

// Server lets the owners of accounts read their mail. Store and Auth must be
// set; the other fields may be left zero. None may change after Serve.
type Server struct {
	Store    *storage.DB
	Auth     *login.Authenticator
	TLS      *tls.Config  // nil means no STARTTLS, and ServeTLS fails
	Hostname string       // said in the greeting; "" means nothing is said
	Config   Config       // to begin with; Configure replaces it. Zero fields mean those of DefaultConfig
	Log      *slog.Logger // nil means slog.Default()

	once    sync.Once
	current atomic.Pointer[Config]
	limiter *listen.Limiter
	pool    listen.Pool
	buffers wire.Buffers
	stats   counters
	recent  recent
	nextID  atomic.Uint64

	deflate  deflatePool
	progress time.Duration // between two reports on a command; 0 means progressEvery

	mu    sync.Mutex
	conns map[uint64]*conn
}

func (s *Server) start() {
	s.once.Do(func() {
		cfg := s.Config.withDefaults()
		s.current.Store(&cfg)
		s.limiter = listen.NewLimiter(cfg.limits())
		if s.Log == nil {
			s.Log = slog.Default()
		}
		s.conns = map[uint64]*conn{}
		s.recent.since = time.Now().Truncate(time.Second)
		setDefault(&s.progress, progressEvery)
		s.pool.Log = s.Log
		s.pool.OnPanic = s.panicked
	})
}

// panicked counts.
func (s *Server) panicked(any, []byte) { s.stats.panics.Add(1) }

// Configure sets what holds for connections to come.
func (s *Server) Configure(c Config) {
	s.start()
	c = c.withDefaults()
	s.current.Store(&c)
	s.limiter.Set(c.limits())
}

// Serve speaks plain IMAP, with STARTTLS, to the connections of l until
// Shutdown, when it returns listen.ErrClosed.
func (s *Server) Serve(l net.Listener) error {
	s.start()
	refusal := func(listen.Refused) []byte { return []byte("* BYE too many connections, try again later\r\n") }
	return s.pool.Serve(s.admit(l, refusal), func(ctx context.Context, nc net.Conn) { s.serve(ctx, nc, false) })
}

// ServeTLS is Serve with TLS from the first octet (RFC 8314 section 3.2).
func (s *Server) ServeTLS(l net.Listener) error {
	s.start()
	if s.TLS == nil {
		return fmt.Errorf("imapd: %s: no TLS configuration", l.Addr())
	}
	return s.pool.Serve(s.admit(l, nil), func(ctx context.Context, nc net.Conn) { s.serve(ctx, nc, true) })
}

// admit holds the connections of l to the limits.
func (s *Server) admit(l net.Listener, refusal func(listen.Refused) []byte) net.Listener {
	return listen.New(l, listen.Config{
		Limiter: s.limiter, Refusal: refusal, Log: s.Log,
		OnPanic: s.panicked,
		OnRefused: func(r listen.Refused) {
			s.stats.refused.Add(1)
			s.Log.Warn("imap connection refused", "peer", r.Addr, "limit", r.Reason)
		},
	})
}

// Shutdown closes the listeners, says BYE to all sessions that wait for a
// command, lets the commands that run finish, and closes everything when ctx ends.
func (s *Server) Shutdown(ctx context.Context) error {
	s.start()
	return s.pool.Shutdown(ctx)
}

func (s *Server) serve(ctx context.Context, nc net.Conn, implicit bool) {
	s.stats.connections.Add(1)
	c := newConn(s, nc)
	s.mu.Lock()
	s.conns[c.id] = c
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.conns, c.id)
		s.mu.Unlock()
		c.end()
	}()
	if implicit {
		if err := c.handshake(ctx); err != nil {
			c.log.Debug("tls handshake", "err", err)
			return
		}
	}
	c.run(ctx)
}

// A Session describes a connection to the operator.
type Session struct {
	ID      uint64
	Account string // "" before login
	Addr    string
	Since   time.Time
	Mailbox string // the selected one, or ""
	Command string // the one that runs, or ""
	TLS     bool
}

// Sessions returns the connections that are open, in no particular order.
func (s *Server) Sessions() []Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Session, 0, len(s.conns))
	for _, c := range s.conns {
		all = append(all, c.describe())
	}
	return all
}

// Kill ends a session: with BYE where it waits for a command, otherwise by
// closing its connection. It reports whether there was such a session.
func (s *Server) Kill(id uint64) bool {
	s.mu.Lock()
	c := s.conns[id]
	s.mu.Unlock()
	if c == nil {
		return false
	}
	if !c.stop("session ended by the operator") {
		c.close()
	}
	return true
}
