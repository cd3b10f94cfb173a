package dns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of what is done at a time.
const (
	tryTimeout    = 2 * time.Second
	lookupTimeout = 15 * time.Second
	maxFlights    = 200 // lookups that ask servers at a time; others wait
)

// A generation is what belongs to one Config: its servers, and what they said.
type generation struct {
	servers []*server
	try     time.Duration // how long one server may take
	slots   chan struct{} // one taken by each flight that asks servers
	panics  *atomic.Int64

	mu      sync.Mutex
	cache   cache
	flights map[question]*flight
}

// A flight is one lookup that any number of callers wait for.
type flight struct {
	cancel  context.CancelFunc
	waiters int // guarded by generation.mu; at 0 the flight is given up

	done   chan struct{} // closed when result is set
	result result
}

func newGeneration(servers []*server, panics *atomic.Int64) *generation {
	return &generation{
		servers: servers,
		try:     tryTimeout,
		slots:   make(chan struct{}, maxFlights),
		panics:  panics,
		cache:   cache{results: make(map[question]result)},
		flights: make(map[question]*flight),
	}
}

// lookup returns what is known of a name, or else what a server says.
func (r *Resolver) lookup(ctx context.Context, name string, typ uint16) result {
	return r.begin(name, typ)(ctx)
}

// begin is lookup that does not wait: wait, which must be called, does.
func (r *Resolver) begin(name string, typ uint16) (wait func(context.Context) result) {
	text, err := canonical(name)
	if err != nil {
		return func(context.Context) result { return result{err: fmt.Errorf("%s %q: %w", typeName(typ), name, err)} }
	}
	return r.current.Load().begin(question{text, typ})
}

func (g *generation) begin(q question) (wait func(context.Context) result) {
	known, f := g.join(q)
	return func(ctx context.Context) result {
		if f == nil {
			return known
		}
		select {
		case <-f.done:
			return f.result
		case <-ctx.Done():
			g.leave(q, f)
			return failed(q, context.Cause(ctx))
		}
	}
}

// join returns a result that is remembered, or else the flight that will have
// one.
func (g *generation) join(q question) (result, *flight) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if known, ok := g.cache.get(q, time.Now()); ok {
		return known, nil
	}
	f := g.flights[q]
	if f == nil {
		ctx, cancel := context.WithTimeoutCause(context.Background(), lookupTimeout, errSilent)
		f = &flight{cancel: cancel, done: make(chan struct{})}
		g.flights[q] = f
		go g.fly(ctx, q, f) // ends with ctx, which the last waiter cancels
	}
	f.waiters++
	return result{}, f
}

// leave gives the flight up if nobody else waits for it.
func (g *generation) leave(q question, f *flight) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f.waiters--; f.waiters == 0 {
		f.cancel()
		g.forget(q, f)
	}
}

// forget keeps callers to come from joining f. The caller holds g.mu.
func (g *generation) forget(q question, f *flight) {
	if g.flights[q] == f {
		delete(g.flights, q)
	}
}

func (g *generation) fly(ctx context.Context, q question, f *flight) {
	defer f.cancel()
	f.result = g.land(ctx, q)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.forget(q, f)
	if !errors.Is(f.result.err, ErrTemporary) {
		g.cache.put(q, f.result)
	}
	close(f.done)
}

// land resolves q when there is a slot for it. A panic over some answer is
// that lookup's failure, and nobody else's.
func (g *generation) land(ctx context.Context, q question) (res result) {
	defer func() {
		if v := recover(); v != nil {
			g.panics.Add(1)
			slog.Error("panic in a DNS lookup", "question", q.String(), "panic", v, "stack", string(debug.Stack()))
			res = failed(q, fmt.Errorf("panic: %v", v))
		}
	}()
	select {
	case g.slots <- struct{}{}:
		defer func() { <-g.slots }()
	case <-ctx.Done():
		return failed(q, context.Cause(ctx))
	}
	return g.resolve(ctx, q)
}

func failed(q question, reason error) result {
	return result{err: fmt.Errorf("%v: %w: %w", q, ErrTemporary, reason)}
}
