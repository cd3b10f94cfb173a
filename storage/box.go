package storage

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// MaxKeywords is how many keywords a mailbox may ever have had.
const MaxKeywords = 255

// slice is the most rows that one function of long work may change, so that
// the deliveries behind it need not wait long.
const slice = 500

// A box is a mailbox that a write function changes. Its row is written once,
// when the function has ended.
type box struct {
	Mailbox
	account *touched
	t       *tx
	changed bool
}

// open loads an existing mailbox of an account, once for each function.
func (t *tx) open(account AccountID, id MailboxID) (*box, error) {
	for _, b := range t.boxes {
		if b.ID == id && b.Account == account {
			return b, nil
		}
	}
	m, err := t.mailbox(account, id)
	if err != nil {
		return nil, err
	}
	return t.opened(m)
}

// openNamed is open by name.
func (t *tx) openNamed(account AccountID, name string) (*box, error) {
	for _, b := range t.boxes {
		if b.Name == name && b.Account == account {
			return b, nil
		}
	}
	m, err := t.mailboxNamed(account, name)
	if err != nil {
		return nil, err
	}
	return t.opened(m)
}

func (t *tx) opened(m Mailbox) (*box, error) {
	a, err := t.touch(m.Account)
	if err != nil {
		return nil, err
	}
	b := &box{Mailbox: m, account: a, t: t}
	t.boxes = append(t.boxes, b)
	return b, nil
}

// write puts the counts into the row, where anything has changed.
func (b *box) write() error {
	if !b.changed {
		return nil
	}
	return b.t.exec(`UPDATE mailbox SET uidnext = ?, changed = ?, messages = ?, unseen = ?, deleted = ?, size = ?, keywords = ? WHERE id = ?`,
		b.UIDNext, b.account.modseq, b.Messages, b.Unseen, b.Deleted, b.Size, joinKeywords(b.Keywords), b.ID)
}

// count adds n messages with the given flags and size to the counts.
func (b *box) count(n int64, flags Flags, size int64) {
	b.Messages += n
	b.Size += n * size
	b.account.messages += n
	b.account.used += n * size
	b.countFlags(n, flags)
}

func (b *box) countFlags(n int64, flags Flags) {
	if flags&Seen == 0 {
		b.Unseen += n
	}
	if flags&Deleted != 0 {
		b.Mailbox.Deleted += n
	}
}

// note adds an entry to the changes that the feed will get.
func (b *box) note(kind ChangeKind, e entryChange) {
	b.changed = true
	if n := len(b.t.changes); n > 0 {
		if c := &b.t.changes[n-1]; c.Mailbox == b.ID && c.Kind == kind {
			c.Entries = append(c.Entries, e)
			c.keywords = b.Keywords
			return
		}
	}
	b.t.note(Change{Account: b.Account, Mailbox: b.ID, ModSeq: b.account.modseq, Kind: kind, Entries: []entryChange{e}, keywords: b.Keywords})
}

// keywordSet returns the bit set of keywords, which the mailbox gets where it
// has not got them. Keywords differ only by more than case (RFC 9051 section
// 2.3.2). ErrLimit: the mailbox has 255 of them.
func (b *box) keywordSet(names []string) (string, error) {
	var set []byte
	for _, name := range names {
		n := keywordNumber(b.Keywords, name)
		if n < 0 {
			if len(b.Keywords) >= MaxKeywords {
				return "", fmt.Errorf("mailbox %q has %d keywords: %w", b.Name, MaxKeywords, ErrLimit)
			}
			if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
				return "", fmt.Errorf("keyword %q: %w", name, ErrInvalid)
			}
			n = len(b.Keywords)
			b.Keywords = append(b.Keywords[:n:n], name) // indexes hold the old slice
		}
		set = keywordBit(set, n)
	}
	return string(set), nil
}

func keywordNumber(names []string, name string) int {
	for i, n := range names {
		if strings.EqualFold(n, name) {
			return i
		}
	}
	return -1
}

