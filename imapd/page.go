package imapd

import (
	"fmt"
	"math"

	"mailbox/imapd/wire"
)

// A page is a part of a list of messages: those from one number to another,
// counted from the first message or from the last (RFC 9394 section 4,
// partial-range). The zero page is the whole list.
type page struct {
	from, to uint32 // as the client gave them, in either order
	last     bool   // -1 is the last
}

// readPage reads a space and a page.
func (c *conn) readPage() (p page, err error) {
	err = c.dec.SP()
	if err == nil {
		p.last, err = c.dec.Accept('-')
	}
	if err == nil {
		p.from, err = c.dec.NZNumber()
	}
	if err == nil {
		err = c.dec.Expect(':')
	}
	if err == nil && p.last {
		err = c.dec.Expect('-')
	}
	if err == nil {
		p.to, err = c.dec.NZNumber()
	}
	return p, err
}

// String is the page as the client gave it, which is how it is answered.
func (p page) String() string {
	if p.last {
		return fmt.Sprintf("-%d:-%d", p.from, p.to)
	}
	return fmt.Sprintf("%d:%d", p.from, p.to)
}

// reach is how many messages there are up to the far end of the page.
func (p page) reach() uint64 {
	if p == (page{}) {
		return math.MaxUint64
	}
	return uint64(max(p.from, p.to))
}

// bounds tells which of n messages are on the page: those from index i up to j.
func (p page) bounds(n uint64) (i, j uint64) {
	if p == (page{}) {
		return 0, n
	}
	i = min(uint64(min(p.from, p.to)-1), n)
	j = min(p.reach(), n)
	if p.last {
		return n - j, n - i
	}
	return i, j
}

// of returns the part of a set that is on the page.
func (p page) of(set wire.Ranges) wire.Ranges { return set.Slice(p.bounds(set.Count())) }
