package imapd

import "net"

// strangerOctets is what a client may send before its login, below TLS. TLS
// keeps what it gets until a handshake message is whole, and lets one have 256
// KiB, whether it has a place there or not.
const strangerOctets = 64 << 10

var errBudget = no("TOOBIG", "too much before a login")

// A budget is a connection that gives no more than what is left.
type budget struct {
	net.Conn
	left  int64 // octets
	known bool  // who the client is: nothing is counted
}

func (b *budget) Read(p []byte) (int, error) {
	if b.known {
		return b.Conn.Read(p)
	}
	if b.left <= 0 {
		return 0, errBudget
	}
	n, err := b.Conn.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// CloseWrite ends what we send, where the connection can do that.
func (b *budget) CloseWrite() error {
	if c, ok := b.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}
