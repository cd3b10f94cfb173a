package imapd

import (
	"strconv"
	"strings"

	"mailbox/imapd/wire"
	"mailbox/storage"
)

// A fetchKind is a data item of FETCH.
type fetchKind uint8

const (
	fetchUID fetchKind = iota
	fetchFlags
	fetchInternalDate
	fetchSize
	fetchEnvelope
	fetchBody
	fetchBodyStructure
	fetchSection
	fetchModSeq
	fetchEmailID
	fetchThreadID
	fetchSaveDate
	fetchPreview
	fetchBinary
	fetchBinarySize
)

// A fetchItem is one data item, and how its name is written in the response.
type fetchItem struct {
	kind    fetchKind
	name    string
	section section
}

// A section is a part of a message (RFC 3501 section 6.4.5, BODY[<section>]).
type section struct {
	path   []int
	what   sectionPart
	names  []string // of HEADER.FIELDS
	peek   bool     // \Seen is not set
	cut    bool     // only size octets from offset on
	offset int64
	size   int64
}

type sectionPart uint8

const (
	wholePart sectionPart = iota
	headerPart
	headerFields
	headerFieldsNot
	textPart
	mimePart
)

var sectionParts = map[string]sectionPart{
	"": wholePart, "HEADER": headerPart, "HEADER.FIELDS": headerFields, "HEADER.FIELDS.NOT": headerFieldsNot,
	"TEXT": textPart, "MIME": mimePart,
}

// maxItems bounds the data items of one FETCH, each of which is sent for every message.
const maxItems = 1000

// fetchItems reads the data items of FETCH.
func (c *conn) fetchItems() ([]fetchItem, error) {
	if err := c.dec.SP(); err != nil {
		return nil, err
	}
	next, err := c.dec.Peek()
	if err != nil {
		return nil, err
	}
	var items []fetchItem
	if next == '(' {
		err = c.dec.List(func() error {
			item, err := c.fetchItem()
			if items = append(items, item); len(items) > maxItems {
				return bad("too many data items")
			}
			return err
		})
	} else {
		var word string
		if word, err = c.dec.Word(); err != nil {
			return nil, err
		}
		if items = macro(word); items == nil {
			var item fetchItem
			item, err = c.namedItem(word)
			items = []fetchItem{item}
		}
	}
	if err != nil {
		return nil, err
	}
	if len(items) == 0 {
		return nil, bad("expected a data item")
	}
	return items, nil
}

// fetchModifiers are what stands behind the data items of FETCH.
type fetchModifiers struct {
	changed  bool // only messages that changed after since (RFC 7162 section 3.1.4.1)
	since    storage.ModSeq
	vanished bool // and the UIDs of those that went (RFC 7162 section 3.2.6)
	page     page // of the messages of the set (RFC 9394 section 3.3)
}

// fetchModifiers reads the modifiers of FETCH, to the end of the line.
func (c *conn) fetchModifiers(uid bool) (m fetchModifiers, err error) {
	err = c.modifiers(func(word string) (err error) {
		switch word {
		case "CHANGEDSINCE":
			if err = c.dec.SP(); err == nil {
				m.changed = true
				m.since, err = c.modSeq()
			}
			return err
		case "VANISHED":
			m.vanished = true
			return c.require(qResync, "QRESYNC")
		case "PARTIAL":
			if m.page != (page{}) {
				return bad("PARTIAL comes once")
			}
			m.page, err = c.readPage()
			return err
		}
		return bad("unknown modifier " + word)
	})
	if err == nil && m.vanished && (!m.changed || !uid) {
		err = bad("VANISHED needs UID FETCH and CHANGEDSINCE")
	}
	return m, err
}

// macro returns what a macro stands for; it must be alone (RFC 3501 section 6.4.5).
func macro(word string) []fetchItem {
	items := []fetchItem{{kind: fetchFlags, name: "FLAGS"}, {kind: fetchInternalDate, name: "INTERNALDATE"}, {kind: fetchSize, name: "RFC822.SIZE"}}
	switch word {
	case "FAST":
		return items
	case "ALL":
		return append(items, fetchItem{kind: fetchEnvelope, name: "ENVELOPE"})
	case "FULL":
		return append(items, fetchItem{kind: fetchEnvelope, name: "ENVELOPE"}, fetchItem{kind: fetchBody, name: "BODY"})
	}
	return nil
}

func (c *conn) fetchItem() (fetchItem, error) {
	word, err := c.dec.Word()
	if err != nil {
		return fetchItem{}, err
	}
	return c.namedItem(word)
}

