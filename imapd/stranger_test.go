package imapd

import (
	"strings"
	"testing"
	"time"

	"mailbox/internal/listen"
	"mailbox/internal/siege"
)

// strangers are what is done before a login, and left at that.
var strangers = []struct {
	name string
	tls  bool
	do   func(*siege.Stranger)
}{
	{"silence", false, func(*siege.Stranger) {}},
	{"half a line", false, func(s *siege.Stranger) { s.Send("a LOGIN " + strings.Repeat("x", 8000)) }},
	{"half a string", false, func(s *siege.Stranger) { s.Send(`a LOGIN "` + strings.Repeat(`\"x`, 2500)) }},
	{"half a tag", false, func(s *siege.Stranger) { s.Send(strings.Repeat("x", 8000)) }},
	{"repeated literals", false, func(s *siege.Stranger) {
		literal := "{1000+}\r\n" + strings.Repeat("x", 1000) + " "
		for range 5 {
			s.Send("a ID (" + strings.Repeat(literal, 10) + ")\r\n")
		}
		s.Send("a ID (" + strings.Repeat(literal, 4))
	}},
	{"literal without octets", false, func(s *siege.Stranger) { s.Send("a LOGIN {1024+}\r\n") }},
	{"literal that is too large", false, func(s *siege.Stranger) { s.Send("a LOGIN {15000+}\r\n" + strings.Repeat("x", 14000)) }},
	{"nested parentheses", false, func(s *siege.Stranger) { s.Send("a ID " + strings.Repeat("(", 8000)) }},
	{"many fields", false, func(s *siege.Stranger) { s.Send("a ID (" + strings.Repeat(`"x" "`+strings.Repeat("y", 240)+`" `, 30)) }},
	{"aborted SASL", false, func(s *siege.Stranger) {
		for range 15 {
			s.Send("a AUTHENTICATE SCRAM-SHA-256 biwsbj1hbGljZUBob21lLmV4YW1wbGUscj1hYmM=\r\n*\r\n")
		}
		s.Send("a AUTHENTICATE PLAIN\r\n" + strings.Repeat("x", 8000))
	}},
	{"begun SASL", false, func(s *siege.Stranger) {
		s.Send("a AUTHENTICATE SCRAM-SHA-256 biwsbj1hbGljZUBob21lLmV4YW1wbGUscj1hYmM=\r\n")
	}},
	{"answers that nobody reads", false, func(s *siege.Stranger) { s.Send(strings.Repeat("a CAPABILITY\r\n", 4000)) }},
	{"STARTTLS and silence", false, func(s *siege.Stranger) { s.Send("a STARTTLS\r\n") }},
	{"silence over TLS", true, func(s *siege.Stranger) { s.Handshake() }},
	{"aborted SASL over TLS", true, func(s *siege.Stranger) {
		s.Handshake()
		for range 15 {
			s.Send("a AUTHENTICATE SCRAM-SHA-256-PLUS cD10bHMtZXhwb3J0ZXIsLG49YWxpY2VAaG9tZS5leGFtcGxlLHI9YWJj\r\n*\r\n")
		}
		s.Send("a AUTHENTICATE PLAIN\r\n" + strings.Repeat("x", 8000))
	}},
}

// TestMemoryBeforeLogin: whatever strangers send, or begin to send, no
// connection of theirs uses more than a little memory, and nothing is left when
// they have gone.
func TestMemoryBeforeLogin(t *testing.T) {
	f := newServer(t, func(s *Server) {
		s.Config.PerAddress, s.Config.LoginTimeout, s.Config.WriteTimeout = 1000, time.Hour, time.Hour
	})
	plain, overTLS := siege.Listen(t, f.server.Serve), siege.Listen(t, f.server.ServeTLS)
	gone := func() bool { return f.server.Stats().Open == 0 }
	for _, attack := range strangers {
		t.Run(attack.name, func(t *testing.T) {
			l := plain
			if attack.tls {
				l = overTLS
			}
			siege.Measure(t, l, attack.do, gone)
		})
	}
	for _, attack := range siege.Handshakes() {
		t.Run(attack.Name, func(t *testing.T) { siege.Measure(t, overTLS, attack.Do, gone) })
	}
}

// TestBudgetBeforeLogin: a stranger may send so much and no more, and who logs
// in has no such limit.
func TestBudgetBeforeLogin(t *testing.T) {
	f := newFixture(t, nil)
	chat := func(c *client) (last string) {
		for range 2 * listen.StrangerOctets / 1000 {
			c.send("x ID (\"name\" \"" + strings.Repeat("y", 1000) + "\")\r\n")
			for last = c.line(); !strings.HasPrefix(last, "x OK"); last = c.line() {
				if strings.HasPrefix(last, "* BYE") {
					return last
				}
			}
		}
		return last
	}
	if last := chat(f.dial()); !strings.HasPrefix(last, "* BYE [TOOBIG]") {
		t.Errorf("a stranger: %s", last)
	}
	c := f.login()
	if last := chat(c); !strings.HasPrefix(last, "x OK") {
		t.Errorf("after the login: %s", last)
	}
	c.ok("UNAUTHENTICATE")
	if last := chat(c); !strings.HasPrefix(last, "* BYE [TOOBIG]") {
		t.Errorf("after the logout: %s", last)
	}
}
