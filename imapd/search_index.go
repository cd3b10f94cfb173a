package imapd

import (
	"context"

	"mailbox/storage"
)

// A textKey is a key that reads messages, unless the search index knows.
type textKey struct {
	leaf
	query storage.TextQuery
	hits  *storage.TextHits
}

func (k *textKey) judge(m *candidate, at level) verdict {
	holds, known := k.hits.Holds(m.Email)
	switch {
	case !known:
		return k.leaf.judge(m, at)
	case holds:
		return is
	}
	return isNot
}

// askIndex asks the search index what it knows of the keys, and adds to columns
// those that are decided by sort keys.
func (c *conn) askIndex(ctx context.Context, k key, columns []*columnKey) []*columnKey {
	switch k := k.(type) {
	case and:
		for _, part := range k {
			columns = c.askIndex(ctx, part, columns)
		}
	case or:
		columns = c.askIndex(ctx, k[1], c.askIndex(ctx, k[0], columns))
	case not:
		columns = c.askIndex(ctx, k[0], columns)
	case *textKey:
		k.hits = c.s.Store.SearchText(ctx, c.account, k.query)
	case *columnKey:
		columns = append(columns, k)
	}
	return columns
}
