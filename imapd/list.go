package imapd

import (
	"context"
	"strings"

	"mailbox/imapd/wire"
	"mailbox/storage"
)

// listPattern reads a pattern of LIST or LSUB, and puts it behind the reference.
// The empty pattern stays empty.
func (c *conn) listPattern(reference string) (string, error) {
	pattern, err := c.dec.ListMailbox()
	if err != nil || pattern == "" {
		return "", err
	}
	if len(reference)+len(pattern) > maxPatternOctets {
		return "", errPatterns
	}
	if !c.enc.UTF8 {
		if decoded, err := wire.DecodeUTF7(pattern); err == nil {
			pattern = decoded
		}
	}
	pattern = storage.Normalize(reference + pattern)
	if wildcards(pattern) > maxWildcards {
		return "", errPatterns
	}
	if len(pattern) >= 5 && strings.EqualFold(pattern[:5], "INBOX") {
		pattern = "INBOX" + pattern[5:]
	}
	return pattern, nil
}

func wildcards(pattern string) int { return strings.Count(pattern, "*") + strings.Count(pattern, "%") }

// match tells whether a pattern fits a name: "*" stands for anything, "%" for
// anything without a separator. It takes time in the product of the wildcards
// and the length of the name.
func match(pattern, name string) bool {
	reach := make([]bool, len(name)+1) // reach[i]: the pattern so far fits name[:i]
	reach[0] = true
	for pattern != "" {
		if p := pattern[0]; p == '*' || p == '%' {
			for i := 1; i <= len(name); i++ {
				reach[i] = reach[i] || reach[i-1] && (p == '*' || name[i-1] != '/')
			}
			pattern = pattern[1:]
			continue
		}
		n := strings.IndexAny(pattern, "*%")
		if n < 0 {
			n = len(pattern)
		}
		for i := len(name); i >= 0; i-- {
			reach[i] = i >= n && reach[i-n] && name[i-n:i] == pattern[:n]
		}
		pattern = pattern[n:]
	}
	return reach[len(name)]
}

// list is LIST (RFC 3501 section 6.3.8, RFC 9051 section 6.3.9).
func (c *conn) list(ctx context.Context) (ok, error) {
	l, err := c.listing()
	if err != nil {
		return ok{}, err
	}
	if !l.extended && l.patterns[0] == "" { // what is the separator?
		c.untagged(`LIST (\Noselect) "/" ""`)
		return ok{text: "LIST completed"}, nil
	}
	boxes, err := c.s.Store.Mailboxes(ctx, c.account)
	if err != nil {
		return ok{}, err
	}
	l.look(boxes)
	if l.selects&listRecursive != 0 {
		boxes = withParents(boxes)
	}
	for _, m := range boxes {
		if !l.fits(m.Name) || !l.selected(m) && !l.below[m.Name] {
			continue
		}
		if err := c.listOne(ctx, l, m); err != nil {
			return ok{}, err
		}
	}
	return ok{text: "LIST completed"}, nil
}

// parentsOf returns the names that have an existing mailbox below them.
func parentsOf(boxes []storage.Mailbox) map[string]bool {
	parents := map[string]bool{}
	for _, m := range boxes {
		if m.Exists {
			for name := range parentNames(m.Name) {
				parents[name] = true
			}
		}
	}
	return parents
}

// lsub is LSUB. A parent that is not subscribed itself stands in \Noselect
// for what is subscribed below it and hidden by "%" (RFC 3501 section 6.3.9).
func (c *conn) lsub(ctx context.Context) (ok, error) {
	reference, err := c.spName()
	if err == nil {
		err = c.dec.SP()
	}
	if err != nil {
		return ok{}, err
	}
	pattern, err := c.listPattern(reference)
	if err == nil {
		err = c.dec.CRLF()
	}
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
			c.listLine("LSUB", attrs, m.Name, "")
			continue
		}
		for i := strings.LastIndexByte(m.Name, '/'); i > 0 && strings.HasSuffix(pattern, "%"); i = strings.LastIndexByte(m.Name[:i], '/') {
			if parent := m.Name[:i]; !subscribed[parent] && !told[parent] && match(pattern, parent) {
				told[parent] = true
				c.listLine("LSUB", []string{`\Noselect`}, parent, "")
			}
		}
	}
	return ok{text: "LSUB completed"}, nil
}

// listLine sends a LIST or LSUB response, with an extended data item where
// item is not empty (RFC 5258 section 4).
func (c *conn) listLine(kind string, attrs []string, name, item string) {
	c.enc.Raw("* " + kind + " ")
	c.enc.Flags(attrs)
	c.enc.Raw(` "/" `)
	c.enc.Mailbox(name)
	if item != "" {
		c.enc.Raw(" (" + item + ")")
	}
	c.enc.CRLF()
}

// tellRenamed tells an IMAP4rev2 client how a mailbox is called that it knows
// under another name (RFC 9051 section 6.3.9.7).
func (c *conn) tellRenamed(name, old string, attrs ...string) {
	if item := oldName(name, old); item != "" && c.has(rev2) {
		c.listLine("LIST", attrs, name, item)
	}
}

// oldName is the data item OLDNAME, where the names differ by more than how
// INBOX is written.
func oldName(name, old string) string {
	if name == old || name == "INBOX" && strings.EqualFold(old, name) {
		return ""
	}
	return `"OLDNAME" (` + string(wire.AppendMailbox(nil, old, true)) + `)`
}
