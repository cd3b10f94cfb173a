package msa

import (
	"bufio"
	"bytes"
	"cmp"
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

// A session takes the mail of one client.
type session struct {
	s       *Server
	cfg     *Config
	conn    *smtpd.Conn
	log     *slog.Logger
	account storage.AccountID // 0 before login

	mu sync.Mutex // Data may run beside what follows an aborted transaction
	tx *transaction
}

// A transaction is what MAIL and RCPT have come to so far.
type transaction struct {
	mail      smtpd.Mail
	to        map[string]target // by the address as the client wrote it
	elsewhere map[string]bool   // addresses of other domains, those behind aliases too
}

// Mail implements smtpd.Session.
func (t *session) Mail(ctx context.Context, m smtpd.Mail) error {
	if t.account == 0 {
		return smtpd.Reply(530, "5.7.0", "authentication required")
	}
	if err := t.checkSender(ctx, m); err != nil {
		t.log.Info("sender refused", "from", m.From, "reply", smtpd.ReplyCode(err))
		return err
	}
	t.mu.Lock()
	t.tx = &transaction{mail: m, to: map[string]target{}, elsewhere: map[string]bool{}}
	t.mu.Unlock()
	return nil
}

// checkSender lets the null reverse-path pass: reports and receipts have it
// (RFC 8098 section 3), and who logged in is known.
func (t *session) checkSender(ctx context.Context, m smtpd.Mail) error {
	if m.From == "" {
		return nil
	}
	if !isASCII(m.From) && !m.UTF8 {
		return smtpd.Reply(553, "5.6.7", "an address that is not ASCII needs SMTPUTF8")
	}
	ok, err := t.owns(ctx, m.From)
	if err == nil && !ok {
		err = notYours(m.From, "")
	}
	return err
}

// Rcpt implements smtpd.Session.
func (t *session) Rcpt(ctx context.Context, to smtpd.Rcpt) error {
	tx := t.transaction()
	found, err := t.resolve(ctx, tx.mail, to.Address)
	if err == nil {
		err = t.checkDay(ctx, tx, found.Remote)
	}
	if err != nil {
		t.s.stats.recipientsRefused.Add(1)
		t.log.Info("recipient refused", "to", to.Address, "reply", smtpd.ReplyCode(err))
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	tx.to[to.Address] = found
	for _, a := range found.Remote {
		tx.elsewhere[a] = true
	}
	return nil
}

func (t *session) transaction() *transaction {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.tx
}

// checkDay holds the account to its recipients elsewhere for a day.
func (t *session) checkDay(ctx context.Context, tx *transaction, more []string) error {
	limit := t.cfg.RecipientsPerDay
	n := len(tx.elsewhere)
	for _, a := range more {
		if !tx.elsewhere[a] {
			n++
		}
	}
	if limit == 0 || n == len(tx.elsewhere) {
		return nil
	}
	sent, err := t.s.Store.SentToday(ctx, t.account)
	if err == nil && sent+n > limit {
		err = dayIsFull(limit)
	}
	return err
}

func dayIsFull(limit int) *smtpd.Status {
	return smtpd.Reply(452, "4.7.1", fmt.Sprintf("you may write to %d recipients elsewhere on a day; it opens again at 00:00 UTC", limit))
}

// Data implements smtpd.Session.
func (t *session) Data(ctx context.Context, e smtpd.Envelope, r io.Reader) error {
	began := time.Now()
	id := rand.Text()[:16]
	e.From = foldDomain(e.From)
	log := t.log.With("id", id, "from", e.From, "to", addresses(e.To))
	m := t.message(e)
	filed, err := t.take(ctx, m, smtpd.Trace{
		Envelope: e, TLS: t.conn.TLS(), Hostname: t.s.Hostname, ID: id, At: began, // the client's address is nobody's business
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
	queued := 0
	if m.Queue != nil {
		queued = len(m.Queue.To)
	}
	t.s.stats.accepted.Add(1)
	t.s.stats.octets.Add(m.Size)
	log.Info("message submitted", append(attrs, "filed", filed, "queued", queued)...)
	return smtpd.Reply(250, "2.0.0", "queued as "+id)
}

func addresses(to []smtpd.Rcpt) []string {
	list := make([]string, len(to))
	for i, r := range to {
		list[i] = r.Address
	}
	return list
}

// message says who gets the message at once, and who by the queue, each once.
func (t *session) message(e smtpd.Envelope) *Message {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := &Message{Account: t.account, From: e.From}
	q := &outgoing{Outgoing: &storage.Outgoing{
		Account: t.account, Sender: e.From, RequireTLS: e.RequireTLS, Ret: e.Ret, EnvID: e.EnvID, Release: e.Release,
	}, there: map[string]bool{}}
	filed := map[storage.Recipient]bool{}
	var now []storage.Recipient
	for _, to := range e.To {
		found := t.tx.to[to.Address]
		// The queue reports what was delivered, and holds what is not due.
		if strings.Contains(to.Notify, "SUCCESS") || !e.Release.IsZero() {
			for _, r := range found.Local {
				filed[r] = true
			}
			q.add(to, found.here)
		} else {
			now = append(now, found.Local...)
		}
		q.add(to, found.Remote)
		if len(found.Remote) > 0 {
			q.DailyLimit = t.cfg.RecipientsPerDay
		}
	}
	for _, r := range now {
		if !filed[r] {
			filed[r] = true
			m.To = append(m.To, r)
		}
	}
	if len(q.To) > 0 {
		m.Queue = q.Outgoing
	}
	return m
}

// outgoing gathers the recipients of the queue.
type outgoing struct {
	*storage.Outgoing
	there map[string]bool // by address
}

// add queues the message for the addresses that a recipient leads to. The
// original recipient is what the client named, or what it wrote, unless that
// is an address of ours and queued as such.
func (q *outgoing) add(to smtpd.Rcpt, list []string) {
	for _, a := range list {
		if q.there[a] {
			continue
		}
		q.there[a] = true
		q.To = append(q.To, storage.OutgoingRecipient{Address: a, Notify: to.Notify, ORCPT: cmp.Or(to.ORCPT, original(to.Address))})
	}
}

// take completes the message, spools it and has it submitted.
func (t *session) take(ctx context.Context, m *Message, tr smtpd.Trace, r io.Reader) ([]string, error) {
	in := bufio.NewReaderSize(smtpd.Lines(r), 32<<10)
	h, err := readHead(in)
	if err != nil {
		return nil, readStatus(err)
	}
	author, err := t.checkHead(ctx, h.fields, m.From)
	if err != nil {
		return nil, err
	}
	spool := t.s.Store.NewSpool()
	signatures, err := t.spool(spool, h, author, tr.At, in)
	if err != nil {
		spool.Discard()
		return nil, readStatus(err)
	}
	returnPath, received := tr.ReturnPath(), tr.Received()
	spooled, err := spool.Finish(slices.Concat(returnPath, signatures, received))
	if err != nil {
		return nil, readStatus(err)
	}
	m.Spooled = spooled
	defer spooled.Close() //nolint:errcheck // the bytes are stored or not wanted
	if m.Queue != nil {
		m.Queue.Skip = int64(len(returnPath))
		m.Queue.UTF8 = slices.Concat(message.ParseHeader(received), h.kept()).UTF8()
	}
	filed, err := t.s.Submit.Submit(ctx, m)
	return filed, t.submitStatus(err)
}

// spool writes the completed message to the spool, and returns our signatures.
func (t *session) spool(spool *storage.Spool, h *head, author string, at time.Time, rest io.Reader) (signatures []byte, err error) {
	header := h.complete(author, at)
	if _, err := spool.Write(header); err != nil {
		return nil, err
	}
	body := io.TeeReader(io.MultiReader(bytes.NewReader(h.begun), rest), spool)
	if t.s.Sign != nil {
		return t.s.Sign.Sign(author[strings.LastIndexByte(author, '@')+1:], message.ParseHeader(header), body)
	}
	_, err = io.Copy(io.Discard, body)
	return nil, err
}

// readStatus is the reply where the message did not get into the spool.
func readStatus(err error) error {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return smtpd.Reply(451, "4.4.2", "message was cut off")
	case errors.Is(err, storage.ErrNoSpace):
		return &smtpd.Status{Code: 452, Enhanced: "4.3.1", Text: "insufficient system storage", Err: err}
	}
	return err
}

// submitStatus is the reply to a message that was not submitted.
func (t *session) submitStatus(err error) error {
	var s *smtpd.Status
	switch {
	case errors.As(err, &s):
		return err
	case errors.Is(err, storage.ErrQueueFull):
		return &smtpd.Status{Code: 452, Enhanced: "4.3.1", Text: "insufficient system storage", Err: err}
	case errors.Is(err, storage.ErrLimit): // another connection was faster
		return dayIsFull(t.cfg.RecipientsPerDay)
	case errors.Is(err, storage.ErrNotFound): // the accounts were removed since RCPT
		return smtpd.Reply(550, "5.1.1", "no such user here")
	}
	return readStatus(err)
}
