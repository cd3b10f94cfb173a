package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"mailbox/internal/message"
)

// A TextQuery is a text that stands somewhere in an email, in any case: in the
// fields of a name, or else in the body, and with Header in the header too.
type TextQuery struct {
	Field  string
	Header bool
	Text   string
}

// TextHits are what the search index knows of a query. Nil, they know nothing.
type TextHits struct {
	last    EmailID  // the last that is indexed
	is, may emailSet // of those that are only in may the text has to be read
}

// Holds tells whether the email of an account's number n fits, where that is known.
func (h *TextHits) Holds(n uint32) (holds, known bool) {
	if h == nil || int64(n) > int64(h.last&0xffffffff) {
		return false, false
	}
	if h.is.has(n) {
		return true, true
	}
	return false, !h.may.has(n)
}

// An emailSet is a set of the emails of an account, one bit for each number.
type emailSet []uint64

func (s emailSet) has(n uint32) bool { return int(n/64) < len(s) && s[n/64]&(1<<(n%64)) != 0 }
func (s emailSet) add(n uint32)      { s[n/64] |= 1 << (n % 64) }

func (s emailSet) join(other emailSet) {
	for i := range s {
		s[i] |= other[i]
	}
}

func (s emailSet) meet(other emailSet) {
	for i := range s {
		s[i] &= other[i]
	}
}

// SearchText asks the search index which emails of an account a query fits. It
// returns nil where the index cannot narrow them down, be that because it is
// damaged: the text of the emails always can.
func (db *DB) SearchText(ctx context.Context, account AccountID, q TextQuery) *TextHits {
	hits, err := db.search.search(ctx, account, q)
	if err != nil {
		if ctx.Err() == nil {
			db.log.Warn("search without the index", "err", err)
			db.search.report(err)
		}
		return nil
	}
	return hits
}

func (s *searchIndex) search(ctx context.Context, account AccountID, q TextQuery) (*TextHits, error) {
	text := message.Fold(q.Text)
	pieces := piecesOf(text)
	pieces = pieces[:min(len(pieces), maxPieces)]
	if !slices.ContainsFunc(pieces, piece.narrows) {
		return nil, nil
	}
	s.use.RLock()
	defer s.use.RUnlock()
	t, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer t.Rollback()
	r := &searchReader{ctx: ctx, t: t, account: account, hits: &TextHits{}}
	err = t.QueryRowContext(ctx, `SELECT last FROM indexed WHERE account = ?`, account).Scan(&r.hits.last)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r.hits.is, r.hits.may = r.set(), r.set()
	kind, isKind := searchFields[strings.ToLower(q.Field)]
	switch {
	case isKind:
		err = r.search(kind, text, pieces)
	case q.Field != "":
		err = r.search(inHeader, text, pieces)
		r.hits.may.join(r.hits.is) // another field may hold it
		clear(r.hits.is)
	default:
		err = r.search(inBody, text, pieces)
		if err == nil && q.Header {
			err = r.search(inHeader, text, pieces)
		}
	}
	return r.hits, err
}

// The most that is asked of the index for one query; the text decides.
const (
	maxPieces = 16 // runs
	maxGrams  = 32 // groups of characters of a run
)

// A piece is a run of a query. Open at an end, it may be a part of a longer
// run in the text.
type piece struct {
	run                 string
	class               class
	openFront, openBack bool
}

func piecesOf(text string) (pieces []piece) {
	split(text, func(start, end int, c class) {
		pieces = append(pieces, piece{run: text[start:end], class: c, openFront: start == 0, openBack: end == len(text)})
	})
	return pieces
}

// narrows tells whether the index can look for the piece: there are no words
// to be found by one or two letters that may stand inside them.
func (p piece) narrows() bool {
	return p.class == wide || !p.openFront && !p.openBack && !isRandom(p.run) || utf8.RuneCountInString(p.run) >= 3
}

// A searchReader answers one query, of one state of the index.
type searchReader struct {
	ctx     context.Context
	t       *sql.Tx
	account AccountID
	hits    *TextHits
	words   map[piece][]string
}

func (r *searchReader) set() emailSet { return make(emailSet, (r.hits.last&0xffffffff)/64+1) }

