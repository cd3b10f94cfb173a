package storage

import (
	"context"
	"fmt"
	"runtime/debug"
)

// startBackground gives blobs their numbers, opens the search index, and
// starts what goes on behind the mail: removals that were cut off, files that
// nothing names.
func (db *DB) startBackground(ctx context.Context) error {
	var last BlobID
	if err := db.readDB.QueryRowContext(ctx, `SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'blob'), 0)`).Scan(&last); err != nil {
		return err
	}
	// A crash may have left files with numbers above the last row's. The gap
	// keeps them from being given again before they are swept.
	db.blobs.start(last + 1_000_000)
	db.SetDomains(nil, "")
	if err := db.loadPolicies(ctx); err != nil {
		return err
	}
	waiting, err := db.QueueEntries(ctx)
	if err != nil {
		return err
	}
	db.queue.add(waiting)
	if err := db.fillKeys(ctx); err != nil {
		return fmt.Errorf("sort keys: %w", err)
	}
	search, err := newSearchIndex(db.dir, db.log, searchSource{db})
	if err != nil {
		return err
	}
	db.search = search
	db.goBackground(ctx, "remove accounts", db.resumeRemovals)
	db.goBackground(ctx, "explain", db.explainInBackground)
	db.goBackground(ctx, "forget", db.forgetDaily)
	db.goBackground(ctx, "sweep files", func(ctx context.Context) error { return db.blobs.sweep(ctx, db.blobsExist) })
	return nil
}

// goBackground runs a job that Close waits for. A panic ends the job, not the process.
func (db *DB) goBackground(ctx context.Context, name string, job func(context.Context) error) {
	db.background.Go(func() {
		defer db.recovered(name)
		if err := job(ctx); err != nil && ctx.Err() == nil {
			db.log.Error("background job failed", "job", name, "err", err)
		}
	})
}

// recovered is deferred where a panic is to end no more than what is being done.
func (db *DB) recovered(doing string) {
	if r := recover(); r != nil {
		db.panics.Add(1)
		db.log.Error("panic in the store", "doing", doing, "panic", r, "stack", string(debug.Stack()))
	}
}

// resumeRemovals goes on with removals of accounts that a stop cut off.
func (db *DB) resumeRemovals(ctx context.Context) error {
	rows, err := db.readDB.QueryContext(ctx, `SELECT id FROM account WHERE removed = 1`)
	ids, err := collect(rows, err, func(scan func(...any) error) (id AccountID, err error) { return id, scan(&id) })
	for _, id := range ids {
		if err := db.sweepAccount(ctx, id); err != nil {
			return fmt.Errorf("account %d: %w", id, err)
		}
	}
	return err
}

// blobsExist tells which of the numbers have a row.
func (db *DB) blobsExist(ctx context.Context, ids []BlobID) (map[BlobID]bool, error) {
	there := map[BlobID]bool{}
	for _, id := range ids {
		var n int
		if err := db.readDB.QueryRowContext(ctx, `SELECT count(*) FROM blob WHERE id = ?`, id).Scan(&n); err != nil {
			return nil, err
		}
		there[id] = n > 0
	}
	return there, nil
}
