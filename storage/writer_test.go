package storage

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// batch holds the writer while n functions queue up, so that all of them go
// into one transaction.
func batch(t *testing.T, db *DB, n int, write func(i int) error) []error {
	t.Helper()
	started, release := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		db.writer.do(ctx, func(*tx) error { //nolint:errcheck // it does nothing
			close(started)
			<-release
			return nil
		})
	})
	<-started
	errs := make([]error, n)
	for i := range n {
		all.Go(func() { errs[i] = write(i) })
	}
	for len(db.writer.jobs) < n {
		time.Sleep(time.Millisecond)
	}
	close(release)
	all.Wait()
	return errs
}

// TestGroupCommit: what queued up during a commit goes into one transaction,
// and when a caller is answered the index has its change already.
func TestGroupCommit(t *testing.T) {
	const n = 100
	db := open(t)
	a := account(t, db, "alice")
	m := named(t, db, a, "INBOX")
	uids(t, db, a, m.ID)
	letters := make([]*Spooled, n)
	for i := range n {
		letters[i] = spool(t, db, letter(i))
	}
	commits, publish := 0, db.writer.publish
	db.writer.publish = func(committed []*tx) {
		commits++
		publish(committed)
	}
	errs := batch(t, db, n, func(i int) error {
		if err := db.Deliver(ctx, delivery(letters[i], "INBOX", a)); err != nil {
			return err
		}
		if got := len(uids(t, db, a, m.ID)); got != n {
			return fmt.Errorf("answered when %d messages of %d could be seen", got, n)
		}
		return nil
	})
	for i, err := range errs {
		if err != nil {
			t.Errorf("function %d: %v", i, err)
		}
	}
	if commits != 2 { // that of the function that held the writer up is the other
		t.Errorf("%d functions took %d commits", n, commits-1)
	}
}

var errOwn = errors.New("a fault of its own")

// TestOneFailureHarmsNoOther: among a hundred functions of one transaction one
// fails, and every other one is answered as if it had been alone.
func TestOneFailureHarmsNoOther(t *testing.T) {
	const n, bad = 100, 42
	for name, fail := range map[string]func(db *DB, t *tx) error{
		"error": func(*DB, *tx) error { return errOwn },
		"panic": func(*DB, *tx) error { panic("on purpose") },
		"error after writing": func(_ *DB, t *tx) error {
			if err := t.exec(`INSERT INTO server (key, value) VALUES ('half', x'00')`); err != nil {
				return err
			}
			return errOwn
		},
		"broken statement": func(_ *DB, t *tx) error { return t.exec(`INSERT INTO server (key, value) VALUES ('x', NULL)`) },
		"transaction gone": func(_ *DB, t *tx) error { return errors.Join(t.exec(`ROLLBACK`), errOwn) },
		"full":             fillDisk,
	} {
		t.Run(name, func(t *testing.T) {
			db := open(t)
			a := account(t, db, "alice")
			m := named(t, db, a, "INBOX")
			letters := make([]*Spooled, n)
			for i := range n {
				letters[i] = spool(t, db, letter(i))
			}
			errs := batch(t, db, n, func(i int) error {
				if i == bad {
					return db.writer.do(ctx, func(t *tx) error { return fail(db, t) })
				}
				return db.Deliver(ctx, delivery(letters[i], "INBOX", a))
			})
			for i, err := range errs {
				if (i == bad) != (err != nil) {
					t.Errorf("function %d was answered %v", i, err)
				}
			}
			if got := len(uids(t, db, a, m.ID)); got != n-1 {
				t.Errorf("%d messages are there, %d were acknowledged", got, n-1)
			}
			var half int
			if err := db.readDB.QueryRow(`SELECT count(*) FROM server WHERE key = 'half'`).Scan(&half); err != nil || half != 0 {
				t.Errorf("a failed function left %d rows (%v)", half, err)
			}
		})
	}
}

// fillDisk makes SQLite meet a full disk: it rolls the whole transaction back.
func fillDisk(db *DB, t *tx) (err error) {
	var pages int
	if err := t.queryRow(`PRAGMA page_count`).Scan(&pages); err != nil {
		return err
	}
	limit := func(n int) error {
		var got int
		return t.queryRow(fmt.Sprintf(`PRAGMA max_page_count = %d`, n)).Scan(&got)
	}
	if err := limit(pages + 1); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, limit(1<<30)) }()
	return t.exec(`INSERT INTO server (key, value) VALUES ('big', zeroblob(1000000))`)
}

// TestCancelledCaller: who stops waiting gets its own error, and harms nobody.
func TestCancelledCaller(t *testing.T) {
	db := open(t)
	a := account(t, db, "alice")
	short, cancel := context.WithCancel(ctx)
	letters := []*Spooled{spool(t, db, letter(0)), spool(t, db, letter(1)), spool(t, db, letter(2))}
	errs := batch(t, db, 3, func(i int) error {
		if i == 1 {
			time.AfterFunc(10*time.Millisecond, cancel)
			return db.Deliver(short, delivery(letters[i], "INBOX", a))
		}
		return db.Deliver(ctx, delivery(letters[i], "INBOX", a))
	})
	if errs[0] != nil || errs[2] != nil {
		t.Errorf("others were answered %v", errs)
	}
	if n := len(uids(t, db, a, named(t, db, a, "INBOX").ID)); n < 2 {
		t.Errorf("%d messages are there", n)
	}
}

