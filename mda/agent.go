// Package mda decides what becomes of a message for each of its local
// recipients, and files it for all of them at once.
package mda

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mailbox/storage"
)

// A Message is one that was accepted from the network or from a user, with its
// local recipients, and what goes with it into the same transaction.
type Message struct {
	*storage.Spooled
	From     string // return path; "" is the null one
	Received time.Time
	To       []storage.Recipient
	Queue    *storage.Outgoing    // recipients elsewhere; nil where there are none
	Settle   []storage.Settlement // of the queue
	Report   *Message             // on this one, in the same transaction; nil where there is none

	Suspect map[storage.AccountID]bool // for whom it is junk because of who sent it
	Met     []string                   // who sent it, for storage.Acquainted
}

// A Scorer says whether a message is junk for an account. An error
// fails the delivery.
type Scorer interface {
	Junk(ctx context.Context, m *Message, to storage.Recipient) (bool, error)
}

// A Filter is an account's own rules. It must not have effects: the Agent
// carries out what it says.
type Filter interface {
	Filter(ctx context.Context, m *Message, to storage.Recipient) (Decision, error)
}

// A Decision is what a Filter wants for one recipient. The zero Decision keeps
// the message where it would go anyway.
type Decision struct {
	Refuse  string // the text of a refusal; "" where it is not refused
	Discard bool
	File    []Filing // instead of where it would go
}

// A Filing puts the message into a mailbox of the recipient.
type Filing struct {
	Mailbox  string
	Flags    storage.Flags
	Keywords []string
}

// An Outcome is what became of the message for one recipient.
type Outcome struct {
	storage.Recipient
	Filed   []string // mailboxes, none where it was discarded
	Refused string   // why the recipient's filter did not want it; it is filed in Junk all the same
}

// A Refusal means that every recipient's filter refused the message. Nothing
// was filed.
type Refusal struct{ Text string }

func (r *Refusal) Error() string { return "refused by the recipient: " + r.Text }

// An Agent files messages. Store must be set; Junk and Filter may be nil.
type Agent struct {
	Store  *storage.DB
	Junk   Scorer
	Filter Filter
}

const junkMailbox = "Junk"

// refusedKeyword marks a message that its recipient's filter refused when it
// was accepted for others.
const refusedKeyword = "$Refused"

// Deliver files the message for all recipients and queues it for those
// elsewhere, or does nothing. It returns when it is durable. *Refusal: nobody
// wants it. Two recipients that are one account and one mailbox get one copy.
func (a *Agent) Deliver(ctx context.Context, m *Message) ([]Outcome, error) {
	d, outcomes, err := a.plan(ctx, m)
	if err != nil {
		return outcomes, err
	}
	list := []*storage.Delivery{d}
	if m.Report != nil {
		report, _, err := a.plan(ctx, m.Report)
		var unwanted *Refusal
		if err != nil && !errors.As(err, &unwanted) {
			return nil, fmt.Errorf("report: %w", err)
		}
		if err == nil {
			list = append(list, report)
		}
	}
	if len(d.To) == 0 && d.Queue == nil && len(list) == 1 { // all of them discard it
		return outcomes, a.Store.Settle(ctx, m.Settle)
	}
	return outcomes, a.Store.Deliver(ctx, list...)
}

// plan says what is to become of a message, for the store and for the log.
func (a *Agent) plan(ctx context.Context, m *Message) (*storage.Delivery, []Outcome, error) {
	outcomes := make([]Outcome, len(m.To))
	targets := make([][]storage.Target, len(m.To))
	refused := 0
	for i, to := range m.To {
		d, err := a.decide(ctx, m, to)
		if err != nil {
			return nil, nil, fmt.Errorf("deliver to %s: %w", to.Address, err)
		}
		outcomes[i] = Outcome{Recipient: to, Refused: d.Refuse}
		if d.Refuse != "" {
			refused++
			d = Decision{File: []Filing{{Mailbox: junkMailbox, Keywords: []string{refusedKeyword}}}}
		}
		for _, f := range d.File {
			target := storage.Target{Account: to.Account, Mailbox: f.Mailbox, Flags: f.Flags, Keywords: f.Keywords}
			if f.Mailbox != junkMailbox {
				target.Met = m.Met
			}
			targets[i] = append(targets[i], target)
			outcomes[i].Filed = append(outcomes[i].Filed, f.Mailbox)
		}
	}
	if refused > 0 && refused == len(m.To) && m.Queue == nil {
		return nil, outcomes, &Refusal{outcomes[0].Refused}
	}
	return &storage.Delivery{
		Message: m.Spooled, Received: m.Received, To: slices.Concat(targets...), Queue: m.Queue, Settle: m.Settle,
	}, outcomes, nil
}

// decide asks junk filter and rules, and says where the message goes when they
// have no wish.
func (a *Agent) decide(ctx context.Context, m *Message, to storage.Recipient) (Decision, error) {
	var d Decision
	var err error
	if a.Filter != nil {
		if d, err = a.Filter.Filter(ctx, m, to); err != nil {
			return d, err
		}
	}
	if d.Refuse != "" || d.Discard || len(d.File) > 0 {
		return d, nil
	}
	mailbox, err := a.home(ctx, to)
	if err != nil {
		return d, err
	}
	junk := m.Suspect[to.Account]
	if a.Junk != nil && !junk {
		if junk, err = a.Junk.Junk(ctx, m, to); err != nil {
			return d, fmt.Errorf("junk: %w", err)
		}
	}
	if junk {
		mailbox = junkMailbox
	}
	d.File = []Filing{{Mailbox: mailbox}}
	return d, nil
}

// home is INBOX or, for user+tag of an account that asks for it, the mailbox
// of the tag's name, where there is one.
func (a *Agent) home(ctx context.Context, to storage.Recipient) (string, error) {
	if to.Tag == "" || !to.TagFolders {
		return "INBOX", nil
	}
	boxes, err := a.Store.Mailboxes(ctx, to.Account)
	if err != nil {
		return "", err
	}
	for _, b := range boxes {
		if b.Exists && strings.EqualFold(b.Name, to.Tag) {
			return b.Name, nil
		}
	}
	return "INBOX", nil
}
