package mta

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"mailbox/internal/smtpd"
	"mailbox/storage"
)

// deliverFunc is a Deliverer that does what the test wants.
type deliverFunc func() error

func (f deliverFunc) Deliver(context.Context, *Message) ([]string, error) { return nil, f() }

// TestFaults: what goes wrong here is told as temporary, without its details;
// only a status that was chosen is told as it is.
func TestFaults(t *testing.T) {
	for name, c := range map[string]struct {
		fault func() error
		reply string
	}{
		"unknown":   {func() error { return errors.New("sql: secret/path is broken") }, "S: 451 4.3.0 local error, try again later"},
		"disk full": {func() error { return storage.ErrNoSpace }, "S: 452 4.3.1 insufficient system storage"},
		"refused":   {func() error { return smtpd.Reply(550, "5.7.1", "not\r\n250 wanted") }, "S: 550 5.7.1 not??250 wanted"},
		"panic":     {func() error { panic("on purpose") }, "S: 421 4.3.0 internal error\nclosed"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, nil)
			f.server.Deliver = deliverFunc(c.fault)
			f.play(t, `connect smtp
S: 220 *
C: EHLO client.example
S* 250 *
C: MAIL FROM:<a@client.example>
S: 250 *
C: RCPT TO:<alice@home.example>
S: 250 *
C: DATA
S: 354 *
C: .
`+c.reply)
			f.play(t, `connect smtp
S: 220 *
C: EHLO client.example
S* 250 *
C: MAIL FROM:<a@client.example>
S: 250 *
C: RCPT TO:<alice@home.example>
S: 250 *
C| BDAT 3 LAST\r\nx\r\n
`+c.reply)
			if got := f.server.Stats(); got.Accepted != 0 || got.Rejected != 2 && name != "panic" {
				t.Errorf("counted %+v", got)
			}
		})
	}
}

// TestEagerPeer: who speaks before the greeting is refused.
func TestEagerPeer(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.GreetDelay = 500 * time.Millisecond })
	f.play(t, `connect smtp
C: EHLO client.example
S: 554 5.5.1 *
closed`)
	f.play(t, `connect smtp
S: 220 *
C: QUIT
S: 221 *
closed`)
	if n := f.server.Stats().Eager; n != 1 {
		t.Errorf("%d eager peers were counted", n)
	}
}

// TestConnectionLimit: one address too many is told to come again.
func TestConnectionLimit(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.PerAddress = 2 })
	for range 2 {
		c, err := net.Dial("tcp", f.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.ReadFull(c, make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
	}
	f.play(t, `connect smtp
S: 421 4.7.0 *
closed`)
}

// TestCutOff: a message whose sender goes away is not kept, whichever way it came.
func TestCutOff(t *testing.T) {
	f := newFixture(t, nil)
	for _, last := range []string{"DATA\r\n", "BDAT 1000 LAST\r\n", "BDAT 5\r\n"} {
		c, err := net.Dial("tcp", f.addr)
		if err != nil {
			t.Fatal(err)
		}
		script := "EHLO client.example\r\nMAIL FROM:<a@client.example>\r\nRCPT TO:<alice@home.example>\r\n" + last + "X: 1\r\n\r\nhalf"
		if _, err := io.ReadFull(c, make([]byte, 4)); err != nil { // the greeting
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, script); err != nil {
			t.Fatal(err)
		}
		c.(*net.TCPConn).CloseWrite()
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		answers, err := io.ReadAll(c)
		if err != nil || strings.Contains(string(answers), "delivered") {
			t.Errorf("after %q: %v\n%s", last, err, answers)
		}
		c.Close()
	}
	m, err := f.db.Mailbox(context.Background(), f.alice, "INBOX")
	if err != nil || m.Messages != 0 {
		t.Errorf("%d messages were kept (%v)", m.Messages, err)
	}
}

// TestManyTransactions: a connection is free to bring more messages than it
// may send commands without one.
func TestManyTransactions(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.MaxCommands = 10 })
	one := "C: MAIL FROM:<a@client.example>\nS: 250 *\nC: RCPT TO:<alice@home.example>\nS: 250 *\nC: DATA\nS: 354 *\nC: .\nS: 250 *\n"
	f.play(t, "connect smtp\nS: 220 *\nC: EHLO client.example\nS* 250 *\n"+strings.Repeat(one, 10)+
		strings.Repeat("C: NOOP\nS: 250 *\n", 10)+"C: NOOP\nS: 421 4.7.0 *\nclosed")
}
