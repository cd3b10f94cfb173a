package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"time"
)

// nuisances are visits that peers make who do not behave.
var nuisances = []func(*nuisance){
	silent("smtp"), silent("imap"), silent("submission"), silent("imaps"), silent("submissions"),
	slow("smtp", "EHLO slow.example\r\nMAIL FROM:<a@client.example>\r\nRCPT TO:<alice@home.example>\r\nDATA\r\n"),
	slow("imap", "a CAPABILITY\r\nb LOGIN alice@home.example {900+}\r\n"),
	slow("submissions", "EHLO slow.example\r\nAUTH PLAIN\r\n"),
	(*nuisance).neverReads, (*nuisance).neverReads, (*nuisance).readsSlowly,
	halfClosed("smtp", "EHLO half.example\r\nMAIL FROM:<a@client.example>\r\nRCPT TO:<alice@home.example>\r\nDATA\r\nSubject: half\r\n"),
	halfClosed("imap", "a LOGIN alice@home.example {20+}\r\nhalf"),
	halfClosed("imaps", "\x16\x03\x01\x02\x00\x01\x00"),
	garbage("smtp"), garbage("imap"), garbage("imaps"),
	(*nuisance).hugeMessage, (*nuisance).hugeCommand,
	(*nuisance).reconnects,
}

const (
	nuisanceRest = 100 * time.Millisecond // between visits
	nuisanceStay = 5 * time.Second        // of those who wait for nothing
)

// A nuisance is a peer that does not behave. It has an address of its own.
type nuisance struct {
	s      *site
	number int
	random *rand.Rand

	ctx    context.Context
	visits int
}

// run visits again and again until ctx ends.
func (n *nuisance) run(ctx context.Context, visit func(*nuisance)) (visits int) {
	n.ctx = ctx
	for ctx.Err() == nil {
		visit(n)
		n.rest(nuisanceRest)
	}
	return n.visits
}

// rest waits. It returns false when it is time to end.
func (n *nuisance) rest(length time.Duration) bool {
	select {
	case <-time.After(length):
	case <-n.ctx.Done():
	}
	return n.ctx.Err() == nil
}

// visit connects to a service, without TLS, and hangs up after do. What
// becomes of it is nobody's business.
func (n *nuisance) visit(service string, do func(nc net.Conn)) {
	to := map[string]string{"smtp": n.s.smtp, "submission": n.s.submission, "submissions": n.s.submissions, "imap": n.s.imap, "imaps": n.s.imaps}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 7, byte(n.number+1))}, Timeout: 10 * time.Second}
	nc, err := d.DialContext(n.ctx, "tcp", to[service])
	if err != nil {
		return
	}
	n.visits++
	defer nc.Close()
	defer context.AfterFunc(n.ctx, func() { nc.Close() })()
	if service != "imaps" && service != "submissions" && n.random.IntN(4) > 0 { // some speak before they are greeted
		if _, err := nc.Read(make([]byte, 512)); err != nil {
			return
		}
	}
	do(nc)
}

// silent says nothing until it is hung up on.
func silent(service string) func(*nuisance) {
	return func(n *nuisance) {
		n.visit(service, func(nc net.Conn) { _, _ = io.Copy(io.Discard, nc) })
	}
}

// slow says an octet at a time, and does not come to an end.
func slow(service, text string) func(*nuisance) {
	return func(n *nuisance) {
		n.visit(service, func(nc net.Conn) {
			if strings.HasSuffix(service, "s") {
				nc = tls.Client(nc, n.s.clientTLS())
			}
			for i := 0; n.rest(nuisanceRest); i++ {
				octet := byte('x')
				if i < len(text) {
					octet = text[i]
				}
				if _, err := nc.Write([]byte{octet}); err != nil {
					return
				}
			}
		})
	}
}

