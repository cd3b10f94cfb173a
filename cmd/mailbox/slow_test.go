package main

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestSlowReader holds promise 4: clients that ask for much and read nothing
// keep nobody else waiting.
func TestSlowReader(t *testing.T) {
	s := newSite(t)
	s.start()
	c := s.imapClient("alice")
	big := "Subject: big\r\n\r\n" + strings.Repeat("all work and no play\r\n", 200_000)
	c.ok(fmt.Sprintf("APPEND INBOX {%d+}\r\n%s", len(big), big))
	for range 10 {
		slow := s.imapClient("alice")
		slow.ok("SELECT INBOX")
		fmt.Fprint(slow.nc, "x FETCH 1:* BODY[]\r\n") // and not a word is read
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		in := &smtpPeer{t: t, s: s}
		c.ok("SELECT INBOX")
		for n := range 50 {
			in.data("Subject: small\r\n\r\n")
			c.ok(fmt.Sprintf("STORE %d +FLAGS (\\Flagged)", n+1))
			c.ok("NOOP")
		}
		c.ok(`STORE 1 +FLAGS (\Deleted)`)
		c.ok("EXPUNGE")
	}()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatal("others wait for clients that do not read")
	}
}
