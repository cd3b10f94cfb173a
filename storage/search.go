package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// searchVersion changes with the schema below and with what is a word; an
// index of another version is built anew.
const searchVersion = "5"

// searchSchema is the schema of search.db. A term is a word of a kind of text,
// or a trigram of what has no words (see class): one row of email has them all.
// The tokenizer takes terms as they are given: text is parted and folded here,
// so that the index and a search cannot disagree. word_trigram finds the words
// that a substring is in. hashsize, in octets, is what a batch needs: less
// writes the batch in pieces. automerge is how many pieces of a size there are
// before they are merged: more costs who searches, and less who writes.
const searchSchema = `
CREATE TABLE indexed (account INTEGER PRIMARY KEY, last INTEGER NOT NULL) STRICT;
CREATE TABLE word (id INTEGER PRIMARY KEY, word TEXT NOT NULL UNIQUE) STRICT;
CREATE VIRTUAL TABLE word_trigram USING fts5(word, content='', contentless_delete=1, detail=none, tokenize='trigram case_sensitive 1');
CREATE VIRTUAL TABLE email USING fts5(terms, content='', contentless_delete=1, detail=none, tokenize='ascii');
INSERT INTO email (email, rank) VALUES ('hashsize', 16777216);
INSERT INTO email (email, rank) VALUES ('automerge', 8);
`

const (
	searchDelay  = 300 * time.Millisecond
	searchBatch  = 500     // emails of one transaction; fewer where their text is over maxText
	searchStride = 8       // emails that are indexed before it looks whether mail has need of the processor
	maxKnown     = 50_000  // words that are remembered to be in the index
	maxText      = 8 << 20 // octets of an email that are indexed
)

// A searchIndex is the full-text index. It is a cache in a file of its own,
// filled behind the mail: no reader relies on an email being in it already.
type searchIndex struct {
	file   string
	log    *slog.Logger
	source searchSource
	wake   chan struct{}
	cancel context.CancelFunc
	done   sync.WaitGroup

	use sync.RWMutex // held by who reads db, but run, which alone replaces it
	db  *sql.DB

	known map[string]bool // used by run alone

	mu      sync.Mutex
	pending map[AccountID]bool
	gone    []EmailID
	damage  error // that a reader found
}

// newSearchIndex opens the index and starts to fill it. One that was not
// closed, or is damaged, is thrown away first.
func newSearchIndex(dir string, log *slog.Logger, source searchSource) (*searchIndex, error) {
	s := &searchIndex{
		file: filepath.Join(dir, "search.db"), log: log, source: source,
		wake: make(chan struct{}, 1), pending: map[AccountID]bool{},
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	if err := s.open(ctx); err != nil {
		log.Info("building the search index anew", "why", err)
		if err := s.recreate(ctx); err != nil {
			cancel()
			return nil, fmt.Errorf("search index: %w", err)
		}
	}
	accounts, err := source.accounts(ctx)
	if err != nil {
		cancel()
		return nil, errors.Join(err, s.db.Close())
	}
	for _, a := range accounts {
		s.notify(a)
	}
	s.done.Go(func() { s.run(ctx) })
	return s, nil
}

// open opens an index that was closed well. The file that says so is gone for
// good before anything is written, because nothing of that is fsynced.
func (s *searchIndex) open(ctx context.Context) error {
	version, err := os.ReadFile(s.closed())
	if err == nil {
		err = errors.Join(os.Remove(s.closed()), syncDir(filepath.Dir(s.file)))
	}
	if err == nil && string(version) != searchVersion {
		err = errors.New("it is of another version")
	}
	if err == nil {
		_, err = os.Stat(s.file)
	}
	if err != nil {
		return err
	}
	if err := s.connect(); err != nil {
		return err
	}
	var accounts int
	if err := s.db.QueryRowContext(ctx, `SELECT count(*) FROM indexed`).Scan(&accounts); err != nil {
		s.db.Close()
		return err
	}
	return nil
}

// closed is the file that is there while the index is closed and whole: it
// holds the version.
func (s *searchIndex) closed() string { return s.file + ".closed" }

func (s *searchIndex) connect() (err error) {
	s.db, err = sql.Open("sqlite", dsn(s.file, "rwc", "journal_mode(WAL)", "synchronous(OFF)", "busy_timeout(10000)", "cache_size(-4096)"))
	return err
}

// recreate begins with an empty index.
func (s *searchIndex) recreate(ctx context.Context) error {
	for _, file := range []string{s.closed(), s.file, s.file + "-wal", s.file + "-shm"} {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := syncDir(filepath.Dir(s.file)); err != nil {
		return err
	}
	if err := s.connect(); err != nil {
		return err
	}
	_, err := s.db.ExecContext(ctx, searchSchema)
	if err != nil {
		s.db.Close()
	}
	return err
}

// Close stops filling, and writes what is not written. The index is on the disk
// and its WAL is gone before a file says that it is whole.
func (s *searchIndex) Close() error {
	s.cancel()
	s.done.Wait()
	err := errors.Join(s.dropGone(context.Background()), s.db.Close())
	if err == nil {
		err = s.sync()
	}
	if err == nil {
		err = os.WriteFile(s.closed(), []byte(searchVersion), 0o600)
	}
	return err
}

func (s *searchIndex) sync() error {
	f, err := os.Open(s.file)
	if err != nil {
		return err
	}
	defer f.Close()
	return errors.Join(f.Sync(), syncDir(filepath.Dir(s.file)))
}

// notify says that an account has new emails.
func (s *searchIndex) notify(account AccountID) {
	s.mu.Lock()
	s.pending[account] = true
	s.mu.Unlock()
	s.kick()
}

// forget says that emails are gone.
func (s *searchIndex) forget(emails []EmailID) {
	s.mu.Lock()
	s.gone = append(s.gone, emails...)
	s.mu.Unlock()
	s.kick()
}

// report says what befell a reader; a damaged index is thrown away.
func (s *searchIndex) report(err error) {
	if !isDamage(err) {
		return
	}
	s.mu.Lock()
	s.damage = err
	s.mu.Unlock()
	s.kick()
}

func (s *searchIndex) kick() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run fills the index until ctx is done. A damaged index is thrown away; after
// other errors it waits a little.
func (s *searchIndex) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		}
		select { // what comes together is indexed together
		case <-ctx.Done():
			return
		case <-time.After(searchDelay):
		}
		if s.round(ctx) || ctx.Err() != nil {
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Minute):
			s.kick()
		}
	}
}