// asks has all of a large mailbox fetched, again and again.
func (n *nuisance) asks(take func(nc net.Conn)) {
	n.visit("imap", func(nc net.Conn) {
		fetch := strings.Repeat("c UID FETCH 1:* BODY.PEEK[]\r\n", 100)
		if _, err := fmt.Fprintf(nc, "a LOGIN alice@home.example %q\r\nb SELECT INBOX\r\n%s", testPassword, fetch); err == nil {
			take(nc)
		}
	})
}

func (n *nuisance) neverReads() { n.asks(func(net.Conn) { n.rest(nuisanceStay) }) }

func (n *nuisance) readsSlowly() {
	n.asks(func(nc net.Conn) {
		for until := time.Now().Add(nuisanceStay); time.Now().Before(until) && n.rest(nuisanceRest); {
			if _, err := io.CopyN(io.Discard, nc, 1000); err != nil {
				return
			}
		}
	})
}

// bait gives alice what asks asks for.
func bait(s *site) {
	c := s.imapClient("alice")
	text := "Subject: bait\r\n\r\n" + strings.Repeat("all work and no play\r\n", 40_000)
	for range 3 {
		c.ok(fmt.Sprintf("APPEND INBOX {%d+}\r\n%s", len(text), text))
	}
	c.nc.Close()
}

// halfClosed says something and that it will say no more, and waits.
func halfClosed(service, text string) func(*nuisance) {
	return func(n *nuisance) {
		n.visit(service, func(nc net.Conn) {
			if _, err := io.WriteString(nc, text); err == nil && nc.(*net.TCPConn).CloseWrite() == nil {
				_, _ = io.Copy(io.Discard, nc)
			}
		})
	}
}

// garbage says anything at all, in lines or not.
func garbage(service string) func(*nuisance) {
	return func(n *nuisance) {
		n.visit(service, func(nc net.Conn) {
			_ = nc.SetDeadline(time.Now().Add(nuisanceStay)) // a closed connection says so soon enough
			for range 1 + n.random.IntN(50) {
				line := make([]byte, n.random.IntN(2000))
				for i := range line {
					line[i] = byte(n.random.Uint32())
				}
				if n.random.IntN(3) > 0 {
					line = append(line, "\r\n"...)
				}
				if _, err := nc.Write(line); err != nil {
					return
				}
			}
			_, _ = io.CopyN(io.Discard, nc, 1000)
		})
	}
}

// hugeMessage sends far more than is taken.
func (n *nuisance) hugeMessage() {
	n.visit("smtp", func(nc net.Conn) {
		_, err := io.WriteString(nc, "EHLO huge.example\r\nMAIL FROM:<a@client.example>\r\nRCPT TO:<alice@home.example>\r\nDATA\r\n")
		for i := 0; i < 5000 && err == nil; i++ {
			_, err = io.WriteString(nc, strings.Repeat("huge", 250)+"\r\n")
		}
		_, _ = io.CopyN(io.Discard, nc, 1000)
	})
}

// hugeCommand sends a line or a literal without an end.
func (n *nuisance) hugeCommand() {
	service := []string{"smtp", "imap"}[n.random.IntN(2)]
	n.visit(service, func(nc net.Conn) {
		begin := fmt.Sprintf("a LOGIN alice@home.example %q\r\nb APPEND INBOX {4000000000+}\r\n", testPassword)
		if service == "smtp" || n.random.IntN(2) == 0 {
			begin = ""
		}
		_, err := io.WriteString(nc, begin)
		for i := 0; i < 5000 && err == nil; i++ {
			_, err = io.WriteString(nc, strings.Repeat("huge", 250))
		}
	})
}

// reconnects comes and goes, politely or not, perhaps in the midst of a handshake.
func (n *nuisance) reconnects() {
	service := []string{"smtp", "imap", "submission", "imaps", "submissions"}[n.random.IntN(5)]
	n.visit(service, func(nc net.Conn) {
		switch n.random.IntN(3) {
		case 0:
			_ = nc.(*net.TCPConn).SetLinger(0) // Close resets
		case 1:
			_ = tls.Client(nc, n.s.clientTLS()).HandshakeContext(n.ctx)
		}
	})
}
