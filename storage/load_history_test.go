package storage

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailbox/internal/crashfs"
)

// A history is what the workers of a load went through.
type history [loadWorkers]*past

// A past is that of one worker.
type past struct {
	steps   []step
	before  *snapshot // what it found when the load began
	found   *snapshot // by the latest check
	highest numbers   // that it was ever told, before the load
}

type step struct {
	what     string
	change   counts
	begun    int    // place in the marks
	answered int    // likewise; 0 is never
	failed   string // the answer; "" is that it was done
	saw      *snapshot
}

func newHistory() *history {
	h := &history{}
	for n := range h {
		h[n] = &past{found: &snapshot{}, highest: newNumbers()}
	}
	return h
}

// read takes in the marks of a load that began with what the latest check found.
func (h *history) read(t *testing.T, marks []crashfs.Write) {
	t.Helper()
	for _, p := range h {
		for _, s := range p.steps {
			if s.saw != nil {
				p.highest.raise(s.saw.Numbers)
			}
		}
		p.before, p.steps = p.found, nil
	}
	var line []byte
	for _, w := range marks {
		line = append(line, w.Data...)
		if !bytes.HasSuffix(line, []byte("\n")) {
			continue // a long line takes several writes
		}
		var m mark
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatal(err)
		}
		line = line[:0]
		p := h[m.Worker]
		if m.What != "" {
			p.steps = append(p.steps, step{what: m.What, begun: w.End})
			continue
		}
		switch s := &p.steps[m.Step]; {
		case m.Acknowledged, m.Failed != "":
			s.answered, s.failed = w.End, m.Failed
		case m.Saw != nil:
			s.saw = m.Saw
		default:
			s.change = m.Change
		}
	}
}

// readFile is read of a file, all of which happened. It returns its end.
func (h *history) readFile(t *testing.T, marks string) (end int) {
	t.Helper()
	text, err := os.ReadFile(marks)
	if err != nil {
		t.Fatal(err)
	}
	var all []crashfs.Write
	for line := range bytes.Lines(text) {
		all = append(all, crashfs.Write{End: len(all) + 1, Data: line})
	}
	h.read(t, all)
	return len(all)
}

// check opens what is left of a store, and returns how many workers find a step
// that was not acknowledged.
func (h *history) check(t *testing.T, dir string, at int) (inFlight int) {
	t.Helper()
	db, err := Open(ctx, Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Error(err)
		return 0
	}
	defer db.Close()
	for _, p := range problems(t, db) {
		t.Errorf("verify: %s", p)
	}
	if found := damage(db.search); found != "ok" {
		t.Errorf("the search index is taken for whole: %s", found)
	}
	for n, p := range h {
		if p.found, err = look(db, n); err != nil {
			t.Errorf("worker %d: %v", n, err)
			continue
		}
		told, next, highest := p.until(at)
		if p.found.Rows != told.Rows {
			inFlight++
		}
		if !allowed(told, next, p.found, at) {
			t.Errorf("worker %d does not find what it was told, nor, wholly, what it had begun (%+v):\n%s", n, next, cmp.Diff(lines(told), lines(p.found)))
		}
		goOn(t, db, n, highest)
	}
	return inFlight
}

// until returns what the worker was told last before a place in the marks, the
// step that had begun then, or nil, and the highest numbers of all.
func (p *past) until(at int) (told *snapshot, next *step, highest numbers) {
	told, highest = p.before, newNumbers()
	highest.raise(p.highest)
	for i := range p.steps {
		s := &p.steps[i]
		if s.begun > at {
			break
		}
		if s.answered == 0 || s.answered > at || s.saw == nil {
			return told, s, highest
		}
		told = s.saw
		highest.raise(told.Numbers)
	}
	return told, nil, highest
}

// allowed tells whether a worker that was told one state may find another: the
// same, or what a step made of it that had begun; and nothing else than that
// where it was acknowledged.
func allowed(told *snapshot, next *step, found *snapshot, at int) bool {
	same := found.Rows == told.Rows
	switch {
	case next == nil:
		return same
	case next.answered == 0 || next.answered > at:
		return same || next.leads(told, found)
	case next.failed == "":
		return next.leads(told, found)
	}
	return same || next.what == removal && next.leads(told, found)
}

// leads tells whether the step, done wholly, leads from one state to another.
// Where nobody looked afterwards, the counts tell.
func (s *step) leads(from, to *snapshot) bool {
	if s.saw != nil {
		return to.Rows == s.saw.Rows
	}
	want := counts{}
	maps.Copy(want, from.Counts)
	for what, n := range s.change {
		want.add(what, n)
	}
	return maps.Equal(to.Counts, want)
}

// checkFailed looks whether steps that failed had no effect, and returns how
// many there were.
func (h *history) checkFailed(t *testing.T) (failed int) {
	t.Helper()
	for n, p := range h {
		told := p.before
		for i, s := range p.steps {
			if s.saw == nil {
				break
			}
			if s.failed != "" {
				failed++
				unknown := s
				unknown.saw = nil
				if !allowed(told, &unknown, s.saw, s.answered) {
					t.Errorf("worker %d, step %d: %s failed (%s), and did this:\n%s", n, i, s.what, s.failed, cmp.Diff(lines(told), lines(s.saw)))
				}
			}
			told = s.saw
		}
	}
	return failed
}

// cutShort tells whether a step was never answered.
func (h *history) cutShort() bool {
	for _, p := range h {
		if n := len(p.steps); n > 0 && p.steps[n-1].answered == 0 {
			return true
		}
	}
	return false
}

// damage is what SQLite says of the search index; "ok" is nothing.
func damage(s *searchIndex) (found string) {
	s.use.RLock()
	defer s.use.RUnlock()
	if err := s.db.QueryRow(`PRAGMA integrity_check`).Scan(&found); err != nil {
		return err.Error()
	}
	return found
}

func lines(s *snapshot) []string { return strings.Split(s.Rows, "\n") }

// goOn appends to every mailbox of a worker and makes a new one in every
// account: no number may be one that was told before.
func goOn(t *testing.T, db *DB, worker int, told numbers) {
	t.Helper()
	own, err := accountsOf(db, worker)
	if err != nil {
		t.Error(err)
	}
	for _, a := range own {
		mailboxes, err := db.Mailboxes(ctx, a.ID)
		if err != nil {
			t.Error(err)
		}
		for _, m := range mailboxes {
			validity, uids, err := db.Append(ctx, a.ID, m.ID, []Upload{{Message: spool(t, db, letter(1)), Received: time.Now()}})
			if err != nil || uids[0] < told.UIDNext[validity] {
				t.Errorf("worker %d, %s: appended as %v, UIDNEXT was %d (%v)", worker, m.Name, uids, told.UIDNext[validity], err)
			}
		}
		m, err := db.CreateMailbox(ctx, a.ID, "After", "")
		if _, given := told.UIDNext[m.UIDValidity]; err != nil || given {
			t.Errorf("worker %d: UIDVALIDITY %d is given a second time (%v)", worker, m.UIDValidity, err)
		}
		if m.Created <= told.ModSeq[a.ID] {
			t.Errorf("worker %d: MODSEQ %d follows %d", worker, m.Created, told.ModSeq[a.ID])
		}
	}
}

// inMemory makes a directory in memory where that can be: what is checked there
// need not be durable.
func inMemory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "powercut")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
