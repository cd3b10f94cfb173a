package dns

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/miekg/dns"
)

// Bounds of what is taken from a reply.
const (
	maxRecords = 100
	maxChain   = 8 // CNAMEs from the name asked for to the last one
)

// errStray says that a message answers some other question than ours.
var errStray = errors.New("not an answer to our question")

// A reply is what a server said to a question, as far as it matters to it.
type reply struct {
	rcode         int
	truncated     bool
	authenticated bool
	referral      bool     // empty, and neither from a resolver nor from the zone's own server
	answer        []record // of the type asked for, and CNAMEs
	soa           *record  // of a denial (RFC 2308 section 3); or nil
}

// A record is one of a reply's, with its data as expand returns it.
type record struct {
	header
	data string
}

// A header is what each record starts with (RFC 1035 section 4.1.3).
type header struct {
	name       string // as canonical returns it
	typ, class uint16
	ttl        uint32
}

// Bits in the second word of a message (RFC 1035 section 4.1.1, RFC 4035 section 3.2.3).
const (
	bitResponse           = 1 << 15
	bitsOpcode            = 0xf << 11
	bitAuthoritative      = 1 << 10
	bitTruncated          = 1 << 9
	bitRecursionAvailable = 1 << 7
	bitAuthenticated      = 1 << 5
	bitsRcode             = 0xf
)

const headerSize = 12

// parse reads a message that should answer q, asked with this id. Whoever
// sent it may have put any octets into it. The error is errStray if it answers
// something else; any other means that it is malformed.
func parse(msg []byte, id uint16, q question) (reply, error) {
	if len(msg) < headerSize || binary.BigEndian.Uint16(msg) != id {
		return reply{}, errStray
	}
	bits := binary.BigEndian.Uint16(msg[2:])
	if bits&bitResponse == 0 || bits&bitsOpcode != 0 {
		return reply{}, errStray
	}
	r := reply{
		rcode:         int(bits & bitsRcode),
		truncated:     bits&bitTruncated != 0,
		authenticated: bits&bitAuthenticated != 0,
	}
	off, err := r.readQuestion(msg, q)
	if err != nil || off == len(msg) && r.failure() {
		return r, err
	}
	if r.truncated {
		return r, nil // what there is of it matters to nobody
	}
	if err := r.readSections(msg, off, q); err != nil {
		return reply{}, fmt.Errorf("malformed answer: %w", err)
	}
	r.referral = bits&(bitAuthoritative|bitRecursionAvailable) == 0 && len(r.answer) == 0 && r.soa == nil && r.rcode == dns.RcodeSuccess
	return r, nil
}

// failure says that the reply tells of trouble, and nothing of the name.
func (r *reply) failure() bool {
	return r.rcode != dns.RcodeSuccess && r.rcode != dns.RcodeNameError
}

// readQuestion checks that the message repeats q, and returns what follows.
// Some servers leave the question out when they report a failure.
func (r *reply) readQuestion(msg []byte, q question) (int, error) {
	switch n := binary.BigEndian.Uint16(msg[4:]); {
	case n == 0 && r.failure():
		return len(msg), nil
	case n != 1:
		return 0, errStray
	}
	name, off, err := readName(msg, headerSize)
	if err != nil || name != q.name || len(msg) < off+4 {
		return 0, errStray
	}
	if binary.BigEndian.Uint16(msg[off:]) != q.typ || binary.BigEndian.Uint16(msg[off+2:]) != dns.ClassINET {
		return 0, errStray
	}
	return off + 4, nil
}

func (r *reply) readSections(msg []byte, off int, q question) error {
	keep := []func(header, func() (string, error)) error{
		func(h header, data func() (string, error)) error { return r.addAnswer(h, data, q) },
		r.addAuthority,
		r.addAdditional,
	}
	for i, add := range keep {
		for range binary.BigEndian.Uint16(msg[6+2*i:]) {
			h, start, end, err := readHeader(msg, off)
			if err != nil {
				return err
			}
			if err := add(h, func() (string, error) { return expand(h.typ, msg[:end], start) }); err != nil {
				return fmt.Errorf("%s of %s: %w", typeName(h.typ), h.name, err)
			}
			off = end
		}
	}
	return nil
}

