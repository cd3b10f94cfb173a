package message

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// A Field is one header field as it stands in the message.
type Field struct {
	Name   string // as written
	Offset int64  // of its first octet in the message
	Raw    []byte // the whole field with its line ends
}

// A Header is the fields of a message or part, in their order.
type Header []Field

// parseHeader splits the lines of a header into fields. A line that is no
// field and continues none is a field without a name.
func parseHeader(raw []byte, offset int64) Header {
	var h Header
	for at := 0; at < len(raw); {
		end := at + lineLen(raw[at:])
		if raw[at] != '\r' && raw[at] != '\n' {
			for end < len(raw) && (raw[end] == ' ' || raw[end] == '\t') {
				end += lineLen(raw[end:])
			}
		}
		f := Field{Offset: offset + int64(at), Raw: raw[at:end:end]}
		if colon := bytes.IndexByte(f.Raw, ':'); colon > 0 {
			if name := strings.TrimRight(string(f.Raw[:colon]), " \t"); isFieldName(name) {
				f.Name = name
			}
		}
		h = append(h, f)
		at = end
	}
	return h
}

func lineLen(b []byte) int {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return i + 1
	}
	return len(b)
}

func isFieldName(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return s != ""
}

// ParseHeader reads the header that begins a message or part: lines up to an
// empty one.
func ParseHeader(b []byte) Header {
	end := 0
	for end < len(b) {
		n := lineLen(b[end:])
		if b[end] == '\n' || n == 2 && b[end] == '\r' {
			break
		}
		end += n
	}
	return parseHeader(b[:end], 0)
}

// Value is what stands behind the colon, unfolded, without space around it.
func (f Field) Value() string {
	_, value, _ := bytes.Cut(f.Raw, []byte{':'})
	value = bytes.ReplaceAll(value, []byte{'\r'}, nil)
	value = bytes.ReplaceAll(value, []byte{'\n'}, nil)
	return strings.TrimSpace(string(value))
}

// UTF8 tells whether a field holds UTF-8 beyond ASCII, so that only servers
// with SMTPUTF8 take it (RFC 6531). Other octets beyond ASCII are just odd.
func (h Header) UTF8() bool {
	for _, f := range h {
		if bytes.ContainsFunc(f.Raw, func(r rune) bool { return r >= utf8.RuneSelf && r != utf8.RuneError }) && utf8.Valid(f.Raw) {
			return true
		}
	}
	return false
}

// Get returns the value of the first field of that name, or "".
func (h Header) Get(name string) string {
	for _, f := range h {
		if strings.EqualFold(f.Name, name) {
			return f.Value()
		}
	}
	return ""
}

// All returns the values of all fields of that name.
func (h Header) All(name string) []string {
	var all []string
	for _, f := range h {
		if strings.EqualFold(f.Name, name) {
			all = append(all, f.Value())
		}
	}
	return all
}

// Select returns the fields of the given names, or with not all others, as
// they stand, and the empty line that ends a header (RFC 9051 section 6.4.5.1,
// HEADER.FIELDS and HEADER.FIELDS.NOT).
func (h Header) Select(names []string, not bool) []byte {
	var out []byte
	for _, f := range h {
		named := false
		for _, n := range names {
			named = named || f.Name != "" && strings.EqualFold(f.Name, n)
		}
		if named != not {
			out = append(out, f.Raw...)
			if n := len(f.Raw); n > 0 && f.Raw[n-1] != '\n' {
				out = append(out, "\r\n"...)
			}
		}
	}
	return append(out, "\r\n"...)
}

// A param is a parameter of a structured field, its name in lower case.
type param struct{ name, value string }

// parseParams reads what follows the value of Content-Type or
// Content-Disposition, leniently. The pieces of RFC 2231 stay apart:
// joinParams puts them together. At most 100 parameters are read.
func parseParams(s string) []param {
	var out []param
	for len(out) < 100 {
		semi := strings.IndexByte(s, ';')
		if semi < 0 {
			break
		}
		s = skipSpace(s[semi+1:])
		name := s[:len(s)-len(strings.TrimLeftFunc(s, func(r rune) bool { return r != '=' && r != ';' }))]
		s = s[len(name):]
		name = strings.ToLower(strings.TrimSpace(name))
		if name == "" || s == "" || s[0] != '=' {
			continue
		}
		var value string
		value, s = paramValue(skipSpace(s[1:]))
		out = append(out, param{name, value})
	}
	return out
}

