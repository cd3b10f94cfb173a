package imapd

import (
	"context"
	"strings"
)

// An extension is what a client enables because it changes what the server
// says unasked (RFC 5161). It stays enabled until the connection ends.
type extension uint8

const (
	condStore  extension = 1 << iota // RFC 7162 section 3.1: FETCH tells modseqs
	qResync                          // RFC 7162 section 3.2: VANISHED in the place of EXPUNGE
	utf8Accept                       // RFC 9755: UTF-8 in strings and names
	rev2                             // RFC 9051
)

// extensions is never changed.
var extensions = [...]struct {
	name string
	bits extension // with what it implies
}{
	{"CONDSTORE", condStore},
	{"QRESYNC", qResync | condStore},
	{"UTF8=ACCEPT", utf8Accept},
	{"IMAP4rev2", rev2},
}

// has tells whether any of the extensions is enabled.
func (c *conn) has(x extension) bool { return c.enabled&x != 0 }

// enable is ENABLE (RFC 5161, RFC 9051 section 6.3.1). What is not known is
// passed over; what was enabled before is not named again.
func (c *conn) enable(context.Context) (ok, error) {
	var asked extension
	names := ""
	for n := 0; ; n++ {
		end, err := c.dec.AtEnd()
		if err != nil {
			return ok{}, err
		}
		if end && n > 0 {
			break
		}
		if err := c.dec.SP(); err != nil {
			return ok{}, err
		}
		word, err := c.dec.Atom()
		if err != nil {
			return ok{}, err
		}
		for _, x := range extensions {
			if strings.EqualFold(word, x.name) && x.bits&^(asked|c.enabled) != 0 {
				asked |= x.bits
				names += " " + x.name
			}
		}
	}
	if err := c.dec.CRLF(); err != nil {
		return ok{}, err
	}
	c.untagged("ENABLED%s", names)
	c.enableAll(asked)
	return ok{text: "ENABLE completed"}, nil
}

// enableAll enables extensions. A client that begins to count modseqs in a
// selected mailbox hears where it stands (RFC 7162 section 3.1.2.1).
func (c *conn) enableAll(x extension) {
	begin := x&^c.enabled&condStore != 0
	c.enabled |= x
	if c.has(rev2 | utf8Accept) {
		c.dec.UTF8, c.enc.UTF8 = true, true
	}
	if c.view == nil {
		return
	}
	if c.has(rev2) {
		c.view.recent = nil
	}
	if begin {
		c.tellHighest()
	}
}

// require refuses what an extension has to be enabled for.
func (c *conn) require(x extension, name string) error {
	if c.has(x) {
		return nil
	}
	return &status{kind: "BAD", code: "CLIENTBUG", text: "ENABLE " + name + " first"}
}
