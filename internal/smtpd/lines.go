package smtpd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

const (
	maxLine     = 2048  // octets of a command line (RFC 5321 section 4.5.3.1.4 asks for 512)
	maxSASLLine = 12288 // octets of an answer to a challenge (RFC 4954 section 4)
	maxSkip     = 64 << 10

	maxFailedLogins = 3 // of one connection
	maxGivenUp      = 5 // messages of one connection: what took them stays until its end
)

// Read implements net.Conn for go-smtp: one command line, or octets of a chunk
// that was announced.
func (c *Conn) Read(p []byte) (n int, err error) {
	n, err = 0, io.EOF // after a panic
	defer c.recovered()
	switch {
	case c.isClosed():
		return 0, io.EOF
	case len(c.pending) > 0:
	case c.tail != "":
		c.pending, c.tail = []byte(c.tail), ""
	case c.lastReply.Load():
		return 0, io.EOF
	case c.chunk > 0:
		return c.readChunk(p)
	case c.body != nil: // go-smtp is to see the end only
		return 0, io.EOF
	default:
		if c.pending, err = c.command(); err != nil {
			return 0, io.EOF
		}
	}
	n = copy(p, c.pending)
	c.pending = c.pending[n:]
	return n, nil
}

// recovered is deferred where go-smtp calls us and does not recover. What
// follows a panic is the end of the connection.
func (c *Conn) recovered() {
	if v := recover(); v != nil {
		c.server.stats.panics.Add(1)
		c.log.Error("panic in an SMTP connection", "panic", v, "stack", string(debug.Stack()))
		c.lastReply.Store(true)
	}
}

// readChunk gives octets that follow BDAT (RFC 3030 section 2).
func (c *Conn) readChunk(p []byte) (int, error) {
	in, err := c.fill()
	if err != nil {
		c.lastReply.Store(true)
		var s *Status
		if errors.As(err, &s) {
			return 0, smtpError(c.log, s)
		}
		return 0, io.ErrUnexpectedEOF
	}
	n := copy(p, in[:min(int64(len(in)), c.chunk)])
	c.br.Discard(n) //nolint:errcheck // they are buffered
	c.chunk -= int64(n)
	return n, nil
}

// endBody goes back to commands, after go-smtp has seen the end of the message.
func (c *Conn) endBody() {
	if c.body.end == io.EOF {
		c.tail = ".\r\n"
	}
	c.body, c.rate = nil, rate{}
}

// command returns the next line for go-smtp. What go-smtp must not see is
// answered here. An error means that the connection is at its end, and the
// peer was told why.
func (c *Conn) command() ([]byte, error) {
	for {
		line, err := c.line()
		if err != nil {
			var s *Status
			if errors.As(err, &s) {
				c.end(s)
			}
			return nil, err
		}
		if line == nil { // answered
			if c.sasl { // go-smtp waits for an answer, and would take the next command for it
				c.lastReply.Store(true)
			}
			if c.lastReply.Load() {
				return nil, io.EOF
			}
			continue
		}
		if c.sasl {
			c.sasl = false
			return line, nil
		}
		if c.commands++; c.commands > c.cfg.MaxCommands {
			s := Reply(421, "4.7.0", "too many commands in one connection")
			c.end(s)
			return nil, s
		}
		c.verb, c.first = verbOf(line), true
		if c.verb != "BDAT" {
			c.rate = rate{}
		}
		pass, err := c.preempt(line)
		if pass != nil || err != nil {
			return pass, err
		}
		if c.lastReply.Load() {
			return nil, io.EOF
		}
	}
}

func verbOf(line []byte) string {
	verb, _, _ := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte{' '})
	return strings.ToUpper(string(verb))
}

// line reads a line that ends in CRLF. It returns nil where the line is not
// one, and was answered.
func (c *Conn) line() ([]byte, error) {
	limit := maxLine
	if c.sasl {
		limit = maxSASLLine
	}
	c.setWaiting(true)
	defer c.setWaiting(false)
	by := time.Now().Add(c.cfg.Idle) // the whole line
	for {
		buffered, _ := c.br.Peek(c.br.Buffered())
		if i := bytes.IndexByte(buffered, '\n'); i >= 0 && i < limit {
			line := bytes.Clone(buffered[:i+1])
			c.br.Discard(i + 1) //nolint:errcheck // they are buffered
			if bad := badLine(line); bad != nil {
				c.answer(bad)
				return nil, nil
			}
			return line, nil
		}
		if len(buffered) >= limit {
			return nil, c.skipLine(by)
		}
		if err := c.more(len(buffered), by); err != nil {
			return nil, err
		}
	}
}

