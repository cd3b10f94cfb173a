package imapd

import (
	"context"
	"strings"

	"mailbox/imapd/wire"
	"mailbox/storage"
)

// pattern reads the reference and the pattern of LIST and LSUB.
func (c *conn) pattern() (string, error) {
	reference, err := c.spName()
	if err != nil {
		return "", err
	}
	if err := c.dec.SP(); err != nil {
		return "", err
	}
	pattern, err := c.dec.ListMailbox()
	if err == nil {
		err = c.dec.CRLF()
	}
	if err != nil {
		return "", err
	}
	if !c.enc.UTF8 {
		if decoded, err := wire.DecodeUTF7(pattern); err == nil {
			pattern = decoded
		}
	}
	if pattern == "" {
		return "", nil
	}
	pattern = reference + pattern
	if len(pattern) >= 5 && strings.EqualFold(pattern[:5], "INBOX") {
		pattern = "INBOX" + pattern[5:]
	}
	return pattern, nil
}

// match tells whether a pattern fits a name: "*" stands for anything, "%" for
// anything without a separator. It takes time in the product of both lengths.
func match(pattern, name string) bool {
	reach := make([]bool, len(name)+1) // reach[i]: the pattern so far fits name[:i]
	reach[0] = true
	for _, p := range []byte(pattern) {
		switch p {
		case '*', '%':
			for i := 1; i <= len(name); i++ {
				reach[i] = reach[i] || reach[i-1] && (p == '*' || name[i-1] != '/')
			}
		default:
			for i := len(name); i > 0; i-- {
				reach[i] = reach[i-1] && name[i-1] == p
			}
			reach[0] = false
		}
	}
	return reach[len(name)]
}

func (c *conn) list(ctx context.Context) (ok, error) {
	pattern, err := c.pattern()
	if err != nil {
		return ok{}, err
	}
	if pattern == "" { // what is the separator?
		c.untagged(`LIST (\Noselect) "/" ""`)
		return ok{text: "LIST completed"}, nil
	}
	boxes, err := c.s.Store.Mailboxes(ctx, c.account)
	if err != nil {
		return ok{}, err
	}
	parents := parentsOf(boxes)
	for _, m := range boxes {
		if !m.Exists && !parents[m.Name] || !match(pattern, m.Name) {
			continue
		}
		var attrs []string
		if !m.Exists {
			attrs = append(attrs, `\NonExistent`, `\Noselect`)
		}
		if parents[m.Name] {
			attrs = append(attrs, `\HasChildren`)
		} else {
			attrs = append(attrs, `\HasNoChildren`)
		}
		if m.SpecialUse != "" {
			attrs = append(attrs, m.SpecialUse)
		}
		c.listLine("LIST", attrs, m.Name)
	}
	return ok{text: "LIST completed"}, nil
}

// parentsOf returns the names that have an existing mailbox below them.
func parentsOf(boxes []storage.Mailbox) map[string]bool {
	parents := map[string]bool{}
	for _, m := range boxes {
		for i := strings.LastIndexByte(m.Name, '/'); m.Exists && i > 0; i = strings.LastIndexByte(m.Name[:i], '/') {
			parents[m.Name[:i]] = true
		}
	}
	return parents
}

// lsub is LSUB. A parent that is not subscribed itself stands in \Noselect
// for what is subscribed below it and hidden by "%" (RFC 3501 section 6.3.9).
func (c *conn) lsub(ctx context.Context) (ok, error) {
	pattern, err := c.pattern()
	if err != nil {
		return ok{}, err
	}
	boxes, err := c.s.Store.Mailboxes(ctx, c.account)
	if err != nil {
		return ok{}, err
	}
	subscribed := map[string]bool{}
	for _, m := range boxes {
		subscribed[m.Name] = m.Subscribed
	}
	told := map[string]bool{}
	for _, m := range boxes {
		if !m.Subscribed {
			continue
		}
		if match(pattern, m.Name) {
			var attrs []string
			if !m.Exists {
				attrs = append(attrs, `\Noselect`)
			}
			c.listLine("LSUB", attrs, m.Name)
			continue
		}
		for i := strings.LastIndexByte(m.Name, '/'); i > 0 && strings.HasSuffix(pattern, "%"); i = strings.LastIndexByte(m.Name[:i], '/') {
			if parent := m.Name[:i]; !subscribed[parent] && !told[parent] && match(pattern, parent) {
				told[parent] = true
				c.listLine("LSUB", []string{`\Noselect`}, parent)
			}
		}
	}
	return ok{text: "LSUB completed"}, nil
}

func (c *conn) listLine(kind string, attrs []string, name string) {
	c.enc.Raw("* " + kind + " ")
	c.enc.Flags(attrs)
	c.enc.Raw(` "/" `)
	c.enc.Mailbox(name)
	c.enc.CRLF()
}
