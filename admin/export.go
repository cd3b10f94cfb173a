package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"mailbox/admin/archive"
)

// An Export writes the mail of an account into an archive.
type Export struct {
	Client   *Client
	Address  string         // of the user
	Aside    string         // directory for what the archive does not take; made when it is needed
	Progress func(Progress) // is told after each message; nil: nobody

	report   TransferReport
	progress Progress
	aside    aside
}

// Run exports everything. It is durable when the archive was closed after it.
// What the archive does not take is in the report and set aside.
func (e *Export) Run(ctx context.Context, to archive.Writer) (TransferReport, error) {
	e.report = newReport(e.Address)
	e.aside.dir = e.Aside
	var boxes []Mailbox
	if err := e.Client.Call(ctx, "mailbox/list", UserRef{e.Address}, &boxes); err != nil {
		return e.report, err
	}
	for _, m := range boxes {
		e.progress.AllMessages += m.Messages
		e.progress.AllBytes += m.Size
	}
	for _, m := range boxes {
		t := &MailboxTransfer{Source: m.Name, Name: m.Name}
		e.report.Mailboxes = append(e.report.Mailboxes, t)
		if err := e.mailbox(ctx, m, to, t); err != nil {
			return e.report, fmt.Errorf("mailbox %q: %w", m.Name, err)
		}
	}
	return e.report, nil
}

func (e *Export) mailbox(ctx context.Context, m Mailbox, to archive.Writer, t *MailboxTransfer) error {
	e.progress.Mailbox = m.Name
	err := to.Mailbox(ctx, archive.Mailbox{Name: m.Name, SpecialUse: m.SpecialUse, Subscribed: m.Subscribed, Messages: m.Messages, Bytes: m.Size})
	if err = e.lost(t, "", err); err != nil {
		return err
	}
	return e.Client.each(ctx, "export/messages", mailboxRef{e.Address, m.Name}, func(rec record, octets io.Reader) error {
		if rec.Message == nil {
			return errRecord
		}
		if err := e.message(ctx, rec.Message, octets, to, t); err != nil {
			return fmt.Errorf("UID %d: %w", rec.Message.UID, err)
		}
		return nil
	})
}

func (e *Export) message(ctx context.Context, h *messageHead, octets io.Reader, to archive.Writer, t *MailboxTransfer) error {
	place := fmt.Sprintf("UID %d", h.UID)
	err := to.Message(ctx, &archive.Message{Place: place, Received: h.received(), Flags: h.Flags, Content: octets})
	err = e.lost(t, place, err)
	var refused *archive.RefusedError
	switch {
	case errors.As(err, &refused):
		f := FailedMessage{Mailbox: t.Source, Place: place, Reason: err.Error()}
		if f.Kept, err = e.aside.keep(f, bytes.NewReader(refused.Content)); err != nil {
			return err
		}
		e.report.Failed = append(e.report.Failed, f)
		t.Failed++
	case err != nil:
		return err
	default:
		t.Added++
	}
	t.Found++
	t.Bytes += h.Size
	e.progress.Messages++
	e.progress.Bytes += h.Size
	if e.Progress != nil {
		e.Progress(e.progress)
	}
	return nil
}

// lost reports a loss, which is no error.
func (e *Export) lost(t *MailboxTransfer, place string, err error) error {
	var loss archive.Loss
	if !errors.As(err, &loss) {
		return err
	}
	e.report.Lost = append(e.report.Lost, FailedMessage{Mailbox: t.Source, Place: place, Reason: err.Error()})
	return nil
}
