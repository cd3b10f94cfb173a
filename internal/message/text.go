package message

import (
	"bufio"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/transform"
)

// maxTag is how many octets of a single tag of HTML are kept; a longer one
// ends the text.
const maxTag = 1 << 20

// Walk calls visit for p and every part inside it, in their order, until it
// returns false.
func (p *Part) Walk(visit func(*Part) bool) bool {
	if !visit(p) {
		return false
	}
	for _, c := range p.Children {
		if !c.Walk(visit) {
			return false
		}
	}
	return true
}

// Content returns the body of the part with its transfer encoding taken off;
// r holds the whole message. What is not well encoded is decoded as far as it
// makes sense.
func (p *Part) Content(r io.ReaderAt) io.Reader {
	body := io.NewSectionReader(r, p.BodyOffset, p.End-p.BodyOffset)
	switch p.Encoding {
	case "base64":
		return &base64Reader{base64.NewDecoder(base64.RawStdEncoding, &base64Filter{r: body})}
	case "quoted-printable":
		return transform.NewReader(body, quotedPrintable{})
	}
	return body
}

// Text returns the text of a text part as UTF-8, HTML without its markup. Other
// parts have none. The reader fails only where r does.
func (p *Part) Text(r io.ReaderAt) io.Reader {
	if p.Type != "text" {
		return strings.NewReader("")
	}
	text := toUTF8(p.Content(r), p.Charset)
	if p.Subtype == "html" {
		return newHTMLReader(text)
	}
	return text
}

// Text calls yield with the text of a message's body, piece by piece, until
// that returns false: its text parts, and the header fields of messages that
// it encloses. No piece ends inside a character, nor joins two parts.
func Text(r io.ReaderAt, root *Part, yield func(piece []byte) bool) error {
	var err error
	buf := make([]byte, 32<<10)
	root.Walk(func(p *Part) bool {
		if p.Message {
			err = enclosedHeader(r, p.Children[0], yield)
		}
		if p.Type == "text" {
			err = pieces(p.Text(r), buf, yield)
		}
		return err == nil
	})
	if err == errStopped {
		return nil
	}
	return err
}

var errStopped = errors.New("stopped")

func enclosedHeader(r io.ReaderAt, p *Part, yield func([]byte) bool) error {
	raw := make([]byte, min(p.BodyOffset-p.Offset, maxHeader))
	if _, err := r.ReadAt(raw, p.Offset); err != nil && err != io.EOF {
		return err
	}
	for _, f := range ParseHeader(raw) {
		if !yield([]byte(f.Name + ": " + DecodeWords(f.Value()) + "\n")) {
			return errStopped
		}
	}
	return nil
}

