package admin

import (
	"context"

	"mailbox/storage"
)

// homes are the mailboxes of a user that have a special use, by that use (RFC
// 6154). What has the same use elsewhere comes into them, whatever it is called
// there: one who moves in wants one place for what was sent.
type homes map[string]string

func homesOf(ctx context.Context, c *Client, address string) (homes, error) {
	var boxes []Mailbox
	if err := c.Call(ctx, "mailbox/list", UserRef{address}, &boxes); err != nil {
		return nil, err
	}
	h := homes{}
	for _, m := range boxes {
		if m.SpecialUse != "" {
			h[m.SpecialUse] = m.Name
		}
	}
	return h, nil
}

// use is the special use of the mailbox of that name, or "".
func (h homes) use(name string) string {
	if clean, err := storage.CleanName(name); err == nil {
		name = clean
	}
	for use, home := range h {
		if home == name {
			return use
		}
	}
	return ""
}
