package mailauth

import (
	"bytes"
	"crypto/sha256"
	"hash"
)

// appendField appends a header field in canonical form, with a CRLF at its end
// (RFC 6376 section 3.4.1 and 3.4.2). A line feed alone counts as a CRLF.
func appendField(to, raw []byte, relaxed bool) []byte {
	if !relaxed {
		return appendLines(to, raw)
	}
	name, value, _ := bytes.Cut(raw, []byte{':'})
	to = append(to, bytes.ToLower(bytes.TrimRight(name, " \t\r\n"))...)
	to = append(to, ':')
	begin := len(to)
	space := false
	for _, c := range value {
		if isSpace(rune(c)) {
			space = true
			continue
		}
		if space && len(to) > begin {
			to = append(to, ' ')
		}
		space = false
		to = append(to, c)
	}
	return append(to, "\r\n"...)
}

func appendLines(to, raw []byte) []byte {
	for len(raw) > 0 {
		line, rest, _ := bytes.Cut(raw, []byte{'\n'})
		to = append(append(to, bytes.TrimSuffix(line, []byte{'\r'})...), "\r\n"...)
		raw = rest
	}
	return to
}

// A bodyHash takes the SHA-256 of a body in canonical form (RFC 6376 section
// 3.4.3 and 3.4.4). A line feed alone counts as a CRLF.
type bodyHash struct {
	relaxed bool
	sum     hash.Hash
	length  int64  // octets of the canonical form
	done    []byte // the hash, after finish

	out    []byte // on its way to sum
	breaks int64  // line ends that count only if something follows
	space  bool   // so does this
	cr     bool   // perhaps the begin of a line end
}

const bodyBuffer = 4 << 10

func newBodyHash(relaxed bool) *bodyHash {
	return &bodyHash{relaxed: relaxed, sum: sha256.New(), out: make([]byte, 0, bodyBuffer)}
}

// What is put into canonical forms. They are never changed.
var (
	lineEnd = []byte("\r\n")
	blank   = []byte(" ")
)

// Write takes the next octets of the body. It never fails.
func (h *bodyHash) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if run := h.plain(p); run > 0 {
			h.endCR()
			h.put(p[:run])
			p = p[run:]
			continue
		}
		switch p[0] {
		case '\n':
			h.cr = false
			h.breaks++
			h.space = false
		case '\r':
			h.endCR()
			h.cr = true
		default: // space, relaxed
			h.endCR()
			h.space = true
		}
		p = p[1:]
	}
	return n, nil
}

// plain is how many octets stand for themselves, whatever is around them.
func (h *bodyHash) plain(p []byte) int {
	for i, c := range p {
		if c <= ' ' && (c == '\r' || c == '\n' || h.relaxed && (c == ' ' || c == '\t')) {
			return i
		}
	}
	return len(p)
}

// endCR puts a CR that was not the begin of a line end.
func (h *bodyHash) endCR() {
	if h.cr {
		h.cr = false
		h.put(lineEnd[:1])
	}
}

// put adds octets that are neither of a line end nor space.
func (h *bodyHash) put(run []byte) {
	for ; h.breaks > 0; h.breaks-- {
		h.emit(lineEnd)
	}
	if h.space {
		h.emit(blank)
		h.space = false
	}
	h.emit(run)
}

func (h *bodyHash) emit(run []byte) {
	h.length += int64(len(run))
	if len(h.out)+len(run) > bodyBuffer {
		h.flush()
	}
	if len(run) > bodyBuffer {
		h.sum.Write(run)
		return
	}
	h.out = append(h.out, run...)
}

func (h *bodyHash) flush() {
	h.sum.Write(h.out)
	h.out = h.out[:0]
}

// finish ends the body.
func (h *bodyHash) finish() {
	h.endCR()
	if h.length > 0 || !h.relaxed {
		h.emit(lineEnd)
	}
	h.flush()
	h.done = h.sum.Sum(nil)
}
