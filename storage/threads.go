package storage

import (
	"cmp"
	"slices"
)

// maxMerge bounds what the delivery of one email changes to make threads one: so
// many emails, and so many Message-IDs, of the smaller ones. What is larger
// stays apart; emails that come later join the largest that they name.
const maxMerge = slice

// threadOf returns the thread of an email that has, or refers to, the given
// Message-IDs: that of the emails which have or refer to one of them too, no
// matter which came first. Where these are several, they become one, the
// largest; where there are none, the email begins its own.
func (t *tx) threadOf(account AccountID, email EmailID, ids []int64) (EmailID, error) {
	threads, err := t.threadsWith(account, ids)
	if err != nil {
		return 0, err
	}
	thread := email
	if len(threads) > 0 {
		thread = threads[0].id
		emails, ids := 0, 0
		for _, other := range threads[1:] {
			if emails+other.emails > maxMerge || ids+other.ids > maxMerge {
				continue
			}
			emails, ids = emails+other.emails, ids+other.ids
			if err := t.exec(`UPDATE email SET thread = ? WHERE thread = ?`, thread, other.id); err != nil {
				return 0, err
			}
			if err := t.exec(`UPDATE thread_id SET thread = ? WHERE thread = ?`, thread, other.id); err != nil {
				return 0, err
			}
		}
	}
	for _, id := range ids {
		if err := t.exec(`INSERT INTO thread_id (account, id, thread) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`, account, id, thread); err != nil {
			return 0, err
		}
	}
	return thread, nil
}

type threadSize struct {
	id          EmailID
	emails, ids int // counted up to maxMerge + 1
}

// threadsWith returns the threads that Message-IDs are in, the largest first,
// and of those with more than maxMerge emails the oldest.
func (t *tx) threadsWith(account AccountID, ids []int64) ([]threadSize, error) {
	var threads []threadSize
	for _, id := range ids {
		var s threadSize
		err := t.queryRow(`SELECT thread FROM thread_id WHERE account = ? AND id = ?`, account, id).Scan(&s.id)
		if err == ErrNotFound || slices.ContainsFunc(threads, func(o threadSize) bool { return o.id == s.id }) {
			continue
		}
		if err == nil {
			err = t.queryRow(`SELECT (SELECT count(*) FROM (SELECT 1 FROM email WHERE thread = ?1 LIMIT ?2)),
				(SELECT count(*) FROM (SELECT 1 FROM thread_id WHERE thread = ?1 LIMIT ?2))`, s.id, maxMerge+1).Scan(&s.emails, &s.ids)
		}
		if err != nil {
			return nil, err
		}
		threads = append(threads, s)
	}
	slices.SortStableFunc(threads, func(a, b threadSize) int {
		return cmp.Or(cmp.Compare(b.emails, a.emails), cmp.Compare(a.id, b.id))
	})
	return threads, nil
}

// endThread forgets the Message-IDs of a thread that has no email any more.
func (t *tx) endThread(thread EmailID) error {
	return t.exec(`DELETE FROM thread_id WHERE thread = ? AND NOT EXISTS (SELECT 1 FROM email WHERE thread = ?)`, thread, thread)
}
