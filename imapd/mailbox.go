package imapd

import (
	"context"
	"strings"

	"mailbox/storage"
)

var specialUses = []string{`\All`, `\Archive`, `\Drafts`, `\Flagged`, `\Junk`, `\Sent`, `\Trash`}

// create is CREATE, with a special use where one is given (RFC 6154 section 3).
func (c *conn) create(ctx context.Context) (ok, error) {
	name, err := c.spName()
	if err != nil {
		return ok{}, err
	}
	use, err := c.createUse()
	if err == nil {
		err = c.dec.CRLF()
	}
	if err != nil {
		return ok{}, err
	}
	m, err := c.s.Store.CreateMailbox(ctx, c.account, name, use)
	if err != nil {
		return ok{}, err
	}
	c.tellRenamed(m.Name, strings.TrimSuffix(name, "/"))
	return ok{"MAILBOXID (" + mailboxID(m.ID) + ")", "CREATE completed"}, nil
}

func (c *conn) createUse() (string, error) {
	more, err := c.dec.Accept(' ')
	if err != nil || !more {
		return "", err
	}
	var uses []string
	err = c.dec.List(func() error {
		if err := c.dec.ExpectWord("USE"); err != nil {
			return err
		}
		if err := c.dec.SP(); err != nil {
			return err
		}
		flags, err := c.dec.FlagList()
		uses = append(uses, flags...)
		return err
	})
	if err != nil || len(uses) == 0 {
		return "", err
	}
	for _, known := range specialUses {
		if len(uses) == 1 && strings.EqualFold(uses[0], known) {
			return known, nil
		}
	}
	return "", no("USEATTR", "a mailbox cannot have that use")
}

// delete is DELETE. A session that deletes what it has selected leaves it.
func (c *conn) delete(ctx context.Context) (ok, error) {
	name, err := c.oneName()
	if err != nil {
		return ok{}, err
	}
	m, err := c.s.Store.Mailbox(ctx, c.account, name)
	if err == nil {
		err = c.patiently(func() error { return c.s.Store.DeleteMailbox(ctx, c.account, name) })
	}
	if err != nil {
		return ok{}, err
	}
	if c.view != nil && c.view.mailbox == m.ID {
		c.leave()
	}
	c.tellRenamed(m.Name, name, `\NonExistent`)
	return ok{text: "DELETE completed"}, nil
}

func (c *conn) rename(ctx context.Context) (ok, error) {
	from, err := c.spName()
	if err != nil {
		return ok{}, err
	}
	to, err := c.oneName()
	if err != nil {
		return ok{}, err
	}
	if err := c.patiently(func() error { return c.s.Store.RenameMailbox(ctx, c.account, from, to) }); err != nil {
		return ok{}, err
	}
	if name, err := storage.CleanName(to); err == nil && !strings.EqualFold(from, "INBOX") { // which stays
		c.tellRenamed(name, from)
	}
	return ok{text: "RENAME completed"}, nil
}

func (c *conn) subscribe(ctx context.Context) (ok, error)   { return c.setSubscribed(ctx, true) }
func (c *conn) unsubscribe(ctx context.Context) (ok, error) { return c.setSubscribed(ctx, false) }

func (c *conn) setSubscribed(ctx context.Context, on bool) (ok, error) {
	name, err := c.oneName()
	if err != nil {
		return ok{}, err
	}
	return ok{text: "completed"}, c.s.Store.Subscribe(ctx, c.account, name, on)
}

func (c *conn) oneName() (string, error) {
	name, err := c.spName()
	if err != nil {
		return "", err
	}
	return name, c.dec.CRLF()
}

func (c *conn) namespace(context.Context) (ok, error) {
	if err := c.dec.CRLF(); err != nil {
		return ok{}, err
	}
	c.untagged(`NAMESPACE (("" "/")) NIL NIL`)
	return ok{text: "NAMESPACE completed"}, nil
}

// status is STATUS (RFC 3501 section 6.3.10, RFC 8438, RFC 7889).
func (c *conn) status(ctx context.Context) (ok, error) {
	name, err := c.spName()
	if err != nil {
		return ok{}, err
	}
	if err := c.dec.SP(); err != nil {
		return ok{}, err
	}
	items, err := c.statusItems()
	if err == nil {
		err = c.dec.CRLF()
	}
	if err != nil {
		return ok{}, err
	}
	m, err := c.s.Store.Mailbox(ctx, c.account, name)
	if err != nil {
		return ok{}, err
	}
	values, err := c.statusValues(ctx, m, items)
	if err != nil {
		return ok{}, err
	}
	c.tellStatus(m, items, values)
	return ok{text: "STATUS completed"}, nil
}

// statusItems reads the items of STATUS.
func (c *conn) statusItems() ([]string, error) {
	items := []string{}
	err := c.dec.Words(func(word string) error {
		if items = append(items, word); len(items) > 20 {
			return bad("too many items")
		}
		return nil
	})
	return items, err
}

func (c *conn) statusValues(ctx context.Context, m storage.Mailbox, items []string) (values []int64, err error) {
	values = make([]int64, len(items))
	for i, item := range items {
		if values[i], err = c.statusItem(ctx, m, item); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// tellStatus sends a STATUS response.
func (c *conn) tellStatus(m storage.Mailbox, items []string, values []int64) {
	c.enc.Raw("* STATUS ")
	c.enc.Mailbox(m.Name)
	c.enc.SP()
	c.enc.List(len(items), func(i int) {
		c.enc.Raw(items[i] + " ")
		if items[i] == "MAILBOXID" {
			c.enc.Raw("(" + mailboxID(m.ID) + ")")
			return
		}
		c.enc.Number64(uint64(values[i]))
	})
	c.enc.CRLF()
}

func (c *conn) statusItem(ctx context.Context, m storage.Mailbox, item string) (int64, error) {
	switch item {
	case "MESSAGES":
		return m.Messages, nil
	case "RECENT":
		if c.has(rev2) { // which has no such item
			break
		}
		x, err := c.s.Store.Index(ctx, c.account, m.ID)
		if err != nil {
			return 0, err
		}
		from, err := c.s.recent.first(ctx, c.s.Store, x, false)
		at, _ := x.Search(from)
		return int64(x.Len() - at), err
	case "UIDNEXT":
		return int64(m.UIDNext), nil
	case "UIDVALIDITY":
		return int64(m.UIDValidity), nil
	case "UNSEEN":
		return m.Unseen, nil
	case "DELETED": // RFC 9051 section 6.3.11
		return m.Deleted, nil
	case "SIZE":
		return m.Size, nil
	case "HIGHESTMODSEQ":
		c.enableAll(condStore)
		return int64(m.Changed), nil
	case "DELETED-STORAGE":
		return c.s.Store.DeletedSize(ctx, c.account, m.ID)
	case "MAILBOXID":
		return int64(m.ID), nil
	case "APPENDLIMIT":
		return c.cfg.AppendLimit, nil
	}
	return 0, bad("unknown status item " + item)
}
