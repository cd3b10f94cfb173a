package imapd

import (
	"context"
	"errors"
	"time"
)

// errUnauthenticate asks for the end of the login, and of compression, with the answer.
var errUnauthenticate = errors.New("unauthenticate")

func (c *conn) unauthenticate(context.Context) (ok, error) {
	if err := c.dec.CRLF(); err != nil {
		return ok{}, err
	}
	return ok{}, errUnauthenticate
}

// forget takes the session back to where it was before the login: what it had
// selected is left without an expunge, what it had enabled is not any more (RFC
// 8437 section 3). TLS stays, and so do the counts of what it did wrong.
func (c *conn) forget() {
	c.log.Info("logout")
	c.leave()
	c.account, c.name, c.state, c.enabled = 0, "", notAuthenticated, 0
	c.enc.UTF8, c.dec.UTF8 = false, false
	c.dec.SetLimits(limitsBeforeLogin())
	c.budget.Renew()
	c.log, c.since = c.logger(), time.Now()
	c.mu.Lock()
	c.desc.Account = ""
	c.mu.Unlock()
}
