package mta

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"mailbox/internal/message"
	"mailbox/internal/smtpd"
	"mailbox/storage"
)

// settle records what became of a message for some recipients. A sender who is
// to be told gets the report in the same transaction.
func (q *Queue) settle(m *Outbound, items []*item, results []Result, began time.Time) {
	q.record(q.tell(m, items, results, began))
}

// tell reports to the sender, where it is to be told, and returns what is still
// to be recorded.
func (q *Queue) tell(m *Outbound, items []*item, results []Result, began time.Time) []storage.Settlement {
	entries := make(map[storage.QueuedID]*storage.QueueEntry, len(items))
	q.mu.Lock()
	for _, it := range items {
		e := it.QueueEntry
		entries[it.Recipient] = &e
	}
	q.mu.Unlock()
	s := settling{q: q, c: q.config.Load(), m: m, began: began, now: time.Now()}
	for i, r := range m.To {
		if e := entries[r.ID]; e != nil && !q.undone(results, i) {
			s.add(e, r, results[i])
		}
	}
	if len(s.fates) == 0 {
		return s.list
	}
	if err := q.report(s.fates, m, s.list); err != nil {
		q.Log.Warn("sender was not told", "id", m.ID, "from", m.Sender, "err", err)
		return s.list
	}
	return nil
}

// undone tells that an attempt came to nothing which is to be recorded: we are
// about to end, or the host wants the recipient in a transaction of its own
// (RFC 5321 section 4.5.3.1.10).
func (q *Queue) undone(results []Result, i int) bool {
	f := results[i].Failure
	if f == nil {
		return false
	}
	if !f.Remote {
		return q.hard.Err() != nil
	}
	if f.Stage != "rcpt" || !strings.HasPrefix(f.Reply, "452") {
		return false
	}
	for _, r := range results {
		if r.Failure == nil || r.Failure.Stage == "data" {
			return true
		}
	}
	return false
}

// A settling gathers what is to be recorded and told of one attempt.
type settling struct {
	q          *Queue
	c          *Config
	m          *Outbound
	began, now time.Time
	list       []storage.Settlement
	fates      []Fate
}

// add decides about one recipient.
func (s *settling) add(e *storage.QueueEntry, r storage.QueuedRecipient, res Result) {
	f := res.Failure
	if f != nil { // of this attempt, though the failure may be that of an earlier one
		own := *f
		own.At, own.Took = s.began, s.now.Sub(s.began)
		f = &own
	}
	one := storage.Settlement{Recipient: r.ID}
	fate := Fate{QueuedRecipient: r, Failure: f, Reply: res.Reply}
	outcome := ""
	switch {
	case f == nil:
		outcome, one.Done, fate.Action, fate.Last = "sent", true, ActionRelayed, res.Via
		if s.wants(r, "SUCCESS", false) && !res.Reports {
			s.fates = append(s.fates, fate)
		}
	case f.Permanent() || s.c.expired(e, s.now):
		outcome, one.Done, fate.Action, fate.Expired = "failed", true, ActionFailed, !f.Permanent()
		if s.wants(r, "FAILURE", true) {
			s.fates = append(s.fates, fate)
		}
	default:
		outcome, one.Attempt = "deferred", &f.Attempt
		one.Noticed = s.c.late(e, s.now)
		late := *e
		late.Noticed = late.Noticed || one.Noticed
		one.Due = s.c.next(&late, s.now)
		if one.Noticed && s.wants(r, "DELAY", true) {
			fate.Action, fate.Retry = ActionDelayed, e.Queued.Add(s.c.Expire)
			s.fates = append(s.fates, fate)
		}
	}
	s.list = append(s.list, one)
	s.log(outcome, e, r, res, f)
}

// wants tells whether the sender is to be told (RFC 3461 section 4.1);
// otherwise says so where nothing was asked for. Nobody is at the null sender.
func (s *settling) wants(r storage.QueuedRecipient, event string, otherwise bool) bool {
	switch {
	case s.m.Sender == "":
		return false
	case r.Notify == "":
		return otherwise
	}
	return strings.Contains(r.Notify, event)
}

