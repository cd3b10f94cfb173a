package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// maxMailboxes is how many an account may have, so that a client cannot fill the store with names.
const maxMailboxes = 10_000

const mailboxColumns = `id, account, name, uidvalidity, uidnext, created, changed, special_use, subscribed, present,
	messages, unseen, deleted, size, keywords`

func scanMailbox(scan func(...any) error) (Mailbox, error) {
	var m Mailbox
	var keywords string
	err := scan(&m.ID, &m.Account, &m.Name, &m.UIDValidity, &m.UIDNext, &m.Created, &m.Changed, &m.SpecialUse, &m.Subscribed,
		&m.Exists, &m.Messages, &m.Unseen, &m.Deleted, &m.Size, &keywords)
	m.Keywords = splitKeywords(keywords)
	return m, classify(err)
}

// Mailboxes returns all mailboxes of an account by name, names that do not
// exist any more (see Mailbox) included.
func (db *DB) Mailboxes(ctx context.Context, account AccountID) ([]Mailbox, error) {
	rows, err := db.readDB.QueryContext(ctx, `SELECT `+mailboxColumns+` FROM mailbox WHERE account = ? ORDER BY name`, account)
	return collect(rows, err, scanMailbox)
}

// Mailbox returns an existing mailbox by name, or ErrNonexistent.
func (db *DB) Mailbox(ctx context.Context, account AccountID, name string) (Mailbox, error) {
	name, err := CleanName(name)
	if err != nil {
		return Mailbox{}, ErrNonexistent // what can have no mailbox has none
	}
	m, err := scanMailbox(db.reads.mailbox.QueryRowContext(ctx, account, name).Scan)
	if errors.Is(err, ErrNotFound) {
		err = ErrNonexistent
	}
	return m, err
}

const selectMailbox = `SELECT ` + mailboxColumns + ` FROM mailbox WHERE account = ? AND name = ? AND present = 1`

// CreateMailbox makes a mailbox and its missing parents. use is a special use
// of RFC 6154, or "". ErrExists: the mailbox exists, or another one has that
// use; ErrInvalid: no mailbox may have that name.
func (db *DB) CreateMailbox(ctx context.Context, account AccountID, name, use string) (Mailbox, error) {
	name, err := CleanName(name)
	if err != nil {
		return Mailbox{}, err
	}
	var made Mailbox
	err = db.writer.do(ctx, func(t *tx) error {
		if use != "" {
			var other string
			err := t.queryRow(`SELECT name FROM mailbox WHERE account = ? AND special_use = ? AND present = 1`, account, use).Scan(&other)
			if !errors.Is(err, ErrNotFound) {
				return errors.Join(err, fmt.Errorf("mailbox %q is already %s: %w", other, use, ErrExists))
			}
		}
		id, err := t.createMailbox(account, name, use, false)
		if err != nil {
			return err
		}
		made, err = t.mailbox(account, id)
		return err
	})
	return made, err
}

// createMailbox makes one mailbox and its missing parents. A name that was
// deleted comes to life again as a new mailbox.
func (t *tx) createMailbox(account AccountID, name, use string, subscribed bool) (MailboxID, error) {
	a, err := t.touch(account)
	if err != nil {
		return 0, err
	}
	for _, parent := range parents(name) {
		var there bool
		err := t.queryRow(`SELECT present FROM mailbox WHERE account = ? AND name = ?`, account, parent).Scan(&there)
		if err == nil && there {
			continue
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			return 0, err
		}
		if _, err := t.makeMailbox(a, parent, "", false); err != nil {
			return 0, err
		}
	}
	return t.makeMailbox(a, name, use, subscribed)
}

