package storage

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// work takes the steps of a worker, while the store is not broken.
func (w *worker) work() {
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
		{"copy", func() error { return w.transfer(w.db.Copy, false) }},
		{"move", func() error { return w.transfer(w.db.Move, true) }},
		{"store flags", w.store},
		{"expunge", w.expunge},
		{"replace", w.replace},
		{"rename a mailbox", w.rename},
		{"settle", w.settle},
		{"deliver a report", w.report},
		{"unlink the files of blobs that are gone", w.unlink},
		{"create or delete a mailbox", w.createOrDelete},
		{"create an account", w.createThird},
		{removal, w.removeThird},
	}
	for n := 0; n < w.Steps; n++ {
		s := steps[w.random.IntN(len(steps))]
		if missing := w.missing(); missing != nil {
			s.what, s.do = "create what is missing", missing
		}
		if !w.step(s.what, s.do) {
			return
		}
	}
}

// removal is the step that may be done although it failed: an account is gone
// with the first part of its removal.
const removal = "remove an account"

// missing is the step that makes what the others need, or nil.
func (w *worker) missing() func() error {
	if w.saw == nil {
		return func() error { return nil } // but look
	}
	for _, name := range []string{w.name("a"), w.name("b")} {
		if w.saw.Counts[name] == 0 {
			return func() error { return w.create(name) }
		}
	}
	w.a, w.b = w.saw.Accounts[w.name("a")], w.saw.Accounts[w.name("b")]
	if w.named("Work") == "" {
		return func() error { return w.createMailbox("Work") }
	}
	return nil
}

// name is that of an account of the worker.
func (w *worker) name(s string) string { return fmt.Sprintf("w%d-%s@home.example", w.n, s) }

// letter is a text that zstd cannot make small.
func (w *worker) letter(size int) *Spooled {
	text := []byte(fmt.Sprintf("Subject: step %d of %d\r\n\r\n", w.steps, w.n))
	for len(text) < size {
		text = strconv.AppendUint(text, w.random.Uint64(), 36)
		text = append(text, "\r\n"...)
	}
	s := w.db.NewSpool()
	if _, err := s.Write(text); err != nil {
		s.Discard()
		panic(stop{err})
	}
	return must(s.Finish(nil))
}

func (w *worker) create(name string) error {
	c := counts{name: 1}
	for _, m := range standardMailboxes {
		c.add(name+"/"+m.name, 1)
	}
	w.expect(c)
	salt, n := NewSalt()
	_, err := w.db.CreateAccount(ctx, Account{Name: name, Salt: salt, Iterations: n}, Credential{StoredKey: []byte{1}, ServerKey: []byte{2}})
	return err
}

func (w *worker) createMailbox(name string) error {
	w.expect(counts{w.name("a") + "/" + name: 1})
	_, err := w.db.CreateMailbox(ctx, w.a, name, "")
	return err
}

func (w *worker) outgoing() *Outgoing {
	return &Outgoing{Account: w.a, Sender: "a@home.example", To: []OutgoingRecipient{{Address: "x@one.example"}, {Address: "y@two.example"}}}
}

func (w *worker) deliver(m *Spooled, queue *Outgoing, to ...AccountID) error {
	defer m.Close()
	d := delivery(m, "INBOX", to...)
	d.Queue = queue
	c := counts{}
	for name, id := range w.saw.Accounts {
		if slices.Contains(to, id) {
			c.add(messagesIn(name, "INBOX"), 1)
		}
	}
	if queue != nil {
		c.add("queued", len(queue.To))
	}
	w.expect(c)
	return w.db.Deliver(ctx, d)
}

func (w *worker) append(letters ...*Spooled) error {
	uploads := make([]Upload, len(letters))
	for i, m := range letters {
		defer m.Close()
		uploads[i] = Upload{Message: m, Received: time.Unix(1_790_000_000, 0), Flags: Seen, Keywords: []string{"kept"}}
	}
	w.expect(counts{messagesIn(w.name("a"), "INBOX"): len(letters)})
	_, _, err := w.db.Append(ctx, w.a, w.mailbox("INBOX").ID, uploads)
	return err
}

// mailbox is the one of that name, or the one that has been renamed.
func (w *worker) mailbox(name string) Mailbox {
	all := must(w.db.Mailboxes(ctx, w.a))
	i := slices.IndexFunc(all, func(m Mailbox) bool { return strings.HasPrefix(m.Name, name) })
	if i < 0 {
		return Mailbox{}
	}
	return all[i]
}

// entries are the messages of a mailbox.
func (w *worker) entries(m Mailbox) (all []Entry) {
	must(w.db.Index(ctx, w.a, m.ID)).All(func(_ int, e Entry) bool {
		all = append(all, e)
		return true
	})
	return all
}

// some chooses messages of a mailbox.
func (w *worker) some(m Mailbox) (some []Entry) {
	for _, e := range w.entries(m) {
		if w.random.IntN(4) == 0 {
			some = append(some, e)
		}
	}
	return some
}

func uidsOf(entries []Entry) (uids []UID) {
	for _, e := range entries {
		uids = append(uids, e.UID)
	}
	return uids
}

