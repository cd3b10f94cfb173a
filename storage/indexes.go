package storage

import (
	"container/list"
	"context"
	"errors"
	"sync"
)

// indexBytes is the memory that pictures of mailboxes may take before the
// least recently used are dropped. A session keeps its own alive.
const indexBytes = 64 << 20

// indexes holds the newest picture of every mailbox in use. The writer applies
// changes in commit order; a picture that is being loaded meanwhile takes them
// from its pending list.
type indexes struct {
	db      *DB
	mu      sync.Mutex
	loaded  map[MailboxID]*list.Element // of *Index
	lru     *list.List                  // front: most recently used
	bytes   int
	loading map[MailboxID]*loading
}

type loading struct {
	done    chan struct{}
	pending []Change
	x       *Index
	err     error
}

func newIndexes(db *DB) *indexes {
	return &indexes{db: db, loaded: map[MailboxID]*list.Element{}, lru: list.New(), loading: map[MailboxID]*loading{}}
}

// Index returns the newest picture of a mailbox. It fails with ErrNonexistent
// when the mailbox is gone or another account's.
func (db *DB) Index(ctx context.Context, account AccountID, mailbox MailboxID) (*Index, error) {
	x, err := db.indexes.get(ctx, account, mailbox)
	if err == nil && x.Account != account {
		return nil, ErrNonexistent
	}
	return x, err
}

func (s *indexes) get(ctx context.Context, account AccountID, id MailboxID) (*Index, error) {
	s.mu.Lock()
	if e := s.loaded[id]; e != nil {
		s.lru.MoveToFront(e)
		x := e.Value.(*Index)
		s.mu.Unlock()
		return x, nil
	}
	l := s.loading[id]
	if l == nil {
		l = &loading{done: make(chan struct{})}
		s.loading[id] = l
		s.mu.Unlock()
		s.finish(id, l, account)
		return l.x, l.err
	}
	s.mu.Unlock()
	select {
	case <-l.done:
		return l.x, l.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// finish loads a picture, adds what was committed meanwhile, and tells all who wait.
func (s *indexes) finish(id MailboxID, l *loading, account AccountID) {
	x, err := s.load(account, id)
	s.mu.Lock()
	defer s.mu.Unlock()
	defer close(l.done)
	l.err = errReading            // if what follows panics
	current := s.loading[id] == l // unless all was forgotten meanwhile
	if current {
		delete(s.loading, id)
	}
	if err == nil {
		e := x.edit()
		for _, c := range l.pending {
			if c.Kind == MailboxChanged && c.gone {
				err = ErrNonexistent
			}
			if c.ModSeq > x.asOf {
				e.apply(c)
			}
		}
		x = e.done()
	}
	l.x, l.err = x, err
	if err == nil && current {
		s.loaded[id] = s.lru.PushFront(x)
		s.bytes += x.Bytes()
		s.evict()
	}
}

var errReading = errors.New("panic while a mailbox was read")

// load reads a picture. Others wait for it: it ends neither with its caller nor
// in a panic.
func (s *indexes) load(account AccountID, id MailboxID) (x *Index, err error) {
	err = errReading
	defer s.db.recovered("read a mailbox")
	return s.db.loadIndex(context.Background(), account, id)
}

// forget lets go of all pictures: they are read again when somebody wants one.
func (s *indexes) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.loaded)
	clear(s.loading)
	s.lru.Init()
	s.bytes = 0
}

// apply brings every loaded picture up to date, after a commit.
func (s *indexes) apply(changes []Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	edits := map[MailboxID]*edit{}
	for _, c := range changes {
		if l := s.loading[c.Mailbox]; l != nil {
			l.pending = append(l.pending, c)
			continue
		}
		el := s.loaded[c.Mailbox]
		if el == nil {
			continue
		}
		if c.Kind == MailboxChanged && c.gone {
			s.drop(el)
			delete(edits, c.Mailbox)
			continue
		}
		e := edits[c.Mailbox]
		if e == nil {
			e = el.Value.(*Index).edit()
			edits[c.Mailbox] = e
		}
		e.apply(c)
	}
	for id, e := range edits {
		el := s.loaded[id]
		s.bytes -= el.Value.(*Index).Bytes()
		x := e.done()
		el.Value = x
		s.bytes += x.Bytes()
	}
	s.evict()
}

func (s *indexes) evict() {
	for s.bytes > indexBytes && s.lru.Len() > 1 {
		s.drop(s.lru.Back())
	}
}

func (s *indexes) drop(el *list.Element) {
	x := s.lru.Remove(el).(*Index)
	delete(s.loaded, x.Mailbox)
	s.bytes -= x.Bytes()
}

// loadIndex reads a picture from the rows, as of one commit.
func (db *DB) loadIndex(ctx context.Context, account AccountID, id MailboxID) (*Index, error) {
	t, err := db.readDB.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer t.Rollback()
	x := &Index{Mailbox: id, UIDNext: 1}
	var keywords string
	var next UID
	err = t.QueryRowContext(ctx, `SELECT m.account, m.uidvalidity, m.uidnext, m.changed, a.modseq, m.keywords
		FROM mailbox m JOIN account a ON a.id = m.account WHERE m.id = ? AND m.account = ? AND m.present = 1`, id, account).
		Scan(&x.Account, &x.UIDValidity, &next, &x.HighestModSeq, &x.asOf, &keywords)
	if err != nil {
		if classify(err) == ErrNotFound {
			return nil, ErrNonexistent
		}
		return nil, err
	}
	x.names = splitKeywords(keywords)
	rows, err := t.QueryContext(ctx, `SELECT uid, email, flags, keywords, changed, day FROM message WHERE mailbox = ? ORDER BY uid`, id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	e := x.edit()
	var uid, email, flags, set, modseq, day any // what has a type takes database/sql twice as long
	row := []any{&uid, &email, &flags, &set, &modseq, &day}
	for rows.Next() {
		if err := rows.Scan(row...); err != nil {
			return nil, err
		}
		m := entryChange{uid: UID(uid.(int64)), email: EmailID(email.(int64)), flags: Flags(flags.(int64)), day: uint16(day.(int64))}
		if set, ok := set.([]byte); ok {
			m.keywords = string(set)
		}
		e.add(m, ModSeq(modseq.(int64)))
	}
	x = e.done()
	x.UIDNext = next
	return x, rows.Err()
}

// pictures returns the pictures that are loaded.
func (s *indexes) pictures() []*Index {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*Index, 0, len(s.loaded))
	for _, el := range s.loaded {
		all = append(all, el.Value.(*Index))
	}
	return all
}
