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
	"runtime/debug"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// searchVersion changes with the schema below; an index of another version is
// built anew.
const searchVersion = "1"

// searchSchema is the schema of search.db. Header and body are told apart by
// table, because detail=none keeps no columns. word_trigram finds the words
// that a substring is in.
const searchSchema = `
CREATE TABLE state (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE indexed (account INTEGER PRIMARY KEY, last INTEGER NOT NULL) STRICT;
CREATE TABLE word (id INTEGER PRIMARY KEY, word TEXT NOT NULL UNIQUE) STRICT;
CREATE VIRTUAL TABLE word_trigram USING fts5(word, content='', contentless_delete=1, detail=none, tokenize='trigram case_sensitive 1');
CREATE VIRTUAL TABLE header_text USING fts5(text, content='', contentless_delete=1, detail=none, tokenize='unicode61 remove_diacritics 0');
CREATE VIRTUAL TABLE body_text USING fts5(text, content='', contentless_delete=1, detail=none, tokenize='unicode61 remove_diacritics 0');
`

const (
	searchDelay = 300 * time.Millisecond
	searchBatch = 100     // emails of one transaction
	maxKnown    = 50_000  // words that are remembered to be in the index
	maxWord     = 64      // octets; longer ones are no words that anybody searches
	maxText     = 8 << 20 // octets of an email that are indexed
)

// A searchIndex is the full-text index. It is a cache in a file of its own,
// filled behind the mail: no reader relies on an email being in it already.
type searchIndex struct {
	file   string
	log    *slog.Logger
	source searchSource
	db     *sql.DB
	wake   chan struct{}
	cancel context.CancelFunc
	done   sync.WaitGroup

	known map[string]bool // used by run alone

	mu      sync.Mutex
	pending map[AccountID]bool
	gone    []EmailID
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

// open opens an index that was closed well, and marks it as open.
func (s *searchIndex) open(ctx context.Context) error {
	if _, err := os.Stat(s.file); err != nil {
		return err
	}
	if err := s.connect(); err != nil {
		return err
	}
	var version string
	err := s.db.QueryRowContext(ctx, `SELECT value FROM state WHERE key = 'closed'`).Scan(&version)
	if err == nil && version != searchVersion {
		err = errors.New("it was not closed, or is of another version")
	}
	if err == nil {
		err = s.setState(ctx, "")
	}
	if err != nil {
		s.db.Close()
	}
	return err
}

func (s *searchIndex) connect() (err error) {
	s.db, err = sql.Open("sqlite", dsn(s.file, "rwc", "journal_mode(WAL)", "synchronous(OFF)", "busy_timeout(10000)", "cache_size(-8192)"))
	return err
}

// setState says whether the index was closed, by the version that did.
func (s *searchIndex) setState(ctx context.Context, closed string) error {
	_, err := s.db.ExecContext(ctx, `INSERT INTO state VALUES ('closed', ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value`, closed)
	return err
}

// recreate begins with an empty index.
func (s *searchIndex) recreate(ctx context.Context) error {
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(s.file + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := s.connect(); err != nil {
		return err
	}
	_, err := s.db.ExecContext(ctx, searchSchema)
	if err == nil {
		err = s.setState(ctx, "")
	}
	if err != nil {
		s.db.Close()
	}
	return err
}

// Close stops filling, and writes what is not written.
func (s *searchIndex) Close() error {
	s.cancel()
	s.done.Wait()
	ctx := context.Background()
	err := s.dropGone(ctx)
	if err == nil {
		err = s.setState(ctx, searchVersion)
	}
	return errors.Join(err, s.db.Close())
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
		err := s.catchUp(ctx)
		if err == nil || ctx.Err() != nil {
			continue
		}
		s.log.Error("search index", "err", err)
		if isDamage(err) {
			s.rebuild(ctx)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Minute):
			s.kick()
		}
	}
}

func isDamage(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && (e.Code()&0xff == sqlite3.SQLITE_CORRUPT || e.Code()&0xff == sqlite3.SQLITE_NOTADB)
}