// add puts an email into the mailbox.
func (b *box) add(email EmailID, size int64, day uint16, flags Flags, keywords []string) (UID, error) {
	set, err := b.keywordSet(keywords)
	if err != nil {
		return 0, err
	}
	uid := b.UIDNext
	if uid == 1<<32-1 {
		return 0, fmt.Errorf("mailbox %q has no UID left: %w", b.Name, ErrLimit)
	}
	err = b.t.exec(`INSERT INTO message (mailbox, uid, email, flags, keywords, created, changed, saved, day) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		b.ID, uid, email, flags, nullable(set), b.account.modseq, b.account.modseq, now(), day)
	if err != nil {
		return 0, err
	}
	b.UIDNext++
	b.count(1, flags, size)
	b.note(Added, entryChange{uid: uid, flags: flags, keywords: set, email: email, day: day})
	return uid, nil
}

// nullable keeps empty sets out of the rows.
func nullable(set string) any {
	if set == "" {
		return nil
	}
	return []byte(set)
}

// A stored is a row of a message with the size of its email.
type stored struct {
	uid      UID
	email    EmailID
	flags    Flags
	keywords string
	changed  ModSeq
	day      uint16
	size     int64
}

func scanStored(scan func(...any) error) (s stored, err error) {
	var set []byte
	err = scan(&s.uid, &s.email, &s.flags, &set, &s.changed, &s.day, &s.size)
	s.keywords = string(set)
	return s, classify(err)
}

const storedQuery = `SELECT m.uid, m.email, m.flags, m.keywords, m.changed, m.day, e.size FROM message m JOIN email e ON e.id = m.email WHERE m.mailbox = ?`

// row loads one message; ErrNotFound where it is gone.
func (b *box) row(uid UID) (stored, error) {
	return scanStored(b.t.queryRow(storedQuery+` AND m.uid = ?`, b.ID, uid).Scan)
}

// each calls found for those of the messages that are there, and missing for the
// others, in the order of their UIDs, which must be ascending. One query reads
// many, where not too many lie between them that are not meant.
func (b *box) each(uids []UID, found func(stored) error, missing func(UID) error) error {
	for part := range slices.Chunk(uids, slice) {
		first, last := part[0], part[len(part)-1]
		var rows []stored
		if int64(last-first) < 4*int64(len(part)) {
			r, err := b.t.query(storedQuery+` AND m.uid BETWEEN ? AND ? ORDER BY m.uid`, b.ID, first, last)
			if rows, err = collect(r, err, scanStored); err != nil {
				return err
			}
		} else {
			for _, uid := range part {
				s, err := b.row(uid)
				if err == nil {
					rows = append(rows, s)
				} else if !errors.Is(err, ErrNotFound) {
					return err
				}
			}
		}
		for _, uid := range part {
			for len(rows) > 0 && rows[0].uid < uid {
				rows = rows[1:]
			}
			var err error
			if len(rows) > 0 && rows[0].uid == uid {
				err = found(rows[0])
			} else {
				err = missing(uid)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// remove takes a message out of the mailbox, and its email and blob where it
// was the last to name them.
func (b *box) remove(s stored) error {
	if err := b.take(s); err != nil {
		return err
	}
	return b.t.dropEmail(b.account, s.email)
}

// take takes a message out of the mailbox. Its email must be somewhere else too.
func (b *box) take(s stored) error {
	if err := b.t.exec(`DELETE FROM message WHERE mailbox = ? AND uid = ?`, b.ID, s.uid); err != nil {
		return err
	}
	if err := b.t.exec(`INSERT INTO expunged (account, modseq, mailbox, uid) VALUES (?, ?, ?, ?)`, b.Account, b.account.modseq, b.ID, s.uid); err != nil {
		return err
	}
	b.count(-1, s.flags, s.size)
	b.note(Expunged, entryChange{uid: s.uid, email: s.email})
	return nil
}

// dropEmail deletes an email that no message names any more, and its blob
// where nothing else names that.
func (t *tx) dropEmail(a *touched, id EmailID) error {
	var blob BlobID
	var thread EmailID
	err := t.queryRow(`SELECT blob, thread FROM email WHERE id = ? AND NOT EXISTS (SELECT 1 FROM message WHERE email = ?)`, id, id).Scan(&blob, &thread)
	if err == ErrNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	if err := t.exec(`DELETE FROM email WHERE id = ?`, id); err != nil {
		return err
	}
	if err := t.exec(`INSERT INTO expunged (account, modseq, email) VALUES (?, ?, ?)`, a.id, a.modseq, id); err != nil {
		return err
	}
	t.emails = append(t.emails, id)
	if err := t.endThread(thread); err != nil {
		return err
	}
	return t.dropBlob(blob)
}

// dropBlob deletes a blob that neither an email nor a queued message names.
func (t *tx) dropBlob(id BlobID) error {
	r, err := t.w.result(`DELETE FROM blob WHERE id = ? AND NOT EXISTS (SELECT 1 FROM email WHERE blob = ?)
		AND NOT EXISTS (SELECT 1 FROM queue_message WHERE blob = ?)`, id, id, id)
	if err != nil {
		return err
	}
	if n, err := r.RowsAffected(); err != nil || n == 0 {
		return err
	}
	inFile, err := t.deletePieces(id)
	if inFile {
		t.files = append(t.files, id)
	}
	return err
}
