package storage

import (
	"context"
	"database/sql"
	"fmt"

	"mailbox/internal/message"
)

// A Problem is an invariant of the store that does not hold.
type Problem struct {
	Where string // "mailbox 7", "blob 12"
	What  string
}

func (p Problem) String() string { return p.Where + ": " + p.What }

// Verified counts what Verify looked at.
type Verified struct {
	Accounts, Mailboxes, Messages, Blobs int64
	Bytes                                int64 // of messages, each blob once
	Annotations                          int64
}

// invariants are queries that find rows which break a promise: each yields
// what it is about and what is wrong.
var invariants = []string{
	`SELECT 'account ' || a.id, 'used is ' || a.used || ' bytes, its messages have ' || s.size
		FROM account a JOIN (SELECT c.id, coalesce(sum(e.size), 0) size FROM account c
			LEFT JOIN mailbox b ON b.account = c.id LEFT JOIN message m ON m.mailbox = b.id LEFT JOIN email e ON e.id = m.email
			GROUP BY c.id) s ON s.id = a.id WHERE a.removed = 0 AND a.used <> s.size`,
	`SELECT 'account ' || a.id, 'counts ' || a.messages || ' messages, its mailboxes count ' || s.n
		FROM account a JOIN (SELECT c.id, coalesce(sum(b.messages), 0) n FROM account c LEFT JOIN mailbox b ON b.account = c.id GROUP BY c.id) s
		ON s.id = a.id WHERE a.removed = 0 AND a.messages <> s.n`,
	`SELECT 'account ' || a.id, 'modseq ' || a.modseq || ' is below ' || max(b.changed) || ' of a mailbox'
		FROM account a JOIN mailbox b ON b.account = a.id GROUP BY a.id HAVING max(b.changed) > a.modseq`,
	`SELECT 'account ' || x.account, 'modseq of what is expunged is above the account''s' FROM expunged x JOIN account a ON a.id = x.account
		GROUP BY x.account HAVING max(x.modseq) > max(a.modseq)`,
	`SELECT 'account ' || a.id, 'gave email ' || max(e.id & 4294967295) || ' and says that the last was ' || a.last_email
		FROM account a JOIN email e ON e.id >> 32 = a.id GROUP BY a.id HAVING max(e.id & 4294967295) > a.last_email`,
	`SELECT 'mailbox ' || b.id, 'counts ' || b.messages || ' messages, ' || b.unseen || ' unseen, ' || b.deleted || ' deleted, ' || b.size ||
			' bytes; its rows come to ' || s.n || ', ' || s.unseen || ', ' || s.deleted || ', ' || s.size
		FROM mailbox b JOIN (SELECT c.id, count(m.uid) n, coalesce(sum(m.flags & 1 = 0), 0) unseen, coalesce(sum(m.flags & 8 <> 0), 0) deleted,
				coalesce(sum(e.size), 0) size
			FROM mailbox c LEFT JOIN message m ON m.mailbox = c.id LEFT JOIN email e ON e.id = m.email GROUP BY c.id) s ON s.id = b.id
		WHERE b.messages <> s.n OR b.unseen <> s.unseen OR b.deleted <> s.deleted OR b.size <> s.size`,
	`SELECT 'mailbox ' || b.id, 'UIDNEXT ' || b.uidnext || ' is not above UID ' || max(m.uid)
		FROM mailbox b JOIN message m ON m.mailbox = b.id GROUP BY b.id HAVING max(m.uid) >= b.uidnext OR min(m.uid) < 1`,
	`SELECT 'mailbox ' || b.id, 'a message changed at ' || max(m.changed) || ', the mailbox at ' || b.changed
		FROM mailbox b JOIN message m ON m.mailbox = b.id GROUP BY b.id HAVING max(m.changed) > b.changed`,
	`SELECT 'mailbox ' || min(id), 'UIDVALIDITY ' || uidvalidity || ' is also another one''s' FROM mailbox WHERE uidvalidity <> 0
		GROUP BY uidvalidity HAVING count(*) > 1`,
	`SELECT 'mailbox ' || id, 'UIDVALIDITY ' || uidvalidity || ' is above the last that was given' FROM mailbox
		WHERE uidvalidity > (SELECT coalesce(max(CAST(value AS INTEGER)), 0) FROM server WHERE key = 'uidvalidity')`,
	`SELECT 'message ' || mailbox || '/' || uid, 'was created at ' || created || ' and changed at ' || changed FROM message WHERE created > changed`,
	`SELECT 'message ' || m.mailbox || '/' || m.uid, 'is of account ' || b.account || ', its email is of ' || (m.email >> 32)
		FROM message m JOIN mailbox b ON b.id = m.mailbox WHERE m.email >> 32 <> b.account`,
	`SELECT 'message ' || m.mailbox || '/' || m.uid, 'is there and expunged' FROM message m JOIN expunged x ON x.mailbox = m.mailbox AND x.uid = m.uid`,
	`SELECT 'message ' || m.mailbox || '/' || m.uid, 'is in a mailbox that does not exist' FROM message m JOIN mailbox b ON b.id = m.mailbox WHERE b.present = 0`,
	`SELECT 'email ' || e.id, 'is in no mailbox' FROM email e JOIN account a ON a.id = e.id >> 32
		WHERE a.removed = 0 AND NOT EXISTS (SELECT 1 FROM message m WHERE m.email = e.id)`,
	`SELECT 'email ' || id, 'is in thread ' || thread || ' of another account' FROM email WHERE thread >> 32 <> id >> 32`,
	`SELECT 'thread ' || t.thread, 'has Message-IDs and no email' FROM thread_id t WHERE NOT EXISTS (SELECT 1 FROM email e WHERE e.thread = t.thread) GROUP BY t.thread`,
	`SELECT 'email ' || e.id, 'has no sort keys' FROM email e WHERE NOT EXISTS (SELECT 1 FROM email_key k WHERE k.email = e.id)`,
	`SELECT 'message ' || m.mailbox || '/' || m.uid, 'is of day ' || (e.received + e.zone) / 86400 || ', not ' || m.day FROM message m JOIN email e ON e.id = m.email
		WHERE m.day <> 0 AND m.day <> (e.received + e.zone) / 86400`,
	`SELECT 'email ' || e.id, 'belongs to no account' FROM email e WHERE NOT EXISTS (SELECT 1 FROM account a WHERE a.id = e.id >> 32)`,
	`SELECT 'email ' || e.id, 'has ' || e.size || ' bytes, its blob ' || b.size FROM email e JOIN blob b ON b.id = e.blob WHERE b.size <> e.size`,
	`SELECT 'blob ' || b.id, 'is named by nothing' FROM blob b WHERE NOT EXISTS (SELECT 1 FROM email e WHERE e.blob = b.id)
		AND NOT EXISTS (SELECT 1 FROM queue_message q WHERE q.blob = b.id)`,
	`SELECT 'blob ' || p.id / 8, 'has bytes and no row' FROM piece p WHERE NOT EXISTS (SELECT 1 FROM blob b WHERE b.id = p.id / 8)`,
	`SELECT 'queued message ' || q.id, 'has no recipient' FROM queue_message q
		WHERE NOT EXISTS (SELECT 1 FROM queue_recipient r WHERE r.message = q.id)`,
	`SELECT 'queued message ' || q.id, 'has ' || q.size || ' bytes behind ' || q.skip || ', its blob ' || b.size
		FROM queue_message q JOIN blob b ON b.id = q.blob WHERE q.skip < 0 OR q.size < 0 OR q.skip + q.size <> b.size`,
	`SELECT 'queued recipient ' || r.id, 'counts ' || r.attempts || ' attempts and has ' || count(a.number) || ' up to number ' || coalesce(max(a.number), 0)
		FROM queue_recipient r LEFT JOIN queue_attempt a ON a.recipient = r.id GROUP BY r.id
		HAVING count(a.number) <> r.attempts OR coalesce(max(a.number), 0) <> r.attempts`,
	`SELECT 'annotation ' || n.mailbox || n.entry, 'is of a mailbox that does not exist' FROM annotation n WHERE n.mailbox <> 0
		AND NOT EXISTS (SELECT 1 FROM mailbox b WHERE b.id = n.mailbox AND b.account = n.account AND b.present = 1)`,
	`SELECT 'address ' || d.address, 'leads nowhere' FROM address d WHERE d.account IS NULL
		AND NOT EXISTS (SELECT 1 FROM alias_target t WHERE t.address = d.address)`,
}

