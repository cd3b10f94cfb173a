package message

import (
	"bytes"
	"strconv"
	"strings"
)

// maxEnvelopeField is how many octets of a field an ENVELOPE shows.
const maxEnvelopeField = 64 << 10

// Envelope renders the ENVELOPE of IMAP (RFC 9051 section 7.5.2). It fits every
// session: what is not plain 7-bit is a literal, and NUL is dropped.
func (m *Message) Envelope() []byte { return appendEnvelope(nil, m.Root.header) }

func appendEnvelope(b []byte, h Header) []byte {
	from := appendAddresses(nil, h, "from")
	b = append(b, '(')
	b = appendField(b, h, "date")
	b = appendField(append(b, ' '), h, "subject")
	b = append(append(b, ' '), from...)
	for _, name := range []string{"sender", "reply-to"} {
		list := appendAddresses(nil, h, name)
		if string(list) == "NIL" {
			list = from
		}
		b = append(append(b, ' '), list...)
	}
	for _, name := range []string{"to", "cc", "bcc"} {
		b = appendAddresses(append(b, ' '), h, name)
	}
	b = appendField(append(b, ' '), h, "in-reply-to")
	b = appendField(append(b, ' '), h, "message-id")
	return append(b, ')')
}

// appendField adds the value of the first such field, or NIL.
func appendField(b []byte, h Header, name string) []byte {
	for _, f := range h {
		if strings.EqualFold(f.Name, name) {
			v := f.Value()
			return appendString(b, v[:min(len(v), maxEnvelopeField)])
		}
	}
	return append(b, "NIL"...)
}

// appendAddresses adds the address list of all such fields, or NIL.
func appendAddresses(b []byte, h Header, name string) []byte {
	value := strings.Join(h.All(name), ", ")
	list := ParseAddresses(value[:min(len(value), maxEnvelopeField)])
	if len(list) == 0 {
		return append(b, "NIL"...)
	}
	b = append(b, '(')
	for _, a := range list {
		b = append(b, '(')
		b = appendNString(b, a.Name)
		b = appendNString(append(b, ' '), a.Route)
		b = append(b, ' ')
		switch {
		case !a.Group:
			b = appendString(b, a.Mailbox)
			b = appendString(append(b, ' '), a.Host) // NIL would begin a group
		default:
			b = appendNString(b, a.Mailbox)
			b = append(b, " NIL"...)
		}
		b = append(b, ')')
	}
	return append(b, ')')
}

func appendNString(b []byte, s string) []byte {
	if s == "" {
		return append(b, "NIL"...)
	}
	return appendString(b, s)
}

