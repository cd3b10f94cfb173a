package mta

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"mailbox/internal/message"
	"mailbox/internal/smtpd"
	"mailbox/storage"
)

const (
	maxHops = 100     // Received fields of a message that is no loop
	maxHead = 1 << 20 // octets of a header in which fields are looked for
)

// A session judges the mail of one peer.
type session struct {
	s    *Server
	conn *smtpd.Conn
	from string // of the transaction
	size int64  // declared for it

	mu      sync.Mutex // Data may run beside what follows an aborted transaction
	to      map[string]storage.Resolved
	inquiry *inquiry // nil where nothing is asked
}

// Mail implements smtpd.Session. What can be found out about the sender begins.
func (t *session) Mail(ctx context.Context, m smtpd.Mail) error {
	t.from, t.size = m.From, m.Size
	next := t.inquire(ctx, m)
	t.mu.Lock()
	last := t.inquiry
	t.to, t.inquiry = map[string]storage.Resolved{}, next
	t.mu.Unlock()
	if last != nil {
		last.end()
	}
	return nil
}

// Rcpt implements smtpd.Session.
func (t *session) Rcpt(ctx context.Context, to smtpd.Rcpt) error {
	resolved, err := t.resolve(ctx, to.Address)
	if err != nil {
		t.s.stats.recipientsRefused.Add(1)
		t.conn.Log().Info("recipient refused", "to", to.Address, "reply", smtpd.ReplyCode(err))
		if reply := smtpd.ReplyCode(err); reply[0] == '4' { // who guesses addresses fills no books
			t.explain(&storage.Explanation{At: time.Now(), Sender: t.from, Recipients: []string{to.Address}, Peer: t.conn.Addr().String()}, nil, "recipient refused: "+reply)
		}
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
	m, asked := t.message(e)
	defer asked.end()
	x := &storage.Explanation{At: began, Trace: id, Sender: e.From, Recipients: addresses(e.To), Peer: t.conn.Addr().String()}
	filed, err := t.take(ctx, m, asked, smtpd.Trace{
		Envelope: e, From: t.conn.Addr(), TLS: t.conn.TLS(), Hostname: t.s.Hostname, ID: id, At: began,
	}, r)
	attrs := []any{slog.Float64("ms", float64(time.Since(began).Microseconds())/1000), slog.Bool("tls", t.conn.TLS() != nil)}
	if m.Spooled != nil {
		attrs = append(attrs, slog.Int64("size", m.Size), slog.String("message_id", m.Message.MessageID))
	}
	attrs = append(attrs, asked.attrs()...)
	if err != nil {
		t.s.stats.rejected.Add(1)
		log.Warn("message refused", append(attrs, "reply", smtpd.ReplyCode(err))...)
		t.explain(x, asked, err.Error())
		return err
	}
	t.s.stats.accepted.Add(1)
	t.s.stats.octets.Add(m.Size)
	log.Info("message delivered", append(attrs, "filed", filed)...)
	t.explain(x, asked, "filed in "+strings.Join(filed, ", "))
	return smtpd.Reply(250, "2.0.0", "delivered as "+id)
}

// message gathers the accounts and the addresses elsewhere that the recipients
// lead to, each once. It takes over what is being asked about the sender.
func (t *session) message(e smtpd.Envelope) (*Message, *inquiry) {
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
	asked := t.inquiry
	t.inquiry = nil
	return m, asked
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

// take spools the message, judges it and has it filed.
func (t *session) take(ctx context.Context, m *Message, asked *inquiry, tr smtpd.Trace, r io.Reader) ([]string, error) {
	if m.Queue != nil {
		r = smtpd.Lines(r)
	}
	spool := t.s.Store.NewSpool()
	prefix, err := t.spool(ctx, spool, m, asked, r)
	if err != nil {
		spool.Discard()
		return nil, err
	}
	returnPath := tr.ReturnPath()
	spooled, err := spool.Finish(slices.Concat(returnPath, prefix, tr.Received()))
	if err != nil {
		return nil, diskStatus(err)
	}
	m.Spooled = spooled
	defer spooled.Close() //nolint:errcheck // the bytes are stored or not wanted
	if m.Queue != nil {
		m.Queue.Skip, m.Queue.UTF8 = int64(len(returnPath)), spooled.Message.Header().UTF8()
	}
	if spooled.Message.Hops >= maxHops {
		return nil, smtpd.Reply(554, "5.4.6", "message is looping: it has too many Received fields")
	}
	filed, err := t.s.Deliver.Deliver(ctx, m)
	return filed, diskStatus(err)
}

// spool writes a message to the spool as it comes in, but for fields that claim
// to be our own results. It returns the fields that say what was found out, or
// a *smtpd.Status where that is a reason to refuse it.
func (t *session) spool(ctx context.Context, spool *storage.Spool, m *Message, asked *inquiry, r io.Reader) (prefix []byte, err error) {
	in := bufio.NewReaderSize(r, 32<<10)
	h, err := message.ReadHead(in, maxHead)
	long := errors.Is(err, message.ErrLongHeader)
	if err != nil && !long {
		return nil, readStatus(err)
	}
	for _, f := range withoutForged(h.Fields, t.s.Hostname) {
		if _, err := spool.Write(f.Raw); err != nil {
			return nil, diskStatus(err)
		}
	}
	if _, err := spool.Write(slices.Concat(h.Gap, h.Begun)); err != nil {
		return nil, diskStatus(err)
	}
	body := io.TeeReader(in, spool)
	prefix, err = t.settleWho(ctx, m, asked, h, long, body)
	if err == nil {
		_, err = io.Copy(io.Discard, body)
	}
	return prefix, readStatus(err)
}

// readStatus is the reply where the message could not be read to its end.
func readStatus(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return smtpd.Reply(451, "4.4.2", "message was cut off")
	}
	return diskStatus(err)
}

// diskStatus is the reply where the disk or the queue is full.
func diskStatus(err error) error {
	if errors.Is(err, storage.ErrNoSpace) || errors.Is(err, storage.ErrQueueFull) {
		return &smtpd.Status{Code: 452, Enhanced: "4.3.1", Text: "insufficient system storage", Err: err}
	}
	return err
}
