package storage

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// A load is what TestLoad does, as the other process of the tests that kill it
// or cut its power: several workers change a store at once, each in accounts of
// its own, and mark in a file what they begin and what was acknowledged.
type load struct {
	Data, Marks string // the directory of the store; the file
	Seed        uint64
	Times       int  // the store is opened, and closed
	Steps       int  // of each worker, each time
	Faulty      bool // the disk makes steps fail
}

const loadWorkers = 4

// start begins the load. The process ends with an error where the test in it fails.
func (l load) start(t *testing.T) (cmd *exec.Cmd, output *strings.Builder) {
	t.Helper()
	how, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	output = &strings.Builder{}
	cmd = exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestLoad$")
	cmd.Env = append(os.Environ(), "MAILBOX_LOAD="+string(how))
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, output
}

// TestLoad is described at load.
func TestLoad(t *testing.T) {
	how := os.Getenv("MAILBOX_LOAD")
	if how == "" {
		t.Skip("other tests run it")
	}
	var l load
	if err := json.Unmarshal([]byte(how), &l); err != nil {
		t.Fatal(err)
	}
	marks, err := os.OpenFile(l.Marks, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer marks.Close()
	workers := make([]*worker, loadWorkers)
	for n := range workers {
		workers[n] = &worker{t: t, load: l, n: n, random: rand.New(rand.NewPCG(l.Seed, uint64(n))), marks: marks}
	}
	for range l.Times {
		db := l.open(t)
		var all sync.WaitGroup
		for _, w := range workers {
			w.db = db
			all.Go(w.work)
		}
		all.Wait()
		if err := db.Close(); err != nil && !l.Faulty {
			t.Fatal(err)
		}
		if db.writer.isBroken() {
			return
		}
	}
}

// open opens the store, again and again where the disk makes that fail.
func (l load) open(t *testing.T) *DB {
	db, err := Open(ctx, Options{Dir: l.Data, Log: slog.New(slog.DiscardHandler)})
	for tries := 1; err != nil && l.Faulty && tries < 200; tries++ {
		db, err = Open(ctx, Options{Dir: l.Data, Log: slog.New(slog.DiscardHandler)})
	}
	if err == nil {
		err = db.SetDomains([]string{"home.example"}, "")
	}
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// A mark is what a worker notes: that it begins a step, what that will change,
// what came of it, and what the worker saw of its accounts afterwards.
type mark struct {
	Worker, Step int
	What         string    `json:",omitempty"` // begins now
	Change       counts    `json:",omitempty"`
	Acknowledged bool      `json:",omitempty"`
	Failed       string    `json:",omitempty"`
	Saw          *snapshot `json:",omitempty"`
}

// loadSeed is MAILBOX_SEED, or any. It is printed.
func loadSeed(t *testing.T) uint64 {
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

// A snapshot is all of a worker's accounts as its clients can see them.
type snapshot struct {
	Rows     string
	Counts   counts
	Accounts map[string]AccountID
	Numbers  numbers
}

// numbers are those that are never given twice.
type numbers struct {
	UIDNext map[uint32]UID       // of each UIDVALIDITY
	ModSeq  map[AccountID]ModSeq // of each account
}

func newNumbers() numbers {
	return numbers{UIDNext: map[uint32]UID{}, ModSeq: map[AccountID]ModSeq{}}
}

// raise makes the numbers at least those of others.
func (n numbers) raise(other numbers) {
	for validity, uid := range other.UIDNext {
		n.UIDNext[validity] = max(n.UIDNext[validity], uid)
	}
	for account, m := range other.ModSeq {
		n.ModSeq[account] = max(n.ModSeq[account], m)
	}
}

// counts say how many there are: accounts and mailboxes of a name, messages in
// a mailbox, recipients in the queue. Those that are 0 are left out.
type counts map[string]int

func (c counts) add(what string, n int) {
	if c[what] += n; c[what] == 0 {
		delete(c, what)
	}
}

// A worker takes its steps one after the other.
type worker struct {
	t *testing.T
	load
	n      int
	db     *DB
	random *rand.Rand
	marks  *os.File

	a, b  AccountID
	steps int
	saw   *snapshot
}

// step takes one step, and marks it. It returns false when the store is broken.
func (w *worker) step(what string, do func() error) bool {
	w.mark(mark{What: what})
	err := stopped(do)
	switch {
	case err == nil:
		w.mark(mark{Acknowledged: true})
	case !w.Faulty:
		w.t.Errorf("worker %d: %s: %v", w.n, what, err)
		return false
	case w.db.writer.isBroken():
		return false
	default:
		w.mark(mark{Failed: err.Error()})
	}
	saw, err := look(w.db, w.n)
	if err != nil && w.Faulty {
		saw, err = look(w.db, w.n)
	}
	if err != nil {
		w.t.Errorf("worker %d after %s: %v", w.n, what, err)
		return false
	}
	w.saw = saw
	w.mark(mark{Saw: saw})
	w.steps++
	return true
}

// A stop is the error that ends a step in its middle.
type stop struct{ error }

// stopped runs a step, and returns the error of it, or of must in it.
func stopped(do func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			s, ok := r.(stop)
			if !ok {
				panic(r)
			}
			err = s.error
		}
	}()
	return do()
}

// must ends the step when what it needs cannot be had.
func must[T any](got T, err error) T {
	if err != nil {
		panic(stop{err})
	}
	return got
}

func (w *worker) mark(m mark) {
	m.Worker, m.Step = w.n, w.steps
	line, err := json.Marshal(m)
	if err == nil {
		_, err = w.marks.Write(append(line, '\n'))
	}
	if err != nil {
		w.t.Error(err)
	}
}

// expect marks what the step will change, if it is done. A step that does not
// say so changes no counts.
func (w *worker) expect(c counts) { w.mark(mark{Change: c}) }

// look takes a snapshot of the accounts of a worker.
func look(db *DB, worker int) (*snapshot, error) {
	s := &snapshot{Counts: counts{}, Accounts: map[string]AccountID{}, Numbers: newNumbers()}
	own, err := accountsOf(db, worker)
	if err != nil {
		return nil, err
	}
	var rows strings.Builder
	for _, a := range own {
		fmt.Fprintf(&rows, "account %s %d: %d octets, %d messages, modseq %d\n", a.Name, a.ID, a.Used, a.Messages, a.ModSeq)
		s.Counts.add(a.Name, 1)
		s.Accounts[a.Name], s.Numbers.ModSeq[a.ID] = a.ID, a.ModSeq
		mailboxes, err := db.Mailboxes(ctx, a.ID)
		if err != nil {
			return nil, err
		}
		for _, m := range mailboxes {
			fmt.Fprintf(&rows, "  %+v\n", m)
			s.Numbers.UIDNext[m.UIDValidity] = m.UIDNext
			n, err := lookInto(db, &rows, m)
			if err != nil {
				return nil, err
			}
			s.Counts.add(a.Name+"/"+m.Name, 1)
			s.Counts.add(messagesIn(a.Name, m.Name), n)
		}
		queue, err := db.Queue(ctx, QueueFilter{Account: a.ID}, 1000)
		if err != nil {
			return nil, err
		}
		for _, q := range queue {
			fmt.Fprintf(&rows, "  queued %d in %d: blob %d from %s to %s, attempts %d, due %d\n",
				q.QueuedRecipient.ID, q.QueuedMessage.ID, q.Blob, q.Sender, q.Address, q.Attempts, q.Due.Unix())
		}
		s.Counts.add("queued", len(queue))
	}
	s.Rows = rows.String()
	return s, nil
}

func messagesIn(account, mailbox string) string { return "messages in " + account + "/" + mailbox }

func lookInto(db *DB, rows *strings.Builder, m Mailbox) (n int, err error) {
	x, err := db.Index(ctx, m.Account, m.ID)
	if err != nil {
		return 0, err
	}
	var uids []UID
	x.All(func(_ int, e Entry) bool {
		fmt.Fprintf(rows, "    %d: email %d, modseq %d, flags %v %v\n", e.UID, x.Email(e), e.ModSeq, e.Flags.Names(), x.Keywords(e.Keywords))
		uids = append(uids, e.UID)
		return true
	})
	messages, err := db.Messages(ctx, m.Account, m.ID, uids, WantEnvelope)
	for _, msg := range messages { // Verify holds the octets of a blob to its row
		fmt.Fprintf(rows, "    %d: thread %d, blob %d, %d octets of %d, %s\n", msg.UID, msg.Thread, msg.Blob, msg.Size, msg.Received.Unix(), msg.Envelope)
	}
	return len(uids), err
}

func accountsOf(db *DB, worker int) (own []Account, err error) {
	all, err := db.Accounts(ctx)
	for _, a := range all {
		if strings.HasPrefix(a.Name, fmt.Sprintf("w%d-", worker)) {
			own = append(own, a)
		}
	}
	return own, err
}
