package siege

import (
	"bytes"
	"crypto/tls"
	"net"
	"strings"
	"sync/atomic"
	"testing"
)

// A Stranger is a client that the server does not know. It reads nothing by
// itself, and the system holds little for it.
type Stranger struct {
	net.Conn
	Below net.Conn // TLS, if there is any
	sent  *atomic.Int64
	keys  bytes.Buffer // of TLS
	t     testing.TB
}

func newStranger(t testing.TB, addr string) *Stranger {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	nc.(*net.TCPConn).SetReadBuffer(8 << 10) //nolint:errcheck // else it is larger
	below := &sending{Conn: nc}
	return &Stranger{Conn: below, Below: below, sent: &below.octets, t: t}
}

// A sending counts what a client sends.
type sending struct {
	net.Conn
	octets atomic.Int64
}

// Write implements net.Conn.
func (c *sending) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.octets.Add(int64(n))
	return n, err
}

// Send sends text.
func (s *Stranger) Send(text string) { s.send(s.Conn, []byte(text)) }

// SendBelow sends octets below TLS.
func (s *Stranger) SendBelow(b []byte) { s.send(s.Below, b) }

func (s *Stranger) send(nc net.Conn, b []byte) {
	if _, err := nc.Write(b); err != nil {
		s.t.Error(err)
	}
}

// ReadTo reads up to the end of a line with an answer in it, or to the end.
func (s *Stranger) ReadTo(answer string) {
	var said []byte
	for b := make([]byte, 1); !strings.HasSuffix(string(said), "\n") || !strings.Contains(string(said), answer); said = append(said, b...) {
		if _, err := s.Read(b); err != nil {
			s.t.Errorf("%v after %q", err, said)
			return
		}
	}
}

// Handshake goes over to TLS.
func (s *Stranger) Handshake() {
	c := tls.Client(s.Below, &tls.Config{InsecureSkipVerify: true, KeyLogWriter: &s.keys}) //nolint:gosec // whoever answers is meant
	if err := c.Handshake(); err != nil {
		s.t.Error(err)
	}
	s.Conn = c
}

// An Attack is what a stranger does, and is left at.
type Attack struct {
	Name string
	Do   func(*Stranger)
}