// paramValue reads a quoted string, or whatever stands before the next semicolon.
func paramValue(s string) (value, rest string) {
	if s == "" || s[0] != '"' {
		end := strings.IndexByte(s, ';')
		if end < 0 {
			end = len(s)
		}
		value = s[:end]
		if c := strings.IndexAny(value, "( \t"); c >= 0 {
			value = value[:c]
		}
		return value, s[end:]
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:]
		case '\\':
			if i++; i < len(s) {
				b.WriteByte(s[i])
			}
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), ""
}

// skipSpace skips white space and comments.
func skipSpace(s string) string {
	for {
		s = strings.TrimLeft(s, " \t\r\n")
		if s == "" || s[0] != '(' {
			return s
		}
		depth, i := 0, 0
		for ; i < len(s); i++ {
			switch s[i] {
			case '\\':
				i++
			case '(':
				depth++
			case ')':
				depth--
			}
			if depth == 0 {
				i++
				break
			}
		}
		s = s[min(i, len(s)):]
	}
}

// joinParams puts the pieces of RFC 2231 together and decodes them.
func joinParams(in []param) []param {
	var out []param
	pieces := map[string][]string{} // by base name
	charset := map[string]string{}
	for _, p := range in {
		name, rest, split := strings.Cut(p.name, "*")
		if !split {
			out = append(out, p)
			continue
		}
		encoded := rest == "" || strings.HasSuffix(rest, "*")
		number := strings.TrimSuffix(rest, "*")
		value := p.value
		if encoded {
			if number == "" || number == "0" {
				if set, after, ok := strings.Cut(value, "'"); ok {
					if _, text, ok := strings.Cut(after, "'"); ok {
						charset[name], value = set, text
					}
				}
			}
			value = percentDecode(value)
		}
		if len(pieces[name]) < 100 {
			pieces[name] = append(pieces[name], value)
		}
	}
	for _, p := range in {
		name, _, split := strings.Cut(p.name, "*")
		if all := pieces[name]; split && all != nil {
			value := strings.Join(all, "")
			if set := charset[name]; set != "" {
				value = decodeCharset(set, []byte(value))
			}
			delete(pieces, name)
			replaced := false
			for i := range out {
				if out[i].name == name { // the plain one is for those who do not know RFC 2231
					out[i].value, replaced = value, true
				}
			}
			if !replaced {
				out = append(out, param{name, value})
			}
		}
	}
	return out
}

func percentDecode(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			hi, lo := unhex(s[i+1]), unhex(s[i+2])
			if hi >= 0 && lo >= 0 {
				b = append(b, byte(hi<<4|lo))
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// describe fills in what the header says of the part.
func (p *Part) describe() {
	p.Type, p.Subtype = "text", "plain"
	if p.digest {
		p.Type, p.Subtype = "message", "rfc822" // RFC 2046 section 5.1.5
	}
	if v := p.header.Get("content-type"); v != "" {
		value, _, _ := strings.Cut(v, ";")
		major, minor, ok := strings.Cut(strings.ToLower(skipSpace(value)), "/")
		major, minor = token(major), token(minor)
		if ok && major != "" && minor != "" {
			p.Type, p.Subtype = major, minor
			p.params = parseParams(v)
		}
	}
	for _, a := range joinParams(p.params) {
		switch a.name {
		case "charset":
			p.Charset = strings.ToLower(a.value)
		case "name":
			p.Filename = DecodeWords(a.value)
		case "boundary":
			if v := strings.TrimRight(a.value, " \t"); p.Type == "multipart" && len(v) <= maxBoundary {
				p.boundary = v
			}
		}
	}
	for _, a := range joinParams(parseParams(p.header.Get("content-disposition"))) {
		if a.name == "filename" {
			p.Filename = DecodeWords(a.value)
		}
	}
	p.Encoding = token(strings.ToLower(skipSpace(p.header.Get("content-transfer-encoding"))))
}

// token returns what of RFC 2045's token s begins with.
func token(s string) string {
	s = strings.TrimSpace(s)
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f || strings.IndexByte(`()<>@,;:\"/[]?=`, s[i]) >= 0 {
			return s[:i]
		}
	}
	return s
}
