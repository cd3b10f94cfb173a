package storage

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestPowerCutLoad is the other process of TestPowerCut: several workers change
// a store at once, each in accounts of its own, and mark in a file what they
// begin and what was acknowledged. In the middle the store is opened anew.
func TestPowerCutLoad(t *testing.T) {
	disk := os.Getenv("MAILBOX_POWERCUT_DISK")
	if disk == "" {
		t.Skip("TestPowerCut runs it")
	}
	seed, err := strconv.ParseUint(os.Getenv("MAILBOX_SEED"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	marks, err := os.OpenFile(filepath.Join(disk, "marks"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer marks.Close()
	workers := make([]*worker, powerCutWorkers)
	for n := range workers {
		workers[n] = &worker{t: t, n: n, random: rand.New(rand.NewPCG(seed, uint64(n))), marks: marks}
	}
	for range 2 {
		db := openAt(t, filepath.Join(disk, "data"))
		var all sync.WaitGroup
		for _, w := range workers {
			w.db = db
			all.Go(w.work)
		}
		all.Wait()
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

const (
	powerCutWorkers = 4
	powerCutSteps   = 50 // of each worker, each time that the store is open
)

// A mark is what a worker notes: that it begins a step, that the step was
// acknowledged, and what the worker saw of its accounts afterwards.
type mark struct {
	Worker, Step int
	What         string    `json:",omitempty"` // begins now
	Saw          *snapshot `json:",omitempty"` // nil: it was acknowledged
}

// A snapshot is all of a worker's accounts as its clients can see them.
type snapshot struct {
	Rows    string
	UIDNext map[uint32]UID       // of each UIDVALIDITY
	ModSeq  map[AccountID]ModSeq // of each account
}

type worker struct {
	t      *testing.T
	n      int
	db     *DB
	random *rand.Rand
	marks  *os.File

	a, b  AccountID
	steps int
}

func (w *worker) work() {
	if w.steps == 0 {
		w.step("create the first account", func() (err error) { w.a, err = w.create("a"); return err })
		w.step("create the second account", func() (err error) { w.b, err = w.create("b"); return err })
		w.step("create a mailbox", func() error { return w.createMailbox("Work") })
	}
	steps := []struct {
		what string
		do   func() error
	}{
		{"deliver to all", func() error { return w.deliver(w.letter(2_000), nil, w.accounts()...) }},
		{"deliver a large message to all", func() error { return w.deliver(w.letter(400_000), nil, w.accounts()...) }},
		{"deliver and queue", func() error { return w.deliver(w.letter(9_000), w.outgoing(), w.a, w.b) }},
		{"queue a large message", func() error { return w.deliver(w.letter(300_000), w.outgoing()) }},
		{"append three", func() error { return w.append(w.letter(500), w.letter(20_000), w.letter(100)) }},
		{"append large ones", func() error { return w.append(w.letter(300_000), w.letter(270_000)) }},
		{"copy", func() error { return w.transfer(w.db.Copy) }},
		{"move", func() error { return w.transfer(w.db.Move) }},
		{"store flags", w.store},
		{"expunge", w.expunge},
		{"replace", w.replace},
		{"rename a mailbox", w.rename},
		{"settle", w.settle},
		{"deliver a report", w.report},
		{"unlink the files of blobs that are gone", w.unlink},
		{"create or delete a mailbox", w.createOrDelete},
		{"create or remove an account", w.createOrRemove},
	}
	for range powerCutSteps {
		s := steps[w.random.IntN(len(steps))]
		w.step(s.what, s.do)
	}
}

// step takes one step, and marks it.
func (w *worker) step(what string, do func() error) {
	w.mark(mark{What: what})
	if err := do(); err != nil {
		w.t.Errorf("worker %d: %s: %v", w.n, what, err)
	}
	w.mark(mark{})
	w.mark(mark{Saw: look(w.t, w.db, w.n)})
	w.steps++
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

// look takes a snapshot of the accounts of a worker.
func look(t testing.TB, db *DB, worker int) *snapshot {
	t.Helper()
	s := &snapshot{UIDNext: map[uint32]UID{}, ModSeq: map[AccountID]ModSeq{}}
	var rows strings.Builder
	for _, a := range accountsOf(t, db, worker) {
		fmt.Fprintf(&rows, "account %s %d: %d octets, %d messages, modseq %d\n", a.Name, a.ID, a.Used, a.Messages, a.ModSeq)
		s.ModSeq[a.ID] = a.ModSeq
		mailboxes, err := db.Mailboxes(ctx, a.ID)
		if err != nil {
			t.Error(err)
		}
		for _, m := range mailboxes {
			fmt.Fprintf(&rows, "  %+v\n", m)
			s.UIDNext[m.UIDValidity] = m.UIDNext
			lookInto(t, db, &rows, m)
		}
		queue, err := db.Queue(ctx, QueueFilter{Account: a.ID}, 1000)
		if err != nil {
			t.Error(err)
		}
		for _, q := range queue {
			fmt.Fprintf(&rows, "  queued %d in %d: blob %d from %s to %s, attempts %d, due %d\n",
				q.QueuedRecipient.ID, q.QueuedMessage.ID, q.Blob, q.Sender, q.Address, q.Attempts, q.Due.Unix())
		}
	}
	s.Rows = rows.String()
	return s
}

func lookInto(t testing.TB, db *DB, rows *strings.Builder, m Mailbox) {
	t.Helper()
	x, err := db.Index(ctx, m.Account, m.ID)
	if err != nil {
		t.Error(err)
		return
	}
	x.All(func(_ int, e Entry) bool {
		fmt.Fprintf(rows, "    %d: email %d, modseq %d, flags %v %v\n", e.UID, x.Email(e), e.ModSeq, e.Flags.Names(), x.Keywords(e.Keywords))
		return true
	})
	messages, err := db.Messages(ctx, m.Account, m.ID, uids(t, db, m.Account, m.ID), WantEnvelope)
	if err != nil {
		t.Error(err)
	}
	for _, msg := range messages { // Verify holds the octets of a blob to its row
		fmt.Fprintf(rows, "    %d: thread %d, blob %d, %d octets of %d, %s\n", msg.UID, msg.Thread, msg.Blob, msg.Size, msg.Received.Unix(), msg.Envelope)
	}
}

func accountsOf(t testing.TB, db *DB, worker int) (own []Account) {
	t.Helper()
	all, err := db.Accounts(ctx)
	if err != nil {
		t.Error(err)
	}
	for _, a := range all {
		if strings.HasPrefix(a.Name, fmt.Sprintf("w%d-", worker)) {
			own = append(own, a)
		}
	}
	return own
}

// letter is a text that zstd cannot make small.
func (w *worker) letter(size int) *Spooled {
	text := []byte(fmt.Sprintf("Subject: step %d of %d\r\n\r\n", w.steps, w.n))
	for len(text) < size {
		text = strconv.AppendUint(text, w.random.Uint64(), 36)
		text = append(text, "\r\n"...)
	}
	return spool(w.t, w.db, string(text))
}

func (w *worker) create(name string) (AccountID, error) {
	salt, n := NewSalt()
	return w.db.CreateAccount(ctx, Account{Name: fmt.Sprintf("w%d-%s@home.example", w.n, name), Salt: salt, Iterations: n},
		Credential{StoredKey: []byte{1}, ServerKey: []byte{2}})
}

func (w *worker) createMailbox(name string) error {
	_, err := w.db.CreateMailbox(ctx, w.a, name, "")
	return err
}

func (w *worker) outgoing() *Outgoing {
	return &Outgoing{Account: w.a, Sender: "a@home.example", To: []OutgoingRecipient{{Address: "x@one.example"}, {Address: "y@two.example"}}}
}

func (w *worker) deliver(m *Spooled, queue *Outgoing, to ...AccountID) error {
	d := delivery(m, "INBOX", to...)
	d.Queue = queue
	return w.db.Deliver(ctx, d)
}

func (w *worker) append(letters ...*Spooled) error {
	uploads := make([]Upload, len(letters))
	for i, m := range letters {
		uploads[i] = Upload{Message: m, Received: time.Unix(1_790_000_000, 0), Flags: Seen, Keywords: []string{"kept"}}
	}
	_, _, err := w.db.Append(ctx, w.a, w.mailbox("INBOX").ID, uploads)
	return err
}

// mailbox is the one of that name, or the one that has been renamed.
func (w *worker) mailbox(name string) Mailbox {
	all, err := w.db.Mailboxes(ctx, w.a)
	if err != nil {
		w.t.Error(err)
	}
	i := slices.IndexFunc(all, func(m Mailbox) bool { return strings.HasPrefix(m.Name, name) })
	if i < 0 {
		return Mailbox{}
	}
	return all[i]
}

// some chooses messages of a mailbox.
func (w *worker) some(m Mailbox) (some []UID) {
	for _, uid := range uids(w.t, w.db, w.a, m.ID) {
		if w.random.IntN(4) == 0 {
			some = append(some, uid)
		}
	}
	return some
}

func (w *worker) transfer(do func(ctx context.Context, account AccountID, from MailboxID, uids []UID, to MailboxID) (CopyResult, error)) error {
	from, to := w.mailbox("INBOX"), w.mailbox("Work")
	if w.random.IntN(2) == 0 {
		from, to = to, from
	}
	_, err := do(ctx, w.a, from.ID, w.some(from), to.ID)
	return err
}

func (w *worker) store() error {
	m := w.mailbox("INBOX")
	change := FlagChange{Op: FlagOp(w.random.IntN(3)), Flags: Flags(w.random.IntN(32)), Keywords: []string{fmt.Sprintf("k%d", w.random.IntN(4))}}
	_, err := w.db.StoreFlags(ctx, w.a, m.ID, w.some(m), change)
	return err
}

func (w *worker) expunge() error {
	m := w.mailbox([]string{"INBOX", "Work"}[w.random.IntN(2)])
	some := w.some(m)
	if len(some) == 0 { // which would mean all that are \Deleted
		return nil
	}
	return w.db.Expunge(ctx, w.a, m.ID, some)
}

func (w *worker) replace() error {
	from, to := w.mailbox("INBOX"), w.mailbox("Work")
	all := uids(w.t, w.db, w.a, from.ID)
	if len(all) == 0 {
		return nil
	}
	_, _, err := w.db.Replace(ctx, w.a, from.ID, all[w.random.IntN(len(all))], to.ID, Upload{Message: w.letter(280_000), Received: time.Now()})
	return err
}

func (w *worker) rename() error {
	return w.db.RenameMailbox(ctx, w.a, w.mailbox("Work").Name, fmt.Sprintf("Work%d", w.steps))
}

// queued chooses a recipient of the queue that the worker's first account wrote to.
func (w *worker) queued() (QueueRow, bool) {
	queue, err := w.db.Queue(ctx, QueueFilter{Account: w.a}, 1000)
	if err != nil {
		w.t.Error(err)
	}
	if len(queue) == 0 {
		return QueueRow{}, false
	}
	return queue[w.random.IntN(len(queue))], true
}

func (w *worker) settle() error {
	r, ok := w.queued()
	if !ok {
		return nil
	}
	return w.db.Settle(ctx, []Settlement{{
		Recipient: r.QueuedRecipient.ID, Done: w.random.IntN(2) == 0, Due: r.Due.Add(time.Hour),
		Attempt: &Attempt{At: time.Unix(1_790_000_000, 0), Host: "mx.example", Stage: "rcpt", Reply: "451 later"},
	}})
}

// report takes a recipient out of the queue and tells the sender so.
func (w *worker) report() error {
	r, ok := w.queued()
	if !ok {
		return nil
	}
	d := delivery(w.letter(3_000), "INBOX", w.a)
	d.Settle = []Settlement{{Recipient: r.QueuedRecipient.ID, Done: true}}
	return w.db.Deliver(ctx, d)
}

// unlink lets the ten minutes pass that a file outlives its row.
func (w *worker) unlink() error {
	w.db.blobs.unlinkDue(time.Now().Add(2 * unlinkDelay))
	return nil
}

func (w *worker) createOrDelete() error {
	if m := w.mailbox("Short-lived"); m.Exists {
		return w.db.DeleteMailbox(ctx, w.a, m.Name)
	}
	return w.createMailbox("Short-lived")
}

func (w *worker) createOrRemove() error {
	for _, a := range accountsOf(w.t, w.db, w.n) {
		if a.ID != w.a && a.ID != w.b {
			return w.db.RemoveAccount(ctx, a.ID)
		}
	}
	_, err := w.create("c")
	return err
}

// accounts are those of the worker that there are now.
func (w *worker) accounts() (ids []AccountID) {
	for _, a := range accountsOf(w.t, w.db, w.n) {
		ids = append(ids, a.ID)
	}
	return ids
}
