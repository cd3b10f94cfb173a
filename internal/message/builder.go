// Package message finds the parts of anything that claims to be mail. It never
// fails: what it cannot make sense of it takes as opaque bytes, and the bytes
// themselves are never touched.
package message

import (
	"bytes"
	"strings"
	"time"
)

// The bounds of what is looked at. What lies beyond them belongs to the part
// that it stands in, as opaque bytes.
const (
	maxDepth    = 100
	maxParts    = 10_000
	maxHeader   = 1 << 20 // octets, of all headers of a message together
	maxBoundary = 256     // octets; RFC 2046 section 5.1.1 allows 70
)

// A Message is what a Builder found. Offsets count from the first octet of the
// message, the prefix of Finish included.
type Message struct {
	Size       int64
	Root       *Part
	Hops       int       // Received fields, without those of the prefix (RFC 5321 section 6.3)
	Date       time.Time // of the Date field; zero where there is none that can be read
	MessageID  string    // with its angle brackets
	References []string  // of References and In-Reply-To, at most 100
}

// Header returns the fields on top of the message.
func (m *Message) Header() Header { return m.Root.header }

// A Builder finds the parts of a message while its octets stream through it.
// Its memory is bounded by the constants above, whatever it is fed. Lines may
// end in CRLF or a bare LF.
type Builder struct {
	pos   int64 // octets seen
	lf    int64 // line feeds seen
	line  []byte
	start int64 // of the current line
	skip  bool  // the rest of the current line does not matter
	cut   bool  // line is not the whole of it
	eol   int64 // octets of the last line's end: 1 or 2; 0 before the first

	root  *Part
	open  []*Part // from the root to the part that the next line belongs to
	parts int
	kept  int // octets of headers kept
}

// NewBuilder returns a Builder that expects a header.
func NewBuilder() *Builder {
	b := &Builder{}
	b.root = b.push(false)
	return b
}

// push opens a part at the current position.
func (b *Builder) push(digest bool) *Part {
	p := &Part{Offset: b.pos, inHeader: true, digest: digest}
	b.parts++
	b.open = append(b.open, p)
	return p
}

func (b *Builder) top() *Part { return b.open[len(b.open)-1] }

// Write takes the next octets. It never fails.
func (b *Builder) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if b.skip || len(b.line) == 0 && !b.matters(p) {
			p = b.pass(p)
			continue
		}
		end := bytes.IndexByte(p, '\n') + 1
		piece := p
		if end > 0 {
			piece = p[:end]
		}
		b.keep(piece)
		b.pos += int64(len(piece))
		p = p[len(piece):]
		if end > 0 {
			b.lf++
			b.endLine()
		}
	}
	return n, nil
}

// matters tells whether a line that begins with p must be looked at.
func (b *Builder) matters(p []byte) bool {
	return b.top().inHeader || p[0] == '-' && b.boundaries() && (len(p) < 2 || p[1] == '-')
}

func (b *Builder) boundaries() bool {
	for _, p := range b.open {
		if p.boundary != "" {
			return true
		}
	}
	return false
}

// pass goes over octets that are content and no delimiter.
func (b *Builder) pass(p []byte) []byte {
	if !b.skip && !b.boundaries() { // nothing can end this part but the end
		b.pos += int64(len(p))
		b.lf += int64(bytes.Count(p, []byte{'\n'}))
		return nil
	}
	end := bytes.IndexByte(p, '\n') + 1
	if end == 0 {
		b.skip = true
		b.line = append(b.line[:0], p[len(p)-1]) // perhaps the CR of its end
		b.pos += int64(len(p))
		return nil
	}
	b.eol = 1
	if end > 1 && p[end-2] == '\r' || end == 1 && len(b.line) > 0 && b.line[len(b.line)-1] == '\r' {
		b.eol = 2
	}
	b.skip, b.line = false, b.line[:0]
	b.pos += int64(end)
	b.lf++
	b.start = b.pos
	return p[end:]
}

// keep adds to the current line what of it may matter: its begin, and the last
// two octets, which tell how long its end is.
func (b *Builder) keep(piece []byte) {
	room := maxBoundary + 16
	if b.top().inHeader {
		room = max(room, maxHeader-b.kept)
	}
	if len(b.line)+len(piece) <= room {
		b.line = append(b.line, piece...)
		return
	}
	b.cut = true
	tail := append(b.line[max(0, len(b.line)-1):len(b.line):len(b.line)], piece[max(0, len(piece)-2):]...)
	tail = tail[len(tail)-2:]
	b.line = b.line[:min(len(b.line), room-2)]
	b.line = append(b.line, piece[:min(len(piece), room-2-len(b.line))]...)
	b.line = append(b.line, tail...)
}

// endLine looks at a whole line that may be a delimiter or of a header.
func (b *Builder) endLine() {
	line, start := b.line, b.start
	eol := int64(1)
	if n := len(line); n > 1 && line[n-2] == '\r' {
		eol = 2
	}
	if !b.delimiter(line, start) {
		if p := b.top(); p.inHeader {
			b.headerLine(p, line, eol)
		}
	}
	b.line, b.eol, b.start, b.cut = b.line[:0], eol, b.pos, false
}

