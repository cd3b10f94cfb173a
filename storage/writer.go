package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// maxBatch is the number of functions that one commit may answer. At high load
// the batch is what queued up during the last fsync, so it rarely gets here.
const maxBatch = 512

// A job is one write function and the caller that waits for it. fn must be
// pure: it may run twice, and has no effect but its rows and the changes that
// it notes in tx. It never gets its caller's context: a cancelled statement
// would roll back the batch of everybody.
type job struct {
	fn    func(tx *tx) error
	frees bool // it may use the reserve
	tx    *tx  // what fn did, where it succeeded
	err   error
	done  chan struct{}
}

// A writer owns the only connection that writes. It runs the functions of all
// callers one after the other, as many in a transaction as have queued up
// while the last one was fsynced (group commit), and answers all of them after
// one COMMIT.
type writer struct {
	conn   *sql.Conn
	stmts  map[string]*sql.Stmt
	jobs   chan *job
	closed chan struct{} // closed by stop: no new jobs
	ended  chan struct{} // closed by run: all jobs are answered
	once   sync.Once
	last   atomic.Int64 // when the last commit was, in Unix nanoseconds
	log    *slog.Logger

	reserve *reserve
	full    func() bool // tries whether the disk takes more
	publish func([]*tx) // applies what was committed to indexes and watchers
	panics  func()      // counts

	fail    sync.Once
	failed  chan struct{} // closed by broken: nothing is written any more
	failure error         // why, once failed is closed
}

// broken says that the disk did not keep its word. The kernel may have dropped
// the pages that it could not write, so neither a second try nor what we read
// from here on can be trusted: all who wait are told so, and nothing is written
// any more. What recovery finds whole at the next start is kept.
func (w *writer) broken(err error) {
	w.fail.Do(func() {
		w.failure = fmt.Errorf("the disk failed: %w", err)
		close(w.failed)
	})
}

func (w *writer) isBroken() bool {
	select {
	case <-w.failed:
		return true
	default:
		return false
	}
}

// do queues fn and waits until its rows are on the disk, or it had no effect.
// When ctx ends first the function may still take effect; ctx.Err is returned.
func (w *writer) do(ctx context.Context, fn func(tx *tx) error) error {
	if !w.reserve.there() {
		return fmt.Errorf("what is left is for deleting: %w", ErrNoSpace)
	}
	return w.wait(ctx, &job{fn: fn, done: make(chan struct{})})
}

// free is do for what makes room, or must be written on a full disk too. It may
// use the reserve.
func (w *writer) free(ctx context.Context, fn func(tx *tx) error) error {
	return w.wait(ctx, &job{fn: fn, frees: true, done: make(chan struct{})})
}

func (w *writer) wait(ctx context.Context, j *job) error {
	select {
	case w.jobs <- j:
	case <-ctx.Done():
		return ctx.Err()
	case <-w.closed:
		return ErrClosed
	}
	select {
	case <-j.done:
		return j.err
	case <-ctx.Done():
		return ctx.Err()
	case <-w.ended:
		select {
		case <-j.done:
			return j.err
		default:
			return ErrClosed
		}
	}
}

// run answers jobs until stop; it must be the only user of conn.
func (w *writer) run() {
	defer close(w.ended)
	batch := make([]*job, 0, maxBatch)
	for {
		batch = batch[:0]
		select {
		case j := <-w.jobs:
			batch = append(batch, j)
		case <-w.closed:
			return
		}
	fill:
		for len(batch) < maxBatch {
			select {
			case j := <-w.jobs:
				batch = append(batch, j)
			default:
				break fill
			}
		}
		w.commit(batch)
	}
}

func (w *writer) stop() {
	w.once.Do(func() { close(w.closed) })
	<-w.ended
}

// commit runs the batch in one transaction, and where that breaks, each of its
// functions in one of its own.
func (w *writer) commit(batch []*job) {
	if len(batch) == 1 {
		w.alone(batch[0])
		return
	}
	live, err := w.together(batch)
	if err != nil {
		for _, j := range batch {
			if j.err == nil {
				w.alone(j)
			}
		}
		return
	}
	if len(live) == 0 {
		w.rollback()
		return
	}
	err = w.end(live)
	if err == nil {
		return
	}
	for _, j := range live {
		if errors.Is(err, ErrNoSpace) { // what is small may fit alone
			w.alone(j)
			continue
		}
		j.err = err
		close(j.done)
	}
}

