package listen

import (
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
)

// oddListener is one whose connections panic when a proxy's header is read.
type oddListener struct{ net.Listener }

type oddConn struct{ net.Conn }

func (l oddListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if c != nil && addrOf(c.RemoteAddr()) == proxy {
		c = oddConn{c}
	}
	return c, err
}

func (oddConn) Read([]byte) (int, error) { panic("on purpose") }

var proxy = netip.MustParseAddr("127.0.0.2")

// TestListenerPanics: a panic while a connection is asked for its PROXY header,
// counted as refused or told so ends that connection, and is counted.
func TestListenerPanics(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var panics, refused atomic.Int32
	l := New(oddListener{inner}, Config{
		Log: quiet, Limiter: NewLimiter(Limits{Address: 1}), Proxies: []netip.Prefix{netip.PrefixFrom(proxy, 32)},
		OnPanic: func(any, []byte) { panics.Add(1) },
		OnRefused: func(Refused) {
			if refused.Add(1) == 1 {
				panic("on purpose")
			}
		},
		Refusal: func(Refused) []byte { panic("on purpose") },
	})
	t.Cleanup(func() { l.Close() })
	p := &Pool{Log: quiet}
	go p.Serve(l, hello)
	if got := said(dial(t, l, "127.0.0.1")); !strings.HasPrefix(got, "hello") {
		t.Fatalf("the first connection was told %q", got)
	}
	for _, from := range []string{"127.0.0.2", "127.0.0.1", "127.0.0.1"} {
		if got := said(dial(t, l, from)); got != "EOF" {
			t.Errorf("%s was told %q", from, got)
		}
	}
	if got := said(dial(t, l, "127.0.0.3")); !strings.HasPrefix(got, "hello") {
		t.Errorf("after the panics: %q", got)
	}
	if panics.Load() != 3 {
		t.Errorf("%d panics were counted", panics.Load())
	}
}
