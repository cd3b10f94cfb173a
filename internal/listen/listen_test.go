package listen

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

var quiet = slog.New(slog.DiscardHandler)

func open(t *testing.T, cfg Config) *Listener {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Log = quiet
	l := New(inner, cfg)
	t.Cleanup(func() { l.Close() })
	return l
}

func dial(t *testing.T, l net.Listener, from string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 5 * time.Second}
	c, err := d.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(10 * time.Second))
	return c
}

// hello serves connections with one line until the peer leaves.
func hello(ctx context.Context, c net.Conn) {
	io.WriteString(c, "hello "+c.RemoteAddr().String()+"\n")
	io.Copy(io.Discard, c)
}

func said(c net.Conn) string {
	b := make([]byte, 100)
	n, err := c.Read(b)
	if err != nil {
		return err.Error()
	}
	return string(b[:n])
}

// TestLimits: one address too many is told so, and a place is free again when
// a connection ends.
func TestLimits(t *testing.T) {
	limiter := NewLimiter(Limits{Total: 3, Address: 2})
	var refused atomic.Int32
	l := open(t, Config{
		Limiter: limiter, Refusal: func(r Refused) []byte { return []byte("full: " + string(r.Reason) + "\n") },
		OnRefused: func(Refused) { refused.Add(1) },
	})
	p := &Pool{Log: quiet}
	go p.Serve(l, hello)
	a, b := dial(t, l, "127.0.0.1"), dial(t, l, "127.0.0.1")
	if !strings.HasPrefix(said(a), "hello") || !strings.HasPrefix(said(b), "hello") {
		t.Fatal("the first two were not served")
	}
	if got := said(dial(t, l, "127.0.0.1")); got != "full: address\n" {
		t.Errorf("the third of one address was told %q", got)
	}
	if got := said(dial(t, l, "127.0.0.2")); !strings.HasPrefix(got, "hello") {
		t.Errorf("another address was told %q", got)
	}
	if got := said(dial(t, l, "127.0.0.3")); got != "full: total\n" {
		t.Errorf("the fourth was told %q", got)
	}
	a.Close()
	for limiter.Count() > 2 {
		time.Sleep(time.Millisecond)
	}
	if got := said(dial(t, l, "127.0.0.1")); !strings.HasPrefix(got, "hello") {
		t.Errorf("after one left: %q", got)
	}
	limiter.Set(Limits{Total: -1, Address: -1})
	if got := said(dial(t, l, "127.0.0.1")); !strings.HasPrefix(got, "hello") {
		t.Errorf("without limits: %q", got)
	}
	if refused.Load() != 2 {
		t.Errorf("%d refusals were counted", refused.Load())
	}
}

func TestNetworks(t *testing.T) {
	l := NewLimiter(Limits{Total: 100, Address: 100, Network: 2})
	addr := func(s string) netip.Addr { return netip.MustParseAddr(s) }
	for i, c := range []struct {
		addr string
		ok   bool
	}{{"2001:db8::1", true}, {"2001:db8::2", true}, {"2001:db8::3", false}, {"2001:db8:0:1::1", true}, {"192.0.2.1", true}, {"192.0.2.2", true}, {"::ffff:192.0.2.3", true}} {
		if reason, ok := l.admit(addr(c.addr)); ok != c.ok {
			t.Errorf("%d: %s: %v %s", i, c.addr, ok, reason)
		}
	}
	l.release(addr("2001:db8::1"))
	if _, ok := l.admit(addr("2001:db8::3")); !ok {
		t.Error("a place was not free again")
	}
}

// TestProxy: the header is believed from a proxy, and from nobody else.
func TestProxy(t *testing.T) {
	l := open(t, Config{Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}, HeaderTimeout: time.Second})
	p := &Pool{Log: quiet}
	go p.Serve(l, hello)
	const header = "PROXY TCP4 192.0.2.9 192.0.2.1 4711 25\r\n"
	proxied := dial(t, l, "127.0.0.2")
	io.WriteString(proxied, header)
	if got := said(proxied); got != "hello 192.0.2.9:4711\n" {
		t.Errorf("behind a proxy: %q", got)
	}
	liar := dial(t, l, "127.0.0.3")
	io.WriteString(liar, header)
	if got := said(liar); !strings.HasPrefix(got, "hello 127.0.0.3:") {
		t.Errorf("someone who is no proxy: %q", got)
	}
	bare := dial(t, l, "127.0.0.2")
	io.WriteString(bare, "EHLO x\r\n")
	if got := said(bare); strings.HasPrefix(got, "hello") {
		t.Errorf("a proxy without a header: %q", got)
	}
}

// TestPool: a panic ends one connection; Shutdown waits for handlers, and not
// for ever.
func TestPool(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var panicked atomic.Int32
	p := &Pool{Log: quiet, OnPanic: func(any, []byte) { panicked.Add(1) }}
	served := make(chan error, 1)
	go func() {
		served <- p.Serve(l, func(ctx context.Context, c net.Conn) {
			switch line := said(c); line {
			case "panic":
				panic("on purpose")
			case "stay":
				io.Copy(io.Discard, c)
			default:
				<-ctx.Done()
				io.WriteString(c, "bye")
			}
		})
	}()
	bad := dial(t, l, "127.0.0.1")
	io.WriteString(bad, "panic")
	if got := said(bad); got != "EOF" {
		t.Errorf("after a panic: %q", got)
	}
	polite, stubborn := dial(t, l, "127.0.0.1"), dial(t, l, "127.0.0.1")
	io.WriteString(polite, "polite")
	io.WriteString(stubborn, "stay")
	for p.Conns() < 2 {
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if err := p.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("shutdown: %v", err)
	}
	if got := said(polite); got != "bye" {
		t.Errorf("a connection was told %q", got)
	}
	if err := <-served; !errors.Is(err, ErrClosed) {
		t.Errorf("serve: %v", err)
	}
	if p.Panics() != 1 || panicked.Load() != 1 {
		t.Errorf("%d and %d panics were counted", p.Panics(), panicked.Load())
	}
}

// TestInnerClosed: whoever closes the socket ends the Listener.
func TestInnerClosed(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := New(inner, Config{Log: quiet})
	inner.Close()
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept: %v", err)
	}
}
