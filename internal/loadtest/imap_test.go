package loadtest

import (
	"bufio"
	"io"
	"strings"
	"testing"
)

// answered is a client whose server says text, and then no more.
func answered(text string) *imapClient {
	return &imapClient{connection: &connection{in: bufio.NewReader(strings.NewReader(text)), out: bufio.NewWriter(io.Discard)}}
}

// TestWrongAnswers: a server that answers, but not with what must be there, has
// not been measured.
func TestWrongAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		answer string
		ask    func(*imapClient) error
	}{
		"NO":              {"t1 NO not now\r\n", func(c *imapClient) error { return c.do("NOOP", nil) }},
		"nothing":         {"", func(c *imapClient) error { return c.do("NOOP", nil) }},
		"too few fetched": {"* 1 FETCH (FLAGS ())\r\n* 2 EXISTS\r\nt1 OK\r\n", func(c *imapClient) error { _, err := c.timed("FETCH 1:2 (FLAGS)", "FETCH", 2); return err }},
		"only in literal": {"* 1 FETCH (BODY[] {16}\r\n* 2 FETCH (\r\n    )\r\nt1 OK\r\n", func(c *imapClient) error { _, err := c.timed("FETCH 1:2 (BODY[])", "FETCH", 2); return err }},
		"too few found":   {"* SEARCH 3\r\nt1 OK\r\n", func(c *imapClient) error { _, err := c.search("ALL", 2); return err }},
		"too few exist":   {"* 1 EXISTS\r\nt1 OK\r\n", func(c *imapClient) error { _, err := c.open("INBOX", 2); return err }},
	} {
		if err := test.ask(answered(test.answer)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// FuzzIMAP: whatever a server says, there is an end to it.
func FuzzIMAP(f *testing.F) {
	f.Add("* 1 FETCH (BODY[] {3}\r\nabc)\r\n* SEARCH 1 2\r\n* STATUS INBOX (MESSAGES 2)\r\nt1 OK done\r\n")
	f.Add("* 1 FETCH (BODY[] {-3}\r\nabc)\r\nt1 NO\r\n")
	f.Add("* 1 FETCH }\r\n* {999999999999}\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		answered(text).do("NOOP", nil)              //nolint:errcheck // it may be anything
		answered(text).timed("FETCH 1", "FETCH", 1) //nolint:errcheck // it may be anything
		answered(text).search("ALL", 1)             //nolint:errcheck // it may be anything
		answered(text).messages("INBOX")            //nolint:errcheck // it may be anything
		answered(text).hear("+ ", "")               //nolint:errcheck // it may be anything
		smtpClient{answered(text).connection}.expect('2')
	})
}
