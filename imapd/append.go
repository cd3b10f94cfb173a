package imapd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"mailbox/imapd/wire"
	"mailbox/storage"
)

// The bounds of one APPEND of many messages. Those that come when the first
// bound is reached wait in files.
const (
	maxUploads      = 200
	uploadsInMemory = 4 << 20
	maxUploadMemory = 16 << 20 // headers and parts included, wherever the messages are
)

// target finds the mailbox that APPEND, COPY or MOVE names.
func (c *conn) target(ctx context.Context, name string) (storage.MailboxID, error) {
	m, err := c.s.Store.Mailbox(ctx, c.account, name)
	if errors.Is(err, storage.ErrNonexistent) {
		return 0, errTryCreate
	}
	return m.ID, err
}

var errTryCreate = no("TRYCREATE", "no such mailbox")

// append is APPEND (RFC 3501 section 6.3.11) of messages, all or none (RFC
// 3502). The octets stream into spools; nothing of them is changed.
func (c *conn) append(ctx context.Context) (ok, error) {
	name, err := c.spName()
	if err != nil {
		return ok{}, err
	}
	u := &uploads{conn: c, mailbox: name}
	defer u.close()
	for more := true; more; {
		if err := u.message(ctx); err != nil {
			return ok{}, err
		}
		next, err := c.dec.Peek()
		if err != nil {
			return ok{}, err
		}
		more = next == ' '
	}
	if err := c.dec.CRLF(); err != nil {
		return ok{}, err
	}
	var validity uint32
	var uids []storage.UID
	err = c.patiently(func() (err error) {
		validity, uids, err = c.s.Store.Append(ctx, c.account, u.target, u.list)
		return err
	})
	if err != nil {
		return ok{}, u.failed(err)
	}
	c.s.stats.appended.Add(int64(len(uids)))
	var set wire.Ranges
	for _, uid := range uids {
		set = set.Add(uint32(uid))
	}
	return ok{fmt.Sprintf("APPENDUID %d %s", validity, set), "APPEND completed"}, nil
}

// replace is REPLACE and UID REPLACE (RFC 8508): a message comes and another
// one goes, in one.
func (c *conn) replace(ctx context.Context, uid bool) (ok, error) {
	set, err := c.oneMessage()
	if err != nil {
		return ok{}, err
	}
	name, err := c.spName()
	if err != nil {
		return ok{}, err
	}
	old, missing, err := c.messages(ctx, set, uid)
	switch {
	case err != nil:
		return ok{}, err
	case missing:
		return ok{}, errExpungeIssued
	case len(old) == 0:
		return ok{}, no("NONEXISTENT", "there is no message with that UID")
	case c.view.readOnly:
		return ok{}, errReadOnly
	}
	rows, err := c.s.Store.Messages(ctx, c.account, c.view.mailbox, old, 0)
	if err != nil {
		return ok{}, err
	}
	if len(rows) == 0 {
		return ok{}, errExpungeIssued
	}
	u := &uploads{conn: c, mailbox: name, credit: rows[0].Size}
	defer u.close()
	if err := u.message(ctx); err != nil {
		return ok{}, err
	}
	if err := c.dec.CRLF(); err != nil {
		return ok{}, err
	}
	validity, n, err := c.s.Store.Replace(ctx, c.account, c.view.mailbox, old[0], u.target, u.list[0])
	if err != nil {
		return ok{}, u.failed(err)
	}
	c.s.stats.appended.Add(1)
	c.untagged("OK [APPENDUID %d %d] replacement is stored", validity, n) // before the EXPUNGE (RFC 8508 section 3.2)
	return ok{text: "REPLACE completed"}, nil
}

// oneMessage reads a space and the number of a message, or "*".
func (c *conn) oneMessage() (wire.NumSet, error) {
	if err := c.dec.SP(); err != nil {
		return wire.NumSet{}, err
	}
	last, err := c.dec.Accept('*')
	if err != nil || last {
		return wire.NumSetOf(wire.Range{}), err
	}
	n, err := c.dec.NZNumber()
	return wire.NumSetOf(wire.Range{First: n, Last: n}), err
}

