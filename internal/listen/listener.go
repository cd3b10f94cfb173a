// Package listen holds what every server needs of a listener: limits of
// connections, the PROXY protocol, sockets handed over by systemd, and a
// goroutine for each connection that cannot take the process down.
package listen

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"syscall"
	"time"
)

const (
	maxPending    = 256             // connections that wait for their PROXY header
	maxRefusing   = 64              // connections that are being told that they are refused
	refusalTime   = 2 * time.Second // to write a refusal, and for the peer to read it
	maxAcceptWait = time.Second     // longest pause after a failed Accept
)

// Config says how a Listener admits connections. Every field may be zero.
type Config struct {
	Limiter       *Limiter                      // nil means no limits
	Proxies       []netip.Prefix                // peers that must send a PROXY header, v1 or v2; from others it is not understood
	HeaderTimeout time.Duration                 // for the PROXY header; 0 means 5 seconds
	Refusal       func(Refused) []byte          // what a refused peer is sent before the close; nil means nothing. Leave nil under implicit TLS
	OnRefused     func(Refused)                 // counts refusals; called from several goroutines
	OnPanic       func(value any, stack []byte) // counts panics; called from several goroutines; may be nil
	Log           *slog.Logger                  // nil means slog.Default()
}

// Refused describes a connection that was closed for a limit.
type Refused struct {
	Addr   netip.Addr // not valid for peers without an IP address
	Reason Reason
}

// A Listener is a net.Listener that hands out only the connections that its
// Config admits. A connection's place is free again when it is closed.
// RemoteAddr is the address before the proxy, where there is one.
type Listener struct {
	inner    net.Listener
	cfg      Config
	ready    chan net.Conn
	done     chan struct{}
	refusing chan struct{}
	wg       sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	pending map[net.Conn]struct{}
}

// New wraps inner and starts to accept. The Listener owns inner from then on;
// Close ends both.
func New(inner net.Listener, cfg Config) *Listener {
	if cfg.HeaderTimeout == 0 {
		cfg.HeaderTimeout = 5 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	l := &Listener{
		inner:    inner,
		cfg:      cfg,
		ready:    make(chan net.Conn),
		done:     make(chan struct{}),
		refusing: make(chan struct{}, maxRefusing),
		pending:  make(map[net.Conn]struct{}),
	}
	l.wg.Add(1)
	go l.run()
	return l
}

// Accept returns the next admitted connection, or net.ErrClosed after Close.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.ready:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Addr returns the address that is listened on.
func (l *Listener) Addr() net.Addr { return l.inner.Addr() }

// Close stops accepting. It returns when no goroutine of the Listener is
// left; connections that Accept returned stay open.
func (l *Listener) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return net.ErrClosed
	}
	l.closed = true
	close(l.done)
	for c := range l.pending {
		c.Close() // unblocks its goroutine, which reports nothing
	}
	l.mu.Unlock()
	err := l.inner.Close()
	l.wg.Wait()
	return err
}

// run accepts until Close. An error (no file descriptor left, a peer that is
// gone already) must not end the service: it waits a little and goes on.
func (l *Listener) run() {
	defer l.wg.Done()
	var wait time.Duration
	for {
		c, err := l.inner.Accept()
		if err == nil {
			wait = 0
			l.sort(c)
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			go l.Close() //nolint:errcheck // whoever closed the inner one wants no more of it
			return
		}
		if wait = nextWait(wait, err); wait > 5*time.Millisecond {
			l.cfg.Log.Warn("accept", "listener", l.inner.Addr().String(), "err", err, "wait", wait)
		}
		select {
		case <-time.After(wait):
		case <-l.done:
			return
		}
	}
}

// nextWait doubles the pause after each failure in a row; a peer that left
// before it was accepted costs none.
func nextWait(last time.Duration, err error) time.Duration {
	switch {
	case errors.Is(err, syscall.ECONNABORTED):
		return 0
	case last == 0:
		return 5 * time.Millisecond
	default:
		return min(2*last, maxAcceptWait)
	}
}

