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
	to map[string][]storage.Recipient
}

// Mail implements smtpd.Session.
func (t *session) Mail(_ context.Context, m smtpd.Mail) error {
	t.size = m.Size
	t.mu.Lock()
	t.to = map[string][]storage.Recipient{}
	t.mu.Unlock()
	return nil
}

// Rcpt implements smtpd.Session.
func (t *session) Rcpt(ctx context.Context, to string) error {
	recipients, err := t.resolve(ctx, to)
	if err != nil {
		t.s.stats.recipientsRefused.Add(1)
		t.conn.Log().Info("recipient refused", "to", to, "reply", smtpd.ReplyCode(err))
		return err
	}
	t.mu.Lock()
	t.to[to] = recipients
	t.mu.Unlock()
	return nil
}

// resolve finds who gets mail for an address, and whether they have room.
func (t *session) resolve(ctx context.Context, to string) ([]storage.Recipient, error) {
	r, err := t.s.Store.Resolve(ctx, to)
	switch {
	case errors.Is(err, storage.ErrForeign):
		return nil, smtpd.Reply(550, "5.7.1", "relaying denied: the domain is not ours")
	case errors.Is(err, storage.ErrNotFound):
		return nil, smtpd.Reply(550, "5.1.1", "no such user here")
	case err != nil:
		return nil, fmt.Errorf("resolve %s: %w", to, err)
	case len(r.Remote) > 0:
		return nil, &smtpd.Status{
			Code: 451, Enhanced: "4.3.5", Text: "mailbox is not set up yet, try again later",
			Err: fmt.Errorf("alias %s leads to %s, which is of no domain of ours; this version forwards nothing", to, r.Remote[0]),
		}
	}
	for _, one := range r.Local {
		if one.Postmaster {
			continue
		}
		over, err := t.s.Store.OverQuota(ctx, one.Account, max(t.size, 1))
		if err != nil {
			return nil, fmt.Errorf("quota of %s: %w", one.Address, err)
		}
		if over {
			return nil, smtpd.Reply(452, "4.2.2", "mailbox is full")
		}
	}
	return r.Local, nil
}

// Data implements smtpd.Session.
func (t *session) Data(ctx context.Context, e smtpd.Envelope, r io.Reader) error {
	began := time.Now()
	id := rand.Text()[:16]
	log := t.conn.Log().With("id", id, "from", e.From, "to", e.To)
	m := &Message{From: e.From, To: t.recipients(e.To)}
	filed, err := t.take(ctx, m, trace{
		Envelope: e, addr: t.conn.Addr(), tls: t.conn.TLS(), hostname: t.s.Hostname, id: id, at: began,
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

// recipients are the accounts behind the addresses, each once.
func (t *session) recipients(to []string) []storage.Recipient {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []storage.Recipient
	for _, a := range to {
		for _, r := range t.to[a] {
			if !slices.Contains(all, r) {
				all = append(all, r)
			}
		}
	}
	return all
}

// take spools the message and has it filed.
func (t *session) take(ctx context.Context, m *Message, tr trace, r io.Reader) ([]string, error) {
	spool := t.s.Store.NewSpool()
	if _, err := io.Copy(spool, r); err != nil {
		spool.Discard()
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = smtpd.Reply(451, "4.4.2", "message was cut off")
		}
		return nil, diskStatus(err)
	}
	spooled, err := spool.Finish(tr.fields())
	if err != nil {
		return nil, diskStatus(err)
	}
	m.Spooled = spooled
	defer spooled.Close() //nolint:errcheck // the bytes are stored or not wanted
	if spooled.Message.Hops >= maxHops {
		return nil, smtpd.Reply(554, "5.4.6", "message is looping: it has too many Received fields")
	}
	filed, err := t.s.Deliver.Deliver(ctx, m)
	return filed, diskStatus(err)
}

// diskStatus is the reply where the disk is full.
func diskStatus(err error) error {
	if errors.Is(err, storage.ErrNoSpace) {
		return &smtpd.Status{Code: 452, Enhanced: "4.3.1", Text: "insufficient system storage", Err: err}
	}
	return err
}
