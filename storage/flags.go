package storage

import (
	"context"
	"slices"
)

// A FlagOp says what STORE does with the flags that it names (RFC 9051 section 6.4.6).
type FlagOp uint8

const (
	ReplaceFlags FlagOp = iota
	AddFlags
	RemoveFlags
)

// A FlagChange is what to do with the flags of messages.
type FlagChange struct {
	Op             FlagOp
	Flags          Flags
	Keywords       []string
	UnchangedSince *ModSeq // leave messages alone that changed later (RFC 7162 section 3.1.3)
}

// A FlagResult says which messages were left alone, in UID order.
type FlagResult struct {
	Modified []UID // changed after UnchangedSince
	Missing  []UID // gone
}

// StoreFlags changes the flags of messages. UIDs must be ascending. Messages
// are changed in slices of 500, each durable on its own.
func (db *DB) StoreFlags(ctx context.Context, account AccountID, mailbox MailboxID, uids []UID, change FlagChange) (FlagResult, error) {
	var all FlagResult
	for part := range slices.Chunk(uids, slice) {
		var r FlagResult
		err := db.writer.free(ctx, func(t *tx) (err error) {
			r = FlagResult{}
			b, err := t.open(account, mailbox)
			if err != nil {
				return err
			}
			return b.store(part, change, &r)
		})
		if err != nil {
			return all, err
		}
		all.Modified = append(all.Modified, r.Modified...)
		all.Missing = append(all.Missing, r.Missing...)
	}
	return all, nil
}

func (b *box) store(uids []UID, change FlagChange, r *FlagResult) error {
	names := change.Keywords
	if change.Op == RemoveFlags { // what the mailbox never had, no message has
		names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return keywordNumber(b.Keywords, n) < 0 })
	}
	set, err := b.keywordSet(names)
	if err != nil {
		return err
	}
	return b.each(uids, func(s stored) error {
		if change.UnchangedSince != nil && s.changed > *change.UnchangedSince {
			r.Modified = append(r.Modified, s.uid)
			return nil
		}
		flags, keywords := applyFlags(change.Op, s.flags, change.Flags, s.keywords, set)
		if flags == s.flags && keywords == s.keywords {
			return nil
		}
		if err := b.t.exec(`UPDATE message SET flags = ?, keywords = ?, changed = ? WHERE mailbox = ? AND uid = ?`,
			flags, nullable(keywords), b.account.modseq, b.ID, s.uid); err != nil {
			return err
		}
		b.countFlags(-1, s.flags)
		b.countFlags(1, flags)
		b.note(FlagsSet, entryChange{uid: s.uid, flags: flags, keywords: keywords, email: s.email})
		return nil
	}, func(uid UID) error {
		r.Missing = append(r.Missing, uid)
		return nil
	})
}

func applyFlags(op FlagOp, flags, change Flags, set, changeSet string) (Flags, string) {
	switch op {
	case AddFlags:
		return flags | change, combine(set, changeSet, func(a, b byte) byte { return a | b })
	case RemoveFlags:
		return flags &^ change, combine(set, changeSet, func(a, b byte) byte { return a &^ b })
	default:
		return change, trimSet([]byte(changeSet))
	}
}

// combine joins two keyword sets bit by bit.
func combine(a, b string, op func(a, b byte) byte) string {
	out := make([]byte, max(len(a), len(b)))
	for i := range out {
		var x, y byte
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		out[i] = op(x, y)
	}
	return trimSet(out)
}
