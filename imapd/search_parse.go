package imapd

import (
	"strings"
	"time"

	"mailbox/imapd/wire"
	"mailbox/storage"
)

// maxTexts bounds the keys of one SEARCH that read messages.
const maxTexts = 100

// A searchParser reads the keys of SEARCH (RFC 3501 section 6.4.4).
type searchParser struct {
	*conn
	texts int
}

// searchKeys reads the arguments of SEARCH to the end of the line.
func (c *conn) searchKeys() (key, error) {
	p := &searchParser{conn: c}
	utf8 := c.dec.UTF8
	c.dec.UTF8 = true // many clients send it quoted
	defer func() { c.dec.UTF8 = utf8 }()
	if err := c.dec.SP(); err != nil {
		return nil, err
	}
	var all and
	for {
		k, charset, err := p.keyOrCharset(len(all) == 0)
		if err != nil {
			return nil, err
		}
		if !charset {
			all = append(all, k)
			more, err := c.dec.Accept(' ')
			if err != nil {
				return nil, err
			}
			if !more {
				return all, c.dec.CRLF()
			}
		}
	}
}

// keyOrCharset reads a key or, before the first, CHARSET with a space behind it.
func (p *searchParser) keyOrCharset(first bool) (k key, charset bool, err error) {
	next, err := p.dec.Peek()
	if err != nil {
		return nil, false, err
	}
	if isSet(next) || next == '(' {
		k, err = p.key()
		return k, false, err
	}
	word, err := p.dec.Word()
	if err != nil {
		return nil, false, err
	}
	if word != "CHARSET" || !first {
		k, err = p.named(word)
		return k, false, err
	}
	if err := p.dec.SP(); err != nil {
		return nil, true, err
	}
	name, err := p.dec.Astring()
	if err != nil {
		return nil, true, err
	}
	if !strings.EqualFold(name, "UTF-8") && !strings.EqualFold(name, "US-ASCII") {
		return nil, true, no("BADCHARSET (US-ASCII UTF-8)", "charset is not supported")
	}
	return nil, true, p.dec.SP()
}

func isSet(c byte) bool { return c >= '0' && c <= '9' || c == '*' || c == '$' }

// key reads one key. Every level of nesting is counted.
func (p *searchParser) key() (key, error) {
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
			k, err := p.key()
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
	if set.Saved {
		return nil, bad("no search result can be saved here")
	}
	v := p.view
	if uid {
		ranges := set.Normalize(v.lastUID())
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
	switch word {
	case "ALL", "SAVEDATESUPPORTED": // RFC 8514 section 4.3: every mailbox has the dates
		return leaf{inIndex, func(*candidate) bool { return true }}, nil
	case "RECENT":
		return leaf{inIndex, recent}, nil
	case "OLD":
		return leaf{inIndex, func(m *candidate) bool { return !recent(m) }}, nil
	case "NEW":
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
		k, err := p.key()
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
	}
	return nil, bad("unknown search key " + word)
}

func (p *searchParser) or() (key, error) {
	a, err := p.key()
	if err != nil {
		return nil, err
	}
	if err := p.dec.SP(); err != nil {
		return nil, err
	}
	b, err := p.key()
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
	return leaf{inRow, func(m *candidate) bool {
		if larger {
			return m.row.Size > int64(n)
		}
		return m.row.Size < int64(n)
	}}, err
}

// date reads a date; the day is compared as it was written, whatever the zone.
func (p *searchParser) date(word string) (key, error) {
	want, err := p.dec.Date()
	if err != nil {
		return nil, err
	}
	relation, sent := strings.CutPrefix(word, "SENT")
	relation, saved := strings.CutPrefix(relation, "SAVED")
	level := inRow
	if sent {
		level = inEnvelope
	}
	return leaf{level, func(m *candidate) bool {
		t, known := m.row.Received, true
		switch {
		case sent:
			t, known = sentDate(m.row.Envelope)
		case saved:
			t = m.row.Saved // RFC 8514 section 4.3
		}
		if !known {
			return false
		}
		y, mon, d := t.Date()
		day := time.Date(y, mon, d, 0, 0, 0, 0, time.UTC)
		switch relation {
		case "BEFORE":
			return day.Before(want)
		case "ON":
			return day.Equal(want)
		}
		return !day.Before(want)
	}}, nil
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
	want = foldText(want)
	return leaf{inMessage, func(m *candidate) bool { return m.headerHas(name, want) }}, err
}

func (p *searchParser) text(header bool) (key, error) {
	want, err := p.dec.Astring()
	if err == nil {
		err = p.countText()
	}
	want = foldText(want)
	return leaf{inMessage, func(m *candidate) bool {
		return header && m.headerHas("", want) || m.bodyHas(want)
	}}, err
}
