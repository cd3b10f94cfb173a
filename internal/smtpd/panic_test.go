package smtpd

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
)

// A fault says where the next connection panics; "" is nowhere.
type fault struct{ at atomic.Pointer[string] }

func (f *fault) strike(at string) {
	if *f.at.Load() == at {
		panic("on purpose")
	}
}

// odd is a Session that panics where its fault says.
type odd struct {
	nobody
	*fault
}

func (o odd) Mail(context.Context, Mail) error {
	o.strike("Mail")
	return nil
}

func (o odd) Rcpt(context.Context, Rcpt) error {
	o.strike("Rcpt")
	return nil
}

func (o odd) Mechanisms() []string {
	o.strike("Mechanisms")
	return []string{"PLAIN"}
}

func (o odd) Auth(string) (Exchange, error) {
	o.strike("Auth")
	return o, nil
}

func (o odd) Next([]byte) ([]byte, bool, error) {
	o.strike("Next")
	return nil, false, errCredentials
}

var errCredentials = Reply(535, "5.7.8", "no")

// oddListener is one whose connections panic where the fault says.
type oddListener struct {
	net.Listener
	*fault
}

type oddConn struct {
	net.Conn
	*fault
}

func (l oddListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return oddConn{c, l.fault}, err
}

func (c oddConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if bytes.Contains(p[:n], []byte("EHLO")) {
		c.strike("read")
	}
	return n, err
}

func (c oddConn) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("250 ")) {
		c.strike("write")
	}
	if bytes.Contains(p, []byte("221 ")) {
		c.strike("last write")
	}
	return c.Conn.Write(p)
}

// TestPanics: a panic in a session, or of the connection under it, ends that
// connection, and is counted. go-smtp does not recover everywhere.
func TestPanics(t *testing.T) {
	f := &fault{}
	s := &Server{Log: slog.New(slog.DiscardHandler), NewSession: func(*Conn) Session {
		f.strike("NewSession")
		return odd{fault: f}
	}}
	s.Configure(testConfig())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(oddListener{l, f})
	defer s.Shutdown(context.Background())
	addr := l.Addr().String()
	const said = "EHLO client.example\r\nAUTH PLAIN AGEAYg==\r\nMAIL FROM:<a@client.example>\r\nRCPT TO:<b@home.example>\r\nQUIT\r\n"
	for n, at := range []string{"NewSession", "Mechanisms", "Auth", "Next", "Mail", "Rcpt", "read", "write", "last write"} {
		f.at.Store(&at)
		if got := conversation(t, addr, said); strings.Contains(got, "221 ") {
			t.Errorf("%s: the connection goes on: %q", at, got)
		}
		if got := s.Stats().Panics; got != int64(n+1) {
			t.Fatalf("%s: %d panics were counted, not %d", at, got, n+1)
		}
		f.at.Store(new(string))
		if got := conversation(t, addr, said); !strings.Contains(got, "221 ") {
			t.Errorf("after a panic in %s: %q", at, got)
		}
	}
}

// TestReplyPanics: go-smtp is told that the connection has ended when we panic
// over what it writes.
func TestReplyPanics(t *testing.T) {
	s, _ := serve(t, testConfig())
	ours, _ := net.Pipe()
	defer ours.Close()
	c := newConn(s, nil, context.Background(), ours) // without a configuration, to make it panic
	if n, err := c.Write([]byte("220 hello\r\n")); n != 0 || err == nil {
		t.Errorf("%d octets were written, %v", n, err)
	}
	if n, err := c.Read(make([]byte, 100)); n != 0 || err == nil {
		t.Errorf("%d octets were read, %v", n, err)
	}
	if n := s.Stats().Panics; n != 1 {
		t.Errorf("%d panics were counted", n)
	}
}
