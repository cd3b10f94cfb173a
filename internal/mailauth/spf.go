package mailauth

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"

	"blitiri.com.ar/go/spf"

	"mailbox/internal/dns"
)

// SPF says whether the peer may use a domain (RFC 7208).
type SPF struct {
	Result Result
	Reason string // in words, or ""
	Domain string // in A-labels; "" where there is none to ask
}

// maxSPF bounds a record, in octets. RFC 7208 section 3.4 wants it below 450.
const maxSPF = 8 << 10

// checkSPF evaluates the policy of the domain of sender (RFC 7208 section 4).
func (c *Checker) checkSPF(ctx context.Context, addr netip.Addr, helo, sender string) SPF {
	at := strings.LastIndexByte(sender, '@')
	domain, ok := asciiDomain(sender[at+1:])
	if !ok || !strings.Contains(domain, ".") { // section 4.3
		return SPF{Result: None, Reason: "no domain name"}
	}
	local := "postmaster" // section 4.3
	if at > 0 {
		local = sender[:at]
	}
	// The library takes what follows the first @ for the domain.
	sender = strings.ReplaceAll(local, "@", "_") + "@" + domain
	result, err := spf.CheckHostWithSender(net.IP(addr.Unmap().WithZone("").AsSlice()), strings.TrimSuffix(helo, "."), sender,
		spf.WithContext(ctx), spf.WithResolver(spfResolver{c.DNS}))
	s := SPF{Result: Result(result), Domain: domain}
	var trouble *net.DNSError
	switch {
	case result == spf.TempError:
		s.Reason = "DNS trouble"
	case result == spf.PermError && err != nil && !errors.As(err, &trouble):
		s.Reason = err.Error() // one of the library's own, all harmless
	}
	return s
}

// spfResolver is what the SPF library asks. It makes of our errors those that
// it knows.
type spfResolver struct{ dns *dns.Resolver }

var (
	errTooLong = errors.New("record is too long")
	errSyntax  = errors.New("record is malformed")
)

func (r spfResolver) LookupTXT(ctx context.Context, name string) ([]string, error) {
	answer, err := r.dns.TXT(ctx, shorten(name))
	for _, txt := range answer.Records {
		version, terms, _ := strings.Cut(txt, " ")
		switch {
		case !strings.EqualFold(version, "v=spf1"): // section 4.5
		case len(txt) > maxSPF:
			return nil, errTooLong
		case !wellFormed(terms):
			return nil, errSyntax
		}
	}
	return answer.Records, spfError(name, err)
}

func (r spfResolver) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	answer, err := r.dns.MX(ctx, shorten(name))
	var list []*net.MX
	for _, mx := range answer.Records {
		list = append(list, &net.MX{Host: mx.Host, Pref: mx.Preference})
	}
	return list, spfError(name, err)
}

func (r spfResolver) LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error) {
	answer, err := r.dns.Addrs(ctx, shorten(host))
	var list []net.IPAddr
	for _, addr := range answer.Records {
		list = append(list, net.IPAddr{IP: addr.AsSlice()})
	}
	return list, spfError(host, err)
}

func (r spfResolver) LookupAddr(ctx context.Context, text string) ([]string, error) {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return nil, spfError(text, dns.ErrNotFound)
	}
	answer, err := r.dns.PTR(ctx, addr)
	return answer.Records, spfError(text, err)
}

// shorten takes labels off the left of a name that macros made too long (RFC
// 7208 section 7.3).
func shorten(name string) string {
	name = strings.TrimSuffix(name, ".")
	for len(name) > 253 {
		_, rest, ok := strings.Cut(name, ".")
		if !ok {
			break
		}
		name = rest
	}
	return name
}

// spfError says that there is nothing, or that nothing could be found out
// (RFC 7208 section 2.6). A name that is none has nothing (section 4.8).
func spfError(name string, err error) error {
	if err == nil {
		return nil
	}
	return &net.DNSError{Name: name, Err: err.Error(), IsNotFound: absent(err), IsTemporary: !absent(err)}
}
