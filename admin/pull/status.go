package pull

import (
	"strconv"
	"strings"
)

// A status is what STATUS says of a mailbox, as far as it shows whether
// something happened there (RFC 9051 section 6.3.11, RFC 7162 section 3.1.7).
type status struct {
	messages, uidNext, uidValidity, unseen uint32
	modseq                                 uint64
}

func (c *conn) statusItems() string {
	if c.condstore() {
		return "(MESSAGES UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ)"
	}
	return "(MESSAGES UIDNEXT UIDVALIDITY UNSEEN)"
}

// condstore reports whether the server numbers changes (RFC 7162).
func (c *conn) condstore() bool { return c.caps["CONDSTORE"] || c.caps["QRESYNC"] }

// status asks about a mailbox.
func (c *conn) status(name string) (*status, error) {
	var found *status
	_, err := c.command("STATUS "+quote(name)+" "+c.statusItems(), func(r *response) error {
		if r.kind == "STATUS" {
			if of, s := readStatus(r.fields); s != nil && of == name {
				found = s
			}
		}
		return nil
	})
	return found, err
}

func readStatus(fields []field) (name string, s *status) {
	if len(fields) < 2 || !fields[len(fields)-1].isList {
		return "", nil
	}
	s = &status{}
	items := fields[len(fields)-1].list
	for i := 0; i+1 < len(items); i += 2 {
		n, err := strconv.ParseUint(items[i+1].atom, 10, 64)
		if err != nil {
			continue
		}
		switch strings.ToUpper(items[i].atom) {
		case "MESSAGES":
			s.messages = uint32(n)
		case "UIDNEXT":
			s.uidNext = uint32(n)
		case "UIDVALIDITY":
			s.uidValidity = uint32(n)
		case "UNSEEN":
			s.unseen = uint32(n)
		case "HIGHESTMODSEQ":
			s.modseq = n
		}
	}
	return inboxed(fields[0].text()), s
}
