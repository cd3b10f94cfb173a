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
	return &bodyHash{relaxed: relaxed, sum: sha256.New(), out: make([]byte, 0, bodyBuffer+8)}
}

// Write takes the next octets of the body. It never fails.
func (h *bodyHash) Write(p []byte) (int, error) {
	for _, c := range p {
		if h.cr && c != '\n' {
			h.put('\r')
		}
		h.cr = c == '\r'
		switch {
		case h.cr:
		case c == '\n':
			h.breaks++
			h.space = false
		case h.relaxed && (c == ' ' || c == '\t'):
			h.space = true
		default:
			h.put(c)
		}
	}
	return len(p), nil
}

// put adds an octet that is neither of a line end nor space.
func (h *bodyHash) put(c byte) {
	for ; h.breaks > 0; h.breaks-- {
		h.emit('\r')
		h.emit('\n')
	}
	if h.space {
		h.emit(' ')
		h.space = false
	}
	h.emit(c)
}

func (h *bodyHash) emit(c byte) {
	h.out = append(h.out, c)
	h.length++
	if len(h.out) >= bodyBuffer {
		h.flush()
	}
}

func (h *bodyHash) flush() {
	h.sum.Write(h.out)
	h.out = h.out[:0]
}

// finish ends the body.
func (h *bodyHash) finish() {
	if h.cr {
		h.put('\r')
	}
	if h.length > 0 || !h.relaxed {
		h.emit('\r')
		h.emit('\n')
	}
	h.flush()
	h.done = h.sum.Sum(nil)
}
