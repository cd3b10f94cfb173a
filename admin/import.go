package admin

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"mailbox/admin/archive"
	"mailbox/storage"
)

// An Import brings the mail of an archive into an account. What is there
// already, by mailbox, date, size and hash, does not come twice: an import that
// was cut goes on when it is begun again.
type Import struct {
	Client   *Client
	Address  string         // of the user
	DryRun   bool           // only says what would come
	Keywords bool           // labels of Gmail become keywords; otherwise mailboxes, and a message comes into each
	Aside    string         // directory for what cannot be read or stored; made when it is needed
	Progress func(Progress) // is told after each message; nil: nobody

	report   TransferReport
	progress Progress
	names    nameFitter
	homes    homes
	aside    aside
	labelled *labelled // what has labels; nil until there is any
}

// Run imports everything. What cannot be read or stored is in the report and
// set aside; an error says that the import itself cannot go on, and the report
// what was done until then.
func (i *Import) Run(ctx context.Context, from archive.Reader) (TransferReport, error) {
	i.report = newReport(i.Address)
	i.aside.dir = i.Aside
	boxes, err := from.Mailboxes(ctx)
	if err != nil {
		return i.report, err
	}
	for _, m := range boxes {
		i.progress.AllMessages += m.Messages
		i.progress.AllBytes += m.Bytes
	}
	if i.homes, err = homesOf(ctx, i.Client, i.Address); err != nil {
		return i.report, err
	}
	for _, m := range boxes {
		delete(i.homes, i.homes.use(m.Name)) // a mailbox of that name comes itself
	}
	for _, m := range boxes {
		if err := i.mailbox(ctx, from, m); err != nil {
			return i.report, fmt.Errorf("mailbox %q: %w", m.Name, err)
		}
	}
	return i.report, nil
}

func (i *Import) mailbox(ctx context.Context, from archive.Reader, m archive.Mailbox) error {
	name := i.homes[m.SpecialUse]
	if name != "" {
		delete(i.homes, m.SpecialUse) // for one mailbox only
	} else {
		name = i.names.fit(m.Name)
	}
	i.labelled = nil
	in, err := i.begin(ctx, m, name)
	if err != nil {
		return err
	}
	err = in.all(ctx, from)
	for _, also := range i.labelled.all() {
		err = also.end(ctx, err)
	}
	return err
}

// begin makes a mailbox ready for what comes.
func (i *Import) begin(ctx context.Context, m archive.Mailbox, name string) (*mailboxImport, error) {
	i.progress.Mailbox = name
	in := &mailboxImport{Import: i, ref: mailboxRef{i.Address, name}, counts: &MailboxTransfer{Source: m.Name, Name: name}}
	i.report.Mailboxes = append(i.report.Mailboxes, in.counts)
	if !i.DryRun {
		err := i.Client.Call(ctx, "mailbox/ensure", NewMailbox{i.Address, name, m.SpecialUse, m.Subscribed}, &None{})
		if err != nil {
			return nil, err
		}
	}
	return in, in.there(ctx)
}

// A mailboxImport brings one mailbox in.
type mailboxImport struct {
	*Import
	ref    mailboxRef
	counts *MailboxTransfer
	known  map[[16]byte]int // what was there before, by fingerprint; each is the match of one message that comes
	batch  batch
	sent   chan sentBatch // the one that is on its way; nil: none is
}

// fingerprint is short, so that half a million of them take little memory.
func fingerprint(received, size int64, sum []byte) [16]byte {
	h := sha256.New()
	fmt.Fprintf(h, "%d %d %x", received, size, sum)
	return [16]byte(h.Sum(nil))
}

// there asks what the mailbox has.
func (in *mailboxImport) there(ctx context.Context) error {
	in.known = map[[16]byte]int{}
	err := in.Client.contents(ctx, in.ref, func(c contentSum) {
		in.known[fingerprint(c.Received, c.Size, c.SHA256)]++
	})
	if in.DryRun && errors.Is(err, storage.ErrNotFound) {
		return nil // it is not made yet
	}
	return err
}