// sort sends c on its way without ever waiting for its peer.
func (l *Listener) sort(c net.Conn) {
	defer l.recovered(c)
	addr := addrOf(c.RemoteAddr())
	if !contains(l.cfg.Proxies, addr) {
		l.offer(c, addr)
		return
	}
	if !l.track(c) {
		c.Close()
		return
	}
	l.wg.Add(1)
	go func() {
		defer l.wg.Done()
		defer l.recovered(c)
		pc, err := readHeader(c, l.cfg.HeaderTimeout)
		l.untrack(c)
		if err != nil {
			l.cfg.Log.Warn("proxy header", "proxy", addr.String(), "err", err)
			c.Close()
			return
		}
		l.offer(pc, addrOf(pc.RemoteAddr()))
	}()
}

// offer admits c or refuses it.
func (l *Listener) offer(c net.Conn, addr netip.Addr) {
	release := func() {}
	if lim := l.cfg.Limiter; lim != nil {
		reason, ok := lim.admit(addr)
		if !ok {
			l.refuse(c, Refused{Addr: addr, Reason: reason})
			return
		}
		release = func() { lim.release(addr) }
	}
	ac := &conn{Conn: c, release: release}
	select {
	case l.ready <- ac:
	case <-l.done:
		ac.Close()
	}
}

// refuse tells the peer why, if that costs little, and closes.
func (l *Listener) refuse(c net.Conn, r Refused) {
	if l.cfg.OnRefused != nil {
		l.cfg.OnRefused(r)
	}
	if l.cfg.Refusal == nil || !l.track(c) {
		c.Close()
		return
	}
	select {
	case l.refusing <- struct{}{}:
	default: // a flood: no courtesy
		l.untrack(c)
		c.Close()
		return
	}
	l.wg.Add(1)
	go func() {
		defer l.wg.Done()
		defer func() { <-l.refusing }()
		defer c.Close()
		defer l.untrack(c)
		defer l.recovered(c)
		l.farewell(c, l.cfg.Refusal(r))
	}()
}

// farewell writes line and waits until the peer has closed, since closing
// over unread bytes makes TCP drop what the peer has not read yet.
func (l *Listener) farewell(c net.Conn, line []byte) {
	if c.SetDeadline(time.Now().Add(refusalTime)) != nil {
		return
	}
	if _, err := c.Write(line); err != nil {
		return
	}
	if cw, ok := c.(interface{ CloseWrite() error }); ok && cw.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, c, 4096) // until the peer closes, sends more than that, or time is up
	}
}

func (l *Listener) track(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.pending) >= maxPending {
		return false
	}
	l.pending[c] = struct{}{}
	return true
}

func (l *Listener) untrack(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.pending, c)
}

func (l *Listener) recovered(c net.Conn) {
	if v := recover(); v != nil {
		stack := debug.Stack()
		l.cfg.Log.Error("panic before a connection was served", "peer", c.RemoteAddr().String(), "panic", v, "stack", string(stack))
		if l.cfg.OnPanic != nil {
			l.cfg.OnPanic(v, stack)
		}
		c.Close()
	}
}

// conn frees its place when it is closed, once.
type conn struct {
	net.Conn
	release func()
	once    sync.Once
}

// Close closes the connection and frees its place under the limits.
func (c *conn) Close() error {
	c.once.Do(c.release)
	return c.Conn.Close()
}

// CloseWrite ends what is sent, so that a peer can read the last words before
// the connection is closed.
func (c *conn) CloseWrite() error {
	if cw, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return errors.ErrUnsupported
}

// addrOf returns the IP address of a, or an invalid one.
func addrOf(a net.Addr) netip.Addr {
	if t, ok := a.(*net.TCPAddr); ok {
		return plain(t.AddrPort().Addr())
	}
	return netip.Addr{}
}

func contains(nets []netip.Prefix, a netip.Addr) bool {
	for _, n := range nets {
		if n.Contains(a) {
			return true
		}
	}
	return false
}
