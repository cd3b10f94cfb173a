package imapd

import (
	"strings"
	"time"

	"mailbox/imapd/wire"
	"mailbox/internal/message"
	"mailbox/storage"
)

// maxTexts bounds the keys of one SEARCH that read messages.
const maxTexts = 100

// A searchParser reads the arguments of SEARCH (RFC 3501 section 6.4.4).
type searchParser struct {
	*conn
	*query
	texts int
}

// searchQuery reads the arguments of SEARCH to the end of the line. The options
// of the result are in q also where what follows is refused.
func (c *conn) searchQuery(q *query) error {
	p := &searchParser{conn: c, query: q}
	utf8 := c.dec.UTF8
	c.dec.UTF8 = true // many clients send it quoted
	defer func() { c.dec.UTF8 = utf8 }()
	if err := c.dec.SP(); err != nil {
		return err
	}
	var all and
	for more := true; more; {
		k, err := p.keyOrOption(len(all) == 0)
		if err != nil {
			return err
		}
		if k == nil {
			continue
		}
		all = append(all, k)
		if more, err = c.dec.Accept(' '); err != nil {
			return err
		}
	}
	q.key = all
	if q.result == 0 && c.has(rev2) { // RFC 9051 section 6.4.4: without RETURN it is RETURN (ALL)
		q.result = returnAll
	}
	return c.dec.CRLF()
}

// keyOrOption reads a key or, before the first, RETURN or CHARSET with the
// space behind its argument, for which k is nil.
func (p *searchParser) keyOrOption(first bool) (k key, err error) {
	next, err := p.dec.Peek()
	if err != nil {
		return nil, err
	}
	if isSet(next) || next == '(' {
		return p.readKey()
	}
	word, err := p.dec.Word()
	if err != nil {
		return nil, err
	}
	switch {
	case word == "RETURN" && first && p.result == 0:
		return nil, p.readResultOptions(p.query)
	case word == "CHARSET" && first:
		return nil, p.charset()
	}
	return p.named(word)
}

// charset reads the argument of CHARSET. Once UTF8=ACCEPT is enabled there is
// no other than UTF-8 (RFC 9755 section 3).
func (p *searchParser) charset() error {
	if p.has(utf8Accept) {
		return bad("CHARSET has no place behind ENABLE UTF8=ACCEPT")
	}
	if err := p.dec.SP(); err != nil {
		return err
	}
	name, err := p.dec.Astring()
	if err != nil {
		return err
	}
	if !strings.EqualFold(name, "UTF-8") && !strings.EqualFold(name, "US-ASCII") {
		return no("BADCHARSET (US-ASCII UTF-8)", "charset is not supported")
	}
	return p.dec.SP()
}

func isSet(c byte) bool { return c >= '0' && c <= '9' || c == '*' || c == '$' }

// readKey reads one key. Every level of nesting is counted.
func (p *searchParser) readKey() (key, error) {
	if err := p.dec.Enter(); err != nil {
		return nil, err
	}
	defer p.dec.Leave()
	next, err := p.dec.Peek()
	if err != nil {
		return nil, err
	}
	if next == '(' {
		var all and
		err := p.dec.List(func() error {
			k, err := p.readKey()
			all = append(all, k)
			return err
		})
		if err == nil && len(all) == 0 {
			err = bad("empty list of search keys")
		}
		return all, err
	}
	if isSet(next) {
		return p.set(false)
	}
	word, err := p.dec.Word()
	if err != nil {
		return nil, err
	}
	return p.named(word)
}

// set reads a set of sequence numbers or UIDs.
func (p *searchParser) set(uid bool) (key, error) {
	set, err := p.dec.NumSet()
	if err != nil {
		return nil, err
	}
	v := p.view
	if uid || set.Saved {
		ranges := set.Normalize(v.lastUID())
		if set.Saved {
			ranges = v.saved
		}
		return leaf{inIndex, func(m *candidate) bool { return ranges.Contains(uint32(m.UID)) }}, nil
	}
	if set.Highest() > uint32(v.len()) {
		return nil, bad("there is no message with that number")
	}
	ranges := set.Normalize(uint32(v.len()))
	return leaf{inIndex, func(m *candidate) bool { return ranges.Contains(m.seq) }}, nil
}

// flagKeys are the keys that test one flag; "UN" before them tests its absence.
var flagKeys = map[string]storage.Flags{
	"ANSWERED": storage.Answered, "DELETED": storage.Deleted, "DRAFT": storage.Draft,
	"FLAGGED": storage.Flagged, "SEEN": storage.Seen,
}

