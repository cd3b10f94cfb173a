package imapd

import (
	"context"
	"slices"
	"strings"

	"mailbox/imapd/wire"
	"mailbox/storage"
)

// parseFlags divides flags that a client sent. \Recent and unknown system
// flags cannot be set (RFC 3501 section 2.3.2).
func parseFlags(names []string) (flags storage.Flags, keywords []string, err error) {
	flags, keywords, unknown := storage.ParseFlags(names)
	if len(unknown) > 0 {
		return 0, nil, bad("flag cannot be set: " + unknown[0])
	}
	return flags, keywords, nil
}

// messageSet reads a space and a set of messages.
func (c *conn) messageSet() (wire.NumSet, error) {
	if err := c.dec.SP(); err != nil {
		return wire.NumSet{}, err
	}
	return c.dec.NumSet()
}

// messages brings the view up to date, without EXPUNGE, and resolves a set.
func (c *conn) messages(ctx context.Context, set wire.NumSet, uid bool) ([]storage.UID, bool, error) {
	if err := c.sync(ctx, syncOptions{}); err != nil {
		return nil, false, err
	}
	return c.view.resolve(set, uid, page{})
}

var errExpungeIssued = no("EXPUNGEISSUED", "some of the messages no longer exist")

// store is STORE and UID STORE (RFC 3501 section 6.4.6, RFC 7162 section 3.1.3).
func (c *conn) store(ctx context.Context, uid bool) (ok, error) {
	set, err := c.messageSet()
	if err != nil {
		return ok{}, err
	}
	change, silent, err := c.flagChange()
	if err != nil {
		return ok{}, err
	}
	// The view stays as the client knows it until the flags are stored: what
	// others changed and what silence hides are then told in one.
	uids, missing, err := c.view.resolve(set, uid, page{})
	if err != nil {
		return ok{}, err
	}
	if c.view.readOnly {
		return ok{}, errReadOnly
	}
	var result storage.FlagResult
	err = c.patiently(func() (err error) {
		result, err = c.s.Store.StoreFlags(ctx, c.account, c.view.mailbox, uids, change.FlagChange)
		return err
	})
	if err != nil {
		return ok{}, err
	}
	if err := c.tellStored(ctx, uids, result.Modified, change, silent, uid); err != nil {
		return ok{}, err
	}
	done := ok{code: c.modified(result.Modified, uid), text: "STORE completed"}
	if missing || !uid && len(result.Missing) > 0 {
		if done.code != "" {
			return ok{}, no(done.code, "some of the messages no longer exist, others were changed")
		}
		return ok{}, errExpungeIssued
	}
	return done, nil
}

// tellStored tells the outcome of a STORE on uids. Of messages that were left
// alone because they had changed, the client hears what others made of them.
// Silence hides flags, but not the modseqs of who counts them (RFC 7162
// section 3.1.3).
func (c *conn) tellStored(ctx context.Context, uids, modified []storage.UID, change flagChange, silent, uid bool) error {
	before := c.view.cur
	var news []storage.UID // that need flags
	err := c.sync(ctx, syncOptions{known: func(old, cur *storage.Index, was, now *storage.Entry) bool {
		if _, named := slices.BinarySearch(uids, now.UID); !named {
			return false
		}
		_, left := slices.BinarySearch(modified, now.UID)
		if left || silent && !change.explains(old, cur, was, now) {
			news = append(news, now.UID)
		}
		return true
	}})
	if err != nil {
		return err
	}
	for _, u := range uids {
		_, isNews := slices.BinarySearch(news, u)
		_, left := slices.BinarySearch(modified, u)
		switch {
		case isNews:
			c.tellNews(u, uid)
		case left, silent && !c.has(condStore):
		case !silent || change.UnchangedSince != nil || modSeqOf(before, u) != modSeqOf(c.view.cur, u):
			c.tellMessage(u, uid, !silent)
		}
	}
	return nil
}

// modified is the response code that names the messages that were left alone.
func (c *conn) modified(uids []storage.UID, uid bool) string {
	if len(uids) == 0 {
		return ""
	}
	var set wire.Ranges
	for _, u := range uids {
		n := uint32(u)
		if !uid {
			n = c.view.seq(u)
		}
		set = set.Add(n)
	}
	return string(set.Append([]byte("MODIFIED ")))
}