// round does all that is pending, or begins anew where the index is damaged. It
// tells whether all went well.
func (s *searchIndex) round(ctx context.Context) bool {
	defer s.source.db.recovered("index for search")
	err := s.catchUp(ctx)
	if err == nil || ctx.Err() != nil {
		return true
	}
	s.log.Error("search index", "err", err)
	if isDamage(err) {
		s.rebuild(ctx)
	}
	return false
}

func isDamage(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && (e.Code()&0xff == sqlite3.SQLITE_CORRUPT || e.Code()&0xff == sqlite3.SQLITE_NOTADB)
}

// rebuild throws the index away and begins anew.
func (s *searchIndex) rebuild(ctx context.Context) {
	s.use.Lock()
	defer s.use.Unlock()
	s.db.Close()
	s.known = nil
	err := s.recreate(ctx)
	if err == nil {
		var accounts []AccountID
		accounts, err = s.source.accounts(ctx)
		for _, a := range accounts {
			s.notify(a)
		}
	}
	if err != nil {
		s.log.Error("rebuild search index", "err", err)
	}
}

// catchUp does all that is pending. What fails stays pending.
func (s *searchIndex) catchUp(ctx context.Context) error {
	s.mu.Lock()
	err := s.damage
	s.damage = nil
	s.mu.Unlock()
	if err != nil {
		return err
	}
	for {
		if err := s.dropGone(ctx); err != nil {
			return err
		}
		account, ok := s.take()
		if !ok {
			return nil
		}
		if err := s.index(ctx, account); err != nil {
			return fmt.Errorf("account %d: %w", account, err)
		}
	}
}

// index takes in some emails of an account, which stays pending until there
// are no more.
func (s *searchIndex) index(ctx context.Context, account AccountID) (err error) {
	more := true
	defer func() {
		if more || err != nil {
			s.mu.Lock()
			s.pending[account] = true
			s.mu.Unlock()
		}
	}()
	more, err = s.indexBatch(ctx, account)
	return err
}

func (s *searchIndex) take() (AccountID, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for a := range s.pending {
		delete(s.pending, a)
		return a, true
	}
	return 0, false
}

func (s *searchIndex) dropGone(ctx context.Context) error {
	s.mu.Lock()
	gone := s.gone
	s.gone = nil
	s.mu.Unlock()
	if len(gone) == 0 {
		return nil
	}
	err := s.inTx(ctx, func(whole context.Context, t *sql.Tx) error {
		for _, id := range gone {
			if _, err := t.ExecContext(whole, `DELETE FROM email WHERE rowid = ?`, id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		s.mu.Lock()
		s.gone = append(gone, s.gone...)
		s.mu.Unlock()
	}
	return err
}

// inTx runs f in a transaction. f gets a context that is not cancelled with
// ours: a transaction that is, is rolled back at some time after all that waits
// for it has gone on, and Close finds the database locked.
func (s *searchIndex) inTx(ctx context.Context, f func(whole context.Context, t *sql.Tx) error) error {
	if !s.source.room() {
		return ErrNoSpace
	}
	whole := context.WithoutCancel(ctx)
	t, err := s.db.BeginTx(whole, nil)
	if err != nil {
		return err
	}
	defer t.Rollback()
	if err := f(whole, t); err != nil {
		return err
	}
	return t.Commit()
}

// indexBatch indexes the next emails of an account; more says that it may have more.
func (s *searchIndex) indexBatch(ctx context.Context, account AccountID) (more bool, err error) {
	var last EmailID
	err = s.db.QueryRowContext(ctx, `SELECT last FROM indexed WHERE account = ?`, account).Scan(&last)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return false, err
	}
	begun := time.Now()
	texts, err := s.source.texts(ctx, account, last, searchBatch)
	if err != nil || len(texts) == 0 {
		return false, err
	}
	known := s.known
	s.known = nil // until what it is told is committed
	if known == nil || len(known) > maxKnown {
		known = map[string]bool{}
	}
	err = s.inTx(ctx, func(whole context.Context, t *sql.Tx) error {
		w := newSearchWriter(whole, t, known)
		for i, e := range texts {
			if err := w.add(e); err != nil {
				return fmt.Errorf("email %d: %w", e.id, err)
			}
			if i%searchStride == 0 && s.source.busy() { // rest as long as it worked
				select {
				case <-time.After(time.Since(begun)):
				case <-ctx.Done():
				}
				begun = time.Now()
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
		_, err = t.ExecContext(whole, `INSERT INTO indexed VALUES (?, ?) ON CONFLICT (account) DO UPDATE SET last = excluded.last`,
			account, texts[len(texts)-1].id)
		return err
	})
	if err == nil {
		s.known = known
	}
	return true, err
}
