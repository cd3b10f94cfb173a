package message

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
)

// A Part is a node of the MIME tree (RFC 2046). Its header lies in the message
// from Offset to BodyOffset, the empty line included, its body from there to
// End.
type Part struct {
	Offset     int64
	BodyOffset int64
	End        int64
	Lines      int64  // line feeds in the body
	Type       string // in lower case: "text", "multipart" …
	Subtype    string
	Charset    string // of a text, in lower case; "" where it says none
	Encoding   string // Content-Transfer-Encoding in lower case; "" is 7bit
	Filename   string // decoded; "" where there is none
	Message    bool   // a message/rfc822 or message/global whose Children are the message in it
	Children   []*Part

	header   Header
	params   []param // of Content-Type, as written
	boundary string
	raw      []byte
	bodyLF   int64
	inHeader bool
	digest   bool
}

func (p *Part) shift(n int64) {
	p.Offset += n
	p.BodyOffset += n
	p.End += n
	for i := range p.header {
		p.header[i].Offset += n
	}
	for _, c := range p.Children {
		c.shift(n)
	}
}

// Header returns the fields of the part. It is empty in a tree that was unmarshalled.
func (p *Part) Header() Header { return p.header }

// Find returns the part that IMAP calls by these numbers (RFC 9051 section
// 6.4.5.1), or nil. A message inside a message shares its number with what it
// holds, unless that is a multipart: 2.1 is the first part of the message that
// is part 2.
func (p *Part) Find(path ...int) *Part {
	// p is the root of a message: part 1 of one that is no multipart is itself.
	at := p
	for i, n := range path {
		switch {
		case at.Type == "multipart":
		case at.Message && i > 0:
			inner := at.Children[0]
			if inner.Type != "multipart" {
				if n != 1 {
					return nil
				}
				at = inner
				continue
			}
			at = inner
		case i == 0:
			if n != 1 {
				return nil
			}
			continue
		default:
			return nil
		}
		if n < 1 || n > len(at.Children) {
			return nil
		}
		at = at.Children[n-1]
	}
	return at
}

// partsVersion is the first byte of marshalled parts. In those of version 1 no
// string is one of partWords.
const partsVersion = 2

// partWords are strings that most parts have. They are marshalled as their
// place here, so words are only ever added at the end, and 126 at most.
var partWords = [...]string{
	"text", "plain", "html", "multipart", "alternative", "mixed", "related", "signed", "report", "message", "rfc822",
	"application", "octet-stream", "pdf", "image", "png", "jpeg", "gif", "calendar", "pkcs7-signature", "pgp-signature",
	"utf-8", "us-ascii", "iso-8859-1", "iso-8859-15", "windows-1252", "7bit", "8bit", "quoted-printable", "base64", "binary",
	"delivery-status", "rfc822-headers", "digest", "encrypted", "pgp-encrypted", "csv", "zip", "msword", "global",
}

// How the first byte of a marshalled string is read: below firstWord it is the
// length, from there on one of partWords, and at longString the length follows.
const (
	firstWord  = 128
	longString = 255
)

func appendPartString(b []byte, s string) []byte {
	if i := slices.Index(partWords[:], s); i >= 0 {
		return append(b, byte(firstWord+i))
	}
	s = s[:min(len(s), 255)]
	if len(s) >= firstWord {
		b = append(b, longString)
	}
	return append(append(b, byte(len(s))), s...)
}

var errParts = errors.New("malformed part offsets")

// MarshalParts packs a tree into a few bytes for each part.
func MarshalParts(root *Part) []byte {
	return root.append([]byte{partsVersion}, 0)
}

func (p *Part) append(b []byte, base int64) []byte {
	b = binary.AppendUvarint(b, uint64(p.Offset-base))
	b = binary.AppendUvarint(b, uint64(p.BodyOffset-p.Offset))
	b = binary.AppendUvarint(b, uint64(p.End-p.BodyOffset))
	b = binary.AppendUvarint(b, uint64(p.Lines))
	for _, s := range []string{p.Type, p.Subtype, p.Charset, p.Encoding, p.Filename} {
		b = appendPartString(b, s)
	}
	n := uint64(len(p.Children)) << 1
	if p.Message {
		n |= 1
	}
	b = binary.AppendUvarint(b, n)
	for _, c := range p.Children {
		b = c.append(b, p.BodyOffset)
	}
	return b
}

// UnmarshalParts reads what MarshalParts wrote. It fails for anything else,
// and for parts that do not lie inside one another.
func UnmarshalParts(b []byte) (*Part, error) {
	if len(b) == 0 || b[0] < 1 || b[0] > partsVersion {
		return nil, errParts
	}
	r := partReader{b: b[1:], words: b[0] > 1}
	p := r.part(0, math.MaxInt64, 0)
	if r.bad || len(r.b) > 0 {
		return nil, errParts
	}
	return p, nil
}

type partReader struct {
	b     []byte
	n     int
	words bool // strings may be partWords
	bad   bool
}

func (r *partReader) uint() int64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > math.MaxInt64 {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return int64(v)
}

func (r *partReader) string() string {
	if r.words && len(r.b) > 0 && r.b[0] >= firstWord {
		first := r.b[0]
		r.b = r.b[1:]
		if first != longString {
			if i := int(first - firstWord); i < len(partWords) {
				return partWords[i]
			}
			r.bad = true
			return ""
		}
	}
	if len(r.b) == 0 || len(r.b) <= int(r.b[0]) {
		r.bad = true
		return ""
	}
	n := 1 + int(r.b[0])
	s := string(r.b[1:n])
	r.b = r.b[n:]
	return s
}

// part reads one part that lies between base and end.
func (r *partReader) part(base, end int64, depth int) *Part {
	p := &Part{}
	offset, header, body, lines := r.uint(), r.uint(), r.uint(), r.uint()
	if r.bad || offset > end-base || header > end-base-offset || body > end-base-offset-header {
		r.bad = true
		return nil
	}
	p.Offset, p.BodyOffset, p.End, p.Lines = base+offset, base+offset+header, base+offset+header+body, lines
	p.Type, p.Subtype, p.Charset, p.Encoding, p.Filename = r.string(), r.string(), r.string(), r.string(), r.string()
	n := r.uint()
	p.Message = n&1 != 0
	n >>= 1
	r.n++
	if r.bad || depth > maxDepth+1 || r.n > 2*maxParts+2 || n > int64(len(r.b)) || p.Message && n != 1 || p.Type == "multipart" && n == 0 {
		r.bad = true
		return nil
	}
	for range n {
		c := r.part(p.BodyOffset, p.End, depth+1)
		if r.bad {
			return nil
		}
		p.Children = append(p.Children, c)
	}
	return p
}
