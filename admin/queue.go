package admin

import (
	"context"
	"fmt"
	"net"
	"time"

	"mailbox/storage"
)

// A QueueChoice chooses recipients of the queue: those to which everything
// holds that is set.
type QueueChoice struct {
	IDs       []int64 `json:"ids,omitempty"` // of messages, at most 1,000
	Recipient string  `json:"recipient,omitempty"`
	Domain    string  `json:"domain,omitempty"` // of the recipient
	User      string  `json:"user,omitempty"`   // who submitted the message
	Older     int64   `json:"older,omitempty"`  // seconds since it was accepted or released
	Held      *bool   `json:"held,omitempty"`
	All       bool    `json:"all,omitempty"` // an action on everything must say so
}

// maxIDs bounds how many messages may be named.
const maxIDs = 1000

// filters renders a choice for the store, one filter for each message named.
func (a *API) filters(ctx context.Context, c QueueChoice) ([]storage.QueueFilter, error) {
	if c.Older < 0 || len(c.IDs) > maxIDs {
		return nil, fmt.Errorf("choice of %d messages older than %d seconds: %w", len(c.IDs), c.Older, storage.ErrInvalid)
	}
	f := storage.QueueFilter{Recipient: c.Recipient, Domain: c.Domain, OlderThan: time.Duration(c.Older) * time.Second, Held: c.Held}
	if c.User != "" {
		account, _, err := a.account(ctx, c.User)
		if err != nil {
			return nil, err
		}
		f.Account = account.ID
	}
	if len(c.IDs) == 0 {
		return []storage.QueueFilter{f}, nil
	}
	all := make([]storage.QueueFilter, 0, len(c.IDs))
	for _, id := range c.IDs {
		if id <= 0 {
			return nil, fmt.Errorf("message %d: %w", id, storage.ErrInvalid)
		}
		f.Message = storage.QueueID(id)
		all = append(all, f)
	}
	return all, nil
}

// A QueueQuery asks for the chosen recipients; one that sets nothing, for all.
type QueueQuery struct {
	QueueChoice
	Limit int `json:"limit,omitempty"` // 1 to 10,000; 0 means 1,000
}

// A QueueList is recipients of the queue, the oldest first.
type QueueList struct {
	Recipients []QueueRow `json:"recipients"`
	More       bool       `json:"more,omitempty"` // than the limit
}

// A QueueRow is a recipient of the queue with its message.
type QueueRow struct {
	ID        int64     `json:"id"` // of the message
	Sender    string    `json:"sender"`
	User      string    `json:"user,omitempty"`
	Recipient string    `json:"recipient"`
	Size      int64     `json:"size"` // bytes
	Queued    time.Time `json:"queued"`
	Release   time.Time `json:"release,omitzero"` // not to be sent before
	Due       time.Time `json:"due"`              // the next attempt
	Held      bool      `json:"held,omitempty"`
	Route     string    `json:"route,omitempty"`
	Attempts  int       `json:"attempts"`
	LastReply string    `json:"last_reply,omitempty"`
}

const maxQueueList = 10_000

func (a *API) queueList(ctx context.Context, in QueueQuery) (QueueList, error) {
	list := QueueList{Recipients: []QueueRow{}}
	limit := in.Limit
	if limit == 0 {
		limit = 1000
	}
	if limit < 0 || limit > maxQueueList {
		return list, fmt.Errorf("limit %d is not between 1 and %d: %w", in.Limit, maxQueueList, storage.ErrInvalid)
	}
	filters, err := a.filters(ctx, in.QueueChoice)
	if err != nil {
		return list, err
	}
	names, err := a.names(ctx)
	if err != nil {
		return list, err
	}
	for _, f := range filters {
		rows, err := a.DB.Queue(ctx, f, limit-len(list.Recipients)+1)
		if err != nil {
			return list, err
		}
		for _, q := range rows {
			if list.More = len(list.Recipients) == limit; list.More {
				return list, nil
			}
			list.Recipients = append(list.Recipients, queueRow(q, names))
		}
	}
	return list, nil
}

// names tells what accounts are called; one that was removed has no name.
func (a *API) names(ctx context.Context) (map[storage.AccountID]string, error) {
	accounts, err := a.DB.Accounts(ctx)
	names := map[storage.AccountID]string{}
	for _, account := range accounts {
		names[account.ID] = account.Name
	}
	return names, err
}

func queueRow(q storage.QueueRow, names map[storage.AccountID]string) QueueRow {
	return QueueRow{
		ID: int64(q.QueuedMessage.ID), Sender: q.Sender, User: names[q.Account], Recipient: q.Address, Size: q.Size, Queued: q.Queued, Release: q.Release,
		Due: q.Due, Held: q.Held, Route: q.Route, Attempts: q.Attempts, LastReply: q.Last.Reply,
	}
}

// A QueueRef names a message of the queue.
type QueueRef struct {
	ID int64 `json:"id"`
}

// A QueuedMessage is a message of the queue with all that is known of it.
type QueuedMessage struct {
	ID         int64             `json:"id"`
	Sender     string            `json:"sender"`
	User       string            `json:"user,omitempty"` // who submitted it
	MessageID  string            `json:"message_id,omitempty"`
	Size       int64             `json:"size"` // bytes
	Queued     time.Time         `json:"queued"`
	Release    time.Time         `json:"release,omitzero"` // RFC 4865
	Ret        string            `json:"ret,omitempty"`    // RFC 3461
	EnvID      string            `json:"envid,omitempty"`  // RFC 3461
	RequireTLS bool              `json:"require_tls,omitempty"`
	UTF8       bool              `json:"utf8,omitempty"` // RFC 6531
	Recipients []QueuedRecipient `json:"recipients"`
}