// namedItem reads what follows the name of a data item.
func (c *conn) namedItem(word string) (fetchItem, error) {
	item := fetchItem{name: word}
	switch word {
	case "UID":
		item.kind = fetchUID
	case "FLAGS":
		item.kind = fetchFlags
	case "INTERNALDATE":
		item.kind = fetchInternalDate
	case "RFC822.SIZE":
		item.kind = fetchSize
	case "ENVELOPE":
		item.kind = fetchEnvelope
	case "BODYSTRUCTURE":
		item.kind = fetchBodyStructure
	case "MODSEQ":
		item.kind = fetchModSeq
		c.enableAll(condStore)
	case "RFC822":
		item.kind = fetchSection
	case "RFC822.HEADER":
		item.kind, item.section = fetchSection, section{what: headerPart, peek: true}
	case "RFC822.TEXT":
		item.kind, item.section = fetchSection, section{what: textPart}
	case "EMAILID":
		item.kind = fetchEmailID
	case "THREADID":
		item.kind = fetchThreadID
	case "SAVEDATE":
		item.kind = fetchSaveDate
	case "PREVIEW":
		item.kind = fetchPreview
		return item, c.previewModifiers()
	case "BINARY", "BINARY.PEEK", "BINARY.SIZE":
		if err := c.dec.Expect('['); err != nil {
			return item, err
		}
		return c.binary(word)
	case "BODY", "BODY.PEEK":
		open, err := c.dec.Accept('[')
		if err != nil {
			return item, err
		}
		if open {
			return c.section(word == "BODY.PEEK")
		}
		if item.kind = fetchBody; word == "BODY" {
			return item, nil
		}
		return item, bad("BODY.PEEK needs a section")
	default:
		return item, bad("unknown data item " + word)
	}
	return item, nil
}

// section reads a section behind its "[", and the partial behind its "]".
func (c *conn) section(peek bool) (fetchItem, error) {
	item := fetchItem{kind: fetchSection}
	s := &item.section
	s.peek = peek
	spec, err := c.sectionSpec()
	if err != nil {
		return item, err
	}
	if err := s.parse(spec); err != nil {
		return item, err
	}
	name := append([]byte("BODY["), strings.ToUpper(spec)...)
	if s.what == headerFields || s.what == headerFieldsNot {
		if err := c.fieldNames(s); err != nil {
			return item, err
		}
		name = append(name, " ("...)
		for i, n := range s.names {
			if i > 0 {
				name = append(name, ' ')
			}
			name = wire.AppendAstring(name, n, false)
		}
		name = append(name, ')')
	}
	return c.sectionEnd(item, name)
}

// sectionSpec reads a section behind its "[", up to the names of fields.
func (c *conn) sectionSpec() (string, error) {
	next, err := c.dec.Peek()
	if err != nil || next == ']' {
		return "", err
	}
	return c.dec.Atom()
}

// sectionEnd reads the "]" of a section, and the partial behind it.
func (c *conn) sectionEnd(item fetchItem, name []byte) (fetchItem, error) {
	err := c.dec.Expect(']')
	if err != nil {
		return item, err
	}
	name = append(name, ']')
	s := &item.section
	if item.kind != fetchBinarySize {
		s.cut, err = c.dec.Accept('<')
	}
	if err != nil {
		return item, err
	}
	if s.cut {
		if err := c.partial(s); err != nil {
			return item, err
		}
		name = append(wire.AppendNumber(append(name, '<'), s.offset), '>')
	}
	item.name = string(name)
	return item, nil
}

// parse understands a section without its field names.
func (s *section) parse(spec string) error {
	rest := spec
	for rest != "" && rest[0] >= '1' && rest[0] <= '9' {
		number, after, _ := strings.Cut(rest, ".")
		n, err := strconv.ParseInt(number, 10, 32)
		if err != nil || after == "" && strings.HasSuffix(rest, ".") {
			return bad("malformed section")
		}
		s.path = append(s.path, int(n))
		rest = after
	}
	what, known := sectionParts[strings.ToUpper(rest)]
	if !known || what == mimePart && len(s.path) == 0 {
		return bad("malformed section")
	}
	s.what = what
	return nil
}

func (c *conn) fieldNames(s *section) error {
	if err := c.dec.SP(); err != nil {
		return err
	}
	err := c.dec.List(func() error {
		n, err := c.dec.Astring()
		if s.names = append(s.names, n); len(s.names) > maxItems {
			return bad("too many field names")
		}
		return err
	})
	if err == nil && len(s.names) == 0 {
		return bad("expected the name of a field")
	}
	return err
}

// partial reads a partial behind its "<".
func (c *conn) partial(s *section) error {
	from, err := c.dec.Number64()
	if err != nil {
		return err
	}
	if err := c.dec.Expect('.'); err != nil {
		return err
	}
	n, err := c.dec.Number64()
	if err != nil {
		return err
	}
	if n == 0 {
		return bad("a partial of no octets")
	}
	s.offset, s.size = int64(from), int64(n)
	return c.dec.Expect('>')
}

// previewModifiers reads what may stand behind PREVIEW (RFC 8970 section 4).
// LAZY asks for no more than what is at hand: a preview is made of the begin of
// the message, which is quick.
func (c *conn) previewModifiers() error {
	more, err := c.dec.ListFollows()
	if err != nil || !more {
		return err
	}
	n := 0
	err = c.dec.List(func() error {
		n++
		return c.dec.ExpectWord("LAZY")
	})
	if err == nil && n == 0 {
		return bad("expected a modifier of PREVIEW")
	}
	return err
}

// needs says what of a message the items are made of.
func needs(items []fetchItem) (want storage.Columns, rows, blob, seen bool) {
	for _, i := range items {
		switch i.kind {
		case fetchInternalDate, fetchSize, fetchThreadID, fetchSaveDate:
			rows = true
		case fetchEnvelope:
			want |= storage.WantEnvelope
		case fetchBody, fetchBodyStructure:
			want |= storage.WantBodyStructure
		case fetchSection, fetchBinary, fetchBinarySize:
			want |= storage.WantParts
			blob = true
			seen = seen || !i.section.peek
		case fetchPreview:
			want |= storage.WantParts
			blob = true
		}
	}
	return want, rows || want != 0, blob, seen
}
