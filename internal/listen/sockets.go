package listen

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/coreos/go-systemd/v22/activation"
)

// Sockets are the listeners that systemd opened for us (socket activation).
// Those that Listen took belong to its callers.
type Sockets struct {
	mu   sync.Mutex
	free []net.Listener
}

// Inherit takes over the sockets named by LISTEN_FDS and unsets it, so that
// only the first call finds any. Sockets that cannot listen are left out.
func Inherit() (*Sockets, error) {
	ls, err := activation.Listeners()
	if err != nil {
		return nil, fmt.Errorf("sockets from systemd: %w", err)
	}
	s := &Sockets{}
	for _, l := range ls {
		if l != nil {
			s.free = append(s.free, l)
		}
	}
	return s, nil
}

// Listen returns the inherited TCP listener for address, if there is one, or
// opens it. Address is "host:port"; an empty host means all addresses, and
// matches an inherited socket of any unspecified address.
func (s *Sockets) Listen(ctx context.Context, address string) (net.Listener, error) {
	want, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w", address, err)
	}
	if l := s.take(want); l != nil {
		return l, nil
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w", address, err)
	}
	return l, nil
}

func (s *Sockets) take(want *net.TCPAddr) net.Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, l := range s.free {
		if got, ok := l.Addr().(*net.TCPAddr); ok && sameSocket(got, want) {
			s.free = append(s.free[:i], s.free[i+1:]...)
			return l
		}
	}
	return nil
}

// sameSocket tells whether a socket bound to got serves want. Port 0 asks for
// a fresh port and is never served by an inherited socket.
func sameSocket(got, want *net.TCPAddr) bool {
	if want.Port == 0 || got.Port != want.Port {
		return false
	}
	g, w := hostOf(got), hostOf(want)
	if !w.IsValid() || w.IsUnspecified() {
		return !g.IsValid() || g.IsUnspecified()
	}
	return g == w
}

func hostOf(a *net.TCPAddr) netip.Addr { return plain(a.AddrPort().Addr()) }

// Unused returns the addresses of inherited sockets that nobody took: the
// unit file and the configuration disagree about them.
func (s *Sockets) Unused() []net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	var addrs []net.Addr
	for _, l := range s.free {
		addrs = append(addrs, l.Addr())
	}
	return addrs
}