// readHeader returns the header at off, and where the data that follow begin
// and end.
func readHeader(msg []byte, off int) (h header, start, end int, err error) {
	h.name, off, err = readName(msg, off)
	if err != nil {
		return h, 0, 0, err
	}
	if len(msg) < off+10 {
		return h, 0, 0, errShort
	}
	h.typ = binary.BigEndian.Uint16(msg[off:])
	h.class = binary.BigEndian.Uint16(msg[off+2:])
	h.ttl = binary.BigEndian.Uint32(msg[off+4:])
	start = off + 10
	end = start + int(binary.BigEndian.Uint16(msg[off+8:]))
	if len(msg) < end {
		return h, 0, 0, errShort
	}
	return h, start, end, nil
}

func (r *reply) addAnswer(h header, data func() (string, error), q question) error {
	if h.class != dns.ClassINET || h.typ != q.typ && h.typ != dns.TypeCNAME || len(r.answer) == maxChain+maxRecords {
		return nil
	}
	text, err := data()
	r.answer = append(r.answer, record{h, text})
	return err
}

func (r *reply) addAuthority(h header, data func() (string, error)) error {
	if h.class != dns.ClassINET || h.typ != dns.TypeSOA || r.soa != nil {
		return nil
	}
	text, err := data()
	r.soa = &record{h, text}
	return err
}

// addAdditional looks for the upper bits of the rcode (RFC 6891 section 6.1.3).
func (r *reply) addAdditional(h header, _ func() (string, error)) error {
	if h.typ == dns.TypeOPT {
		r.rcode |= int(h.ttl>>24) << 4
	}
	return nil
}

// A path is where the CNAMEs of a reply lead.
type path struct {
	end  string // the last name
	hops int
	data []string // of end's records
	ttl  time.Duration
}

// follow goes from q's name along CNAMEs to records of q's type, if there are
// any. Records of names that are not on the way count for nothing.
func (r *reply) follow(q question, maxHops int) (path, error) {
	p := path{end: q.name, ttl: maxTTL}
	for {
		if data, ttl := r.recordsOf(p.end, q.typ); len(data) > 0 {
			p.data, p.ttl = data[:min(len(data), maxRecords)], min(p.ttl, ttl)
			return p, nil
		}
		alias, ttl := r.recordsOf(p.end, dns.TypeCNAME)
		if len(alias) == 0 {
			return p, nil
		}
		if p.hops == maxHops {
			return p, errChain
		}
		p.end, p.hops, p.ttl = alias[0], p.hops+1, min(p.ttl, ttl)
	}
}

func (r *reply) recordsOf(name string, typ uint16) (data []string, ttl time.Duration) {
	ttl = maxTTL
	for _, rr := range r.answer {
		if rr.typ == typ && rr.name == name {
			data, ttl = append(data, rr.data), min(ttl, rr.lifetime())
		}
	}
	return data, ttl
}

// lifetime returns the TTL; one with the highest bit is none at all (RFC 2181
// section 8).
func (h header) lifetime() time.Duration {
	if h.ttl >= 1<<31 {
		return 0
	}
	return time.Duration(h.ttl) * time.Second
}

// denies says that the reply has the SOA record of a zone that name is in.
func (r *reply) denies(name string) bool {
	return r.soa != nil && dns.IsSubDomain(r.soa.name, name)
}

// negativeTTL returns for how long a denial of name holds: not at all without
// a SOA record (RFC 2308 section 5).
func (r *reply) negativeTTL(name string) time.Duration {
	if !r.denies(name) {
		return 0
	}
	minimum := header{ttl: binary.BigEndian.Uint32([]byte(r.soa.data))}
	return min(r.soa.lifetime(), minimum.lifetime())
}