// all reads the mailbox. That the source cannot be read any further is a part
// of the report, that nothing can be stored is an error.
func (in *mailboxImport) all(ctx context.Context, from archive.Reader) error {
	var ours error
	err := from.Messages(ctx, in.counts.Source, func(m *archive.Message) error {
		ours = in.message(ctx, m)
		return ours
	})
	if err != nil && ours == nil && ctx.Err() == nil {
		err = in.fail("", err, nil)
	}
	return in.end(ctx, err)
}

// end sends what is left, unless there was an error, and waits for it. It returns
// that error, too.
func (in *mailboxImport) end(ctx context.Context, err error) error {
	if err == nil {
		err = in.flush(ctx)
	}
	in.batch.close()
	return errors.Join(err, in.wait())
}

// message takes one message in. Its error ends the import.
func (in *mailboxImport) message(ctx context.Context, m *archive.Message) error {
	if m.Err != nil {
		return in.fail(m.Place, m.Err, m.Content)
	}
	p, err := readPending(m)
	if err != nil {
		return err
	}
	if p.unreadable != nil {
		defer p.close()
		return in.fail(m.Place, p.unreadable, p.content())
	}
	if m.Loss != nil {
		in.lose(m.Place, m.Loss)
	}
	in.progress.Messages++
	in.progress.Bytes += p.head.Size
	if in.Progress != nil {
		in.Progress(in.progress)
	}
	if len(m.Labels) > 0 {
		return in.label(ctx, p, m.Labels)
	}
	return in.take(ctx, p)
}

// take puts a message into the batch, unless it is here already.
func (in *mailboxImport) take(ctx context.Context, p *pending) error {
	in.counts.Found++
	in.counts.Bytes += p.head.Size
	key := fingerprint(p.head.Received, p.head.Size, p.sum)
	switch n := in.known[key]; {
	case n > 0:
		in.known[key] = n - 1
		in.counts.There++
		p.close()
	case in.DryRun:
		in.counts.Added++
		p.close()
	case in.batch.add(p):
		return in.flush(ctx)
	}
	return nil
}

// flush sends the batch, when the one before it has arrived, so that the order
// stays. The next one can be read meanwhile.
func (in *mailboxImport) flush(ctx context.Context) error {
	if err := in.wait(); err != nil || len(in.batch.list) == 0 {
		return err
	}
	b := in.batch
	in.batch = batch{}
	in.sent = make(chan sentBatch, 1)
	go func(to chan sentBatch) {
		done := sentBatch{batch: b}
		done.err = done.deliver(ctx, in.Client, in.ref, b.list)
		to <- done
	}(in.sent)
	return nil
}

// wait waits for the batch that is on its way, and takes its result.
func (in *mailboxImport) wait() error {
	if in.sent == nil {
		return nil
	}
	done := <-in.sent
	in.sent = nil
	defer done.close()
	in.counts.Added += done.added
	for _, r := range done.refused {
		if err := in.fail(r.place, r.err, r.content()); err != nil {
			return err
		}
	}
	for _, p := range done.bare {
		in.lose(p.place, errors.New("came without its keywords: a mailbox can have no more of them"))
	}
	return done.err
}

// lose reports what a message came without.
func (in *mailboxImport) lose(place string, loss error) {
	in.report.Lost = append(in.report.Lost, FailedMessage{Mailbox: in.counts.Source, Place: place, Reason: loss.Error()})
}

// fail reports a message, and sets aside what there is of it.
func (in *mailboxImport) fail(place string, reason error, content io.Reader) error {
	in.counts.Failed++
	f := FailedMessage{Mailbox: in.counts.Source, Place: place, Reason: reason.Error()}
	if content != nil && !in.DryRun {
		var err error
		if f.Kept, err = in.aside.keep(f, content); err != nil {
			return err
		}
	}
	in.report.Failed = append(in.report.Failed, f)
	return nil
}
