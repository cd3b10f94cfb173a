package loadtest

import (
	"fmt"
	"strconv"
	"time"
)

// The mailboxes that are made, besides INBOX.
const (
	largeMailbox  = "Large"
	movedMailbox  = "Moved"
	singleMailbox = "Single"
)

// client is a new connection to the IMAP server.
func (r *run) client() (*imapClient, error) {
	return dialIMAP(r.ctx, r.IMAP, r.User, r.Password)
}

// opened is a new connection with a mailbox selected, which must have n messages.
func (r *run) opened(mailbox string, n int) (*imapClient, error) {
	c, err := r.client()
	if err != nil {
		return nil, err
	}
	_, err = c.open(mailbox, n)
	return c, err
}

// fill fills the large mailbox. The clock stands still while messages are made up.
func (r *run) fill() ([]Figure, error) {
	c, err := r.client()
	if err != nil {
		return nil, err
	}
	defer c.Close() //nolint:errcheck // all was answered
	for _, mailbox := range []string{largeMailbox, movedMailbox, singleMailbox} {
		if err := c.do("CREATE "+mailbox, nil); err != nil {
			return nil, err
		}
	}
	before, err := r.process.cpu()
	if err != nil {
		return nil, err
	}
	var took time.Duration
	for done := 0; done < r.Messages; {
		batch := r.mails(min(100, r.Messages-done), small, "")
		began := time.Now()
		if err := c.append(largeMailbox, done, batch); err != nil {
			return nil, err
		}
		took += time.Since(began)
		done += len(batch)
	}
	answered := time.Now()
	after, err := r.rest()
	return []Figure{perSecond(r.Messages, took), cpuPerMessage(r.Messages, after-before), {"at rest after", time.Since(answered).Seconds(), "s"}}, err
}

// append appends messages, of which the first one has number n, in one command
// (RFC 3502).
func (c *imapClient) append(mailbox string, n int, messages []mail) error {
	tag := c.begin("APPEND " + mailbox)
	for i, m := range messages {
		flags := `\Seen`
		if isUnseen(n + i) {
			flags = ""
		}
		fmt.Fprintf(c.out, " (%s) \"%s\" {%d+}\r\n%s", flags, dateOf(n+i).Format("02-Jan-2006 15:04:05 -0700"), len(m.message), m.message)
	}
	c.out.WriteString("\r\n") //nolint:errcheck // Flush tells
	return c.await(tag, nil)
}

// appendOneByOne waits for each answer.
func (r *run) appendOneByOne() ([]Figure, error) {
	c, err := r.client()
	if err != nil {
		return nil, err
	}
	defer c.Close() //nolint:errcheck // all was answered
	messages := r.mails(r.Messages/10, small, "")
	before, err := r.process.cpu()
	if err != nil {
		return nil, err
	}
	n := 0
	began := time.Now()
	for ; n < len(messages) && time.Since(began) < longest; n++ {
		if err := c.append(singleMailbox, n, messages[n:n+1]); err != nil {
			return nil, err
		}
	}
	rate := perSecond(n, time.Since(began))
	after, err := r.rest()
	return []Figure{rate, r.perSync(rate, 1), cpuPerMessage(n, after-before)}, err
}

// selects opens the large mailbox for the first time since the start, and again.
func (r *run) selects() ([]Figure, error) {
	c, err := r.client()
	if err != nil {
		return nil, err
	}
	defer c.Close() //nolint:errcheck // all was answered
	first, err := c.open(largeMailbox, r.Messages)
	if err != nil {
		return nil, err
	}
	again, err := c.open(largeMailbox, r.Messages)
	return []Figure{milliseconds("first", first), milliseconds("again", again)}, err
}

// How many messages of the large mailbox a command is about.
func all(messages int) int      { return messages }
func thousand(messages int) int { return min(messages, 1000) }
func fifth(messages int) int    { return messages / 5 }

// onMany runs a command on messages of the large mailbox, up to that one which
// takes the place of %s. Each of them must have a response of a kind: that to
// MOVE is EXPUNGE (RFC 6851 section 3.3).
func onMany(count func(int) int, command, kind string) func(*run) ([]Figure, error) {
	return func(r *run) ([]Figure, error) {
		c, err := r.opened(largeMailbox, r.Messages)
		if err != nil {
			return nil, err
		}
		defer c.Close() //nolint:errcheck // all was answered
		n := count(r.Messages)
		last := strconv.Itoa(n)
		if n == r.Messages {
			last = "*"
		}
		took, err := c.timed(fmt.Sprintf(command, last), kind, n)
		return []Figure{perSecond(n, took), milliseconds("in all", took)}, err
	}
}

// search searches the large mailbox, twice. It must find the messages that is
// holds for.
func search(criteria string, is func(n int) bool) func(*run) ([]Figure, error) {
	return func(r *run) ([]Figure, error) {
		c, err := r.opened(largeMailbox, r.Messages)
		if err != nil {
			return nil, err
		}
		defer c.Close() //nolint:errcheck // all was answered
		want := 0
		for n := range r.Messages {
			if is(n) {
				want++
			}
		}
		first, err := c.search(criteria, want)
		if err != nil {
			return nil, err
		}
		again, err := c.search(criteria, want)
		return []Figure{milliseconds("first", first), milliseconds("again", again)}, err
	}
}

// expunge expunges all that was moved.
func (r *run) expunge() ([]Figure, error) {
	n := fifth(r.Messages)
	c, err := r.opened(movedMailbox, n)
	if err != nil {
		return nil, err
	}
	defer c.Close() //nolint:errcheck // all was answered
	if err := c.do(`STORE 1:* +FLAGS.SILENT (\Deleted)`, nil); err != nil {
		return nil, err
	}
	took, err := c.timed("EXPUNGE", "EXPUNGE", n)
	return []Figure{perSecond(n, took), milliseconds("in all", took)}, err
}