// named reads the arguments of a key.
func (p *searchParser) named(word string) (key, error) {
	positive, negated := strings.CutPrefix(word, "UN")
	if flag, known := flagKeys[positive]; known {
		return leaf{inIndex, func(m *candidate) bool { return m.Flags&flag != 0 != negated }}, nil
	}
	recent := func(m *candidate) bool { return m.view.recent.Contains(uint32(m.UID)) }
	switch {
	case word == "ALL", word == "SAVEDATESUPPORTED": // RFC 8514 section 4.3: every mailbox has the dates
		return leaf{inIndex, func(*candidate) bool { return true }}, nil
	case p.has(rev2): // has no \Recent (RFC 9051 appendix E)
	case word == "RECENT":
		return leaf{inIndex, recent}, nil
	case word == "OLD":
		return leaf{inIndex, func(m *candidate) bool { return !recent(m) }}, nil
	case word == "NEW":
		return leaf{inIndex, func(m *candidate) bool { return recent(m) && m.Flags&storage.Seen == 0 }}, nil
	}
	if err := p.dec.SP(); err != nil {
		return nil, err
	}
	switch word {
	case "UID":
		return p.set(true)
	case "KEYWORD", "UNKEYWORD":
		return p.keyword(word == "UNKEYWORD")
	case "LARGER", "SMALLER":
		return p.size(word == "LARGER")
	case "BEFORE", "ON", "SINCE", "SENTBEFORE", "SENTON", "SENTSINCE", "SAVEDBEFORE", "SAVEDON", "SAVEDSINCE":
		return p.date(word)
	case "OLDER", "YOUNGER":
		return p.within(word == "YOUNGER")
	case "EMAILID", "THREADID":
		return p.objectID(word == "THREADID")
	case "NOT":
		k, err := p.readKey()
		return not{k}, err
	case "OR":
		return p.or()
	case "HEADER":
		name, err := p.dec.Astring()
		if err == nil {
			err = p.dec.SP()
		}
		if err != nil {
			return nil, err
		}
		return p.header(name)
	case "BCC", "CC", "FROM", "SUBJECT", "TO":
		return p.header(word)
	case "BODY", "TEXT":
		return p.text(word == "TEXT")
	case "MODSEQ":
		return p.changed()
	}
	return nil, bad("unknown search key " + word)
}

// changed reads MODSEQ (RFC 7162 section 3.1.5). Behind it may stand the name
// of a flag and whose flag is meant: a modseq here is that of the whole message.
func (p *searchParser) changed() (key, error) {
	next, err := p.dec.Peek()
	if err != nil {
		return nil, err
	}
	if next == '"' {
		entry, err := p.dec.Quoted()
		if err == nil {
			err = p.dec.SP()
		}
		if err != nil {
			return nil, err
		}
		whose, err := p.dec.Word()
		if err == nil {
			err = p.dec.SP()
		}
		if err != nil {
			return nil, err
		}
		if !strings.HasPrefix(strings.ToLower(entry), "/flags/") || whose != "ALL" && whose != "SHARED" && whose != "PRIV" {
			return nil, bad("unknown metadata item")
		}
	}
	since, err := p.modSeq()
	p.modSeqs = true
	return leaf{inIndex, func(m *candidate) bool { return m.ModSeq >= since }}, err
}

func (p *searchParser) or() (key, error) {
	a, err := p.readKey()
	if err != nil {
		return nil, err
	}
	if err := p.dec.SP(); err != nil {
		return nil, err
	}
	b, err := p.readKey()
	return or{a, b}, err
}

func (p *searchParser) keyword(negated bool) (key, error) {
	word, err := p.dec.Atom()
	if err != nil {
		return nil, err
	}
	known := map[uint32]bool{} // by set of keywords
	return leaf{inIndex, func(m *candidate) bool {
		has, seen := known[m.Keywords]
		if !seen {
			for _, k := range m.view.cur.Keywords(m.Keywords) {
				has = has || strings.EqualFold(k, word)
			}
			known[m.Keywords] = has
		}
		return has != negated
	}}, nil
}

func (p *searchParser) size(larger bool) (key, error) {
	n, err := p.dec.Number64()
	return &columnKey{want: storage.KeySize, test: func(e *storage.EmailKey) bool {
		if larger {
			return e.Size > int64(n)
		}
		return e.Size < int64(n)
	}}, err
}

// date reads a date; the day is compared as it was written, whatever the zone.
func (p *searchParser) date(word string) (key, error) {
	want, err := p.dec.Date()
	if err != nil {
		return nil, err
	}
	switch relation, of := cutDate(word); of {
	case "SENT":
		return sentKey(relation, want), nil
	case "SAVED": // RFC 8514 section 4.3
		return leaf{inRow, func(m *candidate) bool { return compareDays(relation, dayOf(m.row.Saved), want) }}, nil
	default:
		return receivedKey(relation, want), nil
	}
}

// cutDate tells which date of a message a key is about.
func cutDate(word string) (relation, of string) {
	for _, of := range []string{"SENT", "SAVED"} {
		if relation, found := strings.CutPrefix(word, of); found {
			return relation, of
		}
	}
	return word, ""
}

// within reads an interval in seconds up to now (RFC 5032 section 3).
func (p *searchParser) within(younger bool) (key, error) {
	n, err := p.dec.NZNumber()
	since := time.Now().Add(-time.Duration(n) * time.Second)
	return leaf{inRow, func(m *candidate) bool { return m.row.Received.Before(since) != younger }}, err
}

// countText bounds the keys that read messages.
func (p *searchParser) countText() error {
	if p.texts++; p.texts > maxTexts {
		return &wire.LimitError{Text: "too many search keys that read messages", Max: maxTexts}
	}
	return nil
}

// header reads what a field is to hold; the empty string is in every field
// (RFC 3501 section 6.4.4, HEADER).
func (p *searchParser) header(name string) (key, error) {
	want, err := p.dec.Astring()
	if err == nil {
		err = p.countText()
	}
	query := storage.TextQuery{Field: name, Text: want}
	want = message.Fold(want)
	k := leaf{inMessage, func(m *candidate) bool { return m.headerHas(name, want) }}
	if name == "" { // any field, for which there is no query
		return k, err
	}
	return &textKey{leaf: k, query: query}, err
}

func (p *searchParser) text(header bool) (key, error) {
	want, err := p.dec.Astring()
	if err == nil {
		err = p.countText()
	}
	query := storage.TextQuery{Header: header, Text: want}
	want = message.Fold(want)
	return &textKey{leaf: leaf{inMessage, func(m *candidate) bool {
		return header && m.headerHas("", want) || m.bodyHas(want)
	}}, query: query}, err
}
