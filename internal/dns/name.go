package dns

import (
	"fmt"
	"strings"

	"github.com/miekg/dns"
)

// A question is what one query asks, and what the cache is sorted by.
type question struct {
	name string // as canonical returns it
	typ  uint16
}

func (q question) String() string { return typeName(q.typ) + " " + withoutDot(q.name) }

func typeName(typ uint16) string { return dns.Type(typ).String() }

// canonical returns name as it would come out of a message: absolute, in lower
// case, with odd characters escaped. Labels may hold any visible ASCII but the
// backslash: names such as _dmarc.example.org are no host names, and names
// made of SPF macros may hold anything (RFC 7208 section 7).
func canonical(name string) (string, error) {
	var wire []byte // RFC 1035 section 3.1
	for label := range strings.SplitSeq(withoutDot(name), ".") {
		if label == "" {
			return "", fmt.Errorf("%w: empty label", ErrInvalidName)
		}
		if len(label) > 63 {
			return "", fmt.Errorf("%w: label of more than 63 octets", ErrInvalidName)
		}
		if i := strings.IndexFunc(label, func(c rune) bool { return c <= ' ' || c > '~' || c == '\\' }); i >= 0 {
			return "", fmt.Errorf("%w: octet %#02x", ErrInvalidName, label[i])
		}
		wire = append(append(wire, byte(len(label))), label...)
	}
	wire = append(wire, 0)
	if len(wire) > 255 {
		return "", fmt.Errorf("%w: more than 255 octets", ErrInvalidName)
	}
	text, _, err := readName(wire, 0)
	return text, err
}

// readName returns the name at off, as canonical would, and what follows it.
func readName(msg []byte, off int) (string, int, error) {
	name, off, err := dns.UnpackDomainName(msg, off)
	return strings.ToLower(name), off, err
}
