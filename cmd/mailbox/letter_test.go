package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// testMessage is a message that tests can tell from all others by its subject.
func testMessage(from, subject string) string {
	return "From: " + from + "\r\nSubject: " + subject + "\r\nMessage-ID: <" + strings.ReplaceAll(subject, " ", ".") + "@test.example>\r\n\r\n" +
		".dots and\r\nthe body of " + subject + "\r\n"
}

// An order is what goes beside a message: its envelope, and what is asked for.
type order struct {
	from string
	mail smtp.MailOptions
	rcpt smtp.RcptOptions
	to   []string
}

// send submits a message, as the user in order.from.
func (s *site) send(t *testing.T, o order, text string) {
	t.Helper()
	c, err := smtp.DialStartTLS(s.submission, s.clientTLS())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // what matters was answered
	if err := c.Auth(sasl.NewPlainClient("", o.from, testPassword)); err != nil {
		t.Fatal(err)
	}
	if err := o.over(c, text); err != nil {
		t.Fatalf("%+v: %v", o, err)
	}
}

// over hands a message over in a connection.
func (o order) over(c *smtp.Client, text string) error {
	if err := c.Mail(o.from, &o.mail); err != nil {
		return err
	}
	for _, to := range o.to {
		rcpt := o.rcpt
		if err := c.Rcpt(to, &rcpt); err != nil {
			return fmt.Errorf("%s: %w", to, err)
		}
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, text); err != nil {
		return err
	}
	return w.Close()
}

// inbox returns what reads all messages of a user's INBOX, for await.
func (s *site) inbox(t testing.TB, user string) func() []string {
	t.Helper()
	here := *s
	here.t = t // it ends with this test, which may be one of many
	c := here.imapClient(user)
	var texts []string
	return func() []string {
		t.Helper()
		there := 0
		for line := range strings.Lines(c.ok("EXAMINE INBOX")) {
			if strings.HasSuffix(line, " EXISTS\r\n") {
				fmt.Sscanf(line, "* %d", &there) //nolint:errcheck // there is nothing else in such a line
			}
		}
		for len(texts) < there {
			texts = append(texts, c.body(len(texts)+1, ""))
		}
		return texts
	}
}

// patience is how long await waits.
const patience = 30 * time.Second

// await waits for a message that holds all of some texts, once it is unfolded.
func await(t *testing.T, read func() []string, holding ...string) string {
	t.Helper()
	for until := time.Now().Add(patience); time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		if found := holders(read(), holding); len(found) > 0 {
			return found[0]
		}
	}
	t.Fatalf("no message holds all of %q; there are %q", holding, read())
	return ""
}

// awaitOne is await for a message that must be the only one of its kind.
func awaitOne(t *testing.T, read func() []string, holding ...string) string {
	t.Helper()
	got := await(t, read, holding...)
	if all := holders(read(), holding); len(all) != 1 {
		t.Errorf("%d messages hold %q: %q", len(all), holding, all)
	}
	return got
}

func holders(texts, all []string) []string {
	var found []string
	for _, text := range texts {
		flat := unfold(text)
		holds := true
		for _, part := range all {
			holds = holds && strings.Contains(flat, part)
		}
		if holds {
			found = append(found, text)
		}
	}
	return found
}

func unfold(text string) string {
	return strings.NewReplacer("\r\n ", " ", "\r\n\t", " ").Replace(text)
}

// An attempt is a line of the log about one recipient of the queue.
type attempt struct {
	Msg, To, Host, Address, TLS, Stage, Status, Reply string
}

// attempts are those to send to a recipient, so far.
func (s *site) attempts(to string) []attempt {
	var all []attempt
	for line := range strings.Lines(s.logged()) {
		if !strings.Contains(line, `"attempt":`) {
			continue
		}
		var a attempt
		if err := json.Unmarshal([]byte(line), &a); err == nil && a.To == to { // the last line may be half written
			all = append(all, a)
		}
	}
	return all
}
