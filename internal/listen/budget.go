package listen

import (
	"errors"
	"net"
)

// StrangerOctets is what TLS may take from a client that the server does not
// know. It keeps what it gets until a handshake message is whole, and lets one
// have 256 KiB, whether it has a place there or not.
const StrangerOctets = 64 << 10

// ErrBudget is the error of a read from a Budget with nothing left.
var ErrBudget = errors.New("the client has sent more than it may")

// A Budget is a connection that gives out so many octets and no more. It stands
// below TLS. Its methods, Write aside, are called by one goroutine at a time.
type Budget struct {
	net.Conn
	left  int64 // octets
	ample bool  // nothing is counted
}

// NewBudget returns a connection that gives StrangerOctets.
func NewBudget(nc net.Conn) *Budget { return &Budget{Conn: nc, left: StrangerOctets} }

// Renew gives StrangerOctets from now on.
func (b *Budget) Renew() { b.left, b.ample = StrangerOctets, false }

// Lift gives whatever comes from now on.
func (b *Budget) Lift() { b.ample = true }

// Read implements net.Conn.
func (b *Budget) Read(p []byte) (int, error) {
	if b.ample {
		return b.Conn.Read(p)
	}
	if b.left <= 0 {
		return 0, ErrBudget
	}
	n, err := b.Conn.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// CloseWrite ends what we send, where the connection can do that.
func (b *Budget) CloseWrite() error {
	if c, ok := b.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}
