package msa

import (
	"strings"
	"testing"
	"time"

	"mailbox/internal/siege"
)

// strangers are what is done before a login, and left at that.
func strangers() []siege.Attack {
	scram := "biwsbj1hbGljZUBob21lLmV4YW1wbGUscj1hYmM="
	return []siege.Attack{
		{Name: "silence", Do: func(*siege.Stranger) {}},
		{Name: "half a line", Do: func(s *siege.Stranger) { s.Send("AUTH PLAIN " + strings.Repeat("x", 2000)) }},
		{Name: "half an answer", Do: func(s *siege.Stranger) { s.Send("EHLO x\r\nAUTH PLAIN\r\n" + strings.Repeat("x", 12_200)) }},
		{Name: "answer that is too long", Do: func(s *siege.Stranger) {
			s.Send("EHLO x\r\nAUTH PLAIN\r\n" + strings.Repeat("x", 40_000))
		}},
		{Name: "begun SASL", Do: func(s *siege.Stranger) { s.Send("EHLO x\r\nAUTH SCRAM-SHA-256 " + scram + "\r\n") }},
		{Name: "aborted SASL", Do: func(s *siege.Stranger) {
			s.Send("EHLO x\r\n" + strings.Repeat("AUTH SCRAM-SHA-256 "+scram+"\r\n*\r\n", 18) + "AUTH LOGIN\r\n" + strings.Repeat("x", 12_000))
		}},
		{Name: "commands that need a login", Do: func(s *siege.Stranger) {
			s.Send("EHLO x\r\n" + strings.Repeat("MAIL FROM:<"+strings.Repeat("x", 1900)+"@home.example>\r\n", 18))
		}},
		{Name: "answers that nobody reads", Do: func(s *siege.Stranger) { s.Send(strings.Repeat("EHLO x\r\n", 4000)) }},
	}
}

// TestMemoryBeforeLogin: whatever strangers send, or begin to send, in the clear
// or over TLS, no connection of theirs uses more than a little memory, and
// nothing is left when they have gone.
func TestMemoryBeforeLogin(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.PerAddress, c.IdleTimeout, c.MaxErrors = 1000, time.Hour, 20 })
	gone := func() bool { return f.server.Stats().Open == 0 }
	plain, overTLS := siege.Listen(t, f.server.Serve), siege.Listen(t, f.server.ServeTLS)
	for _, attack := range strangers() {
		t.Run(attack.Name, func(t *testing.T) {
			siege.Measure(t, plain, func(s *siege.Stranger) {
				s.ReadTo("220 ")
				attack.Do(s)
			}, gone)
		})
		t.Run(attack.Name+" over TLS", func(t *testing.T) {
			siege.Measure(t, overTLS, func(s *siege.Stranger) {
				s.Handshake()
				s.ReadTo("220 ")
				attack.Do(s)
			}, gone)
		})
	}
	for _, attack := range siege.Handshakes() {
		t.Run(attack.Name, func(t *testing.T) { siege.Measure(t, overTLS, attack.Do, gone) })
		t.Run(attack.Name+" after STARTTLS", func(t *testing.T) {
			siege.Measure(t, plain, func(s *siege.Stranger) {
				s.Send("STARTTLS\r\n")
				s.ReadTo("220 2.0.0")
				attack.Do(s)
			}, gone)
		})
	}
}
