package dns

import "time"

// Bounds of what is remembered.
const (
	maxEntries  = 10_000
	maxOctets   = 32 << 20
	perEntry    = 256 // octets that an entry takes besides its data, about
	evictAmong  = 8
	minTTL      = time.Second
	maxTTL      = 24 * time.Hour
	maxNegative = 15 * time.Minute // RFC 2308 section 5 has 1 to 3 hours as sensible; mail waits for mended zones
)

// A result is what one lookup gave: data, or an err.
type result struct {
	data          []string // of each record, as expand returns it; never changed
	authenticated bool
	expires       time.Time
	err           error
}

func (r result) octets() int {
	n := perEntry
	for _, data := range r.data {
		n += len(data)
	}
	return n
}

// A cache remembers results until they expire or there is no more room. It is
// not safe for concurrent use.
type cache struct {
	results map[question]result
	octets  int
}

func (c *cache) get(q question, now time.Time) (result, bool) {
	r, ok := c.results[q]
	return r, ok && now.Before(r.expires)
}

func (c *cache) put(q question, r result) {
	c.remove(q)
	c.results[q] = r
	c.octets += r.octets()
	for len(c.results) > maxEntries || c.octets > maxOctets {
		c.evict()
	}
}

// evict removes that one of a few results, taken at random, which expires
// first.
func (c *cache) evict() {
	var first question
	var expires time.Time
	n := 0
	for q, r := range c.results {
		if n == 0 || r.expires.Before(expires) {
			first, expires = q, r.expires
		}
		if n++; n == evictAmong {
			break
		}
	}
	c.remove(first)
}

func (c *cache) remove(q question) {
	if r, ok := c.results[q]; ok {
		c.octets -= r.octets()
		delete(c.results, q)
	}
}