// An uploads gathers the messages of one command.
type uploads struct {
	*conn
	mailbox string
	target  storage.MailboxID
	list    []storage.Upload
	size    int64 // of the messages
	memory  int64 // that they take
	credit  int64 // the size of a message that will be gone
}

func (u *uploads) close() {
	for _, up := range u.list {
		up.Message.Close() //nolint:errcheck // what was adopted is not removed
	}
}

// failed says why the messages were not stored. That their mailbox went away
// meanwhile is answered as if it had never been there.
func (u *uploads) failed(err error) error {
	if errors.Is(err, storage.ErrNonexistent) {
		return errTryCreate
	}
	return err
}

// accept judges the next message by its size, before its octets are sent.
func (u *uploads) accept(ctx context.Context, size int64) (err error) {
	switch limit := u.cfg.AppendLimit; {
	case size == 0: // a client may cancel so (RFC 3502 section 6.3.11)
		return no("", "a message of no octets, nothing is appended")
	case size > limit:
		return no("TOOBIG", fmt.Sprintf("message is over %d octets", limit))
	case len(u.list) == maxUploads:
		return no("LIMIT", fmt.Sprintf("more than %d messages at a time", maxUploads))
	}
	if u.target, err = u.conn.target(ctx, u.mailbox); err != nil {
		return err
	}
	if more := u.size + size - u.credit; more > 0 {
		over, err := u.s.Store.OverQuota(ctx, u.account, more)
		if err != nil {
			return err
		}
		if over {
			return storage.ErrOverQuota
		}
	}
	return nil
}

// message reads one message with its flags and its date.
func (u *uploads) message(ctx context.Context) error {
	up, err := u.appendOptions()
	if err != nil {
		return err
	}
	inUTF8, err := u.utf8Data()
	if err != nil {
		return err
	}
	u.upload = func(size int64) error { return u.accept(ctx, size) }
	literal, err := u.dec.LiteralReader()
	u.upload = nil
	if err != nil {
		return err
	}
	if up.Message, err = u.spool(literal); err != nil {
		return err
	}
	if inUTF8 {
		err = u.dec.Expect(')')
	}
	u.list = append(u.list, up) // which close closes
	u.size += up.Message.Size
	if u.memory += up.Message.Memory(); u.memory > maxUploadMemory {
		return no("LIMIT", "the headers of these messages are too large for one command")
	}
	return err
}

// utf8Data reads what announces a message in UTF-8, where it is announced
// (RFC 6855 section 4; RFC 9755 leaves it out). It is taken like any other.
func (c *conn) utf8Data() (bool, error) {
	next, err := c.dec.Peek()
	if err != nil || next == '{' || next == '~' {
		return false, err
	}
	if err := c.dec.ExpectWord("UTF8"); err != nil {
		return false, err
	}
	if err := c.require(utf8Accept|rev2, "UTF8=ACCEPT"); err != nil {
		return false, err
	}
	if err := c.dec.SP(); err != nil {
		return false, err
	}
	return true, c.dec.Expect('(')
}

// spool takes a literal in.
func (u *uploads) spool(literal io.Reader) (*storage.Spooled, error) {
	spool := u.s.Store.NewSpool()
	if u.memory >= uploadsInMemory {
		spool.OnDisk()
	}
	if _, err := io.Copy(spool, literal); err != nil {
		spool.Discard()
		return nil, err
	}
	return spool.Finish(nil)
}

// appendOptions reads the flags and the date before the literal.
func (c *conn) appendOptions() (up storage.Upload, err error) {
	up.Received = time.Now().UTC()
	if err := c.dec.SP(); err != nil {
		return up, err
	}
	next, err := c.dec.Peek()
	if err == nil && next == '(' {
		var names []string
		if names, err = c.dec.FlagList(); err != nil {
			return up, err
		}
		if up.Flags, up.Keywords, err = parseFlags(names); err != nil {
			return up, err
		}
		if err = c.dec.SP(); err != nil {
			return up, err
		}
		next, err = c.dec.Peek()
	}
	if err == nil && next == '"' {
		if up.Received, err = c.dec.DateTime(); err == nil {
			err = c.dec.SP()
		}
	}
	return up, err
}