func (t *tx) makeMailbox(a *touched, name, use string, subscribed bool) (MailboxID, error) {
	var n int
	if err := t.queryRow(`SELECT count(*) FROM mailbox WHERE account = ?`, a.id).Scan(&n); err != nil {
		return 0, err
	}
	if n >= maxMailboxes {
		return 0, fmt.Errorf("the account has %d mailboxes: %w", n, ErrLimit)
	}
	validity, err := t.nextUIDValidity()
	if err != nil {
		return 0, err
	}
	var old MailboxID
	var present, keep bool
	err = t.queryRow(`SELECT id, present, subscribed FROM mailbox WHERE account = ? AND name = ?`, a.id, name).Scan(&old, &present, &keep)
	switch {
	case err == nil && present:
		return 0, fmt.Errorf("mailbox %q: %w", name, ErrExists)
	case err == nil:
		// A new row, because the number of the old one stands for the deleted mailbox.
		subscribed = subscribed || keep
		if err := t.exec(`DELETE FROM mailbox WHERE id = ?`, old); err != nil {
			return 0, err
		}
	case !errors.Is(err, ErrNotFound):
		return 0, err
	}
	row, err := t.insert(`INSERT INTO mailbox (account, name, uidvalidity, created, changed, special_use, subscribed)
		VALUES (?, ?, ?, ?, ?, ?, ?)`, a.id, name, validity, a.modseq, a.modseq, use, subscribed)
	id := MailboxID(row)
	t.note(Change{Account: a.id, Mailbox: id, ModSeq: a.modseq, Kind: MailboxChanged})
	return id, err
}

// nextUIDValidity gives a number that was never given before in this store.
func (t *tx) nextUIDValidity() (uint32, error) {
	var last int64
	err := t.queryRow(`SELECT CAST(value AS INTEGER) FROM server WHERE key = 'uidvalidity'`).Scan(&last)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return 0, err
	}
	next := max(last+1, now())
	if next > 1<<32-1 {
		return 0, fmt.Errorf("no UIDVALIDITY is left: %w", ErrLimit)
	}
	return uint32(next), t.exec(`INSERT INTO server (key, value) VALUES ('uidvalidity', CAST(CAST(? AS TEXT) AS BLOB))
		ON CONFLICT (key) DO UPDATE SET value = excluded.value`, next)
}

// mailbox loads an existing mailbox of the account.
func (t *tx) mailbox(account AccountID, id MailboxID) (Mailbox, error) {
	m, err := scanMailbox(t.queryRow(`SELECT `+mailboxColumns+` FROM mailbox WHERE account = ? AND id = ? AND present = 1`, account, id).Scan)
	if errors.Is(err, ErrNotFound) {
		err = ErrNonexistent
	}
	return m, err
}

func (t *tx) mailboxNamed(account AccountID, name string) (Mailbox, error) {
	m, err := scanMailbox(t.queryRow(`SELECT `+mailboxColumns+` FROM mailbox WHERE account = ? AND name = ? AND present = 1`, account, name).Scan)
	if errors.Is(err, ErrNotFound) {
		err = fmt.Errorf("mailbox %q: %w", name, ErrNonexistent)
	}
	return m, err
}

