package message

import "strings"

// maxAddresses is how many addresses of a field are read.
const maxAddresses = 1000

// An Address is one of an address list (RFC 5322 section 3.4). In a group's
// begin Host is "" and Mailbox its name; in its end both are "" and Group is set.
type Address struct {
	Name    string // as written, quotes and comments taken off; encoded-words are not decoded
	Route   string // obsolete
	Mailbox string
	Host    string
	Group   bool
}

// ParseAddresses reads the value of a field like From or To, leniently:
// whatever stands between two commas is an address of some kind. At most
// 1,000 are read.
func ParseAddresses(s string) []Address {
	var out []Address
	p := addressParser{s: s}
	for len(out) < maxAddresses {
		a, end, ok := p.next()
		if ok {
			out = append(out, a...)
		}
		if end {
			break
		}
	}
	return out
}

type addressParser struct {
	s     string
	i     int
	group bool
}

// next reads up to the next comma, semicolon or group name.
func (p *addressParser) next() (out []Address, end, ok bool) {
	var words, angle, comment strings.Builder
	inAngle, hadAngle := false, false
	for ; p.i < len(p.s); p.i++ {
		c := p.s[p.i]
		to := &words
		if inAngle {
			to = &angle
		}
		switch {
		case c == '"':
			p.quoted(to, inAngle)
		case c == '(':
			from := p.i
			rest := skipSpace(p.s[p.i:])
			p.i = len(p.s) - len(rest) - 1
			comment.WriteString(strings.TrimSpace(strings.Trim(p.s[from:max(from, p.i+1)], "() \t")))
			to.WriteByte(' ')
		case c == '<' && !inAngle:
			inAngle, hadAngle = true, true
		case c == '>' && inAngle:
			inAngle = false
		case c == ':' && !inAngle && !p.group && !strings.Contains(words.String(), "@"):
			p.group = true
			p.i++
			return []Address{{Group: true, Mailbox: strings.Join(strings.Fields(words.String()), " ")}}, false, true
		case c == ',' && !inAngle:
			p.i++
			a, ok := makeAddress(words.String(), angle.String(), comment.String(), hadAngle)
			return []Address{a}, false, ok
		case c == ';' && !inAngle:
			p.i++
			if a, ok := makeAddress(words.String(), angle.String(), comment.String(), hadAngle); ok {
				out = append(out, a)
			}
			if p.group {
				p.group = false
				out = append(out, Address{Group: true})
			}
			return out, false, len(out) > 0
		default:
			to.WriteByte(c)
		}
	}
	if a, ok := makeAddress(words.String(), angle.String(), comment.String(), hadAngle); ok {
		out = append(out, a)
	}
	if p.group {
		p.group = false
		out = append(out, Address{Group: true})
	}
	return out, true, len(out) > 0
}

// quoted copies a quoted string; in an address its quotes belong to it.
func (p *addressParser) quoted(to *strings.Builder, keep bool) {
	from := p.i
	for p.i++; p.i < len(p.s) && p.s[p.i] != '"'; p.i++ {
		if p.s[p.i] == '\\' && p.i+1 < len(p.s) {
			p.i++
		}
		if !keep {
			to.WriteByte(p.s[p.i])
		}
	}
	// "a b"@host stands without angle brackets
	if keep || p.i+1 < len(p.s) && p.s[p.i+1] == '@' {
		if !keep {
			s := to.String()
			to.Reset()
			to.WriteString(s[:len(s)-min(len(s), p.i-from-1)])
		}
		to.WriteString(p.s[from:min(p.i+1, len(p.s))])
	}
}

func makeAddress(words, angle, comment string, hadAngle bool) (Address, bool) {
	var a Address
	spec := dropSpace(words)
	if hadAngle {
		spec = dropSpace(angle)
		a.Name = strings.Join(strings.Fields(words), " ")
	}
	if spec == "" && a.Name == "" {
		return a, false
	}
	if a.Name == "" {
		a.Name = comment
	}
	if strings.HasPrefix(spec, "@") {
		if colon := strings.IndexByte(spec, ':'); colon > 0 {
			a.Route, spec = spec[:colon], spec[colon+1:]
		}
	}
	at := strings.LastIndexByte(spec, '@')
	if at < 0 {
		a.Mailbox = spec
		return a, true
	}
	a.Mailbox, a.Host = unquote(spec[:at]), spec[at+1:]
	return a, true
}

// dropSpace takes out the white space that stands outside of quotes.
func dropSpace(s string) string {
	out := make([]byte, 0, len(s))
	quoted := false
	for i := range len(s) {
		if s[i] == '"' {
			quoted = !quoted
		}
		if quoted || s[i] != ' ' && s[i] != '\t' {
			out = append(out, s[i])
		}
	}
	return string(out)
}

// unquote takes the quotes off a local part (RFC 9051 section 7.5.2).
func unquote(s string) string {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return s
	}
	var b strings.Builder
	for i := 1; i < len(s)-1; i++ {
		if s[i] == '\\' && i < len(s)-2 {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
