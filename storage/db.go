// Package storage owns everything durable: accounts, addresses, mailboxes,
// messages, their bytes, the feed of changes, the search index and the rows of
// the outbound queue. All SQL of the project stands here.
//
// A call that returned without an error is on the disk. A call that returned
// an error had no effect, unless the error is that of its context.
package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Options say where a store is and whom it tells. Dir must be set.
type Options struct {
	Dir string       // the data directory, made if it is missing
	Log *slog.Logger // nil means slog.Default()
}

// A DB is an open store. Its methods may be called from any goroutine.
type DB struct {
	dir     string
	log     *slog.Logger
	lock    *os.File
	writeDB *sql.DB
	readDB  *sql.DB
	reads   reads
	writer  *writer
	blobs   *blobStore
	search  *searchIndex
	indexes *indexes
	feed    *feed
	queue   *queueFeed

	explained explanations
	policies  policies
	domains   atomic.Pointer[domains]
	panics    atomic.Int64

	background sync.WaitGroup
	cancel     context.CancelFunc
}

const readers = 4 // connections that read; more would wait for the two cores anyway

// Open opens the store in a directory, making what is missing, and brings its
// schema up to date. It fails when another process has it open.
func Open(ctx context.Context, o Options) (*DB, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	for _, dir := range []string{o.Dir, filepath.Join(o.Dir, "blobs"), filepath.Join(o.Dir, "spool")} {
		if err := makeDir(dir); err != nil {
			return nil, err
		}
	}
	lock, err := lockDir(o.Dir)
	if err != nil {
		return nil, err
	}
	db := &DB{
		dir: o.Dir, log: o.Log, lock: lock, feed: &feed{watchers: map[AccountID][]*Watcher{}}, queue: newQueueFeed(),
		explained: explanations{ready: make(chan struct{}, 1)},
	}
	if err := db.open(ctx, o); err != nil {
		db.closeFiles()
		return nil, fmt.Errorf("open store %s: %w", o.Dir, err)
	}
	return db, nil
}

func (db *DB) open(ctx context.Context, o Options) error {
	held, err := newReserve(o.Dir)
	if err != nil {
		return err
	}
	spent := db.full() && held.use() // SQLite needs room to open what there is
	file := filepath.Join(o.Dir, "mailbox.db")
	db.writeDB, err = sql.Open("sqlite", dsn(file, "rwc",
		"journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(ON)", "busy_timeout(10000)", "cache_size(-8192)"))
	if err != nil {
		return err
	}
	db.writeDB.SetMaxOpenConns(1)
	conn, err := db.writeDB.Conn(ctx)
	if err != nil {
		return err
	}
	if err := migrate(ctx, conn, file); err != nil {
		return err
	}
	// What a savepoint may have to undo stays in memory: a file for it costs more than all else in it.
	if _, err := conn.ExecContext(ctx, "PRAGMA temp_store = MEMORY"); err != nil {
		return err
	}
	if db.readDB, err = sql.Open("sqlite", dsn(file, "ro", "query_only(ON)", "busy_timeout(10000)", "cache_size(-2048)")); err != nil {
		return err
	}
	db.readDB.SetMaxOpenConns(readers)
	db.readDB.SetMaxIdleConns(readers)
	if err := db.reads.prepare(ctx, db.readDB); err != nil {
		return err
	}

	db.indexes = newIndexes(db)
	if db.blobs, err = newBlobStore(o.Dir); err != nil {
		return err
	}
	if err := emptyDir(filepath.Join(o.Dir, "spool")); err != nil {
		return err
	}
	db.writer = &writer{
		conn: conn, stmts: map[string]*sql.Stmt{}, jobs: make(chan *job, maxBatch),
		closed: make(chan struct{}), ended: make(chan struct{}), failed: make(chan struct{}),
		log: o.Log, reserve: held, full: db.full, publish: db.publish, panics: func() { db.panics.Add(1) },
	}
	background, cancel := context.WithCancel(context.Background())
	db.cancel = cancel
	if spent {
		db.writer.reserveSpent()
	}
	go db.writer.run()
	return db.startBackground(background)
}

