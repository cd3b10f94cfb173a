package dialogue

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// What an SMTP server reads as a command, and what it takes for a chunk.
const (
	longestCommand = 2048
	longestAnswer  = 12288 // to a challenge
)

// Transfers reads a conversation with an SMTP server over one connection, to
// its end, as somebody who knows RFC 5321 and RFC 3030: sent is all that the
// client sent, said all that the server said. It returns the messages that the
// server acknowledged. An error says what no server may say. largest is the
// size of a chunk that the server refuses to read.
func Transfers(sent, said string, largest int64) (messages []string, err error) {
	c := &conversation{sent: sent, said: said, largest: largest}
	switch code, err := c.reply(); {
	case err != nil:
		return nil, err
	case code != 220:
		return nil, fmt.Errorf("the greeting was %d", code)
	}
	for !c.over {
		if err := c.exchange(); err != nil {
			return nil, err
		}
	}
	if rest := strings.Count(c.said, "\n"); rest > 1 && !c.secured {
		return nil, fmt.Errorf("after the last command the server said %q", c.said)
	}
	return c.messages, nil
}

type conversation struct {
	sent, said string // what was not read yet
	largest    int64
	sasl       bool // the next line answers a challenge
	chunks     string
	messages   []string
	over       bool
	secured    bool // what follows is TLS
}

// replyLine allows tabs (RFC 5321 section 4.2).
var replyLine = regexp.MustCompile(`^([2-5][0-9][0-9])([ -])([^\x00-\x08\x0a-\x1f\x7f]*)$`)

// reply reads a whole one, and returns its code, or 0 where the server has hung up.
func (c *conversation) reply() (code int, err error) {
	for {
		line, rest, whole := strings.Cut(c.said, "\r\n")
		if line == "" && !whole {
			c.over = true
			return 0, nil
		}
		m := replyLine.FindStringSubmatch(line)
		if m == nil || !whole || code != 0 && m[1] != strconv.Itoa(code) {
			return 0, fmt.Errorf("the server said %q", line)
		}
		c.said = rest
		code, _ = strconv.Atoi(m[1])
		if m[2] == " " {
			c.over = c.over || code == 421 || code == 221
			return code, nil
		}
	}
}

// exchange reads a command, what belongs to it, and the replies.
func (c *conversation) exchange() error {
	line, rest, whole := strings.Cut(c.sent, "\n")
	if c.sent = rest; !whole {
		c.over = true
		return nil
	}
	verb, arg := c.command(line)
	c.sasl = false
	var chunk string
	var last, cut bool
	if verb == "BDAT" {
		chunk, last, cut = c.chunk(arg)
	}
	code, err := c.reply()
	switch {
	case err != nil || code == 0:
		return err
	case code == 354 && verb != "DATA", code == 334 && verb == "DATA", code < 400 && verb == "":
		return fmt.Errorf("%q was answered %d", line, code)
	case code == 354:
		return c.message()
	case code == 334:
		c.sasl = true
	case code == 220:
		c.over, c.secured = true, true
	case verb == "BDAT" && code == 250:
		if cut {
			return errors.New("a chunk was taken that was cut off")
		}
		if c.chunks += chunk; last {
			c.messages, c.chunks = append(c.messages, c.chunks), ""
		}
	case verb == "BDAT", code == 250 && (verb == "RSET" || verb == "EHLO" || verb == "HELO"):
		c.chunks = ""
	}
	return nil
}

// command parts a line that is one. An answer to a challenge has no verb that
// means something, and a line that is none has none.
func (c *conversation) command(line string) (verb, arg string) {
	line, crlf := strings.CutSuffix(line, "\r")
	control := strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
	switch {
	case c.sasl && crlf && !control && len(line)+2 <= longestAnswer:
		return "answer", ""
	case !crlf || control || len(line)+2 > longestCommand:
		return "", ""
	}
	verb, arg, _ = strings.Cut(line, " ")
	return strings.ToUpper(verb), arg
}

// chunk takes what follows BDAT. Where that cannot be known, nothing follows.
func (c *conversation) chunk(arg string) (text string, last, cut bool) {
	words := strings.Fields(arg)
	if len(words) == 0 || len(words) > 2 || len(words) == 2 && !strings.EqualFold(words[1], "LAST") {
		c.over = true
		return "", false, true
	}
	n, err := strconv.ParseUint(words[0], 10, 32)
	if err != nil || int64(n) > c.largest {
		c.over = true
		return "", false, true
	}
	size := min(int(n), len(c.sent))
	text, c.sent = c.sent[:size], c.sent[size:]
	return text, len(words) == 2, size < int(n)
}

// message reads a message behind 354, and the reply to it.
func (c *conversation) message() error {
	text, rest, whole := strings.Cut("\r\n"+c.sent, "\r\n.\r\n")
	code, err := c.reply()
	if err != nil || code == 0 {
		return err
	}
	bare := strings.ContainsAny(strings.ReplaceAll(text, "\r\n", ""), "\r\n")
	switch {
	case code == 250 && (!whole || bare):
		return fmt.Errorf("%q was taken for a message", text)
	case !whole || bare:
		c.over = true
	}
	c.sent = rest
	if code == 250 {
		c.messages = append(c.messages, strings.TrimPrefix(strings.ReplaceAll(text+"\r\n", "\r\n.", "\r\n"), "\r\n"))
	}
	return nil
}
