package smtpd

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// Write implements net.Conn for go-smtp, which writes whole lines. They are
// corrected where go-smtp is wrong, and kept until the next read would block,
// so that a pipelined group costs one write.
func (c *Conn) Write(p []byte) (n int, err error) {
	err = io.ErrClosedPipe // after a panic
	defer c.recovered()
	switch {
	case c.isClosed():
		return 0, net.ErrClosed
	case c.writeErr != nil:
		return 0, c.writeErr
	}
	for line := range bytes.Lines(p) {
		c.replyLine(line)
	}
	return len(p), nil
}

func (c *Conn) replyLine(line []byte) {
	if len(line) < 4 {
		c.out = append(c.out, line...)
		return
	}
	code, last := string(line[:3]), line[3] == ' '
	first := c.first
	c.first = last
	if c.secured && c.verb == "" { // the greeting, which the peer has had
		return
	}
	switch {
	case first && code == "220":
		line = fmt.Appendf(nil, "220 %s ESMTP Mailbox\r\n", c.cfg.Hostname)
	case first && code == "250" && (c.verb == "EHLO" || c.verb == "HELO"):
		line = c.hello(last)
	case code == "354":
		c.body, c.rate = newBody(c, c.cfg.MaxSize), rate{since: time.Now()}
	case code == "334":
		c.sasl = true
	default:
		line = c.corrected(line)
		code = string(line[:3])
	}
	c.out = append(c.out, line...)
	if last {
		c.count(code)
	}
	if len(c.out) > maxOut {
		c.flush() //nolint:errcheck // the next read tells
	}
}

// maxOut is how many octets of replies may wait until all is read that a peer
// sent at once.
const maxOut = 16 << 10

// corrected gives the replies of go-smtp the codes that the RFCs want.
func (c *Conn) corrected(line []byte) []byte {
	for _, r := range []struct{ wrong, right string }{
		{"500 5.5.4", "555 5.5.4"},                               // RFC 5321 section 4.1.1.11
		{"502 5.5.4", "501 5.5.4"},                               // AUTH without a mechanism
		{"454 4.7.0 Invalid base64", "501 5.5.2 Invalid base64"}, // RFC 4954 section 4
		{"235 2.0.0", "235 2.7.0"},                               // RFC 4954 section 6
	} {
		if rest, ok := bytes.CutPrefix(line, []byte(r.wrong)); ok {
			return append([]byte(r.right), rest...)
		}
	}
	if bytes.HasPrefix(line, []byte("502 5.5.1")) && c.outOfOrder() {
		return append([]byte("503"), line[3:]...)
	}
	return line
}

// outOfOrder tells whether the command is one that go-smtp knows, so that its
// 502 means that this is not the time for it.
func (c *Conn) outOfOrder() bool {
	switch c.verb {
	case "MAIL", "RCPT", "DATA", "BDAT", "AUTH":
		return true
	}
	return false
}

// hello is the first line of the reply to EHLO or HELO (RFC 5321 section
// 4.1.1.1), and STARTTLS where that is offered.
func (c *Conn) hello(last bool) []byte {
	sep := "-"
	if last {
		sep = " "
	}
	line := fmt.Appendf(nil, "250%s%s greets %s\r\n", sep, c.cfg.Hostname, oneLine(c.helo))
	if last {
		return line
	}
	if c.state == nil && c.cfg.TLS != nil {
		line = append(line, "250-STARTTLS\r\n"...)
	}
	if c.state != nil && c.cfg.RequireTLS {
		line = append(line, "250-REQUIRETLS\r\n"...)
	}
	if longest := c.cfg.MaxRelease; longest > 0 {
		line = fmt.Appendf(line, "250-FUTURERELEASE %d %s\r\n", int(longest.Seconds()), time.Now().Add(longest).UTC().Format(time.RFC3339))
	}
	return line
}

// count ends the connection of a peer that does nothing right.
func (c *Conn) count(code string) {
	if c.verb == "AUTH" && (code == "535" || code == "454") {
		if c.failed++; c.failed >= maxFailedLogins && !c.lastReply.Load() {
			c.out = append(c.out, "421 4.7.0 too many failed logins\r\n"...)
			c.lastReply.Store(true)
		}
	}
	c.countChunks(code)
	if code == "250" && (c.verb == "DATA" || c.verb == "BDAT" && c.onward) { // whoever brings mail may go on
		c.commands = 0
	}
	if code[0] != '5' {
		return
	}
	if c.errors++; c.errors > c.cfg.MaxErrors && !c.lastReply.Load() {
		c.out = append(c.out, "421 4.7.0 too many errors\r\n"...)
		c.lastReply.Store(true)
	}
}

// countChunks ends the connection of a peer that begins messages in chunks, and
// does not end them.
func (c *Conn) countChunks(code string) {
	over := c.partial
	switch {
	case c.verb == "BDAT" && code == "250":
		c.partial, over = !c.last, false
	case c.verb == "BDAT" && code != "552": // the session was through with it
		c.partial, over = false, false
	case c.verb == "BDAT", code == "250" && (c.verb == "RSET" || c.verb == "EHLO" || c.verb == "HELO"):
		c.partial = false
	default:
		over = false
	}
	if over {
		c.givenUp++
	}
	if c.givenUp > maxGivenUp && !c.lastReply.Load() {
		c.out = append(c.out, "421 4.7.0 too many messages were not ended\r\n"...)
		c.lastReply.Store(true)
	}
}

// answer replies in go-smtp's stead.
func (c *Conn) answer(s *Status) {
	c.out = fmt.Appendf(c.out, "%d %s %s\r\n", s.Code, s.Enhanced, strings.TrimSpace(s.Text))
	c.count(fmt.Sprint(s.Code))
}

// end replies, and lets nothing follow.
func (c *Conn) end(s *Status) error {
	c.answer(s)
	c.lastReply.Store(true)
	return s
}
