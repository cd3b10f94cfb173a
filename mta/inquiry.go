package mta

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"

	"mailbox/internal/mailauth"
	"mailbox/internal/message"
	"mailbox/internal/smtpd"
	"mailbox/storage"
)

// An inquiry is what is being found out about the sender of one message. The
// methods of a nil inquiry do nothing.
type inquiry struct {
	who     *mailauth.Inquiry
	listed  func() []Listing // waits
	results *mailauth.Results
	reasons []string
	blocked []Listing

	messageID string // of the message, as it has it
}

// inquire begins to find out about a sender: what needs no message.
func (t *session) inquire(ctx context.Context, m smtpd.Mail) *inquiry {
	c := t.s.checks.Load()
	if c.who == nil {
		return nil
	}
	addr := t.conn.Addr()
	return &inquiry{
		who:    c.who.Begin(ctx, mailauth.Peer{Addr: addr, Helo: m.Helo, MailFrom: m.From}),
		listed: t.s.lists.Begin(ctx, c.blocklists, addr),
	}
}

// end gives up.
func (q *inquiry) end() {
	if q != nil {
		q.who.End()
	}
}

// settleWho finds out the rest and judges the message: refused is a
// *smtpd.Status. long says that h is not the whole header. It returns the field
// that tells readers what was found out.
func (t *session) settleWho(ctx context.Context, m *Message, q *inquiry, h *message.Head, long bool, body io.Reader) (field []byte, err error) {
	if q == nil {
		return nil, nil
	}
	q.messageID = oneLine(h.Fields.Get("Message-ID"))
	if q.results, err = q.who.Check(h.Fields, io.MultiReader(bytes.NewReader(h.Begun), body)); err != nil {
		return nil, err
	}
	q.blocked = q.listed()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	j, err := t.judge(ctx, m, evidence{h.Fields, long, q.results, q.blocked})
	if err != nil {
		return nil, err
	}
	q.reasons = j.reasons
	if j.refuse != nil {
		return nil, j.refuse
	}
	m.Suspect, m.Met = j.suspect, j.met
	return q.results.Field(), nil
}

// withoutForged leaves out the fields that claim to be our results (RFC 8601
// section 5).
func withoutForged(h message.Header, hostname string) message.Header {
	forged := mailauth.Forged(h, hostname)
	if len(forged) == 0 {
		return h
	}
	offsets := map[int64]bool{}
	for _, f := range forged {
		offsets[f.Offset] = true
	}
	var kept message.Header
	for _, f := range h {
		if !offsets[f.Offset] {
			kept = append(kept, f)
		}
	}
	return kept
}

// attrs are what the log says of the checks.
func (q *inquiry) attrs() []any {
	if q == nil || q.results == nil {
		return nil
	}
	r := q.results
	dkim := mailauth.None
	for _, s := range r.DKIM {
		if dkim = s.Result; dkim == mailauth.Pass {
			break
		}
	}
	attrs := []any{slog.Group("checks", "iprev", r.IPRev.Result, "spf", r.MailFrom.Result, "dkim", dkim, "dmarc", r.DMARC.Result, "arc", r.ARC.Result)}
	if len(q.reasons) > 0 {
		attrs = append(attrs, "because", q.reasons)
	}
	return attrs
}

// Checks are what an explanation has of a message, as JSON.
type Checks struct {
	Results    *mailauth.Results `json:"results,omitempty"`
	Blocklists []Listing         `json:"blocklists,omitempty"`
	Because    []string          `json:"because,omitempty"`
}

// explain keeps what became of a message, and why.
func (t *session) explain(x *storage.Explanation, q *inquiry, outcome string) {
	x.Outcome = oneLine(outcome)
	checks := Checks{}
	if q != nil {
		x.MessageID, checks = q.messageID, Checks{q.results, q.blocked, q.reasons}
	}
	text, err := json.Marshal(checks)
	if err != nil {
		t.conn.Log().Warn("message is not explained", "id", x.Trace, "err", err)
		return
	}
	x.Checks = string(text)
	t.s.Store.Explain(*x)
}