// pieces yields what r has in whole characters, and a line feed behind it.
func pieces(r io.Reader, buf []byte, yield func([]byte) bool) error {
	kept := 0
	for {
		n, err := r.Read(buf[kept:])
		n += kept
		whole := n
		for i := 1; i < utf8.UTFMax && i <= n && err == nil; i++ {
			if c := buf[n-i]; utf8.RuneStart(c) {
				if !utf8.FullRune(buf[n-i : n]) {
					whole = n - i
				}
				break
			}
		}
		if whole > 0 && !yield(buf[:whole]) {
			return errStopped
		}
		kept = copy(buf, buf[whole:n])
		if err == io.EOF {
			if !yield([]byte{'\n'}) {
				return errStopped
			}
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func toUTF8(r io.Reader, charset string) io.Reader {
	if e := charsetOf(charset); e != nil {
		return e.NewDecoder().Reader(r)
	}
	return transform.NewReader(r, lenientUTF8{})
}

// previewLen is how many characters a preview has at most (RFC 8970 section 3.1).
const previewLen = 200

// Preview returns the begin of the text that a reader would see first, at most
// 200 characters in one line.
func Preview(r io.ReaderAt, root *Part) string {
	var best *Part
	root.Walk(func(p *Part) bool {
		if p.Type == "text" && p.Filename == "" && (best == nil || p.Subtype == "plain") {
			best = p
		}
		return best == nil || best.Subtype != "plain"
	})
	if best == nil {
		return ""
	}
	in := bufio.NewReader(io.LimitReader(best.Text(r), 64<<10))
	var out strings.Builder
	n, space := 0, false
	for n < previewLen {
		c, _, err := in.ReadRune()
		if err != nil {
			break
		}
		switch {
		case unicode.IsSpace(c):
			space = n > 0
			continue
		case !unicode.IsGraphic(c), c == '\u034f', c == '\ufffd': // newsletters pad with what nobody sees
			continue
		}
		if space {
			if n++; n == previewLen {
				break
			}
			out.WriteByte(' ')
			space = false
		}
		out.WriteRune(c)
		n++
	}
	return out.String()
}

// base64Filter drops what is not of the alphabet, padding included.
type base64Filter struct{ r io.Reader }

func (f *base64Filter) Read(p []byte) (int, error) {
	for {
		n, err := f.r.Read(p)
		kept := 0
		for _, c := range p[:n] {
			if 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '+' || c == '/' {
				p[kept] = c
				kept++
			}
		}
		if kept > 0 || err != nil {
			return kept, err
		}
	}
}

// base64Reader takes a last digit that says nothing as the end.
type base64Reader struct{ r io.Reader }

func (b *base64Reader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if _, corrupt := err.(base64.CorruptInputError); corrupt || err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	return n, err
}

// quotedPrintable decodes RFC 2045 section 6.7; what is not well encoded stays.
type quotedPrintable struct{ transform.NopResetter }

func (quotedPrintable) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for nSrc < len(src) {
		if nDst == len(dst) {
			return nDst, nSrc, transform.ErrShortDst
		}
		c, n := src[nSrc], 1
		if c == '=' {
			rest := src[nSrc+1:]
			if len(rest) < 2 && !atEOF {
				return nDst, nSrc, transform.ErrShortSrc
			}
			switch {
			case len(rest) >= 2 && unhex(rest[0]) >= 0 && unhex(rest[1]) >= 0:
				c, n = byte(unhex(rest[0])<<4|unhex(rest[1])), 3
			default:
				soft := len(rest) - len(strings.TrimLeft(string(rest[:min(len(rest), 80)]), " \t\r"))
				if soft < len(rest) && rest[soft] == '\n' {
					nSrc += soft + 2
					continue
				}
				if len(rest) == 0 {
					nSrc++
					continue
				}
			}
		}
		dst[nDst] = c
		nDst++
		nSrc += n
	}
	return nDst, nSrc, nil
}

// lenientUTF8 passes UTF-8, and takes every other byte as Windows-1252.
type lenientUTF8 struct{ transform.NopResetter }

func (lenientUTF8) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for nSrc < len(src) {
		r, n := utf8.DecodeRune(src[nSrc:])
		if r == utf8.RuneError && n <= 1 {
			if !atEOF && !utf8.FullRune(src[nSrc:]) {
				return nDst, nSrc, transform.ErrShortSrc
			}
			r = charmap.Windows1252.DecodeByte(src[nSrc])
		}
		if nDst+utf8.UTFMax > len(dst) {
			return nDst, nSrc, transform.ErrShortDst
		}
		nDst += utf8.EncodeRune(dst[nDst:], r)
		nSrc += n
	}
	return nDst, nSrc, nil
}

// isBlock tells whether a line ends where the element begins or ends.
func isBlock(tag atom.Atom) bool {
	switch tag {
	case atom.P, atom.Br, atom.Div, atom.Tr, atom.Td, atom.Th, atom.Li, atom.H1, atom.H2, atom.H3, atom.H4, atom.H5,
		atom.H6, atom.Table, atom.Ul, atom.Ol, atom.Blockquote, atom.Hr, atom.Pre, atom.Title:
		return true
	}
	return false
}

// An htmlReader reads the text of HTML: no tags, scripts or styles, a line end
// where a block begins or ends.
type htmlReader struct {
	z       *html.Tokenizer
	pending []byte
	hidden  atom.Atom // the element whose content is not text
	err     error
}

func newHTMLReader(r io.Reader) *htmlReader {
	z := html.NewTokenizer(r)
	z.SetMaxBuf(maxTag)
	return &htmlReader{z: z}
}

func (h *htmlReader) Read(p []byte) (int, error) {
	for len(h.pending) == 0 && h.err == nil {
		h.token()
	}
	n := copy(p, h.pending)
	h.pending = h.pending[n:]
	if n == 0 {
		return 0, h.err
	}
	return n, nil
}

// token reads one token into pending.
func (h *htmlReader) token() {
	kind := h.z.Next()
	switch kind {
	case html.ErrorToken:
		if h.err = h.z.Err(); h.err == html.ErrBufferExceeded {
			h.err = io.EOF
		}
	case html.TextToken:
		if h.hidden == 0 {
			h.pending = h.z.Text()
		}
	case html.StartTagToken, html.EndTagToken, html.SelfClosingTagToken:
		name, _ := h.z.TagName()
		tag := atom.Lookup(name)
		switch {
		case kind == html.StartTagToken && h.hidden == 0 && (tag == atom.Script || tag == atom.Style):
			h.hidden = tag
		case kind == html.EndTagToken && tag == h.hidden:
			h.hidden = 0
		case isBlock(tag):
			h.pending = []byte{'\n'}
		}
	}
}
