package imapd

import (
	"bytes"
	"io"
	"slices"
	"strings"

	"mailbox/internal/message"
)

var errUnknownCTE = no("UNKNOWN-CTE", "a part has a transfer encoding that is not known here")

// binary reads the part and the partial of a BINARY item behind its "[" (RFC
// 3516 section 4.2).
func (c *conn) binary(word string) (fetchItem, error) {
	item := fetchItem{kind: fetchBinary}
	item.section.peek = word != "BINARY"
	name := "BINARY["
	if word == "BINARY.SIZE" {
		item.kind, name = fetchBinarySize, "BINARY.SIZE["
	}
	spec, err := c.sectionSpec()
	if err != nil {
		return item, err
	}
	if err := item.section.parse(spec); err != nil {
		return item, err
	}
	if item.section.what != wholePart {
		return item, bad("BINARY takes the number of a part")
	}
	return c.sectionEnd(item, append([]byte(name), strings.ToUpper(spec)...))
}

// part finds the part that the section names, the message itself where it
// names none.
func (s *section) part(root *message.Part, size int64) *message.Part {
	if len(s.path) == 0 {
		return &message.Part{End: size}
	}
	return root.Find(s.path...)
}

// decodable leaves out the BINARY items of a message that cannot be decoded.
func (f *fetching) decodable(root *message.Part, size int64) []fetchItem {
	unknown := func(i fetchItem) bool {
		if i.kind != fetchBinary && i.kind != fetchBinarySize {
			return false
		}
		p := i.section.part(root, size)
		return p != nil && len(p.Children) == 0 && !knownEncoding(p.Encoding)
	}
	if !slices.ContainsFunc(f.items, unknown) {
		return f.items
	}
	f.unknownCTE = true
	return slices.DeleteFunc(slices.Clone(f.items), unknown)
}

func knownEncoding(name string) bool {
	switch name {
	case "", "7bit", "8bit", "binary", "base64", "quoted-printable":
		return true
	}
	return false
}

// decoded reads a part without its transfer encoding, from the partial's offset
// to its end. Multiparts and messages have none (RFC 2045 section 6.4).
func (s *section) decoded(p *message.Part, content io.ReaderAt) (io.Reader, error) {
	var r io.Reader = io.NewSectionReader(content, p.BodyOffset, p.End-p.BodyOffset)
	if len(p.Children) == 0 {
		r = p.Content(content)
	}
	if !s.cut {
		return r, nil
	}
	if _, err := io.CopyN(io.Discard, r, s.offset); err != nil && err != io.EOF {
		return nil, err
	}
	return io.LimitReader(r, s.size), nil
}

// binaryItem sends a part, or its size, without its transfer encoding. It is
// decoded twice, once to know the size, so that it is never in memory.
func (f *fetching) binaryItem(item *fetchItem, content io.ReaderAt, size int64, root *message.Part) error {
	var octets counter
	p := item.section.part(root, size)
	if p != nil {
		r, err := item.section.decoded(p, content)
		if err == nil {
			_, err = io.Copy(&octets, r)
		}
		if err != nil {
			return err
		}
	}
	switch {
	case item.kind == fetchBinarySize:
		f.enc.Number64(uint64(octets.n))
		return nil
	case p == nil:
		f.enc.Nil()
		return nil
	}
	r, err := item.section.decoded(p, content)
	if err != nil {
		return err
	}
	return f.enc.Literal(r, octets.n, octets.nul)
}

// A counter counts octets, and says whether one of them is NUL, which no plain
// literal may hold.
type counter struct {
	n   int64
	nul bool
}

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	c.nul = c.nul || bytes.IndexByte(p, 0) >= 0
	return len(p), nil
}
