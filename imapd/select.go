package imapd

import (
	"context"

	"mailbox/imapd/wire"
	"mailbox/storage"
)

func (c *conn) selectBox(ctx context.Context) (ok, error) { return c.open(ctx, false) }
func (c *conn) examine(ctx context.Context) (ok, error)   { return c.open(ctx, true) }

// open is SELECT and EXAMINE. The mailbox that was selected before is left
// also where this fails (RFC 3501 section 6.3.1).
func (c *conn) open(ctx context.Context, readOnly bool) (ok, error) {
	name, err := c.spName()
	if err == nil {
		err = c.dec.CRLF()
	}
	if err != nil {
		return ok{}, err
	}
	c.leave()
	m, err := c.s.Store.Mailbox(ctx, c.account, name)
	if err != nil {
		return ok{}, err
	}
	cur, err := c.s.Store.Index(ctx, c.account, m.ID)
	if err != nil {
		return ok{}, err
	}
	c.view = &view{mailbox: m.ID, readOnly: readOnly, cur: cur}
	c.state = selected
	c.mu.Lock()
	c.desc.Mailbox = m.Name
	c.mu.Unlock()
	c.claimRecent(ctx)
	c.tellFlags()
	c.untagged("%d EXISTS", cur.Len())
	c.untagged("%d RECENT", c.recentCount())
	if unseen := firstUnseen(cur); unseen > 0 {
		c.untagged("OK [UNSEEN %d] first unseen message", unseen)
	}
	permanent := "()"
	if !readOnly {
		permanent = string(wire.AppendFlags(nil, c.mailboxFlags(true)))
	}
	c.untagged("OK [PERMANENTFLAGS %s] flags that are kept", permanent)
	c.untagged("OK [MAILBOXID (%s)] mailbox", mailboxID(m.ID))
	c.untagged("OK [UIDVALIDITY %d] UIDs valid", cur.UIDValidity)
	c.untagged("OK [UIDNEXT %d] next UID", cur.UIDNext)
	if readOnly {
		return ok{"READ-ONLY", "EXAMINE completed"}, nil
	}
	return ok{"READ-WRITE", "SELECT completed"}, nil
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
	if !c.view.readOnly {
		if err := c.expungeAll(ctx, nil); err != nil {
			return ok{}, err
		}
	}
	c.leave()
	return ok{text: "CLOSE completed"}, nil
}

func (c *conn) expunge(ctx context.Context) (ok, error) {
	if err := c.dec.CRLF(); err != nil {
		return ok{}, err
	}
	if c.view.readOnly {
		return ok{}, errReadOnly
	}
	return ok{text: "EXPUNGE completed"}, c.expungeAll(ctx, nil)
}

// expungeAll removes what has the \Deleted flag, of some UIDs, or of all where uids is nil.
func (c *conn) expungeAll(ctx context.Context, uids []storage.UID) error {
	return c.patiently(func() error { return c.s.Store.Expunge(ctx, c.account, c.view.mailbox, uids) })
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
	return ok{text: "EXPUNGE completed"}, c.expungeAll(ctx, uids)
}

var errReadOnly = no("", "the mailbox is open read-only")