// A QueuedRecipient is a recipient that waits for its message.
type QueuedRecipient struct {
	Address  string    `json:"address"`
	Due      time.Time `json:"due"` // the next attempt
	Held     bool      `json:"held,omitempty"`
	Late     bool      `json:"late,omitempty"` // its sender was told
	Route    string    `json:"route,omitempty"`
	Notify   string    `json:"notify,omitempty"` // RFC 3461
	ORCPT    string    `json:"orcpt,omitempty"`  // RFC 3461
	Attempts []Attempt `json:"attempts"`         // the first one first
}

// An Attempt is one try to send to a recipient.
type Attempt struct {
	At      time.Time `json:"at"`
	Took    float64   `json:"took"` // seconds
	Host    string    `json:"host"`
	Address string    `json:"address,omitempty"` // IP address and port that were reached
	TLS     string    `json:"tls,omitempty"`     // "" is plain text
	Stage   string    `json:"stage"`             // "dns", "connect", "rcpt" …
	Reply   string    `json:"reply"`
}

func (a *API) queueShow(ctx context.Context, in QueueRef) (QueuedMessage, error) {
	m, err := a.DB.QueuedMessage(ctx, storage.QueueID(in.ID))
	if err != nil {
		return QueuedMessage{}, fmt.Errorf("message %d of the queue: %w", in.ID, err)
	}
	names, err := a.names(ctx)
	if err != nil {
		return QueuedMessage{}, err
	}
	out := QueuedMessage{
		ID: in.ID, Sender: m.Sender, User: names[m.Account], MessageID: m.MessageID, Size: m.Size, Queued: m.Queued, Release: m.Release,
		Ret: m.Ret, EnvID: m.EnvID, RequireTLS: m.RequireTLS, UTF8: m.UTF8,
	}
	for _, r := range m.To {
		attempts, err := a.DB.Attempts(ctx, r.ID)
		if err != nil {
			return out, err
		}
		out.Recipients = append(out.Recipients, queuedRecipient(r, attempts))
	}
	return out, nil
}

func queuedRecipient(r storage.QueuedRecipient, attempts []storage.Attempt) QueuedRecipient {
	out := QueuedRecipient{
		Address: r.Address, Due: r.Due, Held: r.Held, Late: r.Noticed, Route: r.Route, Notify: r.Notify, ORCPT: r.ORCPT, Attempts: []Attempt{},
	}
	for _, t := range attempts {
		out.Attempts = append(out.Attempts, Attempt{t.At, t.Took.Seconds(), t.Host, t.Address, t.TLS, t.Stage, t.Reply})
	}
	return out
}

// A QueueDone says to how many recipients something was done.
type QueueDone struct {
	Recipients int     `json:"recipients"`
	Missing    []int64 `json:"missing,omitempty"` // messages named of which there were none
}

// queueRetry leaves alone what is held, and what is to be sent later unless
// the message is named.
func (a *API) queueRetry(ctx context.Context, in QueueChoice) (QueueDone, error) {
	return a.actOnQueue(ctx, in, storage.QueueAction{Retry: true})
}

func (a *API) queueHold(ctx context.Context, in QueueChoice) (QueueDone, error) {
	return a.actOnQueue(ctx, in, storage.QueueAction{Hold: true})
}

// queueRelease undoes queueHold, and nothing else.
func (a *API) queueRelease(ctx context.Context, in QueueChoice) (QueueDone, error) {
	return a.actOnQueue(ctx, in, storage.QueueAction{Free: true})
}

func (a *API) queueDrop(ctx context.Context, in QueueChoice) (QueueDone, error) {
	return a.actOnQueue(ctx, in, storage.QueueAction{Drop: true})
}

// A QueueRoute sends the chosen recipients' mail to a host, "smtp.example.net:587";
// "" is again where the configuration and the DNS say.
type QueueRoute struct {
	QueueChoice
	Host string `json:"host"`
}

func (a *API) queueRoute(ctx context.Context, in QueueRoute) (QueueDone, error) {
	if _, _, err := net.SplitHostPort(in.Host); err != nil && in.Host != "" {
		return QueueDone{}, fmt.Errorf("route: %w: %w", err, storage.ErrInvalid)
	}
	return a.actOnQueue(ctx, in.QueueChoice, storage.QueueAction{Route: &in.Host})
}

// actOnQueue refuses a choice that sets nothing: that is more often a slip
// than meant.
func (a *API) actOnQueue(ctx context.Context, in QueueChoice, action storage.QueueAction) (done QueueDone, err error) {
	if !in.All && len(in.IDs) == 0 && in.Recipient == "" && in.Domain == "" && in.User == "" && in.Older == 0 && in.Held == nil {
		return done, fmt.Errorf("nothing was chosen: %w", storage.ErrInvalid)
	}
	filters, err := a.filters(ctx, in)
	if err != nil {
		return done, err
	}
	for _, f := range filters {
		switch {
		case action.Retry:
			f.Held, f.Released = new(false), len(in.IDs) == 0
		case action.Free:
			f.Held = new(true)
		}
		n, err := a.DB.ActOnQueue(ctx, f, action)
		done.Recipients += n
		if err != nil {
			return done, fmt.Errorf("after %d recipients: %w", done.Recipients, err)
		}
		if n == 0 && f.Message != 0 {
			done.Missing = append(done.Missing, int64(f.Message))
		}
	}
	return done, nil
}
