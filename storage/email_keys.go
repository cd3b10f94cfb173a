package storage

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"mailbox/internal/message"
)

// An EmailKey is what emails are sorted and threaded by; of its fields those
// are set that were asked for (see KeyColumns). Message-IDs stand as their
// hashes, 0 where there is none.
type EmailKey struct {
	Email    uint32 // see Entry
	Sent     int64  // Unix seconds: of the Date field, or else of INTERNALDATE
	SentDay  int64  // as it is written there, in days since 1970; NoSentDay
	Received int64  // Unix seconds: INTERNALDATE
	Size     int64
	ID       int64
	Refs     []byte // hashes of 8 octets: see EachRef
	Reply    bool   // the subject says that it is a reply
	Subject  string // base subject (RFC 5256 section 2.1), folded
	From     string // mailbox of the first address, folded
	To       string
	Cc       string
}

// NoSentDay is the SentDay of emails without a Date that can be read.
const NoSentDay = -1 << 40

// EachRef yields the Message-IDs that the email refers to, the oldest first.
func (k *EmailKey) EachRef(yield func(id int64) bool) {
	for at := 0; at+8 <= len(k.Refs); at += 8 {
		if !yield(int64(binary.BigEndian.Uint64(k.Refs[at:]))) {
			return
		}
	}
}

// KeyColumns say which fields of an EmailKey are read.
type KeyColumns uint16

const (
	KeySent KeyColumns = 1 << iota
	KeySentDay
	KeyReceived
	KeySize
	KeyID // and Refs
	KeySubject
	KeyFrom
	KeyTo
	KeyCc
)

// hashID names a Message-ID by a number that is not 0. That two of one account
// have the same is less likely than that its disk fails.
func hashID(id string) int64 {
	h := fnv.New64a()
	h.Write([]byte(id)) //nolint:errcheck // it cannot fail
	if n := int64(h.Sum64()); n != 0 {
		return n
	}
	return 1
}

