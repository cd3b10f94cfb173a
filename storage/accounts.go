package storage

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"time"
)

// scramIterations are those of PBKDF2, for every credential. RFC 7677 asks for at
// least 4,096; clients that use Cyrus SASL refuse more than 65,536, and try no
// other mechanism then.
const scramIterations = 65_536

// standardMailboxes are what a new account finds, subscribed (RFC 6154).
var standardMailboxes = []struct{ name, use string }{
	{"INBOX", ""},
	{"Drafts", `\Drafts`},
	{"Sent", `\Sent`},
	{"Archive", `\Archive`},
	{"Junk", `\Junk`},
	{"Trash", `\Trash`},
}

// NewSalt makes the salt that all credentials of one account share.
func NewSalt() (salt []byte, iterations int) {
	salt = make([]byte, 16)
	rand.Read(salt)
	return salt, scramIterations
}

// CreateAccount makes an account that is reached and logs in by address, with
// its standard mailboxes. password's keys must be derived with a's Salt and
// Iterations. ErrExists: the address is in use.
func (db *DB) CreateAccount(ctx context.Context, a Account, password Credential) (AccountID, error) {
	address, err := ParseAddress(a.Name)
	if err != nil {
		return 0, err
	}
	var id AccountID
	err = db.writer.do(ctx, func(t *tx) error {
		n, err := t.affected(`INSERT INTO address (address) VALUES (?) ON CONFLICT DO NOTHING`, address)
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("address %s: %w", address, ErrExists)
		}
		row, err := t.insert(`INSERT INTO account (name, quota, salt, iterations, tag_folders, created) VALUES (?, ?, ?, ?, ?, ?)`,
			address, a.Quota, a.Salt, a.Iterations, a.TagFolders, now())
		if err != nil {
			return err
		}
		id = AccountID(row)
		if err := t.exec(`UPDATE address SET account = ? WHERE address = ?`, id, address); err != nil {
			return err
		}
		if err := t.putCredential(id, password); err != nil {
			return err
		}
		for _, m := range standardMailboxes {
			if _, err := t.createMailbox(id, m.name, m.use, true); err != nil {
				return err
			}
		}
		return nil
	})
	return id, err
}

const accountColumns = `id, name, quota, used, messages, modseq, salt, iterations, tag_folders, created`

func scanAccount(scan func(...any) error) (Account, error) {
	var a Account
	var created int64
	err := scan(&a.ID, &a.Name, &a.Quota, &a.Used, &a.Messages, &a.ModSeq, &a.Salt, &a.Iterations, &a.TagFolders, &created)
	a.Created = time.Unix(created, 0).UTC()
	return a, classify(err)
}

// Account returns an account by its number.
func (db *DB) Account(ctx context.Context, id AccountID) (Account, error) {
	return scanAccount(db.readDB.QueryRowContext(ctx, `SELECT `+accountColumns+` FROM account WHERE id = ? AND removed = 0`, id).Scan)
}

// AccountByLogin returns the account that owns an address directly (not
// through an alias) and its credentials. ErrNotFound: there is none.
func (db *DB) AccountByLogin(ctx context.Context, login string) (Account, []Credential, error) {
	address, err := ParseAddress(login)
	if err != nil {
		return Account{}, nil, ErrNotFound
	}
	a, err := scanAccount(db.readDB.QueryRowContext(ctx,
		`SELECT `+accountColumns+` FROM account WHERE id = (SELECT account FROM address WHERE address = ?) AND removed = 0`, address).Scan)
	if err != nil {
		return a, nil, err
	}
	c, err := db.Credentials(ctx, a.ID)
	return a, c, err
}

// Accounts returns all accounts, the oldest first.
func (db *DB) Accounts(ctx context.Context) ([]Account, error) {
	rows, err := db.readDB.QueryContext(ctx, `SELECT `+accountColumns+` FROM account WHERE removed = 0 ORDER BY id`)
	return collect(rows, err, scanAccount)
}

// SetQuota changes how many bytes an account may hold; 0 means no limit.
func (db *DB) SetQuota(ctx context.Context, id AccountID, bytes int64) error {
	return db.updateOne(ctx, `UPDATE account SET quota = ? WHERE id = ? AND removed = 0`, bytes, id)
}

// SetTagFolders says whether user+tag is filed in the mailbox named tag.
func (db *DB) SetTagFolders(ctx context.Context, id AccountID, on bool) error {
	return db.updateOne(ctx, `UPDATE account SET tag_folders = ? WHERE id = ? AND removed = 0`, on, id)
}