// delimiter ends parts at a boundary line (RFC 2046 section 5.1.1).
func (b *Builder) delimiter(line []byte, start int64) bool {
	if len(line) < 3 || line[0] != '-' || line[1] != '-' || len(line) > maxBoundary+8 {
		return false
	}
	text := string(bytes.TrimRight(line[2:], " \t\r\n"))
	for i := len(b.open) - 1; i >= 0; i-- {
		p := b.open[i]
		if p.boundary == "" {
			continue
		}
		final := text == p.boundary+"--"
		if !final && text != p.boundary {
			continue
		}
		b.closeAbove(i, start, b.eol)
		if final || b.parts >= maxParts {
			p.boundary = ""
			return true
		}
		p.Children = append(p.Children, b.push(p.Subtype == "digest"))
		return true
	}
	return false
}

// closeAbove ends the parts inside part i. The line end before a delimiter
// belongs to the delimiter.
func (b *Builder) closeAbove(i int, at, eol int64) {
	for len(b.open)-1 > i {
		if p := b.top(); p.inHeader {
			b.endHeader(p, min(b.pos, at)) // may open a message that has nothing in it
		} else {
			b.close(p, at, eol)
		}
	}
}

func (b *Builder) close(p *Part, at, eol int64) {
	b.open = b.open[:len(b.open)-1]
	lf := b.lf
	if at < b.pos { // the delimiter's own line feed is seen already
		lf--
	}
	p.End = at
	least := p.BodyOffset
	if n := len(p.Children); n > 0 {
		least = p.Children[n-1].End
	}
	if eol > 0 && at-eol >= least {
		p.End -= eol
		lf--
	}
	p.Lines = max(0, lf-p.bodyLF)
	if p.Type == "multipart" && len(p.Children) == 0 {
		p.Children = []*Part{{Offset: p.End, BodyOffset: p.End, End: p.End, Type: "text", Subtype: "plain"}}
	}
}

// headerLine adds a line to the header of p, or ends that.
func (b *Builder) headerLine(p *Part, line []byte, eol int64) {
	if int64(len(line)) == eol {
		b.endHeader(p, b.pos)
		return
	}
	if b.kept < maxHeader && line[0] != ' ' && line[0] != '\t' && !beginsField(line) { // no field: the body begins without an empty line
		b.endHeader(p, b.start)
		p.bodyLF -= min(eol, 1)
		if inner := b.top(); inner.inHeader {
			b.headerLine(inner, line, eol)
		}
		return
	}
	if b.cut || len(line) > maxHeader-b.kept {
		b.kept = maxHeader
		return
	}
	p.raw = append(p.raw, line...)
	b.kept += len(line)
}

// beginsField tells whether a line is the first of a header field.
func beginsField(line []byte) bool {
	colon := bytes.IndexByte(line, ':')
	return colon > 0 && isFieldName(strings.TrimRight(string(line[:colon]), " \t"))
}

// endHeader knows what p is, and opens what is in it.
func (b *Builder) endHeader(p *Part, body int64) {
	p.inHeader = false
	p.BodyOffset, p.bodyLF = body, b.lf
	p.header = parseHeader(p.raw, p.Offset)
	p.raw = nil
	p.describe()
	deep := len(b.open) >= maxDepth
	message := p.Type == "message" && (p.Subtype == "rfc822" || p.Subtype == "global")
	switch {
	case p.Type == "multipart" && p.boundary != "" && !deep:
	case message && isIdentity(p.Encoding) && !deep && b.parts < maxParts:
		p.Message = true
		child := b.push(false)
		child.Offset = body
		p.Children = []*Part{child}
	default:
		p.boundary = ""
		if message || p.Type == "multipart" { // it is not looked into
			p.Type, p.Subtype = "application", "octet-stream"
		}
	}
}

func isIdentity(encoding string) bool {
	switch encoding {
	case "", "7bit", "8bit", "binary":
		return true
	}
	return false
}

// Finish ends the message, on top of which prefix stands: header fields in
// lines that end in CRLF, or nothing.
func (b *Builder) Finish(prefix []byte) *Message {
	if len(b.line) > 0 && !b.skip { // a last line without an end
		b.lf++ // the one that a delimiter takes for its own
		found := b.delimiter(b.line, b.start)
		b.lf--
		if p := b.top(); !found && p.inHeader {
			b.headerLine(p, b.line, 0)
		}
	}
	b.closeAbove(-1, b.pos, 0)
	shift := int64(len(prefix))
	b.root.shift(shift)
	b.root.Offset = 0
	m := &Message{Size: b.pos + shift, Root: b.root}
	m.Hops = len(b.root.header.All("received"))
	b.root.header = append(parseHeader(prefix, 0), b.root.header...)
	m.Date, _ = ParseDate(b.root.header.Get("date"))
	m.MessageID = firstID(b.root.header.Get("message-id"))
	m.References = messageIDs(b.root.header.Get("references")+" "+b.root.header.Get("in-reply-to"), 100)
	return m
}

// messageIDs finds up to n msg-ids (RFC 5322 section 3.6.4).
func messageIDs(s string, n int) []string {
	var ids []string
	for len(ids) < n {
		from := strings.IndexByte(s, '<')
		if from < 0 {
			break
		}
		s = s[from:]
		to := strings.IndexByte(s, '>')
		if to < 0 {
			break
		}
		if to < 1000 {
			ids = append(ids, s[:to+1])
		}
		s = s[to+1:]
	}
	return ids
}

func firstID(s string) string {
	if ids := messageIDs(s, 1); len(ids) > 0 {
		return ids[0]
	}
	return ""
}
