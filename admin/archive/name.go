package archive

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Name makes the name of a Mailbox from its levels, of which empty ones are
// left out.
func Name(levels ...string) string {
	var name []string
	for _, l := range levels {
		if l == "" {
			continue
		}
		if len(name) == 0 && strings.EqualFold(l, "INBOX") {
			l = "INBOX"
		}
		name = append(name, l)
	}
	return strings.Join(name, "/")
}

// Readable returns s with every octet that is not UTF-8 written as "=" and two
// hexadecimal digits.
func Readable(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for s != "" {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 {
			fmt.Fprintf(&b, "=%02X", s[0])
		} else {
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

// Distinct returns name, or, where used has it already, name with the next free
// number behind it; and puts what it returns into used.
func Distinct(used map[string]bool, name string) string {
	distinct := name
	for n := 2; used[distinct]; n++ {
		distinct = fmt.Sprintf("%s (%d)", name, n)
	}
	used[distinct] = true
	return distinct
}
