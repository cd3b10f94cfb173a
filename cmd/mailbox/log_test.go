package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestLog: every message leaves one line that says what became of it, and
// nothing of its content, and no password, is ever logged, at debug either.
func TestLog(t *testing.T) {
	s := newSite(t)
	config, err := os.OpenFile(s.config, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(config, "[log]\nlevel = \"debug\"\n"); err != nil {
		t.Fatal(err)
	}
	config.Close()
	s.start()
	const text = "Subject: SUBJECTWORD\r\nX-Odd: HEADERWORD\r\n\r\nBODYWORD\r\n"
	in := &smtpPeer{t: t, s: s}
	in.send("MAIL FROM:<odd@client.example>\r\n", "250")
	in.send("RCPT TO:<alice@home.example>\r\n", "250")
	in.send("RCPT TO:<bob@home.example>\r\n", "250")
	in.send("DATA\r\n", "354")
	in.send(text+".\r\n", "250")
	in.begin()
	in.send("DATA\r\n", "354")
	in.send(strings.Repeat("Received: from a by b\r\n", 100)+text+".\r\n", "554")

	c := s.imapClient("alice")
	c.ok(fmt.Sprintf("APPEND INBOX {%d+}\r\n%s", len(text), text))
	c.ok("SELECT INBOX")
	c.ok("SEARCH BODY SEARCHWORD")
	other := s.imapDial()
	other.do("LOGIN alice@home.example WRONGPASSWORD")
	sasl := base64.StdEncoding.EncodeToString([]byte("\x00alice@home.example\x00WRONGPASSWORD"))
	other.do("AUTHENTICATE PLAIN " + sasl)
	s.stop()

	logged := s.logged()
	for _, secret := range []string{"SUBJECTWORD", "HEADERWORD", "BODYWORD", "SEARCHWORD", "WRONGPASSWORD", sasl, testPassword} {
		if strings.Contains(logged, secret) {
			t.Errorf("the log has %q:\n%s", secret, logged)
		}
	}
	type line struct {
		Msg, Level, From, ID, Reply, Peer string
		To, Filed                         []string
		Size                              int
		MS                                *float64
	}
	outcomes := map[string][]line{}
	for text := range strings.Lines(logged) {
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Errorf("%v: %s", err, text)
		}
		outcomes[l.Msg] = append(outcomes[l.Msg], l)
	}
	if d := outcomes["message delivered"]; len(d) != 1 || d[0].From != "odd@client.example" || d[0].Size < len(text) || d[0].MS == nil || d[0].Peer != "127.0.0.1" ||
		!slices.Equal(d[0].To, []string{"alice@home.example", "bob@home.example"}) || !slices.Equal(d[0].Filed, []string{"alice@home.example/INBOX", "bob@home.example/INBOX"}) {
		t.Errorf("of the delivered message the log says %+v", d)
	}
	if r := outcomes["message refused"]; len(r) != 1 || r[0].Reply != "554 5.4.6" || r[0].MS == nil {
		t.Errorf("of the refused message the log says %+v", r)
	}
}
