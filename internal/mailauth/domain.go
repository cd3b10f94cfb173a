package mailauth

import (
	"errors"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"mailbox/internal/dns"
)

// toALabels maps as those do who look names up (RFC 5891 section 5, UTS 46):
// two names that a reader's program takes for one must be one here.
var toALabels = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false))

// asciiDomain returns the domain s in A-labels and lower case, without the dot
// at its end. ok is false for what is no name of a host or domain: address
// literals, empty labels, odd octets.
func asciiDomain(s string) (domain string, ok bool) {
	if !isASCII(s) {
		if !utf8.ValidString(s) {
			return "", false
		}
		mapped, err := toALabels.ToASCII(s)
		if err != nil {
			return "", false
		}
		s = mapped
	}
	s = strings.ToLower(strings.TrimSuffix(s, "."))
	if len(s) > 253 {
		return "", false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, isOdd) {
			return "", false
		}
	}
	return s, true
}

// isOdd tells what is in no label that we would ask for.
func isOdd(c rune) bool {
	return c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z')
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// isOrUnder tells whether name is domain, or a subdomain of it.
func isOrUnder(name, domain string) bool {
	rest, ok := strings.CutSuffix(name, domain)
	return ok && (rest == "" || strings.HasSuffix(rest, "."))
}

// absent tells whether a lookup found that there is nothing, as opposed to
// finding out nothing.
func absent(err error) bool {
	return errors.Is(err, dns.ErrNotFound) || errors.Is(err, dns.ErrNoRecords)
}
