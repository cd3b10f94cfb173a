package loadtest

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"time"
)

// An imapClient is one connection to an IMAP server (RFC 9051), logged in.
type imapClient struct {
	*connection
	tags int
}

func dialIMAP(ctx context.Context, address, user, password string) (*imapClient, error) {
	conn, err := dial(ctx, address)
	if err != nil {
		return nil, err
	}
	c := &imapClient{connection: conn}
	if _, err := c.line(); err != nil {
		return nil, err
	}
	return c, c.do(fmt.Sprintf("LOGIN %q %q", user, password), nil)
}

// do runs a command. each, unless nil, is told the first line of every untagged
// response.
func (c *imapClient) do(command string, each func(line []byte)) error {
	return c.await(c.begin(command+"\r\n"), each)
}

// begin writes what a command begins with into the buffer, and returns its tag.
func (c *imapClient) begin(command string) (tag string) {
	c.tags++
	tag = "t" + strconv.Itoa(c.tags)
	c.out.WriteString(tag + " " + command) //nolint:errcheck // Flush tells
	return tag
}

// await sends what is in the buffer, and reads up to the tagged response,
// which must be OK.
func (c *imapClient) await(tag string, each func(line []byte)) error {
	if err := c.out.Flush(); err != nil {
		return err
	}
	for {
		line, err := c.line()
		if err != nil {
			return err
		}
		if status, ok := bytes.CutPrefix(line, []byte(tag+" ")); ok {
			if !bytes.HasPrefix(status, []byte("OK")) {
				return fmt.Errorf("the IMAP server says %q", status)
			}
			return nil
		}
		if each != nil {
			each(line)
		}
		if err := c.skipLiterals(line); err != nil {
			return err
		}
	}
}

// line reads a line, without its end.
func (c *imapClient) line() ([]byte, error) {
	line, err := c.in.ReadBytes('\n')
	return bytes.TrimRight(line, "\r\n"), err
}

// skipLiterals reads the rest of a response whose first line is given.
func (c *imapClient) skipLiterals(line []byte) error {
	for bytes.HasSuffix(line, []byte("}")) {
		size, err := strconv.Atoi(string(line[bytes.LastIndexByte(line, '{')+1 : len(line)-1]))
		if err != nil {
			return err
		}
		if _, err := c.in.Discard(size); err != nil {
			return err
		}
		if line, err = c.line(); err != nil {
			return err
		}
	}
	return nil
}

// timed is do, and how long it took. There must be n responses of a kind, such
// as "* 1 FETCH".
func (c *imapClient) timed(command, kind string, n int) (time.Duration, error) {
	got := 0
	began := time.Now()
	err := c.do(command, func(line []byte) {
		if word := bytes.SplitN(line, []byte(" "), 4); len(word) > 2 && string(word[2]) == kind {
			got++
		}
	})
	took := time.Since(began)
	if err == nil && got != n {
		err = fmt.Errorf("%s has %d responses of %s, not %d", command, got, kind, n)
	}
	return took, err
}

// open selects a mailbox, which must have n messages.
func (c *imapClient) open(mailbox string, n int) (time.Duration, error) {
	exists := fmt.Sprintf("* %d EXISTS", n)
	found := false
	began := time.Now()
	err := c.do("SELECT "+mailbox, func(line []byte) { found = found || string(line) == exists })
	took := time.Since(began)
	if err == nil && !found {
		err = fmt.Errorf("SELECT %s does not say %q", mailbox, exists)
	}
	return took, err
}

// messages is how many a mailbox has.
func (c *imapClient) messages(mailbox string) (n int, err error) {
	err = c.do("STATUS "+mailbox+" (MESSAGES)", func(line []byte) {
		if _, number, ok := bytes.Cut(line, []byte("(MESSAGES ")); ok {
			n, _ = strconv.Atoi(string(bytes.TrimRight(number, ")"))) // 0 is noticed
		}
	})
	return n, err
}

// idle begins to wait (RFC 2177).
func (c *imapClient) idle() error {
	c.begin("IDLE\r\n")
	if err := c.out.Flush(); err != nil {
		return err
	}
	return c.hear("+ ", "")
}

// hear reads lines up to one that begins and ends so.
func (c *imapClient) hear(begin, end string) error {
	for {
		line, err := c.line()
		if err != nil || bytes.HasPrefix(line, []byte(begin)) && bytes.HasSuffix(line, []byte(end)) {
			return err
		}
	}
}

// search searches the selected mailbox, and must find n messages.
func (c *imapClient) search(criteria string, n int) (time.Duration, error) {
	found := 0
	began := time.Now()
	err := c.do("SEARCH "+criteria, func(line []byte) {
		if list, ok := bytes.CutPrefix(line, []byte("* SEARCH")); ok {
			found += len(bytes.Fields(list))
		}
	})
	took := time.Since(began)
	if err == nil && found != n {
		err = fmt.Errorf("SEARCH %s found %d messages, not %d", criteria, found, n)
	}
	return took, err
}