// log counts the outcome and writes the line about it.
func (s *settling) log(outcome string, e *storage.QueueEntry, r storage.QueuedRecipient, res Result, f *Failure) {
	q := s.q
	q.stats.attempts.Add(1)
	attrs := []any{
		"id", s.m.ID, "message_id", s.m.MessageID, "from", s.m.Sender, "to", r.Address, "attempt", e.Attempts + 1,
		slog.Float64("ms", float64(s.now.Sub(s.began).Microseconds())/1000),
	}
	a := res.Via
	if f != nil {
		a = f.Attempt
	}
	attrs = append(attrs, "host", a.Host, "address", a.Address, "tls", a.TLS)
	switch outcome {
	case "sent":
		q.stats.sent.Add(1)
		q.Log.Info("message sent", append(attrs, "reply", res.Reply)...)
	case "failed":
		q.stats.failed.Add(1)
		q.Log.Warn("message failed", append(attrs, "stage", f.Stage, "status", f.Status, "reply", f.Reply)...)
	default:
		q.stats.deferred.Add(1)
		q.Log.Info("message deferred", append(attrs, "stage", f.Stage, "status", f.Status, "reply", f.Reply)...)
	}
}

// report tells the sender of a message what became of it, and records it in
// the same transaction. It tries until it can. An error says that neither was
// done: there is nobody to tell, or no room for it in the queue.
func (q *Queue) report(fates []Fate, m *Outbound, settle []storage.Settlement) error {
	for wait := time.Second; ; wait = min(2*wait, time.Minute) {
		err := q.tryReport(fates, m, settle)
		if err == nil {
			q.stats.reports.Add(1)
			return nil
		}
		var refused *smtpd.Status
		if errors.As(err, &refused) && refused.Code >= 500 || errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrQueueFull) {
			return err
		}
		q.Log.Error("report cannot be filed; trying again", "id", m.ID, "err", err)
		select {
		case <-time.After(wait):
		case <-q.hard.Done():
			return err
		}
	}
}

func (q *Queue) tryReport(fates []Fate, m *Outbound, settle []storage.Settlement) error {
	ctx := context.WithoutCancel(q.hard)
	report, err := q.reportMessage(ctx, fates, m)
	if err != nil {
		return err
	}
	defer report.Close() //nolint:errcheck // its bytes are stored or not wanted
	report.Settle = settle
	_, err = q.Deliver.Deliver(ctx, report)
	return err
}

// reportMessage makes the message that tells a sender of fates.
func (q *Queue) reportMessage(ctx context.Context, fates []Fate, m *Outbound) (*Message, error) {
	to, err := q.Store.Resolve(ctx, m.Sender)
	if errors.Is(err, storage.ErrForeign) {
		to.Remote, err = []string{m.Sender}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("sender %s: %w", m.Sender, err)
	}
	r := Report{
		Hostname: q.Hostname, Author: "postmaster@" + *q.postmaster.Load(), At: time.Now(),
		Message: &m.QueuedMessage, Content: m.Content, Fates: fates,
	}
	returnPath := smtpd.Trace{}.ReturnPath()
	spooled, err := q.spool(&r, returnPath)
	if err != nil { // whoever cannot get the message back hears of it all the same
		r.Content = nil
		spooled, err = q.spool(&r, returnPath)
	}
	if err != nil {
		return nil, err
	}
	report := &Message{Spooled: spooled, To: to.Local}
	if len(to.Remote) > 0 {
		report.Queue = forward("", to.Remote)
		report.Queue.Skip, report.Queue.UTF8 = int64(len(returnPath)), r.UTF8()
	}
	return report, nil
}

// spool signs a report and puts it into the spool, with fields for those who
// get it here on top.
func (q *Queue) spool(r *Report, top []byte) (*storage.Spooled, error) {
	header, body, err := r.open()
	if err != nil {
		return nil, err
	}
	spool := q.Store.NewSpool()
	if _, err = io.WriteString(spool, header+"\r\n"); err == nil {
		body = io.TeeReader(body, spool)
		if q.Sign == nil {
			_, err = io.Copy(io.Discard, body)
		} else {
			var signatures []byte
			signatures, err = q.Sign.Sign(*q.postmaster.Load(), message.ParseHeader([]byte(header)), body)
			top = slices.Concat(top, signatures)
		}
	}
	if err != nil {
		spool.Discard()
		return nil, err
	}
	return spool.Finish(top)
}
