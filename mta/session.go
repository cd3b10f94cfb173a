package mta

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"mailbox/internal/smtpd"
	"mailbox/storage"
)

// maxHops is how many Received fields a message may have that is no loop.
const maxHops = 100

// A session judges the mail of one peer.
type session struct {
	s    *Server
	conn *smtpd.Conn
	size int64 // declared for the transaction

	mu sync.Mutex // Data may run beside what follows an aborted transaction
	to map[string]storage.Resolved
}

// Mail implements smtpd.Session.
func (t *session) Mail(_ context.Context, m smtpd.Mail) error {
	t.size = m.Size
	t.mu.Lock()
	t.to = map[string]storage.Resolved{}
	t.mu.Unlock()
	return nil
}

// Rcpt implements smtpd.Session.
func (t *session) Rcpt(ctx context.Context, to smtpd.Rcpt) error {
	resolved, err := t.resolve(ctx, to.Address)
	if err != nil {
		t.s.stats.recipientsRefused.Add(1)
		t.conn.Log().Info("recipient refused", "to", to.Address, "reply", smtpd.ReplyCode(err))
		return err
	}
	t.mu.Lock()
	t.to[to.Address] = resolved
	t.mu.Unlock()
	return nil
}

// resolve finds who gets mail for an address, and whether they have room.
func (t *session) resolve(ctx context.Context, to string) (storage.Resolved, error) {
	r, err := t.s.Store.Resolve(ctx, to)
	switch {
	case errors.Is(err, storage.ErrForeign):
		return r, smtpd.Reply(550, "5.7.1", "relaying denied: the domain is not ours")
	case errors.Is(err, storage.ErrNotFound):
		return r, smtpd.Reply(550, "5.1.1", "no such user here")
	case err != nil:
		return r, fmt.Errorf("resolve %s: %w", to, err)
	}
	for _, one := range r.Local {
		if one.Postmaster {
			continue
		}
		over, err := t.s.Store.OverQuota(ctx, one.Account, max(t.size, 1))
		if err != nil {
			return r, fmt.Errorf("quota of %s: %w", one.Address, err)
		}
		if over {
			return r, smtpd.Reply(452, "4.2.2", "mailbox is full")
		}
	}
	return r, nil
}

// Data implements smtpd.Session.
func (t *session) Data(ctx context.Context, e smtpd.Envelope, r io.Reader) error {
	began := time.Now()
	id := rand.Text()[:16]
	log := t.conn.Log().With("id", id, "from", e.From, "to", addresses(e.To))
	m := t.message(e)
	filed, err := t.take(ctx, m, smtpd.Trace{
		Envelope: e, From: t.conn.Addr(), TLS: t.conn.TLS(), Hostname: t.s.Hostname, ID: id, At: began,
	}, r)
	attrs := []any{slog.Float64("ms", float64(time.Since(began).Microseconds())/1000), slog.Bool("tls", t.conn.TLS() != nil)}
	if m.Spooled != nil {
		attrs = append(attrs, slog.Int64("size", m.Size), slog.String("message_id", m.Message.MessageID))
	}
	if err != nil {
		t.s.stats.rejected.Add(1)
		log.Warn("message refused", append(attrs, "reply", smtpd.ReplyCode(err))...)
		return err
	}
	t.s.stats.accepted.Add(1)
	t.s.stats.octets.Add(m.Size)
	log.Info("message delivered", append(attrs, "filed", filed)...)
	return smtpd.Reply(250, "2.0.0", "delivered as "+id)
}

// message gathers the accounts and the addresses elsewhere that the recipients
// lead to, each once.
func (t *session) message(e smtpd.Envelope) *Message {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := &Message{From: e.From}
	var remote []string
	for _, to := range e.To {
		m.To = appendNew(m.To, t.to[to.Address].Local)
		remote = appendNew(remote, t.to[to.Address].Remote)
	}
	if len(remote) > 0 {
		m.Queue = forward(e.From, remote)
	}
	return m
}

// forward is the part of a message's way that leads elsewhere.
func forward(sender string, to []string) *storage.Outgoing {
	o := &storage.Outgoing{Sender: sender}
	for _, address := range to {
		o.To = append(o.To, storage.OutgoingRecipient{Address: address})
	}
	return o
}

// appendNew appends those that are not there yet.
func appendNew[T comparable](list, more []T) []T {
	for _, v := range more {
		if !slices.Contains(list, v) {
			list = append(list, v)
		}
	}
	return list
}

func addresses(to []smtpd.Rcpt) []string {
	list := make([]string, len(to))
	for i, r := range to {
		list[i] = r.Address
	}
	return list
}

// take spools the message and has it filed.
func (t *session) take(ctx context.Context, m *Message, tr smtpd.Trace, r io.Reader) ([]string, error) {
	if m.Queue != nil {
		r = smtpd.Lines(r)
	}
	spool := t.s.Store.NewSpool()
	if _, err := io.Copy(spool, r); err != nil {
		spool.Discard()
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = smtpd.Reply(451, "4.4.2", "message was cut off")
		}
		return nil, diskStatus(err)
	}
	returnPath := tr.ReturnPath()
	spooled, err := spool.Finish(slices.Concat(returnPath, tr.Received()))
	if err != nil {
		return nil, diskStatus(err)
	}
	m.Spooled = spooled
	if m.Queue != nil {
		m.Queue.Skip, m.Queue.UTF8 = int64(len(returnPath)), spooled.Message.Header().UTF8()
	}
	defer spooled.Close() //nolint:errcheck // the bytes are stored or not wanted
	if spooled.Message.Hops >= maxHops {
		return nil, smtpd.Reply(554, "5.4.6", "message is looping: it has too many Received fields")
	}
	filed, err := t.s.Deliver.Deliver(ctx, m)
	return filed, diskStatus(err)
}

// diskStatus is the reply where the disk or the queue is full.
func diskStatus(err error) error {
	if errors.Is(err, storage.ErrNoSpace) || errors.Is(err, storage.ErrQueueFull) {
		return &smtpd.Status{Code: 452, Enhanced: "4.3.1", Text: "insufficient system storage", Err: err}
	}
	return err
}
