package pull

import (
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"mailbox/imapd/wire"
)

// The bounds of what LIST may say: mailboxes, and octets of a name.
const (
	maxMailboxes = 10_000
	maxWireName  = 4_000
)

// A listing is what the source says about its mailboxes.
type listing struct {
	mailboxes  []listed
	namespaces namespaces
}

// A listed mailbox is one that may be pulled from.
type listed struct {
	wire       string // its name as the server writes it
	name       string // in UTF-8, if it can be decoded
	separator  string
	use        string // \Sent
	subscribed bool
	unusable   bool    // its name cannot be sent
	status     *status // if it came with the list
}

// The prefixes of RFC 2342: our own mailboxes, and those that are not ours.
type namespaces struct {
	known    bool
	personal string
	others   []string
}

// specialUses are the attributes of RFC 6154 and RFC 8457.
var specialUses = []string{`\All`, `\Archive`, `\Drafts`, `\Flagged`, `\Important`, `\Junk`, `\Sent`, `\Trash`}

// list asks for all mailboxes of the user.
func (c *conn) list() (*listing, error) {
	l := &listing{}
	var err error
	if l.namespaces, err = c.namespace(); err != nil {
		return nil, err
	}
	found := map[string]*listed{}
	extended := c.caps["LIST-EXTENDED"] || c.caps["IMAP4REV2"]
	if extended {
		err = c.listInto(`LIST "" "*"`+c.returns(), found)
		if isStatus(err) {
			extended, err = false, nil
		}
	}
	if !extended {
		if err = c.listInto(`LIST "" "*"`, found); err == nil {
			err = c.listInto(`LSUB "" "*"`, found)
		}
	}
	if err != nil {
		return nil, err
	}
	for _, m := range found {
		if l.namespaces.ours(m.wire) {
			l.mailboxes = append(l.mailboxes, *m)
		}
	}
	slices.SortFunc(l.mailboxes, func(a, b listed) int { return strings.Compare(a.wire, b.wire) })
	return l, nil
}

// returns is what an extended LIST should return (RFC 5258, RFC 5819, RFC 6154).
func (c *conn) returns() string {
	options := "SUBSCRIBED"
	if c.caps["SPECIAL-USE"] || c.caps["IMAP4REV2"] {
		options += " SPECIAL-USE"
	}
	if c.caps["LIST-STATUS"] || c.caps["IMAP4REV2"] {
		options += " STATUS " + c.statusItems()
	}
	return " RETURN (" + options + ")"
}

// listInto adds what a LIST returns. LSUB adds nothing: a subscription may
// outlive its mailbox.
func (c *conn) listInto(command string, found map[string]*listed) error {
	_, err := c.command(command, func(r *response) error {
		switch r.kind {
		case "LIST":
			m, exists := readListed(r.fields)
			if m == nil || !exists {
				return nil
			}
			if len(found) >= maxMailboxes {
				return &localError{errors.New("the server has more than 10,000 mailboxes")}
			}
			found[m.wire] = m
		case "LSUB":
			if m, _ := readListed(r.fields); m != nil && found[m.wire] != nil {
				found[m.wire].subscribed = true
			}
		case "STATUS":
			if name, s := readStatus(r.fields); s != nil && found[name] != nil {
				found[name].status = s
			}
		}
		return nil
	})
	return err
}

// readListed reads a LIST response (RFC 9051 section 7.3.1). exists is false
// for what is only a level of the hierarchy.
func readListed(fields []field) (m *listed, exists bool) {
	if len(fields) < 3 || !fields[0].isList {
		return nil, false
	}
	m = &listed{wire: inboxed(fields[2].text()), separator: fields[1].text()}
	if fields[1].quoted == nil {
		m.separator = "" // NIL: a flat hierarchy
	}
	if m.wire == "" || len(m.wire) > maxWireName {
		return nil, false
	}
	m.name = decodeName(m.wire)
	m.unusable = strings.ContainsAny(m.wire, "\x00\r\n")
	exists = true
	for _, f := range fields[0].list {
		switch a := f.atom; {
		case strings.EqualFold(a, `\Noselect`), strings.EqualFold(a, `\NonExistent`):
			exists = false
		case strings.EqualFold(a, `\Subscribed`):
			m.subscribed = true
		default:
			for _, use := range specialUses {
				if strings.EqualFold(a, use) {
					m.use = use
				}
			}
		}
	}
	return m, exists
}

// inboxed writes INBOX as it is written here, in whatever case it came (RFC
// 9051 section 5.1).
func inboxed(name string) string {
	if strings.EqualFold(name, "INBOX") {
		return "INBOX"
	}
	return name
}

// decodeName returns a name in UTF-8: decoded if it is modified UTF-7, as it is
// if it is UTF-8 already, and otherwise read as Latin-1, so that no two names
// become one.
func decodeName(s string) string {
	if name, err := wire.DecodeUTF7(s); err == nil {
		return name
	}
	if utf8.ValidString(s) {
		return s
	}
	runes := make([]rune, len(s))
	for i := range len(s) {
		runes[i] = rune(s[i])
	}
	return string(runes)
}

// namespace asks which names are the user's own (RFC 2342).
func (c *conn) namespace() (namespaces, error) {
	var n namespaces
	if !c.caps["NAMESPACE"] && !c.caps["IMAP4REV2"] {
		return n, nil
	}
	_, err := c.command("NAMESPACE", func(r *response) error {
		if r.kind == "NAMESPACE" {
			n = readNamespaces(r.fields)
		}
		return nil
	})
	if isStatus(err) {
		err = nil // it is a server's whim; the names will have to do
	}
	return n, err
}

func readNamespaces(fields []field) namespaces {
	n := namespaces{known: true}
	for i, kind := range fields {
		for _, space := range kind.list {
			if len(space.list) == 0 {
				continue
			}
			prefix := space.list[0].text()
			if i > 0 {
				n.others = append(n.others, prefix)
			} else if n.personal == "" {
				n.personal = prefix
			}
		}
	}
	return n
}

// ours reports whether a mailbox is in the user's own namespace: it is not
// under a prefix of another's, or under a longer one of ours.
func (n namespaces) ours(name string) bool {
	for _, prefix := range n.others {
		if prefix != "" && strings.HasPrefix(name, prefix) && !(strings.HasPrefix(n.personal, prefix) && strings.HasPrefix(name, n.personal)) {
			return false
		}
	}
	return true
}