// publish is called by the writer after COMMIT, before anyone is answered. What
// was committed cannot be taken back: a panic costs no more than that somebody
// hears of it later.
func (db *DB) publish(committed []*tx) {
	var changes []Change
	for _, t := range committed {
		changes = append(changes, t.changes...)
		db.pass(t)
	}
	if len(changes) > 0 {
		db.picture(changes)
		db.wake(changes)
	}
}

// pass tells the queue, the blobs and the search index of what a function did.
func (db *DB) pass(t *tx) {
	defer db.recovered("pass on what was committed")
	db.queue.add(t.queue)
	for _, id := range t.files {
		db.blobs.unlinkLater(id)
	}
	if len(t.emails) > 0 {
		db.search.forget(t.emails)
	}
}

// wake tells all who watch.
func (db *DB) wake(changes []Change) {
	defer db.recovered("tell of changes")
	db.feed.wake(changes)
	for _, c := range changes {
		if c.Kind == Added {
			db.search.notify(c.Account)
		}
	}
}

// picture brings the pictures of mailboxes up to date. Where that panics they
// may be wrong, and are read from the rows again.
func (db *DB) picture(changes []Change) {
	done := false
	defer func() {
		if !done {
			db.indexes.forget()
		}
	}()
	defer db.recovered("bring pictures of mailboxes up to date")
	db.indexes.apply(changes)
	done = true
}

// Watch wakes its holder after changes in the accounts.
func (db *DB) Watch(accounts ...AccountID) *Watcher { return db.feed.watch(accounts) }

// Ping tells whether the store reads and writes, which a full disk does not
// keep it from: it returns after a commit.
func (db *DB) Ping(ctx context.Context) error {
	if _, err := db.Accounts(ctx); err != nil {
		return err
	}
	return db.writer.free(ctx, func(*tx) error { return nil })
}

// Failed is closed when the disk did not keep its word: an fsync failed, or a
// COMMIT for another reason than that the disk is full. Every write from then
// on ends with that error, and the process must end.
func (db *DB) Failed() <-chan struct{} { return db.writer.failed }

// Failure is why Failed is closed.
func (db *DB) Failure() error {
	<-db.writer.failed
	return db.writer.failure
}

// Panics is the number of write functions and background jobs that panicked.
func (db *DB) Panics() int64 { return db.panics.Load() }

// Close ends the background work, finishes the writes that run, and closes the
// store. A store whose disk failed is left to recovery as it is.
func (db *DB) Close() error {
	if db.cancel != nil {
		db.cancel()
	}
	db.background.Wait()
	return errors.Join(db.writeExplanations(), db.closeFiles())
}

func (db *DB) closeFiles() error {
	var first error
	keep := func(err error) {
		if first == nil {
			first = err
		}
	}
	if db.writer != nil {
		db.writer.stop()
		if db.writer.isBroken() { // SQLite would write when it closes
			return db.lock.Close()
		}
		for _, s := range db.writer.stmts {
			keep(s.Close())
		}
		keep(db.writer.conn.Close())
	}
	if db.search != nil { // it reads from the store until it is closed
		keep(db.search.Close())
	}
	if db.readDB != nil {
		keep(db.readDB.Close())
	}
	if db.writeDB != nil {
		keep(db.writeDB.Close())
	}
	keep(db.lock.Close())
	return first
}

// lockDir takes the data directory for this process, until the file is closed.
func lockDir(dir string) (*os.File, error) {
	name := filepath.Join(dir, "lock")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s is in use by another process (is the server running?): %w", dir, err)
	}
	return f, nil
}

// makeDir makes a directory that is missing, and those above it, and their
// names durable: with the data directory all would be lost. That of one that is
// there too, because who made it may have been killed before it could see to
// that; only a directory above that we may not read is taken for durable.
func makeDir(dir string) error {
	parent := filepath.Dir(dir)
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrNotExist) && parent != dir {
		if err := makeDir(parent); err != nil {
			return err
		}
		err = os.Mkdir(dir, 0o700)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	there := err != nil
	if err = syncDir(parent); there && errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return err
}

// emptyDir removes the files of a directory.
func emptyDir(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
	}
	return err
}

// dsn names a database file for the driver.
func dsn(file, mode string, pragmas ...string) string {
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: file}).EscapedPath()}
	q := url.Values{"mode": {mode}, "_pragma": pragmas}
	u.RawQuery = q.Encode()
	return u.String()
}

// now is the time as the rows keep it.
func now() int64 { return time.Now().Unix() }
