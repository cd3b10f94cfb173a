package imapd

import (
	"context"

	"mailbox/imapd/wire"
	"mailbox/storage"
)

func (c *conn) selectBox(ctx context.Context) (ok, error) { return c.open(ctx, false) }
func (c *conn) examine(ctx context.Context) (ok, error)   { return c.open(ctx, true) }

// open is SELECT and EXAMINE. The mailbox that was selected before is left
// also where this fails (RFC 3501 section 6.3.1, RFC 9051 section 6.3.2).
func (c *conn) open(ctx context.Context, readOnly bool) (ok, error) {
	name, err := c.spName()
	if err != nil {
		return ok{}, err
	}
	params, err := c.selectParams()
	if err != nil {
		return ok{}, err
	}
	if c.view != nil {
		c.leave()
		c.untagged("OK [CLOSED] the mailbox before is closed") // what follows is of the next
	}
	c.enableAll(params.enable)
	m, err := c.s.Store.Mailbox(ctx, c.account, name)
	if err != nil {
		return ok{}, err
	}
	cur, err := c.s.Store.Index(ctx, c.account, m.ID)
	if err != nil {
		return ok{}, err
	}
	c.view = &view{mailbox: m.ID, readOnly: readOnly, cur: cur, known: cur.HighestModSeq}
	c.state = selected
	c.mu.Lock()
	c.desc.Mailbox = m.Name
	c.mu.Unlock()
	c.tellMailbox(ctx)
	if c.has(rev2) { // RFC 9051 section 6.3.2
		c.listLine("LIST", nil, m.Name, oldName(m.Name, name))
	}
	if params.resync != nil {
		if err := c.catchUp(ctx, params.resync); err != nil {
			c.leave()
			return ok{}, err
		}
	}
	if readOnly {
		return ok{"READ-ONLY", "EXAMINE completed"}, nil
	}
	return ok{"READ-WRITE", "SELECT completed"}, nil
}

// tellMailbox describes the mailbox that was just selected.
func (c *conn) tellMailbox(ctx context.Context) {
	v := c.view
	c.tellFlags()
	c.tellExists(ctx)
	if unseen := firstUnseen(v.cur); unseen > 0 && !c.has(rev2) {
		c.untagged("OK [UNSEEN %d] first unseen message", unseen)
	}
	permanent := "()"
	if !v.readOnly {
		permanent = string(wire.AppendFlags(nil, c.mailboxFlags(true)))
	}
	c.untagged("OK [PERMANENTFLAGS %s] flags that are kept", permanent)
	c.untagged("OK [MAILBOXID (%s)] mailbox", mailboxID(v.mailbox))
	c.untagged("OK [UIDVALIDITY %d] UIDs valid", v.cur.UIDValidity)
	c.untagged("OK [UIDNEXT %d] next UID", v.cur.UIDNext)
	c.tellHighest()
}

func firstUnseen(x *storage.Index) int {
	seq := 0
	x.All(func(i int, e storage.Entry) bool {
		if e.Flags&storage.Seen == 0 {
			seq = i + 1
		}
		return seq == 0
	})
	return seq
}

// leave goes back to the authenticated state.
func (c *conn) leave() {
	c.view, c.state = nil, authenticated
	c.mu.Lock()
	c.desc.Mailbox = ""
	c.mu.Unlock()
}

func (c *conn) unselect(context.Context) (ok, error) {
	if err := c.dec.CRLF(); err != nil {
		return ok{}, err
	}
	c.leave()
	return ok{text: "UNSELECT completed"}, nil
}

// closeBox expunges without a word and leaves the mailbox (RFC 3501 section 6.4.2).
func (c *conn) closeBox(ctx context.Context) (ok, error) {
	if err := c.dec.CRLF(); err != nil {
		return ok{}, err
	}
	done := ok{text: "CLOSE completed"}
	if !c.view.readOnly {
		if err := c.expungeAll(ctx, nil); err != nil {
			return ok{}, err
		}
		if c.has(qResync) {
			var err error
			if done.code, err = c.closedAt(ctx); err != nil {
				return ok{}, err
			}
		}
	}
	c.leave()
	return done, nil
}

// closedAt says up to which modseq a client knows the mailbox that it closes
// (RFC 7162 section 3.2.8): all of it, if nothing happened since it was last
// told but that what it knows as \Deleted went away.
func (c *conn) closedAt(ctx context.Context) (code string, err error) {
	v := c.view
	cur, err := c.s.Store.Index(ctx, c.account, v.mailbox)
	if err != nil {
		return "", err
	}
	whole := len(v.ghosts) == 0
	storage.Diff(v.cur, cur, func(was, now *storage.Entry) bool {
		whole = whole && now == nil && was.Flags&storage.Deleted != 0
		return whole
	})
	if whole {
		return highest(cur.HighestModSeq), nil
	}
	return highest(v.known), nil
}

func (c *conn) expunge(ctx context.Context) (ok, error) {
	if err := c.dec.CRLF(); err != nil {
		return ok{}, err
	}
	if c.view.readOnly {
		return ok{}, errReadOnly
	}
	return c.expungeUIDs(ctx, nil)
}

func (c *conn) uidExpunge(ctx context.Context) (ok, error) {
	if err := c.dec.SP(); err != nil {
		return ok{}, err
	}
	set, err := c.dec.NumSet()
	if err == nil {
		err = c.dec.CRLF()
	}
	if err != nil {
		return ok{}, err
	}
	if c.view.readOnly {
		return ok{}, errReadOnly
	}
	uids, _, err := c.messages(ctx, set, true)
	if err != nil || len(uids) == 0 { // no UIDs would mean all
		return ok{text: "EXPUNGE completed"}, err
	}
	return c.expungeUIDs(ctx, uids)
}

// expungeAll removes what has the \Deleted flag, of some UIDs, or of all where uids is nil.
func (c *conn) expungeAll(ctx context.Context, uids []storage.UID) error {
	return c.patiently(func() error { return c.s.Store.Expunge(ctx, c.account, c.view.mailbox, uids) })
}

// expungeUIDs does that, and tells it.
func (c *conn) expungeUIDs(ctx context.Context, uids []storage.UID) (ok, error) {
	if err := c.expungeAll(ctx, uids); err != nil {
		return ok{}, err
	}
	return c.toldAll(ctx, "EXPUNGE completed")
}

// toldAll tells what is gone, and to a client that can begin there again, up
// to which modseq it now knows everything (RFC 7162 section 3.2.7).
func (c *conn) toldAll(ctx context.Context, text string) (ok, error) {
	if err := c.sync(ctx, syncOptions{expunge: true}); err != nil {
		return ok{}, err
	}
	if c.has(qResync) {
		return ok{highest(c.view.known), text}, nil
	}
	return ok{text: text}, nil
}

var errReadOnly = no("", "the mailbox is open read-only")