// search adds to the hits what one kind of text holds.
func (r *searchReader) search(kind textKind, text string, pieces []piece) error {
	if len(pieces) == 1 && pieces[0].run == text {
		is, may, err := r.piece(kind, pieces[0])
		if err != nil {
			return err
		}
		r.hits.is.join(is)
		r.hits.may.join(may)
		return r.match(r.hits.may, kind.word(unfinished))
	}
	all := emailSet(nil)
	for _, p := range pieces {
		if !p.narrows() {
			continue
		}
		is, may, err := r.piece(kind, p)
		if err != nil {
			return err
		}
		is.join(may)
		if all == nil {
			all = is
		} else {
			all.meet(is)
		}
	}
	r.hits.may.join(all)
	return r.match(r.hits.may, kind.word(unfinished))
}

// piece finds the emails whose text of a kind has, or may have, the piece. A
// run that is no part of a longer one is a word, or stands in base64.
func (r *searchReader) piece(kind textKind, p piece) (is, may emailSet, err error) {
	is, may = r.set(), r.set()
	n := utf8.RuneCountInString(p.run)
	switch {
	case p.class == wide && n == 1:
		return is, may, r.match(is, kind.word(p.run)+" *")
	case p.class == wide:
		to := may
		if n == 2 {
			to = is
		}
		return is, may, r.match(to, allOf(p.run, 2, kind.word))
	case p.openFront || p.openBack:
		err = r.matchWordsWith(is, kind, p)
	case !isRandom(p.run):
		err = r.match(is, kind.word(p.run))
	}
	if err != nil || n < 3 {
		return is, may, err
	}
	to := may
	if n == 3 && p.openFront && p.openBack {
		to = is
	}
	return is, may, r.match(to, allOf(p.run, 3, kind.trigram))
}

// allOf is the query for all groups of n characters of a run.
func allOf(run string, n int, term func(string) string) string {
	var all []string
	grams(run, n, func(g string) {
		if len(all) < maxGrams {
			all = append(all, term(g))
		}
	})
	return strings.Join(all, " AND ")
}

// matchWordsWith adds the emails that have a word that a piece is in.
func (r *searchReader) matchWordsWith(to emailSet, kind textKind, p piece) error {
	words, err := r.wordsWith(p)
	if err != nil {
		return err
	}
	for chunk := range slices.Chunk(words, 16) {
		terms := make([]string, len(chunk))
		for i, word := range chunk {
			terms[i] = kind.word(word)
		}
		if err := r.match(to, strings.Join(terms, " OR ")); err != nil {
			return err
		}
	}
	return nil
}

// wordsWith returns the words that a piece is in, at the end or begin where it
// is not open there.
func (r *searchReader) wordsWith(p piece) ([]string, error) {
	if words, found := r.words[p]; found {
		return words, nil
	}
	pattern := p.run
	if p.openFront {
		pattern = "*" + pattern
	}
	if p.openBack {
		pattern += "*"
	}
	rows, err := r.t.QueryContext(r.ctx, `SELECT w.word FROM word_trigram t JOIN word w ON w.id = t.rowid
		WHERE word_trigram MATCH ? AND w.word GLOB ?`, allOf(p.run, 3, quote), pattern)
	words, err := collect(rows, err, func(scan func(...any) error) (word string, err error) { return word, scan(&word) })
	if err != nil {
		return nil, fmt.Errorf("words: %w", err)
	}
	if r.words == nil {
		r.words = map[piece][]string{}
	}
	r.words[p] = words
	return words, nil
}

// match adds the emails of the account that a query of FTS5 finds to a set.
func (r *searchReader) match(to emailSet, query string) error {
	first := EmailID(r.account) << 32
	rows, err := r.t.QueryContext(r.ctx, `SELECT rowid FROM email WHERE email MATCH ? AND rowid BETWEEN ? AND ?`,
		query, first, r.hits.last)
	if err != nil {
		return fmt.Errorf("emails: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id EmailID
		if err := rows.Scan(&id); err != nil {
			return err
		}
		to.add(uint32(id))
	}
	return rows.Err()
}