// appendString adds s as a quoted string or, where that cannot hold it, a literal.
func appendString(b []byte, s string) []byte {
	if strings.IndexByte(s, 0) >= 0 {
		s = strings.ReplaceAll(s, "\x00", "")
	}
	plain := len(s) <= 1000 // clients have limits for a line
	for i := 0; plain && i < len(s); i++ {
		plain = s[i] < 0x80 && s[i] != '\r' && s[i] != '\n'
	}
	if !plain {
		b = append(b, '{')
		b = strconv.AppendInt(b, int64(len(s)), 10)
		b = append(b, "}\r\n"...)
		return append(b, s...)
	}
	b = append(b, '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return append(b, '"')
}

// BodyStructure renders the BODYSTRUCTURE of IMAP with its extension data (RFC
// 9051 section 7.5.2).
func (m *Message) BodyStructure() []byte { return m.Root.appendStructure(nil) }

func (p *Part) appendStructure(b []byte) []byte {
	b = append(b, '(')
	if p.Type == "multipart" {
		for _, c := range p.Children {
			b = c.appendStructure(b)
		}
		b = appendString(append(b, ' '), strings.ToUpper(p.Subtype))
		b = appendParams(append(b, ' '), p.params)
		return append(p.appendExtension(b), ')')
	}
	b = appendString(b, strings.ToUpper(p.Type))
	b = appendString(append(b, ' '), strings.ToUpper(p.Subtype))
	params := p.params
	if p.Type == "text" && p.Charset == "" { // RFC 2045 section 5.2
		params = append(params[:len(params):len(params)], param{"charset", "us-ascii"})
	}
	b = appendParams(append(b, ' '), params)
	b = appendNString(append(b, ' '), p.header.Get("content-id"))
	b = appendNString(append(b, ' '), p.header.Get("content-description"))
	encoding := p.Encoding
	if encoding == "" {
		encoding = "7bit"
	}
	b = appendString(append(b, ' '), strings.ToUpper(encoding))
	b = strconv.AppendInt(append(b, ' '), p.End-p.BodyOffset, 10)
	if p.Message {
		b = appendEnvelope(append(b, ' '), p.Children[0].header)
		b = p.Children[0].appendStructure(append(b, ' '))
	}
	if p.Message || p.Type == "text" {
		b = strconv.AppendInt(append(b, ' '), p.Lines, 10)
	}
	b = appendNString(append(b, ' '), p.header.Get("content-md5"))
	return append(p.appendExtension(b), ')')
}

// appendExtension adds disposition, language and location.
func (p *Part) appendExtension(b []byte) []byte {
	value := p.header.Get("content-disposition")
	if kind := token(skipSpace(value)); kind != "" {
		b = appendString(append(b, " ("...), strings.ToUpper(kind))
		b = append(appendParams(append(b, ' '), parseParams(value)), ')')
	} else {
		b = append(b, " NIL"...)
	}
	var languages []string
	for l := range strings.SplitSeq(p.header.Get("content-language"), ",") {
		if l = token(skipSpace(l)); l != "" {
			languages = append(languages, l)
		}
	}
	if len(languages) > 0 {
		b = append(b, " ("...)
		for i, l := range languages {
			if i > 0 {
				b = append(b, ' ')
			}
			b = appendString(b, l)
		}
		b = append(b, ')')
	} else {
		b = append(b, " NIL"...)
	}
	return appendNString(append(b, ' '), p.header.Get("content-location"))
}

func appendParams(b []byte, params []param) []byte {
	if len(params) == 0 {
		return append(b, "NIL"...)
	}
	for i, a := range params {
		if i == 0 {
			b = append(b, '(')
		} else {
			b = append(b, ' ')
		}
		b = appendString(b, strings.ToUpper(a.name))
		b = appendString(append(b, ' '), a.value)
	}
	return append(b, ')')
}

// Body derives the answer to FETCH BODY from a rendered BODYSTRUCTURE: the same
// without extension data. It returns nil for what BodyStructure did not render.
func Body(structure []byte) []byte {
	r := structureReader{in: structure, out: make([]byte, 0, len(structure))}
	if !r.body() || len(r.in) > 0 {
		return nil
	}
	return r.out
}

// A structureReader copies of a BODYSTRUCTURE what BODY has too.
type structureReader struct {
	in, out []byte
	depth   int
}

func (r *structureReader) literally(c byte) bool {
	if len(r.in) == 0 || r.in[0] != c {
		return false
	}
	r.in = r.in[1:]
	r.out = append(r.out, c)
	return true
}

func (r *structureReader) body() bool {
	if r.depth++; r.depth > 2*maxDepth || !r.literally('(') {
		return false
	}
	defer func() { r.depth-- }()
	if len(r.in) > 0 && r.in[0] == '(' {
		for len(r.in) > 0 && r.in[0] == '(' {
			if !r.body() {
				return false
			}
		}
		return r.literally(' ') && r.values(1) && r.rest()
	}
	start := len(r.out)
	if !r.values(7) {
		return false
	}
	kind := r.out[start:]
	switch {
	case bytes.HasPrefix(kind, []byte(`"TEXT"`)):
		return r.literally(' ') && r.values(1) && r.rest()
	case bytes.HasPrefix(kind, []byte(`"MESSAGE" "RFC822"`)), bytes.HasPrefix(kind, []byte(`"MESSAGE" "GLOBAL"`)):
		return r.literally(' ') && r.values(1) && r.literally(' ') && r.body() && r.literally(' ') && r.values(1) && r.rest()
	}
	return r.rest()
}

// values copies n values and the spaces between them.
func (r *structureReader) values(n int) bool {
	for i := range n {
		if i > 0 && !r.literally(' ') {
			return false
		}
		size := valueLen(r.in)
		if size == 0 {
			return false
		}
		r.out = append(r.out, r.in[:size]...)
		r.in = r.in[size:]
	}
	return true
}

// rest drops the values up to the parenthesis that closes this body.
func (r *structureReader) rest() bool {
	for len(r.in) > 0 && r.in[0] == ' ' {
		n := valueLen(r.in[1:])
		if n == 0 {
			return false
		}
		r.in = r.in[1+n:]
	}
	return r.literally(')')
}

// valueLen returns the length of the atom, string or list that b begins with;
// 0 where there is none.
func valueLen(b []byte) int {
	depth := 0
	for i := 0; i < len(b); {
		switch b[i] {
		case '(':
			depth++
			i++
		case ')':
			depth--
			i++
		case '"':
			for i++; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
			i++
		case '{':
			end := bytes.IndexByte(b[i:], '\n')
			if end < 3 {
				return 0
			}
			n, err := strconv.Atoi(string(b[i+1 : i+end-2]))
			if err != nil || n < 0 || n > len(b) {
				return 0
			}
			i += end + 1 + n
		case ' ':
			if i == 0 {
				return 0
			}
			i++
		default:
			for i < len(b) && strings.IndexByte(` ()"{`, b[i]) < 0 {
				i++
			}
		}
		if depth < 0 || i > len(b) {
			return 0
		}
		if depth == 0 {
			return i
		}
	}
	return 0
}
