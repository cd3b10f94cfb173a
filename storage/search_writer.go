package storage

import (
	"context"
	"database/sql"
	"strings"

	"mailbox/internal/message"
)

// A searchWriter indexes emails in one transaction.
type searchWriter struct {
	ctx        context.Context
	t          *sql.Tx
	stmts      map[string]*sql.Stmt // closed with the transaction
	known      map[string]bool      // words that are in the index
	vocabulary *vocabulary
	terms      []byte // of one email
}

func newSearchWriter(ctx context.Context, t *sql.Tx, known map[string]bool) *searchWriter {
	return &searchWriter{ctx: ctx, t: t, stmts: map[string]*sql.Stmt{}, known: known, vocabulary: newVocabulary()}
}

func (w *searchWriter) exec(query string, args ...any) (sql.Result, error) {
	s := w.stmts[query]
	if s == nil {
		var err error
		if s, err = w.t.PrepareContext(w.ctx, query); err != nil {
			return nil, err
		}
		w.stmts[query] = s
	}
	return s.ExecContext(w.ctx, args...)
}

func (w *searchWriter) add(e emailText) error {
	w.terms = w.terms[:0]
	for kind, text := range e.texts {
		w.vocabulary.clear()
		w.vocabulary.add(message.Fold(text))
		if e.unfinished {
			w.vocabulary.words[unfinished] = struct{}{}
		}
		for g := range w.vocabulary.trigrams {
			w.terms = append(kind.appendTrigram(w.terms, g), ' ')
		}
		for word := range w.vocabulary.words {
			w.terms = append(kind.appendWord(w.terms, word), ' ')
			if err := w.addWord(word); err != nil {
				return err
			}
		}
	}
	_, err := w.exec(`INSERT INTO email (rowid, terms) VALUES (?, ?)`, e.id, string(w.terms))
	return err
}

// addWord makes a word one that substrings are looked for in. Those of two
// letters are never: they are the least that is looked for.
func (w *searchWriter) addWord(word string) error {
	if w.known[word] || len(word) < 3 || !isPlain(word) {
		return nil
	}
	r, err := w.exec(`INSERT OR IGNORE INTO word (word) VALUES (?)`, word)
	if err != nil {
		return err
	}
	n, err := r.RowsAffected()
	if err == nil && n > 0 {
		var id int64
		if id, err = r.LastInsertId(); err == nil {
			_, err = w.exec(`INSERT INTO word_trigram (rowid, word) VALUES (?, ?)`, id, word)
		}
	}
	if err == nil {
		w.known[strings.Clone(word)] = true // the word is a part of a whole text
	}
	return err
}

// isPlain tells whether a word was a plain run.
func isPlain(word string) bool {
	for _, r := range word {
		return classOf(r) == plain
	}
	return false
}
