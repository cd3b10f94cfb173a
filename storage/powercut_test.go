package storage

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mailbox/internal/crashfs"
)

// TestPowerCut holds promises 1, 2 and 6 against a loss of power: whatever the
// disk did not have to keep may be lost, in part or in another order. Every
// worker then finds its accounts as its last acknowledged step left them, or,
// where one had begun, as the next one would have; verify finds nothing; and
// going on gives no number twice. It makes 40 states of the disk, with
// MAILBOX_LONG 600. MAILBOX_SEED repeats the choices; what the workers do at
// the same time is never quite the same.
func TestPowerCut(t *testing.T) {
	states, seed := 40, seedOf(t)
	if os.Getenv("MAILBOX_LONG") != "" {
		states = 600
	}
	disk := crashfs.Mount(t)
	load := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestPowerCutLoad$")
	load.Env = append(os.Environ(), "MAILBOX_POWERCUT_DISK="+disk.Dir(), fmt.Sprintf("MAILBOX_SEED=%d", seed))
	if out, err := load.CombinedOutput(); err != nil {
		t.Fatalf("load: %v\n%s", err, out)
	}
	h := readHistory(t, disk.Appended("marks"))
	random := rand.New(rand.NewPCG(seed, 1<<32))
	inFlight := 0
	for i := range states {
		at := random.IntN(disk.Len() + 1)
		if i%8 == 0 { // when the store has just been closed
			at = disk.Len() - random.IntN(40)
		}
		dir := inMemory(t)
		if err := disk.PowerCut(at, random, "data", dir); err != nil {
			t.Fatal(err)
		}
		inFlight += h.check(t, dir, at)
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			t.Fatalf("the power was cut after %d of %d changes", at, disk.Len())
		}
	}
	t.Logf("%d states of a disk after up to %d changes; %d times a step that was not acknowledged was there", states, disk.Len(), inFlight)
}

// seedOf is MAILBOX_SEED, or a fresh one, which it tells.
func seedOf(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64() >> 1
	if s := os.Getenv("MAILBOX_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("MAILBOX_SEED=%d", seed)
	return seed
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

// A history is the steps of each worker, in their order.
type history [powerCutWorkers][]step

type step struct {
	what            string
	begun, answered int // places in the log of the disk
	saw             *snapshot
}

func readHistory(t *testing.T, marks []crashfs.Write) *history {
	h := &history{}
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
		steps := &h[m.Worker]
		switch {
		case m.What != "":
			*steps = append(*steps, step{what: m.What, begun: w.End})
		case m.Saw == nil:
			(*steps)[m.Step].answered = w.End
		default:
			(*steps)[m.Step].saw = m.Saw
		}
	}
	return h
}

// check opens what a power cut left, and returns how many workers find a step
// that was not acknowledged.
func (h *history) check(t *testing.T, dir string, at int) (inFlight int) {
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
	for n, steps := range h {
		last := -1
		for last+1 < len(steps) && steps[last+1].answered <= at {
			last++
		}
		told := &snapshot{}
		if last >= 0 {
			told = steps[last].saw
		}
		got := look(t, db, n)
		switch next := last + 1; {
		case got.Rows == told.Rows:
		case next == len(steps) || steps[next].begun > at:
			t.Errorf("worker %d does not find what step %d (%s) left:\n%s", n, last, steps[max(last, 0)].what, cmp.Diff(lines(told), lines(got)))
		case got.Rows == steps[next].saw.Rows:
			inFlight++
		default:
			t.Errorf("worker %d finds neither what step %d left nor what step %d (%s) would have:\n%s\n%s", n, last, next, steps[next].what,
				cmp.Diff(lines(told), lines(got)), cmp.Diff(lines(steps[next].saw), lines(got)))
		}
		goOn(t, db, n, steps[:last+1])
	}
	return inFlight
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
func goOn(t *testing.T, db *DB, worker int, acknowledged []step) {
	next, modseq := map[uint32]UID{}, map[AccountID]ModSeq{}
	for _, s := range acknowledged {
		for validity, uid := range s.saw.UIDNext {
			next[validity] = max(next[validity], uid)
		}
		for id, m := range s.saw.ModSeq {
			modseq[id] = max(modseq[id], m)
		}
	}
	for _, a := range accountsOf(t, db, worker) {
		mailboxes, err := db.Mailboxes(ctx, a.ID)
		if err != nil {
			t.Error(err)
		}
		for _, m := range mailboxes {
			validity, uids, err := db.Append(ctx, a.ID, m.ID, []Upload{{Message: spool(t, db, letter(1)), Received: time.Now()}})
			if err != nil || uids[0] < next[validity] {
				t.Errorf("worker %d, %s: appended as %v, UIDNEXT was %d (%v)", worker, m.Name, uids, next[validity], err)
			}
		}
		m, err := db.CreateMailbox(ctx, a.ID, "After", "")
		if _, given := next[m.UIDValidity]; err != nil || given {
			t.Errorf("worker %d: UIDVALIDITY %d is given a second time (%v)", worker, m.UIDValidity, err)
		}
		if m.Created <= modseq[a.ID] {
			t.Errorf("worker %d: MODSEQ %d follows %d", worker, m.Created, modseq[a.ID])
		}
	}
}