// rebuild throws the index away and begins anew.
func (s *searchIndex) rebuild(ctx context.Context) {
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
func (s *searchIndex) catchUp(ctx context.Context) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	for {
		if err := s.dropGone(ctx); err != nil {
			return err
		}
		account, ok := s.take()
		if !ok {
			return nil
		}
		more, err := s.indexBatch(ctx, account)
		if err != nil || more {
			s.mu.Lock()
			s.pending[account] = true
			s.mu.Unlock()
		}
		if err != nil {
			return fmt.Errorf("account %d: %w", account, err)
		}
	}
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
	err := s.inTx(ctx, func(t *sql.Tx) error {
		for _, id := range gone {
			for _, table := range []string{"header_text", "body_text"} {
				if _, err := t.ExecContext(ctx, `DELETE FROM `+table+` WHERE rowid = ?`, id); err != nil {
					return err
				}
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

func (s *searchIndex) inTx(ctx context.Context, f func(*sql.Tx) error) error {
	t, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer t.Rollback()
	if err := f(t); err != nil {
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
	texts, err := s.source.texts(ctx, account, last, searchBatch)
	if err != nil || len(texts) == 0 {
		return false, err
	}
	if s.known == nil || len(s.known) > maxKnown {
		s.known = map[string]bool{}
	}
	err = s.inTx(ctx, func(t *sql.Tx) error {
		w, err := newSearchWriter(ctx, t, s.known)
		if err != nil {
			return err
		}
		for _, e := range texts {
			if err := w.add(e); err != nil {
				return fmt.Errorf("email %d: %w", e.id, err)
			}
		}
		_, err = t.ExecContext(ctx, `INSERT INTO indexed VALUES (?, ?) ON CONFLICT (account) DO UPDATE SET last = excluded.last`,
			account, texts[len(texts)-1].id)
		return err
	})
	if err != nil {
		s.known = nil // what it was told is rolled back
	}
	return true, err
}

// A searchWriter indexes emails in one transaction.
type searchWriter struct {
	ctx                          context.Context
	header, body, word, trigrams *sql.Stmt
	known                        map[string]bool // words that are in the index
}

// newSearchWriter prepares the statements; they are closed with the transaction.
func newSearchWriter(ctx context.Context, t *sql.Tx, known map[string]bool) (*searchWriter, error) {
	w := &searchWriter{ctx: ctx, known: known}
	for _, s := range []struct {
		stmt  **sql.Stmt
		query string
	}{
		{&w.header, `INSERT OR REPLACE INTO header_text (rowid, text) VALUES (?, ?)`},
		{&w.body, `INSERT OR REPLACE INTO body_text (rowid, text) VALUES (?, ?)`},
		{&w.word, `INSERT OR IGNORE INTO word (word) VALUES (?)`},
		{&w.trigrams, `INSERT INTO word_trigram (rowid, word) VALUES (?, ?)`},
	} {
		var err error
		if *s.stmt, err = t.PrepareContext(ctx, s.query); err != nil {
			return nil, err
		}
	}
	return w, nil
}

func (w *searchWriter) add(e emailText) error {
	if _, err := w.header.ExecContext(w.ctx, e.id, e.header); err != nil {
		return err
	}
	if _, err := w.body.ExecContext(w.ctx, e.id, e.body); err != nil {
		return err
	}
	for _, text := range []string{e.header, e.body} {
		for _, word := range words(text) {
			if len(word) > maxWord || w.known[word] {
				continue
			}
			if err := w.addWord(word); err != nil {
				return err
			}
			w.known[word] = true
		}
	}
	return nil
}

func (w *searchWriter) addWord(word string) error {
	r, err := w.word.ExecContext(w.ctx, word)
	if err != nil {
		return err
	}
	if n, err := r.RowsAffected(); err != nil || n == 0 {
		return err
	}
	id, err := r.LastInsertId()
	if err == nil {
		_, err = w.trigrams.ExecContext(w.ctx, id, word)
	}
	return err
}

// words returns the words of a text as unicode61 parts and folds them.
func words(text string) []string {
	return strings.FieldsFunc(strings.ToLower(text), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsNumber(r) && !unicode.IsMark(r) || r == utf8.RuneError
	})
}

// find returns the emails of an account in whose header or body a word stands.
func (s *searchIndex) find(ctx context.Context, account AccountID, word string) ([]EmailID, error) {
	match := `"` + strings.ReplaceAll(word, `"`, `""`) + `"`
	rows, err := s.db.QueryContext(ctx, `SELECT rowid FROM header_text WHERE header_text MATCH ?1 AND rowid BETWEEN ?2 << 32 AND (?2 + 1) << 32
		UNION SELECT rowid FROM body_text WHERE body_text MATCH ?1 AND rowid BETWEEN ?2 << 32 AND (?2 + 1) << 32 ORDER BY 1`, match, account)
	return collect(rows, err, func(scan func(...any) error) (id EmailID, err error) { return id, scan(&id) })
}
