package listen

import (
	"net/netip"
	"sync"
	"time"
)

// Limits bound the connections that one Limiter admits. They hold for every
// address alike, loopback included. In each field a negative number means no
// limit.
type Limits struct {
	Total   int // connections at a time, from everywhere; 0 means 1,000
	Address int // connections at a time from one address; 0 means 20
	Network int // connections at a time from one IPv6 /64; 0 means 40
	Rate    int // new connections a minute from one IPv4 address or IPv6 /64; 0 means no limit
}

// A Reason says which limit refused a connection.
type Reason string

// The reasons for which a connection is refused.
const (
	TooMany            Reason = "total"   // Limits.Total
	TooManyFromAddress Reason = "address" // Limits.Address
	TooManyFromNetwork Reason = "network" // Limits.Network
	TooFast            Reason = "rate"    // Limits.Rate
)

// maxBuckets bounds the memory that rates take: about 100 octets each.
const maxBuckets = 1 << 16

// A Limiter counts connections. Several listeners may share one, so that a
// peer gains nothing by spreading over ports. It is safe for concurrent use.
type Limiter struct {
	limits Limits

	mu       sync.Mutex
	total    int
	address  map[netip.Addr]int
	network  map[netip.Prefix]int
	arrivals map[netip.Prefix]bucket
}

// A bucket holds the connections that a network may still open at once; it
// fills at Limits.Rate a minute, up to Limits.Rate.
type bucket struct {
	tokens float64
	at     time.Time
}

// NewLimiter returns a Limiter with nothing counted yet.
func NewLimiter(limits Limits) *Limiter {
	return &Limiter{
		limits: Limits{
			Total:   orDefault(limits.Total, 1000),
			Address: orDefault(limits.Address, 20),
			Network: orDefault(limits.Network, 40),
			Rate:    max(limits.Rate, 0),
		},
		address:  make(map[netip.Addr]int),
		network:  make(map[netip.Prefix]int),
		arrivals: make(map[netip.Prefix]bucket),
	}
}

func orDefault(n, def int) int {
	if n == 0 {
		return def
	}
	return n
}

// Set changes the limits for connections to come.
func (l *Limiter) Set(limits Limits) {
	fresh := NewLimiter(limits)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limits = fresh.limits
}

// Count returns the connections that are open now.
func (l *Limiter) Count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total
}

// admit counts a connection from a, or says why it must be refused. An
// address that is not valid (a Unix socket's) falls under Total only.
// Whatever was admitted must be released once.
func (l *Limiter) admit(a netip.Addr) (Reason, bool) {
	a = plain(a)
	l.mu.Lock()
	defer l.mu.Unlock()
	if exceeded(l.total, l.limits.Total) {
		return TooMany, false
	}
	if a.IsValid() {
		if exceeded(l.address[a], l.limits.Address) {
			return TooManyFromAddress, false
		}
		if a.Is6() && exceeded(l.network[networkOf(a)], l.limits.Network) {
			return TooManyFromNetwork, false
		}
		if !l.allowRate(networkOf(a), time.Now()) {
			return TooFast, false
		}
		l.address[a]++
		if a.Is6() {
			l.network[networkOf(a)]++
		}
	}
	l.total++
	return "", true
}

func exceeded(n, limit int) bool { return limit >= 0 && n >= limit }

// release takes back one connection that was admitted from a.
func (l *Limiter) release(a netip.Addr) {
	a = plain(a)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total--
	if !a.IsValid() {
		return
	}
	if l.address[a]--; l.address[a] <= 0 {
		delete(l.address, a)
	}
	if a.Is6() {
		n := networkOf(a)
		if l.network[n]--; l.network[n] <= 0 {
			delete(l.network, n)
		}
	}
}

// allowRate takes one token of n's bucket, if there is one.
func (l *Limiter) allowRate(n netip.Prefix, now time.Time) bool {
	rate := float64(l.limits.Rate)
	if rate == 0 {
		return true
	}
	b, known := l.arrivals[n]
	if !known {
		if len(l.arrivals) >= maxBuckets && !l.prune(now) {
			return true // more networks than we remember: the other limits hold
		}
		b = bucket{tokens: rate, at: now}
	}
	b.tokens = min(rate, b.tokens+now.Sub(b.at).Minutes()*rate)
	b.at = now
	ok := b.tokens >= 1
	if ok {
		b.tokens--
	}
	l.arrivals[n] = b
	return ok
}

// prune forgets the networks whose buckets are full again, and says whether
// there is room now.
func (l *Limiter) prune(now time.Time) bool {
	for n, b := range l.arrivals {
		if now.Sub(b.at) >= time.Minute {
			delete(l.arrivals, n)
		}
	}
	return len(l.arrivals) < maxBuckets
}

// plain makes ::ffff:192.0.2.1 and 192.0.2.1 one address, whatever the zone.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// networkOf returns the IPv6 /64 of a, which one host may own whole, or the
// IPv4 address alone.
func networkOf(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	n, _ := a.Prefix(bits) // no error: a is valid, and bits is in its range
	return n
}
