package mta

import (
	"strings"
	"testing"
	"time"

	"mailbox/internal/siege"
)

// strangers are what peers do on port 25, and are left at.
func strangers() []siege.Attack {
	startTLS := func(s *siege.Stranger) {
		s.Send("STARTTLS\r\n")
		s.ReadTo("220 2.0.0")
	}
	attacks := []siege.Attack{
		{Name: "silence", Do: func(*siege.Stranger) {}},
		{Name: "half a line", Do: func(s *siege.Stranger) { s.Send("MAIL FROM:<" + strings.Repeat("x", 2000)) }},
		{Name: "lines that are too long", Do: func(s *siege.Stranger) { s.Send(strings.Repeat(strings.Repeat("x", 3000)+"\r\n", 15)) }},
		{Name: "answers that nobody reads", Do: func(s *siege.Stranger) { s.Send(strings.Repeat("EHLO x\r\n", 4000)) }},
		{Name: "commands without sense", Do: func(s *siege.Stranger) { s.Send("EHLO x\r\n" + strings.Repeat("RCPT TO:<x>\r\n", 15)) }},
		{Name: "as many recipients as may be", Do: func(s *siege.Stranger) {
			s.Send("EHLO x\r\nMAIL FROM:<" + strings.Repeat("x", 60) + "@client.example>\r\n")
			for range 150 {
				s.Send("RCPT TO:<alice+" + strings.Repeat("x", 58) + "@home.example>\r\n")
			}
		}},
		{Name: "STARTTLS and silence", Do: startTLS},
		{Name: "silence over TLS", Do: func(s *siege.Stranger) {
			startTLS(s)
			s.Handshake()
		}},
		{Name: "half a line over TLS", Do: func(s *siege.Stranger) {
			startTLS(s)
			s.Handshake()
			s.Send("MAIL FROM:<" + strings.Repeat("x", 2000))
		}},
	}
	for _, a := range siege.Handshakes() {
		attacks = append(attacks, siege.Attack{Name: a.Name, Do: func(s *siege.Stranger) {
			startTLS(s)
			a.Do(s)
		}})
	}
	return attacks
}

// TestMemoryOfPeers: whatever peers send outside of a message, or begin to
// send, none uses more than a little memory, and nothing is left when they have
// gone.
func TestMemoryOfPeers(t *testing.T) {
	f := newFixtureOf(t, func(s *Server) { s.TLS = newAuthority(t).config(t, "mx.home.example") }, func(c *Config) {
		c.PerAddress, c.IdleTimeout = 1000, time.Hour
	})
	l := siege.Listen(t, f.server.Serve)
	for _, attack := range strangers() {
		t.Run(attack.Name, func(t *testing.T) {
			siege.Measure(t, l, func(s *siege.Stranger) {
				s.ReadTo("220 ")
				attack.Do(s)
			}, func() bool { return f.server.Stats().Open == 0 })
		})
	}
}
