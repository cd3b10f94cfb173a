package storage

import (
	"context"
	"fmt"
	"time"
)

// A DKIMKey is a key of one of our domains that signs mail, or will, or did.
type DKIMKey struct {
	ID        int64
	Domain    string
	Selector  string
	Algorithm string // "rsa" or "ed25519"
	Private   []byte // PKCS #8 in PEM
	Created   time.Time
	Signs     time.Time // since when; zero: not yet
	Retired   time.Time // since when it does not sign any more; zero: it was not retired
}

// AddDKIMKey adds a key. ErrExists: the domain has one of that selector.
func (db *DB) AddDKIMKey(ctx context.Context, k DKIMKey) error {
	return db.writer.do(ctx, func(t *tx) error {
		n, err := t.affected(`INSERT INTO dkim_key (domain, selector, algorithm, private, created, signs) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			k.Domain, k.Selector, k.Algorithm, k.Private, now(), unixOrZero(k.Signs))
		if err == nil && n == 0 {
			err = fmt.Errorf("DKIM key %s of %s: %w", k.Selector, k.Domain, ErrExists)
		}
		return err
	})
}

// StartDKIMKey lets a key that waits sign from now on, and retires those of its
// domain and algorithm that did. ErrNotFound: none of that id waits.
func (db *DB) StartDKIMKey(ctx context.Context, id int64) error {
	return db.writer.do(ctx, func(t *tx) error {
		var domain, algorithm string
		err := t.queryRow(`UPDATE dkim_key SET signs = ? WHERE id = ? AND signs = 0 AND retired = 0 RETURNING domain, algorithm`, now(), id).Scan(&domain, &algorithm)
		if err != nil {
			return err
		}
		return t.exec(`UPDATE dkim_key SET retired = ? WHERE domain = ? AND algorithm = ? AND signs > 0 AND retired = 0 AND id <> ?`, now(), domain, algorithm, id)
	})
}

// RetireDKIMKey lets a key not sign any more. ErrNotFound: there is none that was not retired.
func (db *DB) RetireDKIMKey(ctx context.Context, domain, selector string) error {
	return db.changeDKIMKey(ctx, `UPDATE dkim_key SET retired = ? WHERE domain = ? AND selector = ? AND retired = 0`, now(), domain, selector)
}

// RemoveDKIMKey forgets a key that was retired. ErrNotFound: there is none.
func (db *DB) RemoveDKIMKey(ctx context.Context, domain, selector string) error {
	return db.changeDKIMKey(ctx, `DELETE FROM dkim_key WHERE domain = ? AND selector = ? AND retired > 0`, domain, selector)
}

func (db *DB) changeDKIMKey(ctx context.Context, query string, args ...any) error {
	return db.writer.do(ctx, func(t *tx) error {
		n, err := t.affected(query, args...)
		if err == nil && n == 0 {
			err = ErrNotFound
		}
		return err
	})
}

// DKIMKeys returns all keys, by domain, the oldest first.
func (db *DB) DKIMKeys(ctx context.Context) ([]DKIMKey, error) {
	rows, err := db.readDB.QueryContext(ctx, `SELECT id, domain, selector, algorithm, private, created, signs, retired FROM dkim_key ORDER BY domain, id`)
	return collect(rows, err, func(scan func(...any) error) (k DKIMKey, err error) {
		var created, signs, retired int64
		err = scan(&k.ID, &k.Domain, &k.Selector, &k.Algorithm, &k.Private, &created, &signs, &retired)
		k.Created, k.Signs, k.Retired = time.Unix(created, 0), timeOrZero(signs), timeOrZero(retired)
		return k, err
	})
}

// unixOrZero is a time as a column has it in which 0 stands for none.
func unixOrZero(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

func timeOrZero(unix int64) time.Time {
	if unix == 0 {
		return time.Time{}
	}
	return time.Unix(unix, 0)
}
