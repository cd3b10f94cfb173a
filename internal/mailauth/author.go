package mailauth

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"mailbox/internal/message"
)

// maxAuthors bounds the domains that a From field may name.
const maxAuthors = 10

// authors is who the From fields of a message say wrote it.
type authors struct {
	domains []string // all that could be read, in A-labels, each once
	broken  string   // why nobody can say who the author is, or ""
}

// AuthorDomain returns the one domain that the From field names (RFC 9989
// section 5.3.1), in A-labels. It fails where there is not exactly one From
// field, where it is empty, has a group in it, or an address whose domain
// cannot be read, and where it names several domains.
func AuthorDomain(h message.Header) (string, error) {
	a := readAuthors(h)
	switch {
	case a.broken != "":
		return "", errors.New(a.broken)
	case len(a.domains) > 1:
		return "", fmt.Errorf("there are %d domains in From", len(a.domains))
	}
	return a.domains[0], nil
}

func readAuthors(h message.Header) authors {
	var a authors
	fields := h.All("From")
	switch {
	case len(fields) == 0:
		a.broken = "there is no From field"
	case len(fields) > 1:
		a.broken = "there is more than one From field"
	}
	for _, value := range fields {
		if problem := a.read(value); a.broken == "" {
			a.broken = problem
		}
	}
	if len(a.domains) > maxAuthors {
		a.domains, a.broken = a.domains[:maxAuthors], "From names too many domains"
	}
	return a
}

// read adds the domains of one From field, and returns what is wrong with it.
func (a *authors) read(value string) (problem string) {
	if strings.ContainsFunc(value, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
		problem = "From has a control character in it"
	}
	addresses := message.ParseAddresses(value)
	if len(addresses) == 0 {
		return "From is empty"
	}
	for _, address := range addresses {
		if address.Group {
			problem = "From has a group in it"
			continue
		}
		domain, ok := asciiDomain(address.Host)
		if !ok || address.Mailbox == "" || strings.ContainsAny(address.Mailbox, "@<>") {
			problem = "From has an address that leaves doubts"
		}
		if ok && !slices.Contains(a.domains, domain) {
			a.domains = append(a.domains, domain)
		}
	}
	return problem
}
