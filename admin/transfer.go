package admin

import (
	"context"
	"errors"
	"fmt"
	"io"

	"mailbox/storage"
)

// The requests by which mail comes in and goes out. They are streams: see
// stream.go. None keeps anything in memory from one message to the next, and
// none remembers the one before it, so that whoever was cut off begins again.

// A NewMailbox is a mailbox that is to be there.
type NewMailbox struct {
	Address    string `json:"address"`
	Name       string `json:"name"`
	SpecialUse string `json:"special_use,omitempty"`
	Subscribed bool   `json:"subscribed,omitempty"`
}

// mailboxEnsure makes a mailbox where it is missing. A special use that another
// mailbox has stays with that.
func (a *API) mailboxEnsure(ctx context.Context, in NewMailbox) (None, error) {
	account, _, err := a.account(ctx, in.Address)
	if err != nil {
		return None{}, err
	}
	_, err = a.DB.Mailbox(ctx, account.ID, in.Name)
	if errors.Is(err, storage.ErrNonexistent) {
		_, err = a.DB.CreateMailbox(ctx, account.ID, in.Name, in.SpecialUse)
		if errors.Is(err, storage.ErrExists) && in.SpecialUse != "" {
			_, err = a.DB.CreateMailbox(ctx, account.ID, in.Name, "")
		}
		if errors.Is(err, storage.ErrExists) { // somebody was faster
			err = nil
		}
	}
	if err == nil && in.Subscribed {
		err = a.DB.Subscribe(ctx, account.ID, in.Name, true)
	}
	return None{}, err
}

// mailbox finds what a stream is about.
func (a *API) mailbox(ctx context.Context, ref mailboxRef) (storage.Mailbox, error) {
	account, _, err := a.account(ctx, ref.Address)
	if err != nil {
		return storage.Mailbox{}, err
	}
	m, err := a.DB.Mailbox(ctx, account.ID, ref.Name)
	if err != nil {
		err = fmt.Errorf("mailbox %q of %s: %w", ref.Name, ref.Address, err)
	}
	return m, err
}

// contents answers with what a mailbox has, so that nothing is put into it twice.
func (a *API) contents(ctx context.Context, ref mailboxRef, out *streamWriter) error {
	m, err := a.mailbox(ctx, ref)
	if err != nil {
		return err
	}
	return a.DB.Contents(ctx, m.Account, m.ID, func(c storage.Content) error {
		return out.record(record{Content: &contentSum{c.Received, c.Size, c.SHA256[:], int64(c.Email)}})
	})
}

// exportMessages answers with all messages of a mailbox.
func (a *API) exportMessages(ctx context.Context, ref mailboxRef, out *streamWriter) error {
	m, err := a.mailbox(ctx, ref)
	if err != nil {
		return err
	}
	return a.DB.Letters(ctx, m.Account, m.ID, func(l storage.Letter) error {
		if err := a.exportMessage(ctx, l, out); err != nil {
			return fmt.Errorf("message %d of mailbox %q: %w", l.UID, m.Name, err)
		}
		return nil
	})
}

func (a *API) exportMessage(ctx context.Context, l storage.Letter, out *streamWriter) error {
	blob, err := a.DB.OpenBlob(ctx, l.Blob)
	if errors.Is(err, storage.ErrExpunged) { // meanwhile
		return nil
	}
	if err != nil {
		return err
	}
	defer blob.Close()
	h := headOf(l.Received, append(l.Flags.Names(), l.Keywords...), blob.Size)
	h.UID = uint32(l.UID)
	return out.message(h, io.NewSectionReader(blob, 0, blob.Size))
}

// Imported is the answer to a batch.
type Imported struct {
	Added int `json:"added"`
}

// The bounds of a batch. Messages that come when importMemory is reached wait in files.
const (
	maxImport    = 1000
	importMemory = 16 << 20
)

// importMessages puts the messages of a stream into a mailbox, all or none.
func (a *API) importMessages(ctx context.Context, in *streamReader) (Imported, error) {
	first, _, err := in.next()
	if err != nil {
		return Imported{}, err
	}
	if first.Mailbox == nil {
		return Imported{}, fmt.Errorf("stream of mail without a mailbox: %w", storage.ErrInvalid)
	}
	m, err := a.mailbox(ctx, *first.Mailbox)
	if err != nil {
		return Imported{}, err
	}
	var batch importBatch
	defer batch.close()
	if err := batch.read(a.DB, in); err != nil || len(batch.list) == 0 {
		return Imported{}, err
	}
	_, _, err = a.DB.Append(ctx, m.Account, m.ID, batch.uploads())
	return Imported{len(batch.list)}, err
}

// An importBatch gathers messages.
type importBatch struct {
	list   []imported
	memory int64
}

// An imported is a message, and what it said of itself.
type imported struct {
	head *messageHead
	storage.Upload
}

// read takes in all messages up to the end of the stream.
func (b *importBatch) read(db *storage.DB, in *streamReader) error {
	for {
		r, octets, err := in.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil && (r.Message == nil || len(b.list) == maxImport) {
			err = fmt.Errorf("a batch is at most %d messages: %w", maxImport, storage.ErrInvalid)
		}
		if err == nil {
			err = b.add(db, r.Message, octets)
		}
		if err != nil {
			return err
		}
	}
}

func (b *importBatch) add(db *storage.DB, h *messageHead, octets io.Reader) error {
	flags, keywords, unknown := storage.ParseFlags(h.Flags)
	if len(unknown) > 0 {
		return fmt.Errorf("flag %q: %w", unknown[0], storage.ErrInvalid)
	}
	m := imported{h, storage.Upload{Received: h.received(), Flags: flags, Keywords: keywords}}
	if h.Email != 0 {
		b.list = append(b.list, m) // it is here already
		return nil
	}
	spool := db.NewSpool()
	if b.memory >= importMemory {
		spool.OnDisk()
	}
	n, err := io.Copy(spool, octets)
	if err == nil && n < h.Size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		spool.Discard()
		return err
	}
	if m.Message, err = spool.Finish(nil); err != nil {
		return err
	}
	b.memory += m.Message.Memory()
	b.list = append(b.list, m)
	return nil
}

func (b *importBatch) uploads() []storage.Upload {
	all := make([]storage.Upload, len(b.list))
	for i, m := range b.list {
		all[i] = m.Upload
	}
	return all
}

func (b *importBatch) close() {
	for _, m := range b.list {
		if m.Message != nil {
			m.Message.Close() //nolint:errcheck // what was stored is not removed
		}
	}
}
