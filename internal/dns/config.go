package dns

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"sync/atomic"

	"github.com/miekg/dns"
)

// Config is the part of the configuration that tells which resolvers to ask.
type Config struct {
	// Servers are resolvers, in the order of preference, as addresses with or
	// without a port: "127.0.0.1", "127.0.0.1:5353", "[::1]:53". None means
	// those of /etc/resolv.conf, read when the Resolver is configured.
	Servers []string `toml:"servers"`
	// Trusted says that the servers, and the network between them and us, can
	// be believed about DNSSEC. Without it only servers on loopback are.
	Trusted bool `toml:"trusted"`
}

const (
	resolvConf = "/etc/resolv.conf"
	port       = 53
)

// Validate returns all that is wrong with c.
func (c Config) Validate() error {
	_, err := c.parse()
	return err
}

func (c Config) parse() ([]netip.AddrPort, error) {
	var addrs []netip.AddrPort
	var errs []error
	for _, text := range c.Servers {
		addr, ok := parseServer(text)
		if !ok {
			errs = append(errs, fmt.Errorf(`dns.servers: %q is not an IP address, with or without a port, such as "127.0.0.1" or "[::1]:53"`, text))
		}
		addrs = append(addrs, addr)
	}
	return addrs, errors.Join(errs...)
}

func parseServer(text string) (netip.AddrPort, bool) {
	if a, err := netip.ParseAddr(text); err == nil {
		return netip.AddrPortFrom(a, port), true
	}
	a, err := netip.ParseAddrPort(text)
	return a, err == nil && a.Port() != 0
}

// servers returns whom to ask, at least one; system names the file that says
// so if c does not.
func (c Config) servers(system string) ([]*server, error) {
	addrs, err := c.parse()
	if err != nil {
		return nil, err
	}
	if len(addrs) == 0 {
		if addrs, err = systemServers(system); err != nil {
			return nil, fmt.Errorf("dns.servers: %w", err)
		}
	}
	var servers []*server
	for _, a := range addrs {
		servers = append(servers, &server{addr: a, trusted: c.Trusted || a.Addr().IsLoopback()})
	}
	return servers, nil
}

// systemServers reads the name servers of a resolv.conf(5). As that page has
// it, without any there is one on this host.
func systemServers(path string) ([]netip.AddrPort, error) {
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	file, err := dns.ClientConfigFromReader(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	var addrs []netip.AddrPort
	for _, text := range file.Servers {
		if a, err := netip.ParseAddr(text); err == nil {
			addrs = append(addrs, netip.AddrPortFrom(a, port))
		}
	}
	if addrs == nil {
		addrs = append(addrs, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port))
	}
	return addrs, nil
}

// A server is one resolver that we ask.
type server struct {
	addr    netip.AddrPort
	trusted bool         // its AD bit is believed
	avoid   atomic.Int64 // Unix time, in seconds, until which others are asked first
}
