package mailauth

import (
	"context"
	"net/netip"
	"slices"
)

// IPRev says whether the peer's address has a name that leads back to it (RFC
// 8601 section 3).
type IPRev struct {
	Result Result
	Reason string // in words, or ""
	Addr   netip.Addr
	Name   string // the name that does; "" where none does
}

// maxNames bounds the names of one address that are tried.
const maxNames = 10

func (c *Checker) checkIPRev(ctx context.Context, addr netip.Addr) IPRev {
	r := IPRev{Result: Fail, Addr: addr, Reason: "name does not lead back"}
	names, err := c.DNS.PTR(ctx, addr)
	switch {
	case absent(err):
		r.Result, r.Reason = PermError, "address has no name"
		return r
	case err != nil:
		r.Result, r.Reason = TempError, "DNS trouble"
		return r
	}
	for _, name := range names.Records[:min(maxNames, len(names.Records))] {
		addrs, err := c.DNS.Addrs(ctx, name)
		if slices.Contains(addrs.Records, addr) {
			return IPRev{Result: Pass, Addr: addr, Name: name}
		}
		if err != nil && !absent(err) {
			r.Result, r.Reason = TempError, "DNS trouble"
		}
	}
	return r
}
