package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

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
func (a *API) contents(ctx context.Context, m storage.Mailbox, out *streamWriter) error {
	return a.DB.Contents(ctx, m.Account, m.ID, func(c storage.Content) error {
		return out.record(record{Content: &contentSum{c.Received, c.Size, c.SHA256[:]}})
	})
}

// exportMessages answers with all messages of a mailbox.
func (a *API) exportMessages(ctx context.Context, m storage.Mailbox, out *streamWriter) error {
	x, err := a.DB.Index(ctx, m.Account, m.ID)
	if err != nil {
		return err
	}
	for i := 0; i < x.Len(); i += exportSlice {
		var entries []storage.Entry
		var uids []storage.UID
		x.Slice(i, min(i+exportSlice, x.Len()), func(_ int, e storage.Entry) bool {
			entries, uids = append(entries, e), append(uids, e.UID)
			return true
		})
		rows, err := a.DB.Messages(ctx, m.Account, m.ID, uids, 0)
		if err != nil {
			return err
		}
		for _, row := range rows {
			for entries[0].UID < row.UID { // what is gone meanwhile
				entries = entries[1:]
			}
			flags := append(entries[0].Flags.Names(), x.Keywords(entries[0].Keywords)...)
			if err := a.exportMessage(ctx, row, flags, out); err != nil {
				return fmt.Errorf("message %d of mailbox %q: %w", row.UID, m.Name, err)
			}
		}
	}
	return nil
}

// exportSlice is how many rows exportMessages reads at a time.
const exportSlice = 500

func (a *API) exportMessage(ctx context.Context, row storage.Message, flags []string, out *streamWriter) error {
	blob, err := a.DB.OpenBlob(ctx, row.Blob)
	if errors.Is(err, storage.ErrExpunged) {
		return nil
	}
	if err != nil {
		return err
	}
	defer blob.Close()
	h := headOf(row.Received, flags, blob.Size)
	h.UID = uint32(row.UID)
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
	for {
		r, octets, err := in.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil && (r.Message == nil || len(batch.list) == maxImport) {
			err = fmt.Errorf("a batch is at most %d messages: %w", maxImport, storage.ErrInvalid)
		}
		if err == nil {
			err = batch.add(a.DB, r.Message, octets)
		}
		if err != nil {
			return Imported{}, err
		}
	}
	if len(batch.list) > 0 {
		_, _, err = a.DB.Append(ctx, m.Account, m.ID, batch.list)
	}
	return Imported{len(batch.list)}, err
}

// An importBatch gathers messages.
type importBatch struct {
	list   []storage.Upload
	memory int64
}

func (b *importBatch) add(db *storage.DB, h *messageHead, octets io.Reader) error {
	flags, keywords, unknown := storage.ParseFlags(h.Flags)
	if len(unknown) > 0 {
		return fmt.Errorf("flag %q: %w", unknown[0], storage.ErrInvalid)
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
	message, err := spool.Finish(nil)
	if err != nil {
		return err
	}
	b.memory += message.Memory()
	b.list = append(b.list, storage.Upload{Message: message, Received: h.received(), Flags: flags, Keywords: keywords})
	return nil
}

func (b *importBatch) close() {
	for _, up := range b.list {
		up.Message.Close() //nolint:errcheck // what was stored is not removed
	}
}

// handleOut answers a request of JSON with a stream about a mailbox.
func (a *API) handleOut(mux *http.ServeMux, command string, f func(context.Context, storage.Mailbox, *streamWriter) error) {
	mux.HandleFunc("POST /"+command, func(w http.ResponseWriter, r *http.Request) {
		defer a.recovered(w, command)
		var ref mailboxRef
		m, err := storage.Mailbox{}, decode(w, r, &ref)
		if err == nil {
			m, err = a.mailbox(r.Context(), ref)
		}
		if err != nil {
			reply(w, status(err), failure{err.Error()})
			return
		}
		out := newStreamWriter(w)
		_ = out.end(f(r.Context(), m, out)) // the peer has gone
	})
}

// handleIn answers a request that is a stream.
func (a *API) handleIn(mux *http.ServeMux, command string, f func(context.Context, *streamReader) (Imported, error)) {
	mux.HandleFunc("POST /"+command, func(w http.ResponseWriter, r *http.Request) {
		defer a.recovered(w, command)
		done, err := f(r.Context(), newStreamReader(r.Body))
		if err != nil {
			reply(w, status(err), failure{err.Error()})
			return
		}
		reply(w, http.StatusOK, done)
	})
}