func TestClosedStore(t *testing.T) {
	db := openAt(t, t.TempDir())
	a := account(t, db, "alice")
	m := spool(t, db, letter(1))
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := db.Deliver(ctx, delivery(m, "INBOX", a)); !errors.Is(err, ErrClosed) {
		t.Errorf("delivery to a closed store: %v", err)
	}
}

// TestFailedCommit: when the disk breaks its word at COMMIT, nobody of that
// batch or after it is told that it worked, and the process learns that it
// must end; a full disk is no such thing.
func TestFailedCommit(t *testing.T) {
	dir := t.TempDir()
	db := openAt(t, dir)
	a := account(t, db, "alice")
	if err := db.writer.do(ctx, func(t *tx) error { return fillDisk(db, t) }); !errors.Is(err, ErrNoSpace) || db.writer.isBroken() {
		t.Fatalf("a full disk: %v, fatal: %v", err, db.writer.isBroken())
	}
	deliver(t, db, letter(0), "INBOX", a)
	letters := []*Spooled{spool(t, db, letter(1)), spool(t, db, letter(2)), spool(t, db, letter(3))}
	errs := batch(t, db, len(letters), func(i int) error {
		if i != 1 {
			return db.Deliver(ctx, delivery(letters[i], "INBOX", a))
		}
		return db.writer.do(ctx, func(t *tx) error {
			// A violation that is found at COMMIT stands for an error of the disk.
			if err := t.exec(`PRAGMA defer_foreign_keys = ON`); err != nil {
				return err
			}
			return t.exec(`INSERT INTO credential (account, name, stored_key, server_key, created) VALUES (999, '', x'', x'', 0)`)
		})
	})
	errs = append(errs, db.Deliver(ctx, delivery(spool(t, db, letter(4)), "INBOX", a)))
	for i, err := range errs {
		if err == nil {
			t.Errorf("function %d was told that it worked", i)
		}
	}
	select {
	case <-db.Failed():
		if err := db.Failure(); !errors.Is(err, errs[3]) {
			t.Errorf("failed for %v, later writes for %v", err, errs[3])
		}
	default:
		t.Error("nobody was told that the process must end")
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	db = openAt(t, dir)
	defer db.Close()
	if n := len(uids(t, db, a, named(t, db, a, "INBOX").ID)); n != 1 {
		t.Errorf("%d messages are there, one was acknowledged", n)
	}
}

// TestFailedSync: a file that cannot be fsynced is as bad as a COMMIT that fails.
func TestFailedSync(t *testing.T) {
	db := openAt(t, t.TempDir())
	defer db.Close()
	a := account(t, db, "alice")
	big := spool(t, db, strings.Repeat("0123456789", 50_000))
	big.file.Close() // stands for a disk that refuses
	if err := db.Deliver(ctx, delivery(big, "INBOX", a)); err == nil {
		t.Error("it was told that it worked")
	}
	if !db.writer.isBroken() {
		t.Error("nobody was told that the process must end")
	}
}

// TestSlices: long work goes in functions of at most 500 rows, so that
// deliveries need not wait for all of it.
func TestSlices(t *testing.T) {
	const n = 1100
	db := open(t)
	a, b := account(t, db, "alice"), account(t, db, "bob")
	fill := func(account AccountID) (MailboxID, []UID) {
		t.Helper()
		m := named(t, db, account, "INBOX").ID
		uploads := make([]Upload, n)
		for i := range uploads {
			uploads[i].Message = spool(t, db, letter(i))
		}
		_, uids, err := db.Append(ctx, account, m, uploads)
		if err != nil {
			t.Fatal(err)
		}
		return m, uids
	}
	m, uids := fill(a)
	fill(b)
	most, functions, publish := 0, 0, db.writer.publish
	db.writer.publish = func(committed []*tx) {
		for _, t := range committed {
			rows := len(t.emails)
			for _, c := range t.changes {
				rows = max(rows, len(c.Entries))
			}
			most, functions = max(most, rows), functions+1
		}
		publish(committed)
	}
	if _, err := db.StoreFlags(ctx, a, m, uids, FlagChange{Op: AddFlags, Flags: Deleted}); err != nil {
		t.Fatal(err)
	}
	if err := db.Expunge(ctx, a, m, nil); err != nil {
		t.Fatal(err)
	}
	if err := db.RemoveAccount(ctx, b); err != nil {
		t.Fatal(err)
	}
	if most != 500 || functions < 9 {
		t.Errorf("%d functions changed up to %d rows", functions, most)
	}
}
