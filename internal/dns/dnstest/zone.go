package dnstest

import (
	"strings"

	"github.com/miekg/dns"
)

// A zone has the records of every name, and nil for names that exist only
// because others end in them (RFC 8020).
type zone map[string][]dns.RR

func (z zone) add(rr dns.RR) {
	name := canonical(rr.Header().Name)
	z[name] = append(z[name], rr)
	for ; name != "."; name = parent(name) {
		if _, ok := z[name]; !ok {
			z[name] = nil
		}
	}
}

// canonical returns name in lower case, absolute, and escaped in the one way in
// which it comes out of a message. What is no name stays as it is.
func canonical(name string) string {
	wire := make([]byte, 255)
	if _, err := dns.PackDomainName(dns.Fqdn(name), wire, 0, nil, false); err == nil {
		name, _, _ = dns.UnpackDomainName(wire, 0)
	}
	return dns.CanonicalName(name)
}

func parent(name string) string {
	off, end := dns.NextLabel(name, 0)
	if end {
		return "."
	}
	return name[off:]
}

// answer puts into reply what the zone has of name, follows CNAMEs (RFC 1034
// section 4.3.2), and explains a denial with a SOA record (RFC 2308 section 3).
func (z zone) answer(reply *dns.Msg, name string, typ uint16) {
	for seen := map[string]bool{}; !seen[name]; {
		seen[name] = true
		records, exists := z.lookup(name)
		if !exists {
			reply.Rcode = dns.RcodeNameError
			break
		}
		if found := of(records, typ); len(found) > 0 {
			reply.Answer = append(reply.Answer, found...)
			return
		}
		alias := of(records, dns.TypeCNAME)
		if len(alias) == 0 {
			break
		}
		reply.Answer = append(reply.Answer, alias...)
		name = canonical(alias[0].(*dns.CNAME).Target)
	}
	reply.Ns = append(reply.Ns, z.soa(name)...)
}

func of(records []dns.RR, typ uint16) []dns.RR {
	var found []dns.RR
	for _, rr := range records {
		if rr.Header().Rrtype == typ || typ == dns.TypeANY {
			found = append(found, rr)
		}
	}
	return found
}

// lookup returns name's records, and whether it exists: itself, or for a
// wildcard just below the closest name that does (RFC 4592 section 3.3.1).
func (z zone) lookup(name string) ([]dns.RR, bool) {
	if records, ok := z[name]; ok {
		return records, true
	}
	encloser := parent(name)
	for encloser != "." {
		if _, ok := z[encloser]; ok {
			break
		}
		encloser = parent(encloser)
	}
	records, ok := z["*."+strings.TrimPrefix(encloser, ".")]
	return renamed(records, name), ok
}

func renamed(records []dns.RR, name string) []dns.RR {
	var copies []dns.RR
	for _, rr := range records {
		c := dns.Copy(rr)
		c.Header().Name = name
		copies = append(copies, c)
	}
	return copies
}

// soa returns the SOA record of the closest zone that has name in it.
func (z zone) soa(name string) []dns.RR {
	for {
		if soa := of(z[name], dns.TypeSOA); len(soa) > 0 {
			return soa[:1]
		}
		if name == "." {
			return nil
		}
		name = parent(name)
	}
}
