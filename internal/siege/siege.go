// Package siege besieges servers with clients that they do not know, and tells
// what those cost, for tests.
package siege

import (
	"net"
	"runtime"
	"runtime/metrics"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// connections is how many strangers do the same at a time.
const connections = 100

// most is what a connection may make the server use, 256 KiB, less a margin;
// what the test itself needs for it is counted too.
const most = 192 << 10

// left is what may be in use afterwards that was not before: less than a
// connection each would leave, and more than the runtime keeps of stacks.
const left = 2 << 20

// Measure has many strangers do something to the server behind l, and waits
// until it can do nothing more for any of them. None may have made it use more
// than a little memory, and nothing may be left when they have gone; gone tells
// whether the server knows that they have.
func Measure(t *testing.T, l *Listener, do func(*Stranger), gone func() bool) {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIPPED: it takes a while; and the race detector, which runs with -short, takes memory too")
	}
	before := InUse()
	all := l.besiege(t, do)
	n := (InUse() - before) / int64(len(all))
	t.Logf("%d octets for each connection", n)
	if n > most {
		t.Errorf("a connection makes the server use %d octets", n)
	}
	for _, s := range all {
		s.Close() //nolint:errcheck // it is over
	}
	all = nil
	defer func() {
		if t.Failed() {
			t.Logf("%d octets more than before are in use; all are gone: %v", InUse()-before, gone())
		}
	}()
	Await(t, gone)
	Await(t, func() bool { return InUse()-before < left }) // goroutines may be about to end
}

// InUse is how many octets of memory are in use: what could be freed is.
func InUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // for what pools hold
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// Allocated is how much was allocated since the begin of the process.
func Allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// Await waits for something that must happen soon.
func Await(t testing.TB, happened func() bool) {
	t.Helper()
	for until := time.Now().Add(20 * time.Second); !happened(); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("it did not happen")
		}
	}
}

// A Listener knows what the server does with its connections. The system takes
// little that their peers do not read.
type Listener struct {
	net.Listener
	conns sync.Map // of *watched, by the peer's address
}

// Listen has a server serve a Listener on loopback.
func Listen(t testing.TB, serve func(net.Listener) error) *Listener {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &Listener{Listener: inner}
	go serve(l) //nolint:errcheck // it ends with the server
	return l
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	nc.(*net.TCPConn).SetWriteBuffer(8 << 10) //nolint:errcheck // else it is larger
	w := &watched{Conn: nc}
	l.conns.Store(nc.RemoteAddr().String(), w)
	return w, nil
}

// Writes tells whether the server waits for a client to read.
func (l *Listener) Writes(client net.Conn) bool { return l.peer(client).doing.Load() == writes }

// peer is the server's side of a client's connection; until it was accepted it
// seems to be at work.
func (l *Listener) peer(client net.Conn) *watched {
	if c, known := l.conns.Load(client.LocalAddr().String()); known {
		return c.(*watched)
	}
	return &watched{}
}

// waits tells whether the server can do nothing more for a client.
func (l *Listener) waits(s *Stranger) bool {
	w := l.peer(s)
	read, sent := w.octets.Load(), s.sent.Load()
	switch w.doing.Load() {
	case reads:
		return read == sent
	case writes: // and nobody reads
		return read < sent
	case closed:
		return true
	}
	return false
}

func (l *Listener) besiege(t *testing.T, do func(*Stranger)) []*Stranger {
	var all []*Stranger
	var busy sync.WaitGroup
	for range connections {
		s := newStranger(t, l.Addr().String())
		all = append(all, s)
		busy.Go(func() { do(s) })
	}
	busy.Wait()
	for quiet := 0; quiet < 3; quiet++ { // between two steps it may seem to wait
		Await(t, func() bool { return !slices.ContainsFunc(all, func(s *Stranger) bool { return !l.waits(s) }) })
		time.Sleep(10 * time.Millisecond)
	}
	return all
}

// A watched is a connection of which is known what the server does with it.
type watched struct {
	net.Conn
	octets atomic.Int64 // that it read
	doing  atomic.Int32
}

const (
	works = iota
	reads
	writes
	closed
)

// Read implements net.Conn.
func (c *watched) Read(p []byte) (int, error) {
	c.doing.Store(reads)
	n, err := c.Conn.Read(p)
	c.octets.Add(int64(n))
	c.doing.CompareAndSwap(reads, works)
	return n, err
}

// Write implements net.Conn.
func (c *watched) Write(p []byte) (int, error) {
	c.doing.Store(writes)
	defer c.doing.CompareAndSwap(writes, works)
	return c.Conn.Write(p)
}

// Close implements net.Conn.
func (c *watched) Close() error {
	c.doing.Store(closed)
	return c.Conn.Close()
}
