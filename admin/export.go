package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"mailbox/admin/archive"
)

// An Export writes the mail of an account into an archive.
type Export struct {
	Client   *Client
	Address  string         // of the user
	Progress func(Progress) // is told after each message; nil: nobody

	progress Progress
}

// Run exports everything. It is durable when the archive was closed after it.
func (e *Export) Run(ctx context.Context, to archive.Writer) (TransferReport, error) {
	report := TransferReport{Address: e.Address, Mailboxes: []MailboxTransfer{}, Failed: []FailedMessage{}}
	var boxes []Mailbox
	if err := e.Client.Call(ctx, "mailbox/list", UserRef{e.Address}, &boxes); err != nil {
		return report, err
	}
	for _, m := range boxes {
		e.progress.AllMessages += m.Messages
		e.progress.AllBytes += m.Size
	}
	for _, m := range boxes {
		t := MailboxTransfer{Source: m.Name, Name: m.Name}
		err := e.mailbox(ctx, m, to, &t)
		report.Mailboxes = append(report.Mailboxes, t)
		if err != nil {
			return report, fmt.Errorf("mailbox %q: %w", m.Name, err)
		}
	}
	return report, nil
}

func (e *Export) mailbox(ctx context.Context, m Mailbox, to archive.Writer, t *MailboxTransfer) error {
	e.progress.Mailbox = m.Name
	err := to.Mailbox(ctx, archive.Mailbox{Name: m.Name, SpecialUse: m.SpecialUse, Subscribed: m.Subscribed, Messages: m.Messages, Bytes: m.Size})
	if err != nil {
		return err
	}
	s, err := e.Client.stream(ctx, "export/messages", mailboxRef{e.Address, m.Name})
	if err != nil {
		return err
	}
	defer s.Close()
	for r := newStreamReader(s); ; {
		rec, octets, err := r.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil && rec.Message == nil {
			err = errors.New("stream of mail: a record of another kind")
		}
		if err != nil {
			return err
		}
		h := rec.Message
		err = to.Message(ctx, &archive.Message{
			Place: fmt.Sprintf("UID %d", h.UID), Received: h.received(), Flags: slices.Clone(h.Flags), Content: octets,
		})
		if err != nil {
			return fmt.Errorf("UID %d: %w", h.UID, err)
		}
		t.Found++
		t.Bytes += h.Size
		t.Added++
		e.progress.Messages++
		e.progress.Bytes += h.Size
		if e.Progress != nil {
			e.Progress(e.progress)
		}
	}
}