// addKeys files what an email is sorted and threaded by.
func (t *tx) addKeys(email EmailID, received time.Time, size int64, k message.Keys) error {
	sent, day := received, any(nil)
	if !k.Sent.IsZero() {
		_, zone := k.Sent.Zone()
		sent, day = k.Sent, floorDay(k.Sent.Unix()+int64(zone))
	}
	var id int64
	if k.ID != "" {
		id = hashID(k.ID)
	}
	refs := make([]byte, 0, 8*len(k.References))
	for _, r := range k.References {
		refs = binary.BigEndian.AppendUint64(refs, uint64(hashID(r)))
	}
	return t.exec(`INSERT INTO email_key (email, sent, sent_day, received, size, id, refs, reply, subject, sender, receiver, copied)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		email, sent.Unix(), day, received.Unix(), size, id, refs, k.Reply, k.Subject, k.From, k.To, k.Cc)
}

// threadIDs are the Message-IDs that put an email into a thread.
func threadIDs(k message.Keys) []int64 {
	var ids []int64
	if k.ID != "" {
		ids = append(ids, hashID(k.ID))
	}
	for _, r := range k.References {
		ids = append(ids, hashID(r))
	}
	return ids
}

func floorDay(seconds int64) int64 {
	day := seconds / 86400
	if seconds%86400 < 0 {
		day--
	}
	return day
}

// EmailKeys yields keys of emails of an account, given by their numbers
// (Entry.Email, ascending), in that order; those that are gone are left out.
// Few are looked up, many are read in one query over the account.
func (db *DB) EmailKeys(ctx context.Context, account AccountID, numbers []uint32, want KeyColumns, yield func(*EmailKey)) error {
	if len(numbers) == 0 {
		return nil
	}
	last := numbers[len(numbers)-1]
	if int64(last-numbers[0]) < 50*int64(len(numbers)) {
		return db.emailKeys(ctx, account, want, `BETWEEN ? AND ?`, []uint32{numbers[0], last}, func(k *EmailKey) {
			for len(numbers) > 0 && numbers[0] < k.Email {
				numbers = numbers[1:]
			}
			if len(numbers) > 0 && numbers[0] == k.Email {
				yield(k)
			}
		})
	}
	for part := range slices.Chunk(numbers, slice) {
		if err := db.emailKeys(ctx, account, want, `IN (?`+strings.Repeat(`, ?`, len(part)-1)+`)`, part, yield); err != nil {
			return err
		}
	}
	return nil
}

func (db *DB) emailKeys(ctx context.Context, account AccountID, want KeyColumns, which string, numbers []uint32, yield func(*EmailKey)) error {
	args := make([]any, len(numbers))
	for i, n := range numbers {
		args[i] = int64(account)<<32 | int64(n)
	}
	var k EmailKey
	names, to := k.columns(want)
	rows, err := db.readDB.QueryContext(ctx, `SELECT `+names+` FROM email_key WHERE email `+which+` ORDER BY email`, args...)
	if err != nil {
		return fmt.Errorf("sort keys: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(to...); err != nil {
			return fmt.Errorf("sort keys: %w", err)
		}
		yield(&k)
	}
	return rows.Err()
}

// columns returns what is to be read, and where it goes.
func (k *EmailKey) columns(want KeyColumns) (names string, to []any) {
	names, to = `email & 4294967295`, []any{&k.Email}
	for _, c := range []struct {
		column KeyColumns
		name   string
		to     any
	}{
		{KeySent, `sent`, &k.Sent},
		{KeySentDay, fmt.Sprintf(`coalesce(sent_day, %d)`, NoSentDay), &k.SentDay},
		{KeyReceived, `received`, &k.Received},
		{KeySize, `size`, &k.Size},
		{KeyID, `id`, &k.ID},
		{KeyID, `refs`, &k.Refs},
		{KeySubject, `subject`, &k.Subject},
		{KeySubject, `reply`, &k.Reply},
		{KeyFrom, `sender`, &k.From},
		{KeyTo, `receiver`, &k.To},
		{KeyCc, `copied`, &k.Cc},
	} {
		if want&c.column != 0 {
			names += `, ` + c.name
			to = append(to, c.to)
		}
	}
	return names, to
}

// fillKeys gives their keys and threads to the emails of an earlier version of
// the store, once.
func (db *DB) fillKeys(ctx context.Context) error {
	type row struct {
		id             EmailID
		blob           BlobID
		size           int64
		received, zone int64
		parts          []byte
		keys           message.Keys
	}
	var done bool
	err := db.readDB.QueryRowContext(ctx, `SELECT count(*) FROM server WHERE key = 'email_keys'`).Scan(&done)
	for last := EmailID(0); err == nil && !done; {
		rows, err := db.readDB.QueryContext(ctx, `SELECT id, blob, size, received, zone, parts FROM email
			WHERE id > ? AND id NOT IN (SELECT email FROM email_key) ORDER BY id LIMIT ?`, last, slice)
		list, err := collect(rows, err, func(scan func(...any) error) (r row, err error) {
			return r, scan(&r.id, &r.blob, &r.size, &r.received, &r.zone, &r.parts)
		})
		if err != nil {
			return err
		}
		for i := range list {
			// What cannot be read has no keys: mailbox verify reports it.
			list[i].keys, _ = db.readKeys(ctx, list[i].blob, list[i].parts)
		}
		if done = len(list) < slice; !done {
			last = list[slice-1].id
		}
		err = db.writer.do(ctx, func(t *tx) error {
			for _, r := range list {
				received := time.Unix(r.received, 0).In(time.FixedZone("", int(r.zone)))
				if err := t.addKeys(r.id, received, r.size, r.keys); err != nil {
					return err
				}
				thread, err := t.threadOf(r.id.Account(), r.id, threadIDs(r.keys))
				if err == nil {
					err = t.exec(`UPDATE email SET thread = ? WHERE id = ?`, thread, r.id)
				}
				if err != nil {
					return err
				}
			}
			if done {
				return t.exec(`INSERT INTO server (key, value) VALUES ('email_keys', x'01')`)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return err
}

func (db *DB) readKeys(ctx context.Context, id BlobID, parts []byte) (message.Keys, error) {
	root, err := message.UnmarshalParts(parts)
	if err != nil {
		return message.Keys{}, err
	}
	blob, err := db.OpenBlob(ctx, id)
	if err != nil {
		return message.Keys{}, err
	}
	defer blob.Close()
	h, err := readHeader(blob, root)
	return message.KeysOf(h), err
}
