package imapd

import (
	"context"
	"errors"
	"slices"

	"mailbox/imapd/wire"
	"mailbox/storage"
)

// A resultOption is something that SEARCH RETURN asks for (RFC 4731 section
// 3.1, RFC 5182 section 2.1, RFC 9051 section 6.4.4, RFC 9394 section 3.1), and
// SORT RETURN too (RFC 5267 section 3).
type resultOption uint8

const (
	returnMin resultOption = 1 << iota
	returnMax
	returnAll
	returnCount
	returnSave
	returnPartial
)

// resultOptions is never changed.
var resultOptions = map[string]resultOption{
	"MIN": returnMin, "MAX": returnMax, "ALL": returnAll, "COUNT": returnCount, "SAVE": returnSave, "PARTIAL": returnPartial,
}

// A query is a SEARCH or SORT as its client asked for it.
type query struct {
	key     key
	by      order        // nil: in the order of the mailbox, which is a SEARCH
	result  resultOption // 0: the answer is SEARCH or SORT, otherwise it is ESEARCH
	page    page         // of the messages that were found, for returnPartial
	modSeqs bool         // the highest modseq of what was found is told too
}

// name is that of the command that asked.
func (q *query) name() string {
	if q.by == nil {
		return "SEARCH"
	}
	return "SORT"
}

// readResultOptions reads what stands behind RETURN, with the space behind it.
func (c *conn) readResultOptions(q *query) error {
	if err := c.dec.SP(); err != nil {
		return err
	}
	var asked resultOption
	err := c.dec.Words(func(word string) (err error) {
		o := resultOptions[word]
		const one = returnAll | returnPartial // RFC 9394 section 3.1
		switch {
		case o == 0:
			return bad("unknown result option " + word)
		case o&one != 0 && asked&one != 0:
			return bad("RETURN takes one ALL or one PARTIAL")
		case o == returnPartial:
			q.page, err = c.readPage()
		}
		asked |= o
		return err
	})
	if err != nil {
		return err
	}
	if asked == 0 {
		asked = returnAll
	}
	q.result = asked
	return c.dec.SP()
}

// search is SEARCH and UID SEARCH (RFC 3501 section 6.4.4, RFC 9051 section 6.4.4).
func (c *conn) search(ctx context.Context, uid bool) (ok, error) {
	return c.lookUp(ctx, uid, c.searchQuery)
}

// lookUp reads a query, and answers it.
func (c *conn) lookUp(ctx context.Context, uid bool, read func(*query) error) (ok, error) {
	// Sets in the keys mean the view as it is now, so it is brought up to date first.
	if err := c.sync(ctx, syncOptions{}); err != nil {
		return ok{}, err
	}
	q := &query{}
	err := read(q)
	if refused := (*status)(nil); q.result&returnSave != 0 && (err == nil || errors.As(err, &refused) && refused.kind == "NO") {
		c.view.saved = nil // a search that fails saves nothing (RFC 5182 section 2.1)
	}
	if err != nil {
		return ok{}, err
	}
	found, err := c.find(ctx, q.key, q.need())
	if err == nil && q.by != nil {
		err = c.inOrder(ctx, found, q.by)
	}
	if err != nil {
		return ok{}, err
	}
	if q.result&returnSave != 0 {
		c.view.saved = uidsOf(q.chosen(found))
	}
	c.tellFound(found, q, uid)
	return ok{text: q.name() + " completed"}, nil
}

// need is the page of what there is to find that suffices for the answer: all of
// it where it is sorted, or where more than one thing is asked for.
func (q *query) need() page {
	if q.by != nil {
		return page{}
	}
	switch q.result &^ returnSave {
	case returnMin:
		return page{from: 1, to: 1}
	case returnMax:
		return page{from: 1, to: 1, last: true}
	case returnPartial:
		return q.page
	}
	return page{}
}

// chosen returns the messages that the answer is about: the first, the last and
// those of the page where only these are asked for, otherwise all (RFC 5182
// section 2.4, RFC 4731 section 3.2, RFC 9394 section 3.2). One may be in it twice.
func (q *query) chosen(found []hit) []hit {
	const some = returnMin | returnMax | returnPartial
	if q.result&some == 0 || q.result&(returnAll|returnCount) != 0 || len(found) == 0 {
		return found
	}
	var chosen []hit
	if q.result&returnMin != 0 {
		chosen = append(chosen, found[0])
	}
	if q.result&returnPartial != 0 {
		chosen = append(chosen, q.onPage(found)...)
	}
	if q.result&returnMax != 0 {
		chosen = append(chosen, found[len(found)-1])
	}
	return chosen
}

// onPage returns the messages of the page that is asked for.
func (q *query) onPage(found []hit) []hit {
	i, j := q.page.bounds(uint64(len(found)))
	return found[i:j]
}

// tellFound answers a query.
func (c *conn) tellFound(found []hit, q *query, uid bool) {
	switch q.result {
	case returnSave:
		return
	case 0:
		c.enc.Raw("* " + q.name())
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
func (c *conn) tellExtended(found []hit, q *query, uid bool) {
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
		c.enc.Raw(" ALL ")
		c.tellNumbers(found, uid)
	}
	if q.result&returnPartial != 0 {
		c.enc.Raw(" PARTIAL (" + q.page.String() + " ")
		if part := q.onPage(found); len(part) > 0 {
			c.tellNumbers(part, uid)
		} else {
			c.enc.Nil()
		}
		c.enc.Raw(")")
	}
	if m := highestOf(q.chosen(found)); q.modSeqs && m > 0 {
		c.enc.Raw(" MODSEQ ")
		c.enc.Number64(uint64(m))
	}
}

// tellNumbers sends messages in their order. Those that ascend by one are a
// range; what descends never is (RFC 5267 section 3.2).
func (c *conn) tellNumbers(found []hit, uid bool) {
	for i := 0; i < len(found); {
		if i > 0 {
			c.enc.Raw(",")
		}
		first := found[i].number(uid)
		last := first
		for i++; i < len(found) && found[i].number(uid) == last+1; i++ {
			last++
		}
		c.enc.Number(first)
		if last > first {
			c.enc.Raw(":")
			c.enc.Number(last)
		}
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

// uidsOf returns the UIDs of messages, which may come in any order.
func uidsOf(found []hit) (set wire.Ranges) {
	uids := make([]uint32, len(found))
	for i, h := range found {
		uids[i] = uint32(h.uid)
	}
	slices.Sort(uids)
	for _, u := range uids {
		set = set.Add(u)
	}
	return set
}
