package dns

import (
	"errors"
	"strings"

	"github.com/miekg/dns"
)

var (
	errShort  = errors.New("cut short")
	errLength = errors.New("wrong length")
)

// expansions makes data of a record that stand without their message, out of
// those that begin at off and end with msg.
var expansions = map[uint16]func(msg []byte, off int) (string, error){
	dns.TypeA:     octets(4),
	dns.TypeAAAA:  octets(16),
	dns.TypeCNAME: expandName,
	dns.TypePTR:   expandName,
	dns.TypeMX:    expandMX,
	dns.TypeTXT:   expandTXT,
	dns.TypeTLSA:  expandTLSA,
	dns.TypeSOA:   expandSOA,
}

// expand returns a record's data, which end with msg: names in them are text,
// as canonical returns it.
func expand(typ uint16, msg []byte, off int) (string, error) {
	return expansions[typ](msg, off)
}

func octets(n int) func(msg []byte, off int) (string, error) {
	return func(msg []byte, off int) (string, error) {
		if len(msg)-off != n {
			return "", errLength
		}
		return string(msg[off:]), nil
	}
}

func expandName(msg []byte, off int) (string, error) {
	name, off, err := readName(msg, off)
	if err == nil && off != len(msg) {
		err = errLength
	}
	return name, err
}

// expandMX returns two octets of preference, and the host (RFC 1035 section 3.3.9).
func expandMX(msg []byte, off int) (string, error) {
	if len(msg)-off < 2 {
		return "", errShort
	}
	host, err := expandName(msg, off+2)
	return string(msg[off:off+2]) + host, err
}

// expandTXT returns all strings put together (RFC 1035 section 3.3.14).
func expandTXT(msg []byte, off int) (string, error) {
	var text strings.Builder
	for data := msg[off:]; len(data) > 0; {
		n := int(data[0])
		if len(data) < 1+n {
			return "", errShort
		}
		text.Write(data[1 : 1+n])
		data = data[1+n:]
	}
	return text.String(), nil
}

// expandTLSA returns three octets, and as many more as there are (RFC 6698
// section 2.1).
func expandTLSA(msg []byte, off int) (string, error) {
	if len(msg)-off < 3 {
		return "", errShort
	}
	return string(msg[off:]), nil
}

// expandSOA returns the four octets of MINIMUM, which follow two names and
// four numbers (RFC 1035 section 3.3.13).
func expandSOA(msg []byte, off int) (string, error) {
	for range 2 {
		var err error
		if _, off, err = readName(msg, off); err != nil {
			return "", err
		}
	}
	if len(msg)-off != 5*4 {
		return "", errLength
	}
	return string(msg[len(msg)-4:]), nil
}
