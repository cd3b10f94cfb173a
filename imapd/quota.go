package imapd

import (
	"context"

	"mailbox/storage"
)

// An account with a quota has one quota root, which is called "" and holds all
// of its mailboxes; an account without one has none (RFC 9208 section 3.2).

func (c *conn) getQuota(ctx context.Context) (ok, error) {
	if err := c.dec.SP(); err != nil {
		return ok{}, err
	}
	root, err := c.dec.Astring()
	if err == nil {
		err = c.dec.CRLF()
	}
	if err != nil {
		return ok{}, err
	}
	a, err := c.s.Store.Account(ctx, c.account)
	if err != nil {
		return ok{}, err
	}
	if root != "" || a.Quota == 0 {
		return ok{}, no("NONEXISTENT", "there is no such quota root")
	}
	c.tellQuota(a)
	return ok{text: "GETQUOTA completed"}, nil
}

// getQuotaRoot is GETQUOTAROOT. The mailbox need not exist yet (RFC 9208
// section 4.1.2).
func (c *conn) getQuotaRoot(ctx context.Context) (ok, error) {
	name, err := c.oneName()
	if err != nil {
		return ok{}, err
	}
	if name, err = storage.CleanName(name); err != nil {
		return ok{}, err
	}
	a, err := c.s.Store.Account(ctx, c.account)
	if err != nil {
		return ok{}, err
	}
	c.enc.Raw("* QUOTAROOT ")
	c.enc.Mailbox(name)
	if a.Quota > 0 {
		c.enc.Raw(` ""`)
	}
	c.enc.CRLF()
	if a.Quota > 0 {
		c.tellQuota(a)
	}
	return ok{text: "GETQUOTAROOT completed"}, nil
}

// tellQuota sends what is used and allowed, in units of 1024 octets (RFC 9208
// section 5.1).
func (c *conn) tellQuota(a storage.Account) {
	c.untagged(`QUOTA "" (STORAGE %d %d)`, (a.Used+1023)/1024, (a.Quota+1023)/1024)
}

// setQuota is SETQUOTA: quotas are the operator's.
func (c *conn) setQuota(context.Context) (ok, error) {
	return ok{}, no("NOPERM", "only the operator sets quotas")
}
