package pull

import (
	"cmp"
	"errors"
	"fmt"
	"net/mail"
	"slices"
	"strconv"
	"strings"
	"time"

	"mailbox/admin/archive"
	"mailbox/imapd/wire"
)

// The bounds of what a source may claim: messages of a mailbox, flags and octets
// of a message.
const (
	maxMessages = 5_000_000
	maxFlags    = 100
	maxClaim    = 1 << 40
)

// An entry is a message as a mailbox of the source lists it.
type entry struct {
	uid     uint32
	size    int64 // as the server claims
	flags   string
	mailbox string // that it belongs into here
}

// A fetched message is what one FETCH response says.
type fetched struct {
	uid    uint32
	size   int64
	date   string
	flags  []string // nil if there were none, like the rest
	labels []string
	body   *content
}

// readFetch takes a FETCH response apart (RFC 9051 section 7.5.2). The body is
// the caller's to close.
func readFetch(r *response) (f fetched) {
	if len(r.fields) != 1 {
		return f
	}
	items := r.fields[0].list
	for i := 0; i+1 < len(items); i += 2 {
		value := &items[i+1]
		switch name := strings.ToUpper(items[i].atom); {
		case name == "UID":
			n, _ := strconv.ParseUint(value.atom, 10, 32) // 0 is no UID
			f.uid = uint32(n)
		case name == "RFC822.SIZE":
			n, _ := strconv.ParseUint(value.atom, 10, 63) // a guess anyway
			f.size = int64(min(n, maxClaim))
		case name == "INTERNALDATE":
			f.date = value.text()
		case name == "FLAGS":
			f.flags = texts(value.list)
		case name == "X-GM-LABELS":
			f.labels = texts(value.list)
		case strings.HasPrefix(name, "BODY[") && f.body == nil:
			f.body = value.take()
		}
	}
	return f
}

func texts(fields []field) []string {
	out := make([]string, 0, len(fields))
	for _, f := range fields {
		out = append(out, f.text())
	}
	return out
}

// cleanFlags brings flags into one order and form, without \Recent.
func cleanFlags(flags []string) []string {
	var out []string
	for _, f := range flags {
		if strings.EqualFold(f, `\Recent`) {
			continue
		}
		i := slices.IndexFunc(systemFlags, func(s string) bool { return strings.EqualFold(s, f) })
		if i >= 0 {
			f = systemFlags[i]
		} else {
			f = keyword(f)
		}
		if f != "" {
			out = append(out, f)
		}
	}
	slices.Sort(out)
	out = slices.Compact(out)
	return out[:min(len(out), maxFlags)]
}

// sorted returns the flags and the mailbox of a message: where there are labels
// to sort by, by these. ok is false if it is pulled from another mailbox.
func (m *mailbox) sorted(f fetched) (flags []string, mailbox string, ok bool) {
	flags, mailbox, ok = f.flags, m.name, true
	if m.sorter != nil {
		var more []string
		mailbox, more, ok = m.sorter.sort(f.labels)
		flags = append(slices.Clone(flags), more...)
	}
	return cleanFlags(flags), mailbox, ok
}

// canSort reports whether a response tells the labels where these matter.
func (m *mailbox) canSort(f fetched) bool { return m.sorter == nil || f.labels != nil }

func (m *mailbox) items(more string) string {
	items := "UID FLAGS " + more
	if m.sorter != nil {
		items += " X-GM-LABELS"
	}
	return "(" + items + ")"
}

// entries lists the messages of the mailbox that is examined: all, or those
// that were added or changed since a modseq (RFC 7162 section 3.1.4.1). total
// counts also those that are pulled from another mailbox.
func (c *conn) entries(m *mailbox, since uint64) (entries []entry, total int, err error) {
	command := "UID FETCH 1:* " + m.items("RFC822.SIZE")
	if since > 0 {
		command += fmt.Sprintf(" (CHANGEDSINCE %d)", since)
	}
	interned := map[string]string{}
	_, err = c.command(command, func(r *response) error {
		if r.kind != "FETCH" {
			return nil
		}
		f := readFetch(r)
		f.body.close()
		if f.uid == 0 || f.flags == nil || !m.canSort(f) {
			return nil // not the answer, but news that nobody asked for
		}
		if len(entries) >= maxMessages {
			return &localError{fmt.Errorf("the server lists more than %d messages", maxMessages)}
		}
		flags, mailbox, ok := m.sorted(f)
		if !ok {
			mailbox = ""
		}
		joined := strings.Join(flags, " ")
		if _, known := interned[joined]; !known {
			interned[joined] = joined
		}
		entries = append(entries, entry{f.uid, f.size, interned[joined], mailbox})
		return nil
	})
	slices.SortStableFunc(entries, func(a, b entry) int { return cmp.Compare(a.uid, b.uid) })
	entries = slices.CompactFunc(entries, func(a, b entry) bool { return a.uid == b.uid })
	total = len(entries)
	entries = slices.DeleteFunc(entries, func(e entry) bool { return e.mailbox == "" })
	return entries, total, err
}

