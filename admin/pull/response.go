package pull

import (
	"bufio"
	"errors"
	"io"
	"strconv"
	"strings"
)

// The bounds of one response, in octets: of its lines, of the literals that are
// held in memory, and of one such literal. How deep lists may nest.
const (
	maxLine          = 256 << 10
	maxInMemory      = 4 << 20
	maxMemoryLiteral = 1 << 20
	maxDepth         = 20
)

// A response is one response of the server (RFC 9051 section 7), taken apart
// without knowing what it says: whatever a server sends up to the end of a line
// is a response, if it keeps to the bounds.
type response struct {
	tag    string // "*", "+", or that of a command
	number uint32 // as in "* 12 FETCH"
	kind   string // in capitals: OK, LIST, FETCH
	fields []field
	whole  bool // every list and string in it was closed

	code string // of a status response, in capitals: UIDNEXT
	arg  string // what stood behind the code
	text string // for people; of "+" what it holds
}

// A field is an atom, a quoted string, a list or a literal.
type field struct {
	atom    string
	quoted  *string
	list    []field
	isList  bool
	content *content // of a literal
}

// text returns the octets of an atom or a string; of a literal that did not fit
// in memory, nothing.
func (f *field) text() string {
	switch {
	case f.quoted != nil:
		return *f.quoted
	case f.content != nil:
		return string(f.content.memory)
	}
	return f.atom
}

// take returns the octets of a string, which are the caller's to close, or nil
// for anything else, NIL for one.
func (f *field) take() *content {
	c := f.content
	f.content = nil
	if f.quoted != nil {
		c = contentOf([]byte(*f.quoted))
	}
	return c
}

// close lets go of all literals that nobody took.
func (r *response) close() { closeFields(r.fields) }

func closeFields(fs []field) {
	for i := range fs {
		fs[i].content.close()
		closeFields(fs[i].list)
	}
}

var (
	errLine    = errors.New("the server sent a line that is too long or nested too deep")
	errLiteral = errors.New("the server sent a literal that is too large")
)

// A reader reads responses.
type reader struct {
	r *bufio.Reader

	// What all literals until the next command may have, in octets, and how much
	// of it in memory.
	allowed, memory int64

	line int      // octets of the current response, without literals
	torn *content // the literal that was being read when the stream ended
}

// next reads a response. An error is final.
func (r *reader) next() (*response, error) {
	r.line = 0
	resp := &response{whole: true}
	err := r.read(resp)
	if err != nil {
		resp.close()
		return nil, err
	}
	return resp, nil
}

func (r *reader) read(resp *response) error {
	tag, err := r.word()
	if err != nil {
		return err
	}
	resp.tag = tag
	if tag == "+" {
		resp.text, err = r.rest()
		return err
	}
	word, err := r.word()
	if err != nil {
		return err
	}
	if n, err := strconv.ParseUint(word, 10, 32); err == nil {
		resp.number = uint32(n)
		if word, err = r.word(); err != nil {
			return err
		}
	}
	resp.kind = strings.ToUpper(word)
	switch resp.kind {
	case "OK", "NO", "BAD", "BYE", "PREAUTH":
		text, err := r.rest()
		resp.status(text)
		return err
	}
	resp.fields, err = r.list(resp, 0)
	return err
}

// status takes the text of a status response apart (RFC 9051 section 7.1).
func (resp *response) status(text string) {
	resp.text = text
	if !strings.HasPrefix(text, "[") {
		return
	}
	code, text, ok := strings.Cut(text[1:], "]")
	if !ok {
		return
	}
	code, resp.arg, _ = strings.Cut(code, " ")
	resp.code = strings.ToUpper(code)
	resp.text = strings.TrimSpace(text)
}

func (r *reader) byte() (byte, error) {
	if r.line >= maxLine {
		return 0, errLine
	}
	r.line++
	b, err := r.r.ReadByte()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return b, err
}

func (r *reader) unread() {
	r.line--
	_ = r.r.UnreadByte() // always follows a ReadByte
}

