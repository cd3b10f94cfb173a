package imapd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"mailbox/storage"
)

// target finds the mailbox that APPEND, COPY or MOVE names.
func (c *conn) target(ctx context.Context, name string) (storage.MailboxID, error) {
	m, err := c.s.Store.Mailbox(ctx, c.account, name)
	if errors.Is(err, storage.ErrNonexistent) {
		return 0, no("TRYCREATE", "no such mailbox")
	}
	return m.ID, err
}

// append is APPEND (RFC 3501 section 6.3.11). The octets stream into the
// spool; nothing of them is changed.
func (c *conn) append(ctx context.Context) (ok, error) {
	name, err := c.spName()
	if err != nil {
		return ok{}, err
	}
	up, err := c.appendOptions()
	if err != nil {
		return ok{}, err
	}
	inUTF8, err := c.utf8Data()
	if err != nil {
		return ok{}, err
	}
	var target storage.MailboxID
	c.upload = func(size int64) (err error) {
		if limit := c.cfg.AppendLimit; size > limit {
			return no("TOOBIG", fmt.Sprintf("message is over %d octets", limit))
		}
		if target, err = c.target(ctx, name); err != nil {
			return err
		}
		if over, err := c.s.Store.OverQuota(ctx, c.account, size); err != nil {
			return err
		} else if over {
			return storage.ErrOverQuota
		}
		return nil
	}
	literal, err := c.dec.LiteralReader()
	c.upload = nil
	if err != nil {
		return ok{}, err
	}
	if up.Message, err = c.spool(literal, inUTF8); err != nil {
		return ok{}, err
	}
	defer up.Message.Close() //nolint:errcheck // what was adopted is not removed
	validity, uids, err := c.s.Store.Append(ctx, c.account, target, []storage.Upload{up})
	if err != nil {
		if errors.Is(err, storage.ErrNonexistent) {
			err = no("TRYCREATE", "no such mailbox")
		}
		return ok{}, err
	}
	c.s.stats.appended.Add(1)
	return ok{fmt.Sprintf("APPENDUID %d %d", validity, uids[0]), "APPEND completed"}, nil
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

// spool takes a literal in, to the end of the line behind it.
func (c *conn) spool(literal io.Reader, inUTF8 bool) (*storage.Spooled, error) {
	spool := c.s.Store.NewSpool()
	_, err := io.Copy(spool, literal)
	if err == nil && inUTF8 {
		err = c.dec.Expect(')')
	}
	if err == nil {
		err = c.dec.CRLF()
	}
	spooled, ferr := spool.Finish(nil)
	if err != nil && ferr == nil {
		ferr = spooled.Close() // removes what was spooled
	}
	if err != nil {
		return nil, errors.Join(err, ferr)
	}
	return spooled, ferr
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