// fetch reads messages whole. It returns those that came, also with an error.
func (c *conn) fetch(m *mailbox, batch []entry, literals int64) (map[uint32]*message, error) {
	got := map[uint32]*message{}
	var set wire.Ranges
	for _, e := range batch {
		set = set.Add(e.uid)
	}
	_, err := c.commandWith("UID FETCH "+set.String()+" "+m.items("INTERNALDATE BODY.PEEK[]"), literals, func(r *response) error {
		if r.kind != "FETCH" {
			return nil
		}
		f := readFetch(r)
		if f.body == nil || !set.Contains(f.uid) || got[f.uid] != nil || !m.canSort(f) {
			f.body.close()
			return nil
		}
		if !r.whole {
			f.body.close()
			return c.cut(fmt.Errorf("what the server sent for UID %d does not end where it said", f.uid))
		}
		got[f.uid] = m.message(f)
		return nil
	})
	return got, err
}

// A message is an item with what its Content reads from.
type message struct {
	Item
	body    *content
	mailbox string
	claimed int64 // its size, by the server
}

func (m *mailbox) message(f fetched) *message {
	flags, mailbox, _ := m.sorted(f)
	return &message{
		Item: Item{
			Message: archive.Message{Place: fmt.Sprintf("UID %d", f.uid), Received: received(f), Flags: flags},
			UID:     f.uid,
			Size:    f.body.size,
			SHA256:  f.body.sha256,
		},
		body:    f.body,
		mailbox: mailbox,
	}
}

// received is the INTERNALDATE; if that cannot be read, the date that the
// message bears, or now.
func received(f fetched) time.Time {
	for _, layout := range []string{"_2-Jan-2006 15:04:05 -0700", "_2-Jan-2006 15:04:05 MST", time.RFC1123Z} {
		if t, err := time.Parse(layout, f.date); err == nil && t.Year() > 0 {
			return t
		}
	}
	if msg, err := mail.ReadMessage(f.body.reader()); err == nil {
		if t, err := msg.Header.Date(); err == nil {
			return t
		}
	}
	return time.Now().Truncate(time.Second)
}

// salvage returns what can be had of a message that cannot be had whole: its
// beginning, or its header.
func (c *conn) salvage(uid uint32) (*content, error) {
	for _, section := range []string{"BODY.PEEK[]<0.1048576>", "BODY.PEEK[HEADER]"} {
		var part *content
		_, err := c.commandWith(fmt.Sprintf("UID FETCH %d (UID %s)", uid, section), 2*maxMemoryLiteral, func(r *response) error {
			if r.kind == "FETCH" {
				f := readFetch(r)
				if f.uid == uid && part == nil {
					part, f.body = f.body, nil
				}
				f.body.close()
			}
			return nil
		})
		if part != nil && part.size > 0 {
			return part, nil
		}
		part.close()
		if err != nil && !isStatus(err) {
			return nil, err
		}
	}
	return nil, nil
}

// exists reports whether a message is still there.
func (c *conn) exists(uid uint32) (bool, error) {
	found := false
	_, err := c.command(fmt.Sprintf("UID FETCH %d (UID FLAGS)", uid), func(r *response) error {
		if r.kind == "FETCH" {
			f := readFetch(r)
			f.body.close()
			found = found || f.uid == uid
		}
		return nil
	})
	return found, err
}

// examine opens a mailbox without changing it (RFC 9051 section 6.3.3).
func (c *conn) examine(m *mailbox) (look, error) {
	var l look
	command := "EXAMINE " + quote(m.wire)
	if c.condstore() {
		command += " (CONDSTORE)"
	}
	_, err := c.command(command, func(r *response) error {
		n, _ := strconv.ParseUint(r.arg, 10, 63) // a number that cannot be read is as good as none
		switch {
		case r.kind == "EXISTS":
			l.exists = r.number
		case r.kind != "OK":
		case r.code == "UIDVALIDITY":
			l.uidValidity = uint32(n)
		case r.code == "UIDNEXT":
			l.uidNext = uint32(n)
		case r.code == "HIGHESTMODSEQ":
			l.modseq = n
		}
		return nil
	})
	if err != nil {
		return l, err
	}
	if l.exists > maxMessages {
		return l, errors.New("the mailbox claims to have too many messages")
	}
	return l, nil
}

// A look is what EXAMINE says of a mailbox.
type look struct {
	exists, uidValidity, uidNext uint32
	modseq                       uint64
}