// DeleteMailbox takes a mailbox away with its messages. Where others are below
// it, or it is subscribed, its name stays (RFC 9051 section 6.3.5). INBOX
// cannot be deleted: ErrInvalid.
func (db *DB) DeleteMailbox(ctx context.Context, account AccountID, name string) error {
	name, err := CleanName(name)
	if err != nil {
		return ErrNonexistent
	}
	if name == "INBOX" {
		return fmt.Errorf("INBOX stays: %w", ErrInvalid)
	}
	// The messages go in slices first, so that the last function is short. A
	// message that arrives in between is deleted with the mailbox.
	m, err := db.Mailbox(ctx, account, name)
	if err != nil {
		return err
	}
	for done := false; !done; {
		err := db.writer.free(ctx, func(t *tx) (err error) {
			if _, err := t.mailbox(account, m.ID); err != nil {
				return err
			}
			if done, err = t.clearMailbox(account, m.ID, slice); err != nil || !done {
				return err
			}
			return t.dropMailbox(account, m.ID, name)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// dropMailbox removes the row of an empty mailbox, or leaves its name.
func (t *tx) dropMailbox(account AccountID, id MailboxID, name string) error {
	a, err := t.touch(account)
	if err != nil {
		return err
	}
	if err := t.exec(`DELETE FROM annotation WHERE account = ? AND mailbox = ?`, account, id); err != nil {
		return err
	}
	from, to := below(name)
	if err := t.exec(`UPDATE mailbox SET present = 0, special_use = '', keywords = '', changed = ?
		WHERE id = ? AND (subscribed = 1 OR EXISTS
			(SELECT 1 FROM mailbox c WHERE c.account = ? AND c.name >= ? AND c.name < ?))`, a.modseq, id, account, from, to); err != nil {
		return err
	}
	if err := t.exec(`DELETE FROM mailbox WHERE id = ? AND present = 1`, id); err != nil {
		return err
	}
	if err := t.exec(`INSERT INTO expunged (account, modseq, mailbox) VALUES (?, ?, ?)`, account, a.modseq, id); err != nil {
		return err
	}
	t.note(Change{Account: account, Mailbox: id, ModSeq: a.modseq, Kind: MailboxChanged, gone: true})
	return t.dropEmptyParents(account, name)
}

// dropEmptyParents removes names above a removed one that stood only for their children.
func (t *tx) dropEmptyParents(account AccountID, name string) error {
	above := parents(name)
	for i := len(above) - 1; i >= 0; i-- {
		from, to := below(above[i])
		n, err := t.affected(`DELETE FROM mailbox WHERE account = ? AND name = ? AND present = 0 AND subscribed = 0 AND NOT EXISTS
			(SELECT 1 FROM mailbox c WHERE c.account = ? AND c.name >= ? AND c.name < ?)`, account, above[i], account, from, to)
		if err != nil || n == 0 {
			return err
		}
	}
	return nil
}

// RenameMailbox gives a mailbox and all below it a new name; UIDs and
// UIDVALIDITY stay, missing parents are made. INBOX is left where it is and
// its messages are moved to the new mailbox (RFC 9051 section 6.3.6).
// A special use stays with its mailbox.
func (db *DB) RenameMailbox(ctx context.Context, account AccountID, from, to string) error {
	from, err := CleanName(from)
	if err != nil {
		return ErrNonexistent
	}
	if to, err = CleanName(to); err != nil {
		return err
	}
	if from == "INBOX" {
		return db.renameInbox(ctx, account, to)
	}
	if to == "INBOX" || to == from {
		return fmt.Errorf("mailbox %q: %w", to, ErrExists)
	}
	if strings.HasPrefix(to, from+"/") {
		return fmt.Errorf("a mailbox cannot be moved below itself: %w", ErrInvalid)
	}
	return db.writer.do(ctx, func(t *tx) error { return t.renameMailbox(account, from, to) })
}

func (t *tx) renameMailbox(account AccountID, from, to string) error {
	a, err := t.touch(account)
	if err != nil {
		return err
	}
	lo, hi := below(from)
	// Shorter names first: a name may become one that another has just left.
	rows, err := t.query(`SELECT id, name, present, subscribed FROM mailbox WHERE account = ? AND (name = ? OR name >= ? AND name < ?) ORDER BY length(name)`,
		account, from, lo, hi)
	tree, err := collect(rows, err, func(scan func(...any) error) (m Mailbox, err error) {
		return m, scan(&m.ID, &m.Name, &m.Exists, &m.Subscribed)
	})
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(tree, func(m Mailbox) bool { return m.Exists }) { // names alone cannot be renamed
		return fmt.Errorf("mailbox %q: %w", from, ErrNonexistent)
	}
	if _, err := t.mailboxNamed(account, to); !errors.Is(err, ErrNonexistent) {
		return cmp.Or(err, fmt.Errorf("mailbox %q: %w", to, ErrExists))
	}
	for _, m := range tree {
		if err := t.giveName(a, m, to+m.Name[len(from):]); err != nil {
			return err
		}
	}
	for _, parent := range parents(to) {
		if _, err := t.mailboxNamed(account, parent); err == nil {
			continue
		} else if !errors.Is(err, ErrNonexistent) {
			return err
		}
		if _, err := t.makeMailbox(a, parent, "", false); err != nil {
			return err
		}
	}
	return t.dropEmptyParents(account, from)
}

// giveName renames one mailbox, or a name alone: that takes the place of
// nothing but another such name. No subscription is lost.
func (t *tx) giveName(a *touched, m Mailbox, name string) error {
	name, err := CleanName(name)
	if err != nil {
		return err
	}
	var other Mailbox
	err = t.queryRow(`SELECT id, present, subscribed FROM mailbox WHERE account = ? AND name = ?`, a.id, name).Scan(&other.ID, &other.Exists, &other.Subscribed)
	switch {
	case err != nil && !errors.Is(err, ErrNotFound):
		return err
	case other.Exists && m.Exists:
		return fmt.Errorf("mailbox %q: %w", name, ErrExists)
	case other.Exists:
		if err := t.exec(`DELETE FROM mailbox WHERE id = ?`, m.ID); err != nil || !m.Subscribed || other.Subscribed {
			return err
		}
		t.note(Change{Account: a.id, Mailbox: other.ID, ModSeq: a.modseq, Kind: MailboxChanged})
		return t.exec(`UPDATE mailbox SET subscribed = 1, changed = ? WHERE id = ?`, a.modseq, other.ID)
	}
	if err := t.exec(`DELETE FROM mailbox WHERE id = ?`, other.ID); err != nil {
		return err
	}
	t.note(Change{Account: a.id, Mailbox: m.ID, ModSeq: a.modseq, Kind: MailboxChanged})
	return t.exec(`UPDATE mailbox SET name = ?, changed = ?, subscribed = ? WHERE id = ?`,
		name, a.modseq, m.Subscribed || other.Subscribed, m.ID)
}

// renameInbox moves the messages in slices of their own; the client sees OK
// when all have moved.
func (db *DB) renameInbox(ctx context.Context, account AccountID, to string) error {
	target, err := db.CreateMailbox(ctx, account, to, "")
	if err != nil {
		return err
	}
	inbox, err := db.Mailbox(ctx, account, "INBOX")
	if err != nil {
		return err
	}
	for {
		var n int
		err := db.writer.do(ctx, func(t *tx) error {
			rows, err := t.query(`SELECT uid FROM message WHERE mailbox = ? AND uid < ? ORDER BY uid LIMIT ?`, inbox.ID, inbox.UIDNext, slice)
			uids, err := collect(rows, err, func(scan func(...any) error) (u UID, err error) { return u, scan(&u) })
			if n = len(uids); err != nil || n == 0 {
				return err
			}
			_, err = t.transfer(account, inbox.ID, uids, target.ID, true)
			return err
		})
		if err != nil || n == 0 {
			return err
		}
	}
}

// Subscribe puts a name on the list of subscriptions, or takes it off
// (RFC 9051 section 6.3.7). A name without a mailbox can be subscribed too.
func (db *DB) Subscribe(ctx context.Context, account AccountID, name string, on bool) error {
	name, err := CleanName(name)
	if err != nil {
		return err
	}
	return db.writer.do(ctx, func(t *tx) error {
		a, err := t.touch(account)
		if err != nil {
			return err
		}
		var id MailboxID
		err = t.queryRow(`SELECT id FROM mailbox WHERE account = ? AND name = ?`, account, name).Scan(&id)
		if errors.Is(err, ErrNotFound) {
			return t.subscribeNameless(a, name, on)
		}
		if err != nil {
			return err
		}
		n, err := t.affected(`UPDATE mailbox SET subscribed = ?, changed = ? WHERE id = ? AND subscribed <> ?`, on, a.modseq, id, on)
		if err != nil || n == 0 {
			return err
		}
		from, to := below(name)
		if err := t.exec(`DELETE FROM mailbox WHERE id = ? AND present = 0 AND subscribed = 0 AND NOT EXISTS
			(SELECT 1 FROM mailbox c WHERE c.account = ? AND c.name >= ? AND c.name < ?)`, id, account, from, to); err != nil {
			return err
		}
		t.note(Change{Account: account, Mailbox: id, ModSeq: a.modseq, Kind: MailboxChanged})
		return nil
	})
}

// subscribeNameless keeps a subscription of a mailbox that is not there.
func (t *tx) subscribeNameless(a *touched, name string, on bool) error {
	if !on {
		return nil
	}
	var n int
	if err := t.queryRow(`SELECT count(*) FROM mailbox WHERE account = ?`, a.id).Scan(&n); err != nil {
		return err
	}
	if n >= maxMailboxes {
		return fmt.Errorf("the account has %d mailboxes: %w", n, ErrLimit)
	}
	return t.exec(`INSERT INTO mailbox (account, name, uidvalidity, created, changed, subscribed, present) VALUES (?, ?, 0, ?, ?, 1, 0)`,
		a.id, name, a.modseq, a.modseq)
}
