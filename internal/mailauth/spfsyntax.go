package mailauth

import (
	"regexp"
	"strings"
)

// The grammar of RFC 7208 section 12. The library evaluates term by term, and
// would not notice what is wrong behind the one that matches (section 4.6).
const (
	spfExpand = `%(?:\{[slodiphvSLODIPHV][0-9]*[rR]?[-.+,/_=]*\}|[%_-])` // macro-expand
	spfMacros = `(?:` + spfExpand + `|[!-$&-~])*`                        // macro-string
	spfLabel  = `(?:[0-9A-Za-z]*[A-Za-z][0-9A-Za-z]*|[0-9A-Za-z]+-[0-9A-Za-z-]*[0-9A-Za-z])`
	spfDomain = spfMacros + `(?:\.` + spfLabel + `\.?|` + spfExpand + `)` // domain-spec
	spfCIDR4  = `(?:/(?:[0-9]|[12][0-9]|3[0-2]))?`
	spfLen6   = `(?:[0-9]|[1-9][0-9]|1[01][0-9]|12[0-8])`
	spfHosts  = `(?::` + spfDomain + `)?` + spfCIDR4 + `(?://` + spfLen6 + `)?`
)

var (
	spfDirective = regexp.MustCompile(`^[-+?~]?(?i:all|include:` + spfDomain + `|exists:` + spfDomain + `|ptr(?::` + spfDomain + `)?` +
		`|a` + spfHosts + `|mx` + spfHosts + `|ip4:[0-9.]+` + spfCIDR4 + `|ip6:[0-9a-f:.]+(?:/` + spfLen6 + `)?)$`)
	spfTarget   = regexp.MustCompile(`^` + spfDomain + `$`)
	spfModifier = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_.-]*=` + spfMacros + `$`)
)

// wellFormed tells whether what follows the version of a record is made of
// terms.
func wellFormed(terms string) bool {
	explanations := 0
	for term := range strings.SplitSeq(terms, " ") {
		name, value, _ := strings.Cut(term, "=")
		ok := term == "" || spfDirective.MatchString(term) || spfModifier.MatchString(term)
		switch strings.ToLower(name) {
		case "exp":
			explanations++
			ok = spfTarget.MatchString(value)
		case "redirect":
			ok = spfTarget.MatchString(value)
		}
		if !ok || explanations > 1 {
			return false
		}
	}
	return true
}