// more waits for octets beyond those n that are buffered.
func (c *Conn) more(n int, by time.Time) error {
	if err := c.flush(); err != nil {
		return err
	}
	if err := c.arm(by); err != nil {
		return err
	}
	if _, err := c.br.Peek(n + 1); err != nil {
		switch {
		case c.isStopped():
			return Reply(421, "4.3.2", "server is shutting down")
		case isTimeout(err):
			return Reply(421, "4.4.2", "idle for too long")
		}
		return err
	}
	return c.rate.add(c.br.Buffered()-n, time.Now())
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// badLine says what is wrong with a command line.
func badLine(line []byte) *Status {
	if len(line) < 2 || line[len(line)-2] != '\r' {
		return Reply(500, "5.5.2", "lines must end in CRLF")
	}
	for _, b := range line[:len(line)-2] {
		if b < ' ' && b != '\t' || b == 0x7f {
			return Reply(500, "5.5.2", "control characters in a command")
		}
	}
	return nil
}

// skipLine answers a line that is too long, and ends what seems to have none.
func (c *Conn) skipLine(by time.Time) error {
	for skipped := 0; ; {
		buffered, _ := c.br.Peek(c.br.Buffered())
		if i := bytes.IndexByte(buffered, '\n'); i >= 0 {
			c.br.Discard(i + 1) //nolint:errcheck // they are buffered
			c.answer(Reply(500, "5.5.2", "line is too long"))
			return nil
		}
		c.br.Discard(len(buffered)) //nolint:errcheck // they are buffered
		if skipped += len(buffered); skipped > maxSkip {
			return Reply(500, "5.5.2", "line is too long")
		}
		if err := c.more(0, by); err != nil {
			return err
		}
	}
}

// preempt answers what go-smtp does not, or would badly. It returns the line
// where go-smtp is to have it.
func (c *Conn) preempt(line []byte) (pass []byte, err error) {
	arg := strings.TrimSpace(string(line[min(len(c.verb), len(line)-2):]))
	switch c.verb {
	case "EHLO", "HELO":
		c.helo, _, _ = strings.Cut(arg, " ")
		c.extended = c.verb == "EHLO"
	case "HELP":
		c.answer(Reply(214, "2.0.0", "see RFC 5321"))
		return nil, nil
	case "EXPN":
		c.answer(Reply(252, "2.5.0", "lists are not shown, but mail to them is taken"))
		return nil, nil
	case "STARTTLS":
		return nil, c.startTLS(arg)
	case "BDAT":
		return c.bdat(line, arg)
	case "AUTH":
		if len(strings.Fields(arg)) > 2 { // RFC 4954 section 4
			c.answer(Reply(501, "5.5.4", "AUTH takes a mechanism and perhaps an initial response"))
			return nil, nil
		}
	case "MAIL":
		pass, bad := c.mail(line, arg)
		if bad != nil {
			c.answer(bad)
			return nil, nil
		}
		return pass, nil
	case "RCPT":
		if to, rest, _ := strings.Cut(arg, ">"); strings.EqualFold(strings.ReplaceAll(to, " ", ""), "TO:<postmaster") {
			line = fmt.Appendf(nil, "RCPT TO:<postmaster@%s>%s\r\n", c.cfg.Postmaster, rest)
		}
		if _, params := cutPath(arg); anyTwice(params) {
			c.answer(errTwice)
			return nil, nil
		}
	}
	return line, nil
}

// startTLS answers STARTTLS (RFC 3207). Where it is granted, go-smtp's
// connection ends, and nothing of it lives on.
func (c *Conn) startTLS(arg string) error {
	switch {
	case arg != "":
		c.answer(Reply(501, "5.5.4", "STARTTLS takes no argument"))
	case c.state != nil:
		c.answer(Reply(503, "5.5.1", "TLS is active already"))
	case c.cfg.TLS == nil:
		c.answer(Reply(502, "5.5.1", "TLS is not offered"))
	case c.br.Buffered() > 0: // commands in the clear that would be executed under TLS
		c.end(Reply(503, "5.5.1", "nothing may follow STARTTLS"))
	default:
		c.answer(Reply(220, "2.0.0", "ready to start TLS"))
		if err := c.flush(); err != nil {
			return err
		}
		c.upgrade = true
		return io.EOF
	}
	return nil
}

// bdat makes sure that go-smtp and we agree on how many octets follow.
func (c *Conn) bdat(line []byte, arg string) ([]byte, error) {
	f := strings.Fields(arg)
	if len(f) == 0 || len(f) > 2 || len(f) == 2 && !strings.EqualFold(f[1], "LAST") {
		return nil, c.end(Reply(501, "5.5.4", "BDAT takes a size and perhaps LAST"))
	}
	n, err := strconv.ParseUint(f[0], 10, 32)
	if err != nil {
		return nil, c.end(Reply(501, "5.5.4", "BDAT takes a size"))
	}
	if int64(n) > 2*c.cfg.MaxSize {
		return nil, c.end(errTooLarge)
	}
	c.chunk = int64(n)
	if c.rate.since.IsZero() { // of the message
		c.rate.since = time.Now()
	}
	c.last = len(f) == 2
	c.onward = n > 0 || c.last
	return line, nil
}
