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
	host       string // for TLS; an address literal has none
	preference uint16 // of its MX
	addr       netip.AddrPort
}

func failed(stage, status, format string, args ...any) *Failure {
	return &Failure{Status: status, HostDown: true, Attempt: storage.Attempt{Stage: stage, Reply: oneLine(fmt.Sprintf(format, args...))}}
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
	list, implicit, fail := r.exchangers(ctx, d.Domain)
	if fail != nil {
		return nil, fail
	}
	all, err := r.addresses(ctx, list)
	good, fail := r.usable(d.Domain, all)
	switch {
	case len(good) > 0:
		return good[:min(len(good), maxAddresses)], nil
	case err != nil:
		return nil, failed("dns", "4.4.3", "the mail servers of %s cannot be looked up: %v", d.Domain, err)
	case len(all) > 0:
		return nil, fail
	case implicit:
		return nil, failed("dns", "5.1.2", "the domain %s does not exist or takes no mail: it has neither MX nor address records", d.Domain)
	}
	return nil, failed("dns", "5.4.4", "none of the mail servers of %s has an address, the first one is %s", d.Domain, list[0].Host)
}

// addresses returns those of the first hosts of a list. The error is a
// temporary one, which some of their addresses may hide behind.
func (r *Remote) addresses(ctx context.Context, list []dns.MX) (all []hop, err error) {
	for _, mx := range list[:min(len(list), maxHosts)] {
		addrs, e := r.DNS.Addrs(ctx, mx.Host)
		if e != nil && !errors.Is(e, dns.ErrNotFound) && !errors.Is(e, dns.ErrNoRecords) {
			err = e
		}
		for _, a := range interleave(addrs.Records) {
			all = append(all, hop{host: mx.Host, preference: mx.Preference, addr: netip.AddrPortFrom(a, r.port())})
		}
	}
	return all, err
}

// exchangers returns the hosts that take a domain's mail, the preferred ones
// first, in random order among equals. implicit tells that it is the domain
// itself, for want of MX records.
func (r *Remote) exchangers(ctx context.Context, domain string) (list []dns.MX, implicit bool, fail *Failure) {
	answer, err := r.DNS.MX(ctx, domain)
	list = answer.Records
	switch {
	case errors.Is(err, dns.ErrInvalidName):
		return nil, false, failed("dns", "5.1.2", "%q is not a domain", domain)
	case errors.Is(err, dns.ErrNotFound):
		return nil, false, failed("dns", "5.1.2", "the domain %s does not exist", domain)
	case errors.Is(err, dns.ErrNoRecords):
		list, implicit = []dns.MX{{Host: domain}}, true
	case err != nil:
		return nil, false, failed("dns", "4.4.3", "the mail servers of %s cannot be looked up: %v", domain, err)
	}
	list = slices.DeleteFunc(list, func(mx dns.MX) bool { return mx.Host == "" })
	if len(list) == 0 {
		return nil, false, failed("dns", "5.1.10", "the domain %s takes no mail (null MX)", domain)
	}
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	slices.SortStableFunc(list, func(a, b dns.MX) int { return int(a.Preference) - int(b.Preference) })
	// Where we are among the hosts, mail goes to better ones only.
	if i := slices.IndexFunc(list, func(mx dns.MX) bool { return strings.EqualFold(mx.Host, r.Hostname) }); i >= 0 {
		preference := list[i].Preference
		list = slices.DeleteFunc(list, func(mx dns.MX) bool { return mx.Preference >= preference })
	}
	if len(list) == 0 {
		return nil, false, failed("dns", ourselves, "mail for %s would come back to us: we are its best mail server, but it is none of our domains", domain)
	}
	return list, implicit, nil
}

// named returns the addresses of a host that a route or the operator named,
// which may be anywhere but where we listen.
func (r *Remote) named(ctx context.Context, hostport string) (all []hop, fail *Failure) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return nil, failed("route", "4.3.5", "%q is not a host and port", hostport)
	}
	n, _ := strconv.ParseUint(port, 10, 16)
	if a, err := netip.ParseAddr(host); err == nil {
		all = []hop{{addr: netip.AddrPortFrom(a.Unmap(), uint16(n))}}
	} else {
		addrs, err := r.DNS.Addrs(ctx, host)
		if err != nil {
			return nil, failed("dns", "4.4.3", "the smarthost %s cannot be looked up: %v", host, err)
		}
		for _, a := range interleave(addrs.Records) {
			all = append(all, hop{host: host, addr: netip.AddrPortFrom(a, uint16(n))})
		}
	}
	if r.Self != nil {
		all = slices.DeleteFunc(all, func(h hop) bool { return r.Self(h.addr) })
	}
	if len(all) == 0 {
		return nil, failed("route", "4.4.6", "the smarthost %s is ourselves", hostport)
	}
	return all, nil
}

// usable leaves out addresses to which mail must not go, and with ours those of
// hosts that are no better than we are (RFC 5321 section 5.1).
func (r *Remote) usable(domain string, all []hop) (good []hop, fail *Failure) {
	fail = failed("dns", "5.4.4", "%s has no mail server", domain)
	for _, h := range all {
		a := h.addr.Addr()
		if r.Self != nil && r.Self(h.addr) {
			good = slices.DeleteFunc(good, func(g hop) bool { return g.preference >= h.preference })
			fail = failed("dns", ourselves, "mail for %s would come back to us: its mail server has our address %s, but it is none of our domains", domain, a)
			break
		}
		switch {
		case a.IsUnspecified(), a.IsMulticast():
			fail = failed("dns", "5.4.4", "the mail server of %s has the address %s, which is none of a host", domain, a)
		case !r.settings().PrivateDestinations && private(a):
			fail = failed("dns", "5.4.4", "the mail server of %s has the address %s, which is not on the internet", domain, a)
		default:
			good = append(good, h)
		}
	}
	if len(good) > 0 {
		return good, nil
	}
	return nil, fail
}

var (
	notPublic = []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
		netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"),
		netip.MustParsePrefix("::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("fec0::/10"),
	}
	nat64     = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052
	sixToFour = netip.MustParsePrefix("2002::/16")    // RFC 3056
)

func private(a netip.Addr) bool {
	b := a.As16()
	switch { // an IPv6 address may lead to an IPv4 one
	case nat64.Contains(a):
		a = netip.AddrFrom4([4]byte(b[12:]))
	case sixToFour.Contains(a):
		a = netip.AddrFrom4([4]byte(b[2:6]))
	}
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