// explains tells whether the change alone made the new flags of a message, so
// that a client that asked for silence knows them.
func (change flagChange) explains(old, cur *storage.Index, was, now *storage.Entry) bool {
	flags, words := change.Flags, fold(change.Keywords)
	before := fold(old.Keywords(was.Keywords))
	switch change.Op {
	case storage.AddFlags:
		flags, words = was.Flags|flags, append(before, words...)
	case storage.RemoveFlags:
		words = slices.DeleteFunc(before, func(k string) bool { return slices.Contains(words, k) })
		flags = was.Flags &^ flags
	}
	after := fold(cur.Keywords(now.Keywords))
	slices.Sort(words)
	slices.Sort(after)
	return flags == now.Flags && slices.Equal(slices.Compact(words), after)
}

func fold(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = strings.ToLower(w)
	}
	return out
}

// A flagChange is what a STORE asks for.
type flagChange struct{ storage.FlagChange }

// flagChange reads what STORE is to do, to the end of the line.
func (c *conn) flagChange() (change flagChange, silent bool, err error) {
	if err := c.dec.SP(); err != nil {
		return change, false, err
	}
	if change.UnchangedSince, err = c.storeModifiers(); err != nil {
		return change, false, err
	}
	if plus, err := c.dec.Accept('+'); err != nil {
		return change, false, err
	} else if plus {
		change.Op = storage.AddFlags
	} else if minus, err := c.dec.Accept('-'); err != nil {
		return change, false, err
	} else if minus {
		change.Op = storage.RemoveFlags
	}
	item, err := c.dec.Word()
	if err != nil {
		return change, false, err
	}
	item, silent = strings.CutSuffix(item, ".SILENT")
	if item != "FLAGS" {
		return change, false, bad("expected FLAGS")
	}
	if err := c.dec.SP(); err != nil {
		return change, false, err
	}
	names, err := c.dec.StoreFlags()
	if err == nil {
		err = c.dec.CRLF()
	}
	if err != nil {
		return change, false, err
	}
	change.Flags, change.Keywords, err = parseFlags(names)
	return change, silent, err
}

// storeModifiers reads the modifiers of STORE, where there are any, and the
// space behind them.
func (c *conn) storeModifiers() (unchangedSince *storage.ModSeq, err error) {
	next, err := c.dec.Peek()
	if err != nil || next != '(' {
		return nil, err
	}
	err = c.dec.List(func() error {
		if err := c.dec.ExpectWord("UNCHANGEDSINCE"); err != nil {
			return err
		}
		if err := c.dec.SP(); err != nil {
			return err
		}
		n, err := c.modSeq()
		unchangedSince = &n
		return err
	})
	if err != nil {
		return nil, err
	}
	return unchangedSince, c.dec.SP()
}

func (c *conn) copy(ctx context.Context, uid bool) (ok, error) {
	return c.transfer(ctx, uid, c.s.Store.Copy, "COPY completed", false)
}

func (c *conn) move(ctx context.Context, uid bool) (ok, error) {
	return c.transfer(ctx, uid, c.s.Store.Move, "MOVE completed", true)
}

type transferFunc func(context.Context, storage.AccountID, storage.MailboxID, []storage.UID, storage.MailboxID) (storage.CopyResult, error)

// transfer is COPY (RFC 3501 section 6.4.7) and MOVE (RFC 6851): all messages or none.
func (c *conn) transfer(ctx context.Context, uid bool, f transferFunc, text string, move bool) (ok, error) {
	set, err := c.messageSet()
	if err != nil {
		return ok{}, err
	}
	name, err := c.spName()
	if err == nil {
		err = c.dec.CRLF()
	}
	if err != nil {
		return ok{}, err
	}
	uids, missing, err := c.messages(ctx, set, uid)
	if err != nil {
		return ok{}, err
	}
	if missing {
		return ok{}, errExpungeIssued
	}
	if move && c.view.readOnly {
		return ok{}, errReadOnly
	}
	target, err := c.target(ctx, name)
	if err != nil || len(uids) == 0 {
		return ok{text: text}, err
	}
	var r storage.CopyResult
	err = c.patiently(func() (err error) {
		r, err = f(ctx, c.account, c.view.mailbox, uids, target)
		return err
	})
	if err != nil {
		return ok{}, err
	}
	code := copyUID(r)
	if !move {
		return ok{code, text}, nil
	}
	c.untagged("OK [%s] moved", code) // before the EXPUNGEs (RFC 6851 section 4.3)
	return c.toldAll(ctx, text)
}

// copyUID is the response code of RFC 4315 section 3. Both sets are written in
// step, which ascending UIDs are.
func copyUID(r storage.CopyResult) string {
	var from, to wire.Ranges
	for i := range r.From {
		from, to = from.Add(uint32(r.From[i])), to.Add(uint32(r.To[i]))
	}
	b := wire.AppendNumber([]byte("COPYUID "), r.UIDValidity)
	b = from.Append(append(b, ' '))
	return string(to.Append(append(b, ' ')))
}
