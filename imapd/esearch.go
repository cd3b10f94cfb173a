package imapd

import (
	"context"
	"errors"

	"mailbox/imapd/wire"
	"mailbox/storage"
)

// A resultOption is something that SEARCH RETURN asks for (RFC 4731 section
// 3.1, RFC 5182 section 2.1, RFC 9051 section 6.4.4).
type resultOption uint8

const (
	returnMin resultOption = 1 << iota
	returnMax
	returnAll
	returnCount
	returnSave
)

// resultOptions is never changed.
var resultOptions = map[string]resultOption{
	"MIN": returnMin, "MAX": returnMax, "ALL": returnAll, "COUNT": returnCount, "SAVE": returnSave,
}

// A query is a search as its client asked for it.
type query struct {
	key     key
	result  resultOption // 0: the answer is SEARCH, otherwise it is ESEARCH
	modSeqs bool         // the highest modseq of what was found is told too
}

// readResultOptions reads what stands behind RETURN, with the space behind it.
func (c *conn) readResultOptions() (all resultOption, err error) {
	if err := c.dec.SP(); err != nil {
		return 0, err
	}
	err = c.dec.Words(func(word string) error {
		if resultOptions[word] == 0 {
			return bad("unknown result option " + word)
		}
		all |= resultOptions[word]
		return nil
	})
	if err != nil {
		return 0, err
	}
	if all == 0 {
		all = returnAll
	}
	return all, c.dec.SP()
}

// search is SEARCH and UID SEARCH (RFC 3501 section 6.4.4, RFC 9051 section 6.4.4).
func (c *conn) search(ctx context.Context, uid bool) (ok, error) {
	// Sets in the keys mean the view as it is now, so it is brought up to date first.
	if err := c.sync(ctx, syncOptions{}); err != nil {
		return ok{}, err
	}
	q, err := c.query()
	if refused := (*status)(nil); q.result&returnSave != 0 && (err == nil || errors.As(err, &refused) && refused.kind == "NO") {
		c.view.saved = nil // a search that fails saves nothing (RFC 5182 section 2.1)
	}
	if err != nil {
		return ok{}, err
	}
	found, err := c.find(ctx, q.key)
	if err != nil {
		return ok{}, err
	}
	if q.result&returnSave != 0 {
		for _, h := range q.result.of(found) {
			c.view.saved = c.view.saved.Add(uint32(h.uid))
		}
	}
	c.tellFound(found, q, uid)
	return ok{text: "SEARCH completed"}, nil
}

// of returns the hits that the options are about: the first and the last where
// only these are asked for, otherwise all (RFC 5182 section 2.4, RFC 7162
// section 3.1.10).
func (o resultOption) of(found []hit) []hit {
	if o&(returnMin|returnMax) == 0 || o&(returnAll|returnCount) != 0 || len(found) == 0 {
		return found
	}
	first, last := found[0], found[len(found)-1]
	switch {
	case o&returnMax == 0:
		return []hit{first}
	case o&returnMin == 0:
		return []hit{last}
	}
	return []hit{first, last}
}

// tellFound answers a search.
func (c *conn) tellFound(found []hit, q query, uid bool) {
	switch q.result {
	case returnSave:
		return
	case 0:
		c.enc.Raw("* SEARCH")
		for _, h := range found {
			c.enc.SP()
			c.enc.Number(h.number(uid))
		}
		if m := highestOf(found); q.modSeqs && m > 0 {
			c.enc.Raw(" (MODSEQ ")
			c.enc.Number64(uint64(m))
			c.enc.Raw(")")
		}
	default:
		c.tellExtended(found, q, uid)
	}
	c.enc.CRLF()
}

// tellExtended sends an ESEARCH response (RFC 4731 section 3.2).
func (c *conn) tellExtended(found []hit, q query, uid bool) {
	c.enc.Raw("* ESEARCH (TAG ")
	c.enc.String(c.tag)
	c.enc.Raw(")")
	if uid {
		c.enc.Raw(" UID")
	}
	item := func(o resultOption, name string, n uint32) {
		if q.result&o != 0 {
			c.enc.Raw(name)
			c.enc.Number(n)
		}
	}
	if len(found) > 0 {
		item(returnMin, " MIN ", found[0].number(uid))
		item(returnMax, " MAX ", found[len(found)-1].number(uid))
	}
	item(returnCount, " COUNT ", uint32(len(found)))
	if q.result&returnAll != 0 && len(found) > 0 {
		var all wire.Ranges
		for _, h := range found {
			all = all.Add(h.number(uid))
		}
		c.enc.Raw(" ALL ")
		c.enc.Numbers(all)
	}
	if m := highestOf(q.result.of(found)); q.modSeqs && m > 0 {
		c.enc.Raw(" MODSEQ ")
		c.enc.Number64(uint64(m))
	}
}

// A hit is a message that was found.
type hit struct {
	uid    storage.UID
	seq    uint32
	modSeq storage.ModSeq
}

func (h hit) number(uid bool) uint32 {
	if uid {
		return uint32(h.uid)
	}
	return h.seq
}

func highestOf(found []hit) (m storage.ModSeq) {
	for _, h := range found {
		m = max(m, h.modSeq)
	}
	return m
}
