package imapd

import (
	"bufio"
	"bytes"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener of connections in memory, with which time can stand still.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 143} }

// TestSilence: a client that says nothing is logged out, before login soon and
// after it in half an hour (RFC 3501 section 5.4); in IDLE it hears from us
// every four minutes until then.
func TestSilence(t *testing.T) { synctest.Test(t, testSilence) }

func testSilence(t *testing.T) {
	f := newServer(t, nil)
	l := &pipes{make(chan net.Conn), make(chan struct{})}
	go f.server.Serve(l)
	for say, want := range map[string]string{
		"":      "1m0s * BYE autologout",
		"LOGIN": "30m0s * BYE autologout",
		"IDLE":  "4m0s * OK still here, 8m0s * OK still here, 12m0s * OK still here, 16m0s * OK still here, 20m0s * OK still here, 24m0s * OK still here, 28m0s * OK still here, 30m0s * BYE autologout",
	} {
		ours, theirs := net.Pipe()
		defer ours.Close()
		l.conns <- theirs
		c := &client{t: t, nc: ours, r: bufio.NewReader(ours)}
		c.line()
		began := time.Now()
		if say != "" {
			c.ok("LOGIN " + alice + ` "` + secret + `"`)
			began = time.Now()
		}
		if say == "IDLE" {
			c.send("i IDLE\r\n")
			c.line()
		}
		ours.SetReadDeadline(time.Time{})
		var heard []string
		for {
			line, err := c.r.ReadString('\n')
			if err != nil {
				break
			}
			text, _, _ := strings.Cut(strings.TrimSpace(line), ";")
			heard = append(heard, time.Since(began).String()+" "+text)
		}
		if got := strings.Join(heard, ", "); got != want {
			t.Errorf("silent after %q: heard %s, not %s", say, got, want)
		}
	}
}

// panicking is a listener whose connections panic when they read a "!".
type panicking struct{ net.Listener }

type panickingConn struct{ net.Conn }

func (l panicking) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	return panickingConn{nc}, err
}

func (c panickingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if bytes.IndexByte(p[:n], '!') >= 0 {
		panic("on purpose")
	}
	return n, err
}

// TestPanicWhileIdle: a panic in the goroutine that IDLE has of its own ends
// the session, and no other, and is counted.
func TestPanicWhileIdle(t *testing.T) {
	f := newServer(t, nil)
	f.addr = f.listen(func(l net.Listener) error { return f.server.Serve(panicking{l}) })
	f.panics = 1
	other := f.login()
	c := f.login()
	c.send("i IDLE\r\n")
	c.line()
	c.send("!")
	if l, err := c.tryLine(); err == nil {
		t.Errorf("the session goes on: %q", l)
	}
	other.ok("NOOP")
}