// RemoveAccount takes an account away with everything that is its own. From
// the first step on nobody can log in to it or send to it; a removal that was
// cut off goes on at the next start.
func (db *DB) RemoveAccount(ctx context.Context, id AccountID) error {
	err := db.writer.free(ctx, func(t *tx) error {
		n, err := t.affected(`UPDATE account SET removed = 1, name = name || ' removed ' || id WHERE id = ? AND removed = 0`, id)
		if err == nil && n == 0 {
			err = ErrNotFound
		}
		if err != nil {
			return err
		}
		for _, q := range []string{
			`DELETE FROM credential WHERE account = ?`,
			`DELETE FROM login_address WHERE account = ?`,
			`DELETE FROM sent WHERE account = ?`,
			`DELETE FROM address WHERE account = ?`,
		} {
			if err := t.exec(q, id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return db.sweepAccount(ctx, id)
}

// Credentials returns the passwords of an account, the main one first.
func (db *DB) Credentials(ctx context.Context, id AccountID) ([]Credential, error) {
	rows, err := db.readDB.QueryContext(ctx, `SELECT id, account, name, stored_key, server_key, created, last_used, last_from
		FROM credential WHERE account = ? ORDER BY name <> '', id`, id)
	return collect(rows, err, func(scan func(...any) error) (Credential, error) {
		var c Credential
		var created, used int64
		err := scan(&c.ID, &c.Account, &c.Name, &c.StoredKey, &c.ServerKey, &created, &used, &c.LastFrom)
		c.Created = time.Unix(created, 0).UTC()
		if used != 0 {
			c.LastUsed = time.Unix(used, 0).UTC()
		}
		return c, err
	})
}

// PutCredential sets a password; one of the same name is replaced.
func (db *DB) PutCredential(ctx context.Context, account AccountID, c Credential) error {
	return db.writer.do(ctx, func(t *tx) error { return t.putCredential(account, c) })
}

// putCredential gives the row a new id, by which a change is noticed.
func (t *tx) putCredential(account AccountID, c Credential) error {
	if err := t.exec(`DELETE FROM credential WHERE account = ? AND name = ?`, account, c.Name); err != nil {
		return err
	}
	return t.exec(`INSERT INTO credential (account, name, stored_key, server_key, created) VALUES (?, ?, ?, ?, ?)`,
		account, c.Name, c.StoredKey, c.ServerKey, now())
}

// RemoveCredential takes an app password away. ErrNotFound: there is none of that name.
func (db *DB) RemoveCredential(ctx context.Context, account AccountID, name string) error {
	return db.updateOne(ctx, `DELETE FROM credential WHERE account = ? AND name = ?`, account, name)
}

// UseCredential records a login. Addresses are kept for 30 days.
func (db *DB) UseCredential(ctx context.Context, account AccountID, credential int64, from string) error {
	return db.writer.do(ctx, func(t *tx) error {
		at := now()
		if err := t.exec(`UPDATE credential SET last_used = ?, last_from = ? WHERE id = ? AND account = ?`, at, from, credential, account); err != nil {
			return err
		}
		if err := t.exec(`DELETE FROM login_address WHERE account = ? AND last < ?`, account, at-30*86400); err != nil {
			return err
		}
		return t.exec(`INSERT INTO login_address (account, address, last)
			SELECT id, ?, ? FROM account WHERE id = ? AND removed = 0
			ON CONFLICT (account, address) DO UPDATE SET last = excluded.last`, from, at, account)
	})
}

// LoginAddresses returns the addresses that logged in to an account within 30 days.
func (db *DB) LoginAddresses(ctx context.Context, account AccountID) ([]string, error) {
	rows, err := db.readDB.QueryContext(ctx, `SELECT address FROM login_address WHERE account = ? AND last >= ?`, account, now()-30*86400)
	return collect(rows, err, func(scan func(...any) error) (s string, err error) { return s, scan(&s) })
}

// Secret is random, made with the database, and known to nobody else: keys are derived from it.
func (db *DB) Secret(ctx context.Context) (secret []byte, err error) {
	err = db.readDB.QueryRowContext(ctx, `SELECT value FROM server WHERE key = 'secret'`).Scan(&secret)
	return secret, classify(err)
}

// updateOne runs one statement that must hit a row; ErrNotFound where it did not.
func (db *DB) updateOne(ctx context.Context, query string, args ...any) error {
	return db.writer.do(ctx, func(t *tx) error {
		n, err := t.affected(query, args...)
		if err == nil && n == 0 {
			err = ErrNotFound
		}
		return err
	})
}

// collect scans all rows of a query.
func collect[T any](rows *sql.Rows, err error, scan func(func(...any) error) (T, error)) ([]T, error) {
	if err != nil {
		return nil, classify(err)
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		v, err := scan(rows.Scan)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}
