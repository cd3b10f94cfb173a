package imapd

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"mailbox/storage"
)

// A sortKey is one criterion of SORT (RFC 5256 section 3).
type sortKey struct {
	want    storage.KeyColumns
	compare func(a, b *storage.EmailKey) int
}

// sortKeys are the criteria. It is never changed.
var sortKeys = map[string]sortKey{
	"ARRIVAL": {storage.KeyReceived, func(a, b *storage.EmailKey) int { return cmp.Compare(a.Received, b.Received) }},
	"CC":      {storage.KeyCc, func(a, b *storage.EmailKey) int { return strings.Compare(a.Cc, b.Cc) }},
	"DATE":    {storage.KeySent, func(a, b *storage.EmailKey) int { return cmp.Compare(a.Sent, b.Sent) }},
	"FROM":    {storage.KeyFrom, func(a, b *storage.EmailKey) int { return strings.Compare(a.From, b.From) }},
	"SIZE":    {storage.KeySize, func(a, b *storage.EmailKey) int { return cmp.Compare(a.Size, b.Size) }},
	"SUBJECT": {storage.KeySubject, func(a, b *storage.EmailKey) int { return strings.Compare(a.Subject, b.Subject) }},
	"TO":      {storage.KeyTo, func(a, b *storage.EmailKey) int { return strings.Compare(a.To, b.To) }},
}

// maxSortKeys bounds the criteria of one SORT.
const maxSortKeys = 20

// An order is the criteria of a SORT.
type order []sortKey

func (o order) compare(a, b *storage.EmailKey) int {
	for _, k := range o {
		if n := k.compare(a, b); n != 0 {
			return n
		}
	}
	return 0
}

func (o order) want() (want storage.KeyColumns) {
	for _, k := range o {
		want |= k.want
	}
	return want
}

// sort is SORT and UID SORT (RFC 5256 section 3, RFC 5267 section 3).
func (c *conn) sort(ctx context.Context, uid bool) (ok, error) {
	return c.lookUp(ctx, uid, c.sortQuery)
}

// sortQuery reads the arguments of SORT to the end of the line. The options of
// the result are in q also where what follows is refused.
func (c *conn) sortQuery(q *query) error {
	if err := c.dec.SP(); err != nil {
		return err
	}
	next, err := c.dec.Peek()
	if err == nil && next != '(' {
		if err = c.dec.ExpectWord("RETURN"); err == nil {
			err = c.readResultOptions(q)
		}
	}
	if err != nil {
		return err
	}
	if q.by, err = c.sortOrder(); err != nil {
		return err
	}
	return c.keysBehindCharset(q)
}

// sortOrder reads the list of criteria.
func (c *conn) sortOrder() (by order, err error) {
	reverse := false
	err = c.dec.Words(func(word string) error {
		if word == "REVERSE" && !reverse {
			reverse = true
			return nil
		}
		k, known := sortKeys[word]
		switch {
		case !known:
			return bad("unknown sort criterion " + word)
		case len(by) == maxSortKeys:
			return bad("too many sort criteria")
		case reverse:
			compare := k.compare
			k.compare = func(a, b *storage.EmailKey) int { return compare(b, a) }
		}
		by, reverse = append(by, k), false
		return nil
	})
	if err == nil && (reverse || len(by) == 0) {
		err = bad("a sort criterion is missing")
	}
	return by, err
}

// keysBehindCharset reads the charset that SORT and THREAD must be told, and
// the search keys to the end of the line.
func (c *conn) keysBehindCharset(q *query) error {
	p := &searchParser{conn: c, query: q}
	utf8 := c.dec.UTF8
	c.dec.UTF8 = true
	defer func() { c.dec.UTF8 = utf8 }()
	if err := c.dec.SP(); err != nil {
		return err
	}
	name, err := c.dec.Astring()
	if err != nil {
		return err
	}
	if !strings.EqualFold(name, "UTF-8") && !strings.EqualFold(name, "US-ASCII") {
		return no("BADCHARSET (US-ASCII UTF-8)", "charset is not supported")
	}
	if err := c.dec.SP(); err != nil {
		return err
	}
	var all and
	for more := true; more; {
		k, err := p.readKey()
		if err != nil {
			return err
		}
		all = append(all, k)
		if more, err = c.dec.Accept(' '); err != nil {
			return err
		}
	}
	q.key = all
	return c.dec.CRLF()
}

// inOrder sorts what was found. Equal ones stay in the order of the mailbox.
func (c *conn) inOrder(ctx context.Context, found []hit, by order) error {
	type sorted struct {
		hit
		key *storage.EmailKey
	}
	keys, err := c.emailKeys(ctx, found, by.want())
	if err != nil {
		return err
	}
	list := make([]sorted, len(found))
	for i, m := range found {
		list[i] = sorted{m, &keys[i]}
	}
	slices.SortFunc(list, func(a, b sorted) int { return cmp.Or(by.compare(a.key, b.key), cmp.Compare(a.uid, b.uid)) })
	for i, m := range list {
		found[i] = m.hit
	}
	return nil
}

// emailKeys reads keys for messages, in step with them. A message that is gone
// meanwhile has empty ones.
func (c *conn) emailKeys(ctx context.Context, found []hit, want storage.KeyColumns) ([]storage.EmailKey, error) {
	type place struct {
		email uint32
		at    int
	}
	places := make([]place, len(found))
	for i, m := range found {
		pos, _ := c.view.cur.Search(m.uid)
		places[i] = place{c.view.cur.At(pos).Email, i}
	}
	slices.SortFunc(places, func(a, b place) int { return cmp.Compare(a.email, b.email) })
	numbers := make([]uint32, len(places))
	for i, p := range places {
		numbers[i] = p.email
	}
	keys := make([]storage.EmailKey, len(found))
	err := c.s.Store.EmailKeys(ctx, c.account, slices.Compact(numbers), want, func(k *storage.EmailKey) {
		for len(places) > 0 && places[0].email < k.Email {
			places = places[1:]
		}
		for len(places) > 0 && places[0].email == k.Email {
			keys[places[0].at] = *k
			places = places[1:]
		}
	})
	return keys, err
}
