// Package dns looks names up and says whether the answer was authenticated.
//
// It asks the resolvers that it is given and does not validate DNSSEC itself:
// an answer counts as authenticated when a resolver whose word can be believed
// set the AD bit (RFC 4035 section 3.2.3, RFC 6840 section 5.7).
package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// What became of a lookup that gave no records. Callers tell them apart with
// errors.Is; an error says besides which name and type were asked for, and of
// whom.
var (
	ErrNotFound  = errors.New("no such name")          // NXDOMAIN: nothing has this name (RFC 2308 section 2.1)
	ErrNoRecords = errors.New("no records")            // NODATA: the name has no records of this type (RFC 2308 section 2.2)
	ErrTemporary = errors.New("temporary DNS failure") // no answer, or none of use: another time may do better
)

// ErrInvalidName says that a name cannot be in the DNS (RFC 1035 section
// 2.3.4); no server was asked. It is an ErrNotFound as well.
var ErrInvalidName error = invalidName{}

type invalidName struct{}

func (invalidName) Error() string        { return "not a domain name" }
func (invalidName) Is(target error) bool { return target == ErrNotFound }

// An Answer holds at most 100 records, in the order of the server. With an
// ErrNotFound or an ErrNoRecords it has none, and the other fields tell of
// that denial. It is the caller's own.
type Answer[T any] struct {
	Records       []T
	Authenticated bool          // DNSSEC vouches for all of it, CNAMEs on the way included
	TTL           time.Duration // for how much longer it holds, from 0 to a day
}

// MX is a mail exchanger (RFC 5321 section 5.1). Its Host is "" if the domain
// takes no mail at all (RFC 7505).
type MX struct {
	Preference uint16 // the lowest comes first
	Host       string // lower case, no dot at the end
}

// TLSA says which certificates a server may present (RFC 6698 section 2.1).
// None of its fields has been checked.
type TLSA struct {
	Usage, Selector, MatchingType uint8
	Data                          []byte
}

// A Resolver looks names up. Names are given as A-labels (RFC 5890), with or
// without a dot at the end, and are always taken as absolute. A lookup follows
// up to 8 CNAMEs, and takes no longer than its context allows, nor than 15
// seconds. Names in answers are in lower case without the last dot; an octet
// that no host name has is written \DDD or \X (RFC 1035 section 5.1).
//
// Answers are remembered for as long as their TTLs allow, and lookups of the
// same thing at the same time ask once. A Resolver is safe for concurrent use.
type Resolver struct {
	current atomic.Pointer[generation]
	panics  atomic.Int64
}

// Panics returns the number of lookups that panicked.
func (r *Resolver) Panics() int64 { return r.panics.Load() }

// New returns a Resolver that asks the servers of c.
func New(c Config) (*Resolver, error) {
	r := new(Resolver)
	if err := r.Configure(c); err != nil {
		return nil, err
	}
	return r, nil
}

// Configure makes every lookup from now on ask the servers of c, and forgets
// what the former servers said. Lookups under way end as they began. After an
// error everything is as before.
func (r *Resolver) Configure(c Config) error {
	servers, err := c.servers(resolvConf)
	if err != nil {
		return err
	}
	r.current.Store(newGeneration(servers, &r.panics))
	return nil
}

// MX returns the mail exchangers of the domain name. Whoever is to obey
// RFC 5321 section 5.1 sorts them by preference, and takes an ErrNoRecords as
// one MX that is the domain itself.
func (r *Resolver) MX(ctx context.Context, name string) (Answer[MX], error) {
	return answer(r.lookup(ctx, name, dns.TypeMX), func(data string) MX {
		return MX{binary.BigEndian.Uint16([]byte(data[:2])), withoutDot(data[2:])}
	})
}

// TXT returns the text records of name, the strings of each put together
// without a space between (RFC 7208 section 3.3). They may hold any octets, at
// most 64 KiB of them.
func (r *Resolver) TXT(ctx context.Context, name string) (Answer[string], error) {
	return answer(r.lookup(ctx, name, dns.TypeTXT), strings.Clone)
}

// PTR returns the names that addr claims to have. Only when one of them has
// addr among its Addrs is it more than a claim.
func (r *Resolver) PTR(ctx context.Context, addr netip.Addr) (Answer[string], error) {
	name := "" // which is no name, just as an invalid addr has none
	if addr.IsValid() {
		name, _ = dns.ReverseAddr(addr.Unmap().WithZone("").String()) // no error: addr is one
	}
	return answer(r.lookup(ctx, name, dns.TypePTR), withoutDot)
}

// CNAME returns the name that name is an alias of, without following it
// further; ErrNoRecords if it is no alias.
func (r *Resolver) CNAME(ctx context.Context, name string) (Answer[string], error) {
	return answer(r.lookup(ctx, name, dns.TypeCNAME), withoutDot)
}

// TLSA returns the associations at name, such as _25._tcp.mx.example.org. They
// mean nothing unless they are Authenticated (RFC 7672 section 2.2).
func (r *Resolver) TLSA(ctx context.Context, name string) (Answer[TLSA], error) {
	return answer(r.lookup(ctx, name, dns.TypeTLSA), func(data string) TLSA {
		return TLSA{data[0], data[1], data[2], []byte(data[3:])}
	})
}

// Addrs returns the addresses of host: those of A records, then those of AAAA
// records. It asks for both at a time, and if only one of the two gave
// addresses then these are the Answer. Without any, the error is temporary if
// either was, and ErrNotFound if both were.
func (r *Resolver) Addrs(ctx context.Context, host string) (Answer[netip.Addr], error) {
	six := r.begin(host, dns.TypeAAAA)
	four := r.lookup(ctx, host, dns.TypeA)
	return answer(both(four, six(ctx)), func(data string) netip.Addr {
		a, _ := netip.AddrFromSlice([]byte(data)) // 4 or 16 octets: the parser has seen to it
		return a.Unmap()
	})
}

// both makes one result of those for A and for AAAA records. What gave no
// addresses has no say in whether the addresses are authenticated: who can
// suppress an answer must not be able to make us forget DANE (RFC 7672
// section 2.2).
func both(four, six result) result {
	switch {
	case four.err == nil && six.err == nil:
		data := slices.Concat(four.data, six.data)
		return result{
			data:          data[:min(len(data), maxRecords)],
			authenticated: four.authenticated && six.authenticated,
			expires:       earlier(four.expires, six.expires),
		}
	case four.err == nil:
		return four
	case six.err == nil:
		return six
	}
	worse := four
	if rank(six.err) > rank(four.err) {
		worse = six
	}
	worse.authenticated = four.authenticated && six.authenticated
	worse.expires = earlier(four.expires, six.expires)
	return worse
}

// rank orders failures by how little they deny.
func rank(err error) int {
	switch {
	case errors.Is(err, ErrNotFound):
		return 0
	case errors.Is(err, ErrNoRecords):
		return 1
	}
	return 2
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// answer makes of each record's data what the caller wants to see.
func answer[T any](res result, of func(data string) T) (Answer[T], error) {
	a := Answer[T]{
		Authenticated: res.authenticated,
		TTL:           max(0, time.Until(res.expires).Round(time.Second)),
	}
	for _, data := range res.data {
		a.Records = append(a.Records, of(data))
	}
	return a, res.err
}

func withoutDot(name string) string { return strings.TrimSuffix(name, ".") }
