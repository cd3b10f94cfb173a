package mta

import (
	"context"
	"errors"
	"io"
	"time"

	"mailbox/internal/smtpd"
	"mailbox/storage"
)

// deliverHere files a queued message in our own mailboxes: one that was not to
// go before its time (RFC 4865), or whose sender asked to hear of its delivery
// (RFC 3461). What became of the recipients that got it is recorded, and told,
// in the same transaction.
func (q *Queue) deliverHere(m *Outbound) []Result {
	ctx := context.WithoutCancel(q.hard)
	results := make([]Result, len(m.To))
	message := &Message{From: m.Sender}
	var told []Fate
	var remote []string
	for i, r := range m.To {
		found, err := q.Store.Resolve(ctx, r.Address)
		if err != nil {
			results[i].Failure = notHere(err)
			continue
		}
		results[i] = Result{Reply: "250 2.0.0 filed", Reports: true}
		message.To = appendNew(message.To, found.Local)
		remote = appendNew(remote, found.Remote)
		message.Settle = append(message.Settle, storage.Settlement{Recipient: r.ID, Done: true})
		s := settling{m: m}
		if s.wants(r, "SUCCESS", false) {
			told = append(told, Fate{QueuedRecipient: r, Action: ActionDelivered, Reply: results[i].Reply})
		}
	}
	if len(message.Settle) == 0 {
		return results
	}
	err := q.fileHere(ctx, m, message, remote, told)
	if err != nil {
		fail := notHere(err)
		for i := range results {
			if results[i].Failure == nil {
				results[i] = Result{Failure: fail}
			}
		}
	}
	return results
}

// fileHere copies the message out of the queue and has it filed.
func (q *Queue) fileHere(ctx context.Context, m *Outbound, message *Message, remote []string, told []Fate) error {
	spool := q.Store.NewSpool()
	if _, err := io.Copy(spool, m.Reader()); err != nil {
		spool.Discard()
		return err
	}
	returnPath := smtpd.Trace{Envelope: smtpd.Envelope{Mail: smtpd.Mail{From: m.Sender}}}.ReturnPath()
	spooled, err := spool.Finish(returnPath)
	if err != nil {
		return err
	}
	defer spooled.Close() //nolint:errcheck // its bytes are stored or not wanted
	message.Spooled = spooled
	if len(remote) > 0 {
		message.Queue = forward(m.Sender, remote)
		message.Queue.Skip, message.Queue.UTF8, message.Queue.RequireTLS = int64(len(returnPath)), m.UTF8, m.RequireTLS
	}
	if len(told) > 0 {
		if message.Report, err = q.reportMessage(ctx, told, m); err != nil {
			q.Log.Warn("sender is not told of the delivery", "id", m.ID, "from", m.Sender, "err", err)
		} else {
			defer message.Report.Close() //nolint:errcheck // its bytes are stored or not wanted
		}
	}
	_, err = q.Deliver.Deliver(ctx, message)
	return err
}

// notHere is why a message was not filed.
func notHere(err error) *Failure {
	var s *smtpd.Status
	f := failed("deliver", "4.3.0", "local error")
	f.HostDown = false
	switch {
	case errors.As(err, &s):
		f.Status, f.Reply = s.Enhanced, s.Text
	case errors.Is(err, storage.ErrNotFound):
		f.Status, f.Reply = "5.1.1", "no such user here"
	}
	f.Attempt.Host, f.At = "here", time.Now()
	return f
}