// Verify walks over the whole store as of one commit and calls found for every
// invariant that does not hold. It may run while the store is in use. An error
// means that it could not look, not that it found something.
func (db *DB) Verify(ctx context.Context, found func(Problem)) (Verified, error) {
	t, err := db.readDB.BeginTx(ctx, nil)
	if err != nil {
		return Verified{}, err
	}
	defer t.Rollback()
	v := verifier{db: db, t: t, found: found}
	for _, step := range []func(context.Context) error{v.sqlite, v.invariants, v.emails, v.blobs, v.counts} {
		if err := step(ctx); err != nil {
			return v.seen, err
		}
	}
	return v.seen, v.indexes(ctx)
}

type verifier struct {
	db    *DB
	t     *sql.Tx
	found func(Problem)
	seen  Verified
}

// each runs a query and hands its rows on.
func (v *verifier) each(ctx context.Context, query string, row func(scan func(...any) error) error) error {
	rows, err := v.t.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// sqlite lets the database check its own pages, indexes and references.
func (v *verifier) sqlite(ctx context.Context) error {
	err := v.each(ctx, `PRAGMA integrity_check`, func(scan func(...any) error) error {
		var s string
		if err := scan(&s); err != nil || s == "ok" {
			return err
		}
		v.found(Problem{"database", s})
		return nil
	})
	if err != nil {
		return err
	}
	return v.each(ctx, `PRAGMA foreign_key_check`, func(scan func(...any) error) error {
		var table, parent string
		var row, key any
		if err := scan(&table, &row, &parent, &key); err != nil {
			return err
		}
		v.found(Problem{fmt.Sprintf("%s row %v", table, row), "names a missing " + parent})
		return nil
	})
}

func (v *verifier) invariants(ctx context.Context) error {
	for _, q := range invariants {
		err := v.each(ctx, q, func(scan func(...any) error) error {
			var p Problem
			err := scan(&p.Where, &p.What)
			if err == nil {
				v.found(p)
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("%s: %w", q, err)
		}
	}
	return nil
}

// emails checks what was rendered at delivery.
func (v *verifier) emails(ctx context.Context) error {
	return v.each(ctx, `SELECT id, size, envelope, bodystructure, parts FROM email`, func(scan func(...any) error) error {
		var id EmailID
		var size int64
		var envelope, structure, parts []byte
		if err := scan(&id, &size, &envelope, &structure, &parts); err != nil {
			return err
		}
		where := fmt.Sprintf("email %d", id)
		root, err := message.UnmarshalParts(parts)
		switch {
		case err != nil:
			v.found(Problem{where, "part offsets: " + err.Error()})
		case root.End != size:
			v.found(Problem{where, fmt.Sprintf("its parts end at %d, it has %d bytes", root.End, size)})
		}
		if len(envelope) == 0 || len(structure) == 0 {
			v.found(Problem{where, "has no envelope or no bodystructure"})
		}
		return nil
	})
}

// blobs reads every byte and compares it with what was acknowledged.
func (v *verifier) blobs(ctx context.Context) error {
	pieces, err := v.t.PrepareContext(ctx, selectPieces)
	if err != nil {
		return err
	}
	defer pieces.Close()
	return v.each(ctx, `SELECT id, sha256 FROM blob`, func(scan func(...any) error) error {
		var id BlobID
		var digest []byte
		if err := scan(&id, &digest); err != nil {
			return err
		}
		data, size, err := readPieces(ctx, pieces, id)
		if err != nil {
			return err
		}
		v.seen.Blobs++
		v.seen.Bytes += size
		if err := v.db.blobs.verify(id, data, size, digest); err != nil {
			v.found(Problem{fmt.Sprintf("blob %d", id), err.Error()})
		}
		return ctx.Err()
	})
}

func (v *verifier) counts(ctx context.Context) error {
	return v.t.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM account WHERE removed = 0), (SELECT count(*) FROM mailbox WHERE present = 1),
		(SELECT count(*) FROM message), (SELECT count(*) FROM annotation)`).
		Scan(&v.seen.Accounts, &v.seen.Mailboxes, &v.seen.Messages, &v.seen.Annotations)
}

// indexes compares the pictures in memory with the rows.
func (v *verifier) indexes(ctx context.Context) error {
	for _, x := range v.db.indexes.pictures() {
		if err := v.index(ctx, x); err != nil {
			return err
		}
	}
	return nil
}

// index compares one picture. While the mailbox changes, picture and rows are
// of different moments, so it looks again.
func (v *verifier) index(ctx context.Context, x *Index) error {
	for range 100 {
		rows, err := v.db.loadIndex(ctx, x.Account, x.Mailbox)
		if err == ErrNonexistent {
			return nil
		}
		if err != nil {
			return err
		}
		if rows.HighestModSeq == x.HighestModSeq {
			v.compare(x, rows)
			return nil
		}
		if x, err = v.db.Index(ctx, x.Account, x.Mailbox); err != nil {
			return nil // deleted meanwhile
		}
	}
	return nil
}

func (v *verifier) compare(x, rows *Index) {
	where := fmt.Sprintf("index of mailbox %d", x.Mailbox)
	if x.Len() != rows.Len() || x.UIDNext != rows.UIDNext || x.UIDValidity != rows.UIDValidity {
		v.found(Problem{where, fmt.Sprintf("has %d messages, UIDNEXT %d, UIDVALIDITY %d; the rows have %d, %d, %d",
			x.Len(), x.UIDNext, x.UIDValidity, rows.Len(), rows.UIDNext, rows.UIDValidity)})
		return
	}
	rows.All(func(i int, want Entry) bool {
		have := x.At(i)
		a, b := fmt.Sprint(x.Keywords(have.Keywords)), fmt.Sprint(rows.Keywords(want.Keywords))
		have.Keywords, want.Keywords = 0, 0
		if have != want || a != b {
			v.found(Problem{where, fmt.Sprintf("message %d is %+v %s, its row is %+v %s", want.UID, have, a, want, b)})
		}
		return true
	})
}
