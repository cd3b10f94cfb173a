package mailauth

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"mailbox/internal/message"
)

// Field returns the one Authentication-Results field that tells readers what
// was found out (RFC 8601), in lines that end in CRLF. Whatever a peer chose is
// quoted in it.
func (r *Results) Field() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "Authentication-Results: %s", value(r.Hostname))
	add := func(method string, result Result, reason string, properties ...string) {
		fmt.Fprintf(&b, ";\r\n\t%s=%s", method, result)
		if reason != "" {
			fmt.Fprintf(&b, " reason=%s", quoted(reason))
		}
		for i := 0; i < len(properties); i += 2 {
			if properties[i+1] != "" {
				fmt.Fprintf(&b, " %s=%s", properties[i], value(properties[i+1]))
			}
		}
	}
	add("iprev", r.IPRev.Result, r.IPRev.Reason, "policy.iprev", r.IPRev.Addr.String())
	add("spf", r.Helo.Result, r.Helo.Reason, "smtp.helo", r.Helo.Domain)
	add("spf", r.MailFrom.Result, r.MailFrom.Reason, "smtp.mailfrom", r.MailFrom.Domain)
	for _, s := range r.DKIM {
		add("dkim", s.Result, s.Reason, "header.d", s.Domain, "header.s", s.Selector, "header.a", s.Algorithm, "header.b", s.Begin)
	}
	if len(r.DKIM) == 0 {
		add("dkim", None, "")
	}
	if r.Unchecked > 0 {
		add("dkim", Neutral, fmt.Sprintf("%d more signatures were not looked at", r.Unchecked))
	}
	add("dmarc", r.DMARC.Result, r.DMARC.Reason, "header.from", r.DMARC.Domain)
	if details := r.DMARC.describe(); details != "" {
		b.WriteString(" " + details)
	}
	if r.ARC.Result != None {
		add("arc", r.ARC.Result, r.ARC.Reason)
	}
	return []byte(b.String() + "\r\n")
}

// value returns s as a value (RFC 2045 section 5.1): as it is, or quoted.
func value(s string) string {
	if s == "" || strings.ContainsFunc(s, func(c rune) bool { return c >= utf8.RuneSelf || !isWordOctet(byte(c)) }) {
		return quoted(s)
	}
	return s
}

// maxQuoted bounds what is quoted, in octets: lines have a limit.
const maxQuoted = 256

func quoted(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range s[:min(len(s), maxQuoted)] {
		switch {
		case c < ' ' || c >= 0x7f:
			c = '?'
		case c == '"' || c == '\\':
			b.WriteByte('\\')
		}
		b.WriteRune(c)
	}
	b.WriteByte('"')
	return b.String()
}

func isWordOctet(c byte) bool {
	return c == '-' || c == '.' || c == '_' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}

// Forged returns the Authentication-Results fields of a header that claim to
// be ours, hostname being our name: they must be removed before we add our own
// (RFC 8601 section 5). What a reader might take for our name counts, wherever
// it stands before the first result: in any case, with a dot at the end, in
// comments or quotes, with a version behind it, as A-labels or U-labels, in an
// encoded-word. So does a field in which the first result cannot be found.
func Forged(h message.Header, hostname string) []message.Field {
	own, ok := asciiDomain(hostname)
	if !ok {
		own = strings.ToLower(hostname)
	}
	var forged []message.Field
	for _, f := range h {
		if strings.EqualFold(f.Name, "Authentication-Results") && claims(f.Value(), own) {
			forged = append(forged, f)
		}
	}
	return forged
}

func claims(value, own string) bool {
	head, whole := beforeResults(value)
	if !whole {
		return true
	}
	for _, text := range []string{head, message.DecodeWords(head)} {
		for _, text := range []string{text, stripComments(text)} {
			if names(text, own) {
				return true
			}
		}
	}
	return false
}

// beforeResults returns what stands before the first semicolon that is in no
// comment and no quotes; whole is false where these do not end.
func beforeResults(value string) (head string, whole bool) {
	depth, inQuotes := 0, false
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '\\':
			i++
		case c == '"' && depth == 0:
			inQuotes = !inQuotes
		case inQuotes:
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case c == ';' && depth == 0:
			return value[:i], true
		}
	}
	return value, depth == 0 && !inQuotes
}

// stripComments takes the comments out, and the space around dots.
func stripComments(s string) string {
	var b strings.Builder
	depth := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && depth > 0:
			i++
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case depth == 0:
			b.WriteByte(c)
		}
	}
	labels := strings.Split(b.String(), ".")
	for i, label := range labels {
		labels[i] = strings.TrimSpace(label)
	}
	return strings.Join(labels, ".")
}

// names tells whether one of the words of text is the name own.
func names(text, own string) bool {
	text = strings.Map(func(c rune) rune {
		if c == '"' || c == '\\' || c < ' ' && c != '\t' || c == 0x7f {
			return -1
		}
		return c
	}, text)
	for word := range strings.FieldsFuncSeq(text, isNoName) {
		if domain, ok := asciiDomain(strings.TrimRight(word, ".。．｡")); ok && domain == own || strings.EqualFold(word, own) {
			return true
		}
	}
	return false
}

// isNoName tells what cannot be of a name. Odd characters may: the mapping of
// domain names drops some, and makes letters of others.
func isNoName(c rune) bool {
	return c == utf8.RuneError || unicode.IsSpace(c) || c < utf8.RuneSelf && !isWordOctet(byte(c))
}

// splitResults splits the value of a field of results at its semicolons, and
// each result into its words. Comments are left out, quotes taken off.
func splitResults(value string) [][]string {
	results := [][]string{nil}
	var word []byte
	some := false // there is a word, be it empty
	depth := 0
	end := func() {
		if last := len(results) - 1; some {
			results[last] = append(results[last], string(word))
		}
		word, some = word[:0], false
	}
	inQuotes := false
	for i := 0; i < len(value); i++ {
		c := value[i]
		switch {
		case c == '\\' && i+1 < len(value) && (inQuotes || depth > 0):
			if i++; depth == 0 {
				word = append(word, value[i])
			}
		case depth == 0 && c == '"':
			inQuotes, some = !inQuotes, true
		case inQuotes:
			word = append(word, c)
		case c == '(':
			end()
			depth++
		case c == ')' && depth > 0:
			depth--
		case depth > 0:
		case c == ';':
			end()
			results = append(results, nil)
		case isSpace(rune(c)):
			end()
		default:
			word, some = append(word, c), true
		}
	}
	end()
	return results
}
