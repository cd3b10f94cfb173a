package admin

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"mailbox/storage"
)

// A nameFitter gives mailboxes of elsewhere names that they can have here: the
// same ones, where that is possible, the same each time, and none twice.
type nameFitter struct{ taken map[string]bool }

// fit returns the name here.
func (f *nameFitter) fit(source string) string {
	name := source
	if clean, err := storage.CleanName(source); err == nil {
		name = clean
	} else {
		name = fitted(source)
	}
	if f.taken == nil {
		f.taken = map[string]bool{}
	}
	for n := 2; f.taken[name]; n++ {
		name = fmt.Sprintf("%s (%d)", fitted(source), n)
	}
	f.taken[name] = true
	return name
}

// The bounds of fitted names, a little below those of the store.
const (
	fittedComponent = 200
	fittedLevels    = 18
	fittedName      = 900
)

// fitted makes a name that every mailbox may have.
func fitted(source string) string {
	parts := strings.Split(storage.Normalize(strings.ToValidUTF8(source, "\ufffd")), "/")
	var fit []string
	for _, p := range parts {
		p = strings.Map(func(r rune) rune {
			if r == '*' || r == '%' || unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
				return '_'
			}
			return r
		}, p)
		if p != "" {
			fit = append(fit, shortened(p, fittedComponent))
		}
	}
	if len(fit) > fittedLevels {
		fit = append(fit[:fittedLevels-1], shortened(strings.Join(fit[fittedLevels-1:], "_"), fittedComponent))
	}
	name := strings.Join(fit, "/")
	if len(name) > fittedName {
		name = strings.TrimRight(shortened(name, fittedName), "/")
	}
	if clean, err := storage.CleanName(name); err == nil {
		return clean
	}
	return fmt.Sprintf("Mailbox %.4x", sha256.Sum256([]byte(source)))
}

// shortened cuts a text to n octets; a part of a digest keeps it apart from others.
func shortened(s string, n int) string {
	if len(s) <= n {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	s = s[:n-9]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return fmt.Sprintf("%s-%.4x", s, sum)
}

// fitFlags keeps the system flags that there are here, and makes atoms of keywords.
func fitFlags(names []string) []string {
	flags, keywords, _ := storage.ParseFlags(names)
	return append(flags.Names(), fitKeywords(keywords)...)
}

// fitKeywords makes atoms of keywords (RFC 9051 section 9, flag-keyword), none twice.
func fitKeywords(names []string) []string {
	var fit []string
	for _, n := range names {
		n = strings.Map(func(r rune) rune {
			if r <= ' ' || r >= 0x7f || strings.ContainsRune(`(){%*"\]`, r) {
				return '_'
			}
			return r
		}, n)
		if n != "" && !slices.ContainsFunc(fit, func(f string) bool { return strings.EqualFold(f, n) }) {
			fit = append(fit, n)
		}
	}
	return fit
}
