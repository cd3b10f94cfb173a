package listen

import (
	"errors"
	"net"
	"time"

	"github.com/pires/go-proxyproto"
)

// proxied is a connection whose addresses a trusted proxy told us.
type proxied struct {
	net.Conn
	local, remote net.Addr
}

func (p *proxied) LocalAddr() net.Addr  { return p.local }
func (p *proxied) RemoteAddr() net.Addr { return p.remote }

// readHeader reads the PROXY header (v1 or v2) that c must begin with, within
// timeout. A header without addresses (the proxy's own health check) leaves
// those of c.
func readHeader(c net.Conn, timeout time.Duration) (net.Conn, error) {
	pc := proxyproto.NewConn(c, proxyproto.WithPolicy(proxyproto.REQUIRE), proxyproto.SetReadHeaderTimeout(timeout))
	h := pc.ProxyHeader()
	if h == nil {
		return nil, errors.New("no valid PROXY header")
	}
	p := &proxied{Conn: pc, local: c.LocalAddr(), remote: c.RemoteAddr()}
	if h.Command.IsLocal() {
		return p, nil
	}
	src, dst, ok := h.TCPAddrs()
	if ok {
		p.local, p.remote = dst, src
		return p, nil
	}
	if h.TransportProtocol == proxyproto.UNSPEC {
		return p, nil
	}
	return nil, errors.New("PROXY header is not about TCP")
}
