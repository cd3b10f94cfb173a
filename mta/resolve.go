package mta

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"mailbox/internal/dns"
	"mailbox/storage"
)

// The bounds of what is tried for one message: a domain may name many hosts.
const (
	maxHosts     = 10
	maxAddresses = 20
)

// A hop is an address to try, and the host's name.
type hop struct {
	host string // for TLS; an address literal has none
	addr netip.AddrPort
}

func failed(stage, status, format string, args ...any) *Failure {
	return &Failure{Status: status, HostDown: true, Attempt: storage.Attempt{Stage: stage, Reply: fmt.Sprintf(format, args...)}}
}

// hops returns the addresses to try, in the order in which to try them: those
// of the better MX first, in each IPv6 and IPv4 in turn (RFC 5321 section 5.1,
// RFC 7505). What is ours or not on the internet is left out.
func (r *Remote) hops(ctx context.Context, d Destination) ([]hop, *Failure) {
	if d.Host != "" {
		return r.named(ctx, d.Host)
	}
	if addr, ok := literalAddr(d.Domain); ok {
		return r.usable(d.Domain, []hop{{addr: netip.AddrPortFrom(addr, r.port())}})
	}
	hosts, fail := r.exchangers(ctx, d.Domain)
	if fail != nil {
		return nil, fail
	}
	var all []hop
	var last error
	for _, h := range hosts[:min(len(hosts), maxHosts)] {
		addrs, err := r.DNS.Addrs(ctx, h)
		if err != nil && (last == nil || !errors.Is(err, dns.ErrNotFound) && !errors.Is(err, dns.ErrNoRecords)) {
			last = err
		}
		for _, a := range interleave(addrs.Records) {
			all = append(all, hop{host: h, addr: netip.AddrPortFrom(a, r.port())})
		}
	}
	switch {
	case len(all) > 0:
		return r.usable(d.Domain, all[:min(len(all), maxAddresses)])
	case errors.Is(last, dns.ErrNotFound) || errors.Is(last, dns.ErrNoRecords):
		if len(hosts) == 1 && hosts[0] == d.Domain {
			return nil, failed("dns", "5.1.2", "the domain %s does not exist or takes no mail: it has neither MX nor address records", d.Domain)
		}
		return nil, failed("dns", "5.4.4", "none of the mail servers of %s has an address: %s", d.Domain, strings.Join(hosts, ", "))
	}
	return nil, failed("dns", "4.4.3", "the mail servers of %s cannot be looked up: %v", d.Domain, last)
}

// exchangers returns the hosts that take a domain's mail, the preferred ones
// first, in random order among equals.
func (r *Remote) exchangers(ctx context.Context, domain string) ([]string, *Failure) {
	answer, err := r.DNS.MX(ctx, domain)
	switch {
	case errors.Is(err, dns.ErrNotFound):
		return nil, failed("dns", "5.1.2", "the domain %s does not exist", domain)
	case errors.Is(err, dns.ErrNoRecords):
		return []string{domain}, nil
	case errors.Is(err, dns.ErrInvalidName):
		return nil, failed("dns", "5.1.2", "%q is not a domain", domain)
	case err != nil:
		return nil, failed("dns", "4.4.3", "the mail servers of %s cannot be looked up: %v", domain, err)
	}
	list := slices.Clone(answer.Records)
	if len(list) == 1 && list[0].Host == "" {
		return nil, failed("dns", "5.1.10", "the domain %s takes no mail (null MX)", domain)
	}
	list = slices.DeleteFunc(list, func(mx dns.MX) bool { return mx.Host == "" })
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	slices.SortStableFunc(list, func(a, b dns.MX) int { return int(a.Preference) - int(b.Preference) })
	// Where we are among the hosts, mail goes to better ones only.
	if i := slices.IndexFunc(list, func(mx dns.MX) bool { return strings.EqualFold(mx.Host, r.Hostname) }); i >= 0 {
		preference := list[i].Preference
		list = slices.DeleteFunc(list, func(mx dns.MX) bool { return mx.Preference >= preference })
	}
	if len(list) == 0 {
		return nil, failed("dns", "5.4.6", "mail for %s would come back to us: we are its best mail server, but it is none of our domains", domain)
	}
	hosts := make([]string, len(list))
	for i, mx := range list {
		hosts[i] = mx.Host
	}
	return hosts, nil
}

// named returns the addresses of a host that a route or the operator named,
// which may be anywhere but here.
func (r *Remote) named(ctx context.Context, hostport string) ([]hop, *Failure) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return nil, failed("route", "4.3.5", "%q is not a host and port", hostport)
	}
	n, _ := strconv.ParseUint(port, 10, 16)
	if a, err := netip.ParseAddr(host); err == nil {
		return []hop{{addr: netip.AddrPortFrom(a.Unmap(), uint16(n))}}, nil
	}
	addrs, err := r.DNS.Addrs(ctx, host)
	if err != nil {
		return nil, failed("dns", "4.4.3", "the smarthost %s cannot be looked up: %v", host, err)
	}
	var all []hop
	for _, a := range interleave(addrs.Records) {
		all = append(all, hop{host: host, addr: netip.AddrPortFrom(a, uint16(n))})
	}
	return all, nil
}

// usable leaves out addresses to which mail must not go.
func (r *Remote) usable(domain string, all []hop) ([]hop, *Failure) {
	fail := failed("dns", "5.4.4", "%s has no mail server", domain)
	var good []hop
	for _, h := range all {
		a := h.addr.Addr()
		switch {
		case a.IsUnspecified(), a.IsMulticast():
			fail = failed("dns", "5.4.4", "the mail server of %s has the address %s, which is none of a host", domain, a)
		case r.Self != nil && r.Self(h.addr):
			fail = failed("dns", "5.4.6", "mail for %s would come back to us: its mail server has our address %s, but it is none of our domains", domain, a)
		case !r.settings().PrivateDestinations && private(a):
			fail = failed("dns", "5.4.4", "the mail server of %s has the address %s, which is not on the internet", domain, a)
		default:
			good = append(good, h)
		}
	}
	if len(good) == 0 {
		return nil, fail
	}
	return good, nil
}

var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"),
}

func private(a netip.Addr) bool {
	return a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast() ||
		slices.ContainsFunc(notPublic, func(p netip.Prefix) bool { return p.Contains(a) })
}

// literalAddr reads "[192.0.2.1]" or "[IPv6:2001:db8::1]" (RFC 5321 section 4.1.3).
func literalAddr(domain string) (netip.Addr, bool) {
	inner, ok := strings.CutPrefix(domain, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	if !ok || !closed {
		return netip.Addr{}, false
	}
	if len(inner) > 5 && strings.EqualFold(inner[:5], "IPv6:") {
		inner = inner[5:]
	}
	a, err := netip.ParseAddr(inner)
	return a.Unmap().WithZone(""), err == nil
}

// interleave puts IPv6 and IPv4 in turn, so that where one family does not
// work the other one is tried next.
func interleave(addrs []netip.Addr) []netip.Addr {
	var six, four, out []netip.Addr
	for _, a := range addrs {
		if a = a.Unmap(); a.Is4() {
			four = append(four, a)
		} else {
			six = append(six, a)
		}
	}
	for i := range max(len(six), len(four)) {
		if i < len(six) {
			out = append(out, six[i])
		}
		if i < len(four) {
			out = append(out, four[i])
		}
	}
	return out
}
