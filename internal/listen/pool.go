package listen

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// lastWait is how long Shutdown waits for handlers after it has closed their
// connections.
const lastWait = 2 * time.Second

// A Pool runs a handler for each connection of its listeners, in a goroutine
// of its own that it waits for and recovers. The zero Pool is ready; the
// fields may not change after Serve.
type Pool struct {
	Log     *slog.Logger                  // nil means slog.Default()
	OnPanic func(value any, stack []byte) // counts panics elsewhere too; may be nil

	panics atomic.Int64

	mu        sync.Mutex
	ctx       context.Context // cancelled when Shutdown begins
	cancel    context.CancelFunc
	closed    bool
	listeners map[net.Listener]struct{}
	conns     map[net.Conn]struct{}
	wg        sync.WaitGroup
}

// ErrClosed is returned by Serve after Shutdown.
var ErrClosed = errors.New("listen: pool is shut down")

// Serve accepts connections from l and runs handle for each, until Shutdown,
// when it returns ErrClosed, or until l is closed by someone else. The context
// that handle gets is cancelled when Shutdown begins: that is the time to end
// what is idle. The connection is closed when handle returns or panics; a
// panic is logged with its stack and counted. Failures of Accept are retried.
func (p *Pool) Serve(l net.Listener, handle func(context.Context, net.Conn)) error {
	ctx, ok := p.addListener(l)
	if !ok {
		l.Close()
		return ErrClosed
	}
	defer p.removeListener(l)
	var wait time.Duration
	for {
		c, err := l.Accept()
		switch {
		case err == nil:
			wait = 0
			p.start(ctx, c, handle)
			continue
		case ctx.Err() != nil:
			return ErrClosed
		case errors.Is(err, net.ErrClosed):
			return err
		}
		wait = nextWait(wait, err)
		p.log().Warn("accept", "listener", l.Addr().String(), "err", err, "wait", wait)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ErrClosed
		}
	}
}

// Shutdown closes the listeners, cancels the handlers' context and waits for
// them. When ctx ends first it closes all connections, gives their handlers
// two seconds more, and returns the cause of ctx.
func (p *Pool) Shutdown(ctx context.Context) error {
	p.mu.Lock()
	p.init()
	p.closed = true
	p.cancel()
	for l := range p.listeners {
		go l.Close() //nolint:errcheck // Serve reports what matters; a Listener's Close may wait for slow peers
	}
	p.mu.Unlock()

	done := make(chan struct{})
	go func() {
		p.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	for c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	select {
	case <-done:
	case <-time.After(lastWait):
	}
	return context.Cause(ctx)
}

// Panics returns the number of handlers that panicked.
func (p *Pool) Panics() int64 { return p.panics.Load() }

// Conns returns the number of connections that are being served.
func (p *Pool) Conns() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

// start runs handle for c, unless the pool has been shut down meanwhile.
func (p *Pool) start(ctx context.Context, c net.Conn, handle func(context.Context, net.Conn)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		c.Close()
		return
	}
	p.conns[c] = struct{}{}
	p.wg.Add(1)
	go func() {
		defer p.wg.Done()
		defer p.end(c)
		handle(ctx, c)
	}()
}

// end closes c and recovers its handler.
func (p *Pool) end(c net.Conn) {
	if v := recover(); v != nil {
		p.panics.Add(1)
		stack := debug.Stack()
		p.log().Error("panic in a connection", "peer", c.RemoteAddr().String(), "panic", v, "stack", string(stack))
		if p.OnPanic != nil {
			p.OnPanic(v, stack)
		}
	}
	c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

func (p *Pool) addListener(l net.Listener) (context.Context, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.init()
	if p.closed {
		return nil, false
	}
	p.listeners[l] = struct{}{}
	p.wg.Add(1)
	return p.ctx, true
}

func (p *Pool) removeListener(l net.Listener) {
	l.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.listeners, l)
	p.wg.Done()
}

func (p *Pool) init() {
	if p.ctx == nil {
		p.ctx, p.cancel = context.WithCancel(context.Background())
		p.listeners = make(map[net.Listener]struct{})
		p.conns = make(map[net.Conn]struct{})
	}
}

func (p *Pool) log() *slog.Logger {
	if p.Log == nil {
		return slog.Default()
	}
	return p.Log
}
