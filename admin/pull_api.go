package admin

import (
	"context"
	"fmt"

	"mailbox/storage"
)

// The requests by which mail comes from another IMAP server. What came is
// remembered with the UIDs it has there, so that nothing is asked for twice.

// A pullOrigin is a mailbox of another server, for a user here.
type pullOrigin struct {
	Address     string `json:"address"` // of the user
	Source      string `json:"source"`
	Mailbox     string `json:"mailbox"` // there
	UIDValidity uint32 `json:"uidvalidity"`
}

func (o pullOrigin) stored() storage.Origin {
	return storage.Origin{Source: o.Source, Mailbox: o.Mailbox, UIDValidity: o.UIDValidity}
}

// A pulledHead is what is remembered of a message.
type pulledHead struct {
	UID     uint32   `json:"uid"` // there
	Email   int64    `json:"email"`
	Mailbox string   `json:"mailbox,omitempty"` // as the puller calls it
	Size    int64    `json:"size"`
	SHA256  []byte   `json:"sha256"`
	Flags   []string `json:"flags,omitempty"`
}

func (a *API) pullKnown(ctx context.Context, o pullOrigin, out *streamWriter) error {
	return a.pulled(ctx, o, out, a.DB.Pulled)
}

func (a *API) pullCopies(ctx context.Context, o pullOrigin, out *streamWriter) error {
	return a.pulled(ctx, o, out, a.DB.PulledCopies)
}

func (a *API) pulled(ctx context.Context, o pullOrigin, out *streamWriter, list func(context.Context, storage.AccountID, storage.Origin, func(storage.Pulled) error) error) error {
	account, _, err := a.account(ctx, o.Address)
	if err != nil {
		return err
	}
	return list(ctx, account.ID, o.stored(), func(p storage.Pulled) error {
		return out.record(record{Pulled: &pulledHead{p.UID, int64(p.Email), p.Mailbox, p.Size, p.SHA256, p.Flags}})
	})
}

// pullMessages puts the messages of a stream into a mailbox, and remembers where
// they come from, all or none.
func (a *API) pullMessages(ctx context.Context, in *streamReader) (Imported, error) {
	first, _, err := in.next()
	if err != nil {
		return Imported{}, err
	}
	if first.Mailbox == nil || first.Origin == nil {
		return Imported{}, fmt.Errorf("stream of mail without a mailbox or origin: %w", storage.ErrInvalid)
	}
	m, err := a.mailbox(ctx, *first.Mailbox)
	if err != nil {
		return Imported{}, err
	}
	var batch importBatch
	defer batch.close()
	if err := batch.read(a.DB, in); err != nil {
		return Imported{}, err
	}
	list := make([]storage.Pull, len(batch.list))
	for i, b := range batch.list {
		list[i] = storage.Pull{
			Pulled: storage.Pulled{UID: b.head.UID, Mailbox: first.Place, Email: storage.EmailID(b.head.Email), Size: b.head.Size, SHA256: b.head.SHA256, Flags: b.head.Flags},
			Upload: b.Upload,
		}
	}
	return Imported{len(list)}, a.DB.Pull(ctx, m.Account, m.ID, first.Origin.stored(), list)
}

// A pullChanges is what happened at an origin.
type pullChanges struct {
	pullOrigin
	Changes []pullChange `json:"changes"`
}

type pullChange struct {
	UID    uint32   `json:"uid"`
	Flags  []string `json:"flags,omitempty"`
	Gone   bool     `json:"gone,omitempty"`
	Remove bool     `json:"remove,omitempty"`
}

func (a *API) pullChange(ctx context.Context, in pullChanges) (None, error) {
	account, _, err := a.account(ctx, in.Address)
	if err != nil {
		return None{}, err
	}
	list := make([]storage.PullChange, len(in.Changes))
	for i, c := range in.Changes {
		list[i] = storage.PullChange(c)
	}
	return None{}, a.DB.ChangePulled(ctx, account.ID, in.stored(), list)
}
