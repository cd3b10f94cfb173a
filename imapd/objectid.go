package imapd

import (
	"strconv"

	"mailbox/storage"
)

// The identifiers of RFC 8474: a letter that says what is named, and the number
// that the store never gives twice.

func mailboxID(id storage.MailboxID) string { return "F" + strconv.FormatInt(int64(id), 10) }
func emailID(id storage.EmailID) string     { return "M" + strconv.FormatInt(int64(id), 10) }
func threadID(id storage.EmailID) string    { return "T" + strconv.FormatInt(int64(id), 10) }

// objectID reads the identifier of an email or a thread. One that we never gave
// is no error: it names nothing.
func (p *searchParser) objectID(thread bool) (key, error) {
	id, err := p.dec.Astring()
	if thread {
		return leaf{inRow, func(m *candidate) bool { return threadID(m.row.Thread) == id }}, err
	}
	return leaf{inIndex, func(m *candidate) bool { return emailID(m.view.cur.Email(m.Entry)) == id }}, err
}
