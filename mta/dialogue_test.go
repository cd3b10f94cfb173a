package mta

import (
	"net"
	"testing"

	"mailbox/internal/dialogue"
)

func (f *fixture) play(t *testing.T, text string) {
	t.Helper()
	p := dialogue.Player{Dial: func(string) (net.Conn, error) { return net.Dial("tcp", f.addr) }}
	if err := p.Play(t.Name(), text); err != nil {
		t.Error(err)
	}
}

func TestTransaction(t *testing.T) {
	f := newFixture(t, nil)
	f.play(t, `connect smtp
S: 220 mx.home.example *
C: EHLO client.example
S: 250-mx.home.example greets client.example
S: 250-STARTTLS
S: 250-PIPELINING
S* 250 LIMITS RCPTMAX=100
C: MAIL FROM:<a@client.example>
S: 250 2.0.0 *
C: RCPT TO:<alice@home.example>
S: 250 2.0.0 *
C: RCPT TO:<nobody@home.example>
S: 550 5.1.1 *
C: RCPT TO:<x@elsewhere.example>
S: 550 5.7.1 *
C: DATA
S: 354 *
C: Subject: hi
C|\r\n
C: ..dot
C: hello
C: .
S: 250 2.0.0 delivered as *
C: MAIL FROM:<>\r\nRCPT TO:<postmaster>\r\nDATA
S: 250 *
S: 250 *
S: 354 *
C|a\n.\r\nMAIL FROM:<x@y>\r\n.\r\n
S: 554 5.6.0 bare CR or LF in message
closed
`)
}