func (w *worker) transfer(do func(ctx context.Context, account AccountID, from MailboxID, uids []UID, to MailboxID) (CopyResult, error), move bool) error {
	from, to := w.mailbox("INBOX"), w.mailbox("Work")
	if w.random.IntN(2) == 0 {
		from, to = to, from
	}
	some := w.some(from)
	c := counts{}
	c.add(messagesIn(w.name("a"), to.Name), len(some))
	if move {
		c.add(messagesIn(w.name("a"), from.Name), -len(some))
	}
	w.expect(c)
	_, err := do(ctx, w.a, from.ID, uidsOf(some), to.ID)
	return err
}

func (w *worker) store() error {
	m := w.mailbox("INBOX")
	change := FlagChange{Op: FlagOp(w.random.IntN(3)), Flags: Flags(w.random.IntN(32)), Keywords: []string{fmt.Sprintf("k%d", w.random.IntN(4))}}
	_, err := w.db.StoreFlags(ctx, w.a, m.ID, uidsOf(w.some(m)), change)
	return err
}

func (w *worker) expunge() error {
	m := w.mailbox([]string{"INBOX", "Work"}[w.random.IntN(2)])
	some := w.some(m)
	if len(some) == 0 { // which would mean all that are \Deleted
		return nil
	}
	c := counts{}
	for _, e := range some {
		if e.Flags&Deleted != 0 {
			c.add(messagesIn(w.name("a"), m.Name), -1)
		}
	}
	w.expect(c)
	return w.db.Expunge(ctx, w.a, m.ID, uidsOf(some))
}

func (w *worker) replace() error {
	from, to := w.mailbox("INBOX"), w.mailbox("Work")
	all := w.entries(from)
	if len(all) == 0 {
		return nil
	}
	m := w.letter(280_000)
	defer m.Close()
	w.expect(counts{messagesIn(w.name("a"), from.Name): -1, messagesIn(w.name("a"), to.Name): 1})
	_, _, err := w.db.Replace(ctx, w.a, from.ID, all[w.random.IntN(len(all))].UID, to.ID, Upload{Message: m, Received: time.Now()})
	return err
}

func (w *worker) rename() error {
	from, to := w.named("Work"), fmt.Sprintf("Work%x", w.random.Uint64())
	n, c := w.saw.Counts[messagesIn(w.name("a"), from)], counts{}
	c.add(w.name("a")+"/"+from, -1)
	c.add(w.name("a")+"/"+to, 1)
	c.add(messagesIn(w.name("a"), from), -n)
	c.add(messagesIn(w.name("a"), to), n)
	w.expect(c)
	return w.db.RenameMailbox(ctx, w.a, from, to)
}

// named is the name of the first account's mailbox that begins so, or "".
func (w *worker) named(prefix string) string {
	for what := range w.saw.Counts {
		if name, ok := strings.CutPrefix(what, w.name("a")+"/"); ok && strings.HasPrefix(name, prefix) {
			return name
		}
	}
	return ""
}

// queued chooses a recipient of the queue that the worker's first account wrote to.
func (w *worker) queued() (QueueRow, bool) {
	queue := must(w.db.Queue(ctx, QueueFilter{Account: w.a}, 1000))
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
	done := w.random.IntN(2) == 0
	if done {
		w.expect(counts{"queued": -1})
	}
	return w.db.Settle(ctx, []Settlement{{
		Recipient: r.QueuedRecipient.ID, Done: done, Due: r.Due.Add(time.Hour),
		Attempt: &Attempt{At: time.Unix(1_790_000_000, 0), Host: "mx.example", Stage: "rcpt", Reply: "451 later"},
	}})
}

// report takes a recipient out of the queue and tells the sender so.
func (w *worker) report() error {
	r, ok := w.queued()
	if !ok {
		return nil
	}
	m := w.letter(3_000)
	defer m.Close()
	d := delivery(m, "INBOX", w.a)
	d.Settle = []Settlement{{Recipient: r.QueuedRecipient.ID, Done: true}}
	w.expect(counts{messagesIn(w.name("a"), "INBOX"): 1, "queued": -1})
	return w.db.Deliver(ctx, d)
}

// unlink lets the ten minutes pass that a file outlives its row.
func (w *worker) unlink() error {
	w.db.blobs.unlinkDue(time.Now().Add(2 * unlinkDelay))
	return nil
}

func (w *worker) createOrDelete() error {
	m := w.mailbox("Short-lived")
	if !m.Exists {
		return w.createMailbox("Short-lived")
	}
	w.expect(counts{w.name("a") + "/" + m.Name: -1})
	return w.db.DeleteMailbox(ctx, w.a, m.Name)
}

func (w *worker) createThird() error {
	if w.saw.Accounts[w.name("c")] != 0 {
		return nil
	}
	return w.create(w.name("c"))
}

func (w *worker) removeThird() error {
	id, c := w.saw.Accounts[w.name("c")], counts{}
	if id == 0 {
		return nil
	}
	for what, n := range w.saw.Counts {
		if strings.Contains(what, w.name("c")) {
			c.add(what, -n)
		}
	}
	w.expect(c)
	return w.db.RemoveAccount(ctx, id)
}

// accounts are those of the worker that there are now.
func (w *worker) accounts() (ids []AccountID) {
	for _, id := range w.saw.Accounts {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