// together runs every function in a savepoint of one transaction, and returns
// those that succeeded; the others are answered. An error means that the
// transaction is gone; then jobs with an error of their own are answered, and
// the others had no effect.
func (w *writer) together(batch []*job) (live []*job, err error) {
	if err := w.begin(); err != nil {
		return nil, err
	}
	live = make([]*job, 0, len(batch))
	for _, j := range batch {
		if err := w.exec("SAVEPOINT job"); err != nil {
			w.rollback()
			return nil, err
		}
		if err := w.call(j); err != nil {
			if back := w.exec("ROLLBACK TO job"); back != nil {
				w.rollback()
				if !errors.Is(err, ErrNoSpace) { // the failed one alone is told; a full disk may have hit it by chance
					j.err = err
					close(j.done)
				}
				return nil, fmt.Errorf("rollback to savepoint: %w", back)
			}
			j.err = err
			defer close(j.done)
		} else {
			live = append(live, j)
		}
		if err := w.exec("RELEASE job"); err != nil {
			w.rollback()
			return nil, err
		}
	}
	return live, nil
}

// alone runs one function in a transaction of its own and answers it. One that
// frees room gets the reserve when the disk is full.
func (w *writer) alone(j *job) {
	err := w.try(j)
	if errors.Is(err, ErrNoSpace) && j.frees && w.reserve.use() {
		w.reserveSpent()
		err = w.try(j)
	}
	if err != nil { // else it is answered, and j is the caller's again
		j.err = err
		close(j.done)
	}
}

func (w *writer) try(j *job) error {
	if err := w.begin(); err != nil {
		return err
	}
	if err := w.call(j); err != nil {
		w.rollback()
		return err
	}
	return w.end([]*job{j})
}

// reserveSpent gives back the room that the WAL takes, if it can: the database
// may grow now.
func (w *writer) reserveSpent() {
	w.log.Warn("the disk is full: what was held back serves to delete, and no mail is taken")
	if err := w.exec("PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		w.log.Warn("checkpoint", "err", err)
	}
}

func (w *writer) begin() error {
	if w.isBroken() {
		return w.failure
	}
	return w.exec("BEGIN IMMEDIATE")
}

// end commits, publishes the changes in order, and answers the jobs. After an
// error nothing is answered yet and the transaction is gone.
func (w *writer) end(live []*job) error {
	if err := w.exec("COMMIT"); err != nil {
		w.rollback()
		if !errors.Is(err, ErrNoSpace) {
			w.broken(fmt.Errorf("commit: %w", err))
		}
		return err
	}
	w.last.Store(time.Now().UnixNano())
	committed := make([]*tx, len(live))
	for i, j := range live {
		committed[i] = j.tx
	}
	w.publish(committed)
	for _, j := range live {
		close(j.done)
	}
	return nil
}

// call runs one function; a panic in it is an error like any other.
func (w *writer) call(j *job) (err error) {
	t := &tx{w: w}
	defer func() {
		if r := recover(); r != nil {
			w.panics()
			w.log.Error("write function panicked", "panic", r, "stack", string(debug.Stack()))
			err = fmt.Errorf("write function panicked: %v", r)
		}
	}()
	if err := j.fn(t); err != nil {
		return err
	}
	if err := t.finish(); err != nil {
		return err
	}
	j.tx = t
	return nil
}

func (w *writer) rollback() {
	// SQLite has rolled back already after some errors, and then refuses.
	_ = w.exec("ROLLBACK")
}

func (w *writer) exec(query string, args ...any) error {
	_, err := w.result(query, args...)
	return err
}

func (w *writer) result(query string, args ...any) (sql.Result, error) {
	s, err := w.stmt(query)
	if err != nil {
		return nil, err
	}
	res, err := s.Exec(args...)
	return res, w.quota(classify(err))
}

// quota tells a quota that is used up from a disk that fails: SQLite knows only
// the other kind of full disk. Neither has begun to write what it refused.
func (w *writer) quota(err error) error {
	var e *sqlite.Error
	if errors.As(err, &e) && e.Code() == sqlite3.SQLITE_IOERR_WRITE && w.full() {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}

// stmt returns the prepared form of a query; there are as many as the package has texts.
func (w *writer) stmt(query string) (*sql.Stmt, error) {
	if s := w.stmts[query]; s != nil {
		return s, nil
	}
	s, err := w.conn.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, classify(err)
	}
	w.stmts[query] = s
	return s, nil
}

// classify gives SQLite's errors the names that callers know.
func classify(err error) error {
	var e *sqlite.Error
	if errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_FULL {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	return err
}
