package storage

import (
	"database/sql"
)

// A tx is what a write function works with: the writer's connection inside the
// function's savepoint, the modseqs of the accounts that it touches, and the
// changes that it will have made.
type tx struct {
	w        *writer
	accounts []*touched
	boxes    []*box
	changes  []Change
	emails   []EmailID // deleted
	files    []BlobID  // deleted blobs that are files
	queue    []QueueEntry
}

// touched gathers what a function does to one account's own row, which is
// written once, at the end.
type touched struct {
	id       AccountID
	modseq   ModSeq // the one that stamps all rows of this function
	used     int64  // bytes to add
	messages int64  // to add
	last     int64  // last email number given
	quota    int64
	before   int64 // bytes used before
}

// touch loads the account and takes its next modseq, once for each function.
func (t *tx) touch(id AccountID) (*touched, error) {
	for _, a := range t.accounts {
		if a.id == id {
			return a, nil
		}
	}
	a := &touched{id: id}
	err := t.queryRow(`SELECT modseq, last_email, quota, used FROM account WHERE id = ? AND removed = 0`, id).
		Scan(&a.modseq, &a.last, &a.quota, &a.before)
	if err != nil {
		return nil, classify(err)
	}
	a.modseq++
	t.accounts = append(t.accounts, a)
	return a, nil
}

// fits tells whether n more bytes are within the account's quota.
func (a *touched) fits(n int64) bool {
	return a.quota == 0 || a.before+a.used+n <= a.quota
}

// nextEmail gives the account's next email number.
func (a *touched) nextEmail() EmailID {
	a.last++
	return EmailID(int64(a.id)<<32 + a.last)
}

// finish writes the rows of the mailboxes and accounts.
func (t *tx) finish() error {
	for _, b := range t.boxes {
		if err := b.write(); err != nil {
			return err
		}
	}
	for _, a := range t.accounts {
		err := t.exec(`UPDATE account SET modseq = ?, last_email = ?, used = used + ?, messages = messages + ? WHERE id = ?`,
			a.modseq, a.last, a.used, a.messages, a.id)
		if err != nil {
			return err
		}
	}
	return nil
}

// note records a change; the feed gets it after COMMIT.
func (t *tx) note(c Change) { t.changes = append(t.changes, c) }

func (t *tx) exec(query string, args ...any) error { return t.w.exec(query, args...) }

// insert runs an INSERT and returns the row's id.
func (t *tx) insert(query string, args ...any) (int64, error) {
	res, err := t.w.result(query, args...)
	if err != nil {
		return 0, err
	}
	return res.LastInsertId()
}

// affected runs a statement and returns how many rows it changed.
func (t *tx) affected(query string, args ...any) (int64, error) {
	res, err := t.w.result(query, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func (t *tx) queryRow(query string, args ...any) row {
	s, err := t.w.stmt(query)
	if err != nil {
		return row{err: err}
	}
	return row{row: s.QueryRow(args...)}
}

func (t *tx) query(query string, args ...any) (*sql.Rows, error) {
	s, err := t.w.stmt(query)
	if err != nil {
		return nil, err
	}
	rows, err := s.Query(args...)
	return rows, classify(err)
}

// A row is a *sql.Row whose statement may have failed to be prepared.
type row struct {
	row *sql.Row
	err error
}

// Scan copies the columns; a missing row is ErrNotFound.
func (r row) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	return classify(r.row.Scan(dest...))
}