// word reads to the next space, which it drops, or to the end of the line,
// which it leaves.
func (r *reader) word() (string, error) {
	var w []byte
	for {
		b, err := r.byte()
		switch {
		case err != nil:
			return "", err
		case b == ' ':
			return string(w), nil
		case b == '\r' || b == '\n':
			r.unread()
			return string(w), nil
		}
		w = append(w, b)
	}
}

// rest reads to the end of the line, and drops that.
func (r *reader) rest() (string, error) {
	var w []byte
	for {
		b, err := r.byte()
		if err != nil {
			return "", err
		}
		if b == '\n' {
			return strings.TrimSuffix(string(w), "\r"), nil
		}
		w = append(w, b)
	}
}

// list reads fields up to the ")" that closes them, or, at depth 0, the end of
// the line. A list that the line ends in is closed by that.
func (r *reader) list(resp *response, depth int) ([]field, error) {
	if depth > maxDepth {
		return nil, errLine
	}
	var fields []field
	for {
		b, err := r.byte()
		if err != nil {
			return fields, err
		}
		switch b {
		case ' ', '\r':
			continue
		case '\n':
			if depth > 0 {
				resp.whole = false
				r.unread()
			}
			return fields, nil
		case ')':
			if depth > 0 {
				return fields, nil
			}
			resp.whole = false
			continue
		}
		f, err := r.field(resp, b, depth)
		fields = append(fields, f)
		if err != nil {
			return fields, err
		}
		if err := r.parted(resp); err != nil {
			return fields, err
		}
	}
}

// parted looks whether a field is followed by what may follow one. A literal
// that is longer than the server said is not, as a rule.
func (r *reader) parted(resp *response) error {
	b, err := r.byte()
	if err != nil {
		return err
	}
	r.unread()
	if !strings.ContainsRune(" ()\r\n", rune(b)) {
		resp.whole = false
	}
	return nil
}

// field reads the field that begins with b.
func (r *reader) field(resp *response, b byte, depth int) (f field, err error) {
	switch b {
	case '(':
		f.isList = true
		f.list, err = r.list(resp, depth+1)
	case '"':
		var s string
		s, err = r.quoted(resp)
		f.quoted = &s
	case '{':
		f.content, err = r.literal()
	default:
		f.atom, err = r.atom(b)
		if f.atom == "~" { // a literal8 (RFC 3516)
			return r.field(resp, '{', depth)
		}
	}
	return f, err
}

// atom reads what is neither a list nor a string. A section, as in
// BODY[HEADER.FIELDS (TO)], belongs to it.
func (r *reader) atom(first byte) (string, error) {
	a := []byte{first}
	section := first == '['
	for {
		b, err := r.byte()
		if err != nil {
			return "", err
		}
		switch {
		case b == '\r' || b == '\n', !section && (b == ' ' || b == '(' || b == ')'):
			r.unread()
			return string(a), nil
		case b == '{' && string(a) == "~":
			return "~", nil
		case b == '[' && strings.EqualFold(string(a), "BODY"):
			section = true
		case b == ']':
			section = false
		}
		a = append(a, b)
	}
}

func (r *reader) quoted(resp *response) (string, error) {
	var s []byte
	for {
		b, err := r.byte()
		if err == nil && b == '\\' {
			b, err = r.byte()
		} else if b == '"' {
			return string(s), err
		}
		if err != nil {
			return "", err
		}
		if b == '\n' {
			resp.whole = false
			r.unread()
			return string(s), nil
		}
		s = append(s, b)
	}
}

// literal reads a literal behind its "{".
func (r *reader) literal() (*content, error) {
	head, err := r.rest()
	if err != nil {
		return nil, err
	}
	digits, ok := strings.CutSuffix(head, "}")
	size, err := strconv.ParseInt(strings.TrimSuffix(digits, "+"), 10, 64)
	if !ok || err != nil || size < 0 {
		return nil, errors.New("the server sent a literal without a size")
	}
	if size > r.allowed {
		return nil, errLiteral
	}
	r.allowed -= size
	inMemory := size <= min(r.memory, maxMemoryLiteral)
	if inMemory {
		r.memory -= size
	}
	c, err := readContent(r.r, size, inMemory)
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		r.torn.close()
		r.torn = c
		return nil, err
	}
	return c, nil
}
