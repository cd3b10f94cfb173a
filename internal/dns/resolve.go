package dns

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/miekg/dns"
)

const (
	rounds    = 3                // tries of each server
	avoidance = 30 * time.Second // for how long a server that was silent is asked last
)

var (
	errSilent = errors.New("no answer in time")
	errChain  = fmt.Errorf("more than %d CNAMEs, or a loop of them", maxChain)
)

// resolve asks servers, and follows CNAMEs where the server did not (RFC 1034
// section 5.2.2).
func (g *generation) resolve(ctx context.Context, q question) result {
	asked, hops, ttl, authenticated := q, 0, maxTTL, true
	for {
		r, err := g.ask(ctx, asked)
		if err != nil {
			return failed(q, err)
		}
		p, err := r.follow(asked, maxChain-hops)
		if err != nil {
			return failed(q, err)
		}
		asked.name, hops, ttl = p.end, hops+p.hops, min(ttl, p.ttl)
		res := result{authenticated: authenticated && r.authenticated}
		switch {
		case r.rcode == dns.RcodeNameError: // of the last name of the chain (RFC 6604 section 3)
			res.err = fmt.Errorf("%v: %w", q, ErrNotFound)
		case len(p.data) > 0:
			res.data = p.data
		case p.hops == 0 || r.denies(p.end):
			res.err = fmt.Errorf("%v: %w", q, ErrNoRecords)
		default: // an alias, and not a word about its target
			authenticated = res.authenticated
			continue
		}
		if res.err != nil {
			ttl = min(ttl, r.negativeTTL(p.end), maxNegative)
		}
		res.expires = time.Now().Add(max(ttl, minTTL))
		return res
	}
}

// ask returns the first reply of use, success or NXDOMAIN. Who is silent is
// asked again; who said no would say it again.
func (g *generation) ask(ctx context.Context, q question) (reply, error) {
	edns := true
	servers := g.inOrder(time.Now())
	var last error
	for range rounds {
		var again []*server
		for _, s := range servers {
			r, err := s.exchange(ctx, q, edns, g.try)
			if err == nil {
				return r, nil
			}
			if ctx.Err() != nil {
				return reply{}, fmt.Errorf("%v: %w", s.addr, context.Cause(ctx))
			}
			last = fmt.Errorf("%v: %w", s.addr, err)
			if said := rcode(0); !errors.As(err, &said) {
				s.avoid.Store(time.Now().Add(avoidance).Unix())
				again = append(again, s)
			} else if edns && said == dns.RcodeFormatError { // it may not know EDNS (RFC 6891 section 7)
				edns = false
				again = append(again, s)
			}
		}
		servers = again
	}
	return reply{}, last
}

// inOrder returns the servers that are to be avoided behind the others.
func (g *generation) inOrder(now time.Time) []*server {
	avoided := func(s *server) int {
		if s.avoid.Load() > now.Unix() {
			return 1
		}
		return 0
	}
	return slices.SortedStableFunc(slices.Values(g.servers), func(a, b *server) int {
		return cmp.Compare(avoided(a), avoided(b))
	})
}
