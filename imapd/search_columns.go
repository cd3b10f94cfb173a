package imapd

import (
	"context"
	"slices"
	"time"

	"mailbox/storage"
)

// A columnKey is decided by the sort keys of emails. Those of the whole mailbox
// are read once for all such keys of a search.
type columnKey struct {
	want storage.KeyColumns
	test func(*storage.EmailKey) bool
	hits map[uint32]struct{} // by Entry.Email
}

func (k *columnKey) needs() level { return inIndex }

func (k *columnKey) judge(m *candidate, _ level) verdict {
	if _, found := k.hits[m.Email]; found {
		return is
	}
	return isNot
}

// emails returns the numbers of the emails of the view, ascending.
func (v *view) emails() []uint32 {
	numbers := make([]uint32, 0, v.cur.Len())
	v.cur.All(func(_ int, e storage.Entry) bool {
		numbers = append(numbers, e.Email)
		return true
	})
	slices.Sort(numbers)
	return slices.Compact(numbers)
}

// readColumns decides the keys.
func (c *conn) readColumns(ctx context.Context, keys []*columnKey) error {
	if len(keys) == 0 {
		return nil
	}
	var want storage.KeyColumns
	for _, k := range keys {
		want |= k.want
		k.hits = map[uint32]struct{}{}
	}
	return c.s.Store.EmailKeys(ctx, c.account, c.view.emails(), want, func(e *storage.EmailKey) {
		for _, k := range keys {
			if k.test(e) {
				k.hits[e.Email] = struct{}{}
			}
		}
	})
}

// dayOf returns the day that a time shows in its zone, in days since 1970.
func dayOf(t time.Time) int64 {
	y, m, d := t.Date()
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / 86400
}

func compareDays(relation string, day int64, want time.Time) bool {
	switch relation {
	case "BEFORE":
		return day < dayOf(want)
	case "ON":
		return day == dayOf(want)
	}
	return day >= dayOf(want)
}

// sentKey compares the day of the Date field, as it was written.
func sentKey(relation string, want time.Time) key {
	return &columnKey{want: storage.KeySentDay, test: func(e *storage.EmailKey) bool {
		return e.SentDay != storage.NoSentDay && compareDays(relation, e.SentDay, want)
	}}
}

// receivedKey compares the day of INTERNALDATE, in its zone. The index knows
// all days but those of other centuries.
func receivedKey(relation string, want time.Time) key {
	return dayKey{
		index: leaf{inIndex, func(m *candidate) bool { return compareDays(relation, int64(m.Day), want) }},
		row:   leaf{inRow, func(m *candidate) bool { return compareDays(relation, dayOf(m.row.Received), want) }},
	}
}

// A dayKey asks the row of a message whose day the index does not hold.
type dayKey struct{ index, row leaf }

func (k dayKey) needs() level { return inRow }

func (k dayKey) judge(m *candidate, at level) verdict {
	if m.Day == storage.NoDay {
		return k.row.judge(m, at)
	}
	return k.index.judge(m, at)
}
