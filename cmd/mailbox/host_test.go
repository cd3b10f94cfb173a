package main

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A host is a mail server that does what the test says.
type host struct {
	say      func(visit int, stage string) string // instead of what it should answer there; "" is that. The first visit is 1
	offers   []string                             // in the answer to EHLO
	port     string                               // "" is 25
	implicit bool                                 // TLS from the first octet

	address string
	tls     *tls.Config
	ended   chan struct{} // with the test
	mu      sync.Mutex
	visits  int
	took    []letter
}

// What a host may do instead of answering.
const (
	hang   = "(hang)"
	hangUp = "(hang up)"
)

// ordinary is what most hosts offer.
var ordinary = []string{"STARTTLS", "PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 50000000", "ENHANCEDSTATUSCODES"}

// without leaves something out of what is ordinary.
func without(extension string) []string {
	return slices.DeleteFunc(slices.Clone(ordinary), func(s string) bool { return s == extension })
}

// A letter is a message as it came, with its envelope.
type letter struct {
	from, text string
	to         []string // with their parameters
	user       string   // who logged in
	secure     bool     // over TLS
}

// host makes one the only host of a domain, and starts it.
func (n *internet) host(t *testing.T, domain string, h *host) *host {
	t.Helper()
	if h.address == "" {
		h.address = n.address()
	}
	name := "mx." + domain
	n.name(domain, name, h.address)
	h.start(t, n.certificate(name))
	return h
}

// start serves until the test ends.
func (h *host) start(t *testing.T, cert tls.Certificate) {
	t.Helper()
	h.tls = &tls.Config{Certificates: []tls.Certificate{cert}}
	if h.offers == nil {
		h.offers = ordinary
	}
	if h.say == nil {
		h.say = func(int, string) string { return "" }
	}
	port := h.port
	if port == "" {
		port = "25"
	}
	l, err := net.Listen("tcp", net.JoinHostPort(h.address, port))
	if err != nil {
		t.Fatal(err)
	}
	var visits sync.WaitGroup
	if h.implicit {
		l = tls.NewListener(l, h.tls)
	}
	h.ended = make(chan struct{})
	visits.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			h.mu.Lock()
			h.visits++
			v := &visit{h: h, n: h.visits, nc: nc, r: bufio.NewReader(nc), letter: letter{secure: h.implicit}}
			h.mu.Unlock()
			visits.Go(func() {
				over := make(chan struct{})
				go func() {
					select {
					case <-h.ended:
					case <-over:
					}
					nc.Close() //nolint:errcheck // whoever waits on it is woken
				}()
				v.run()
				close(over)
			})
		}
	})
	t.Cleanup(func() {
		close(h.ended)
		l.Close() //nolint:errcheck // its Accept ends, which is all we want
		visits.Wait()
	})
}

// texts are the messages that it took, for await.
func (h *host) texts() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []string
	for _, l := range h.took {
		all = append(all, l.text)
	}
	return all
}

// only is the one message that it took.
func (h *host) only(t *testing.T) letter {
	t.Helper()
	await(t, h.texts)
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.took) != 1 {
		t.Fatalf("%s took %d messages: %+v", h.address, len(h.took), h.took)
	}
	return h.took[0]
}

// A visit is a connection to a host.
type visit struct {
	h  *host
	n  int
	nc net.Conn
	r  *bufio.Reader
	letter
}

func (v *visit) run() {
	if v.answer("greeting", "220 ready") == "" {
		return
	}
	for {
		line, err := v.r.ReadString('\n')
		if err != nil || !v.command(strings.TrimRight(line, "\r\n")) {
			return
		}
	}
}

// answer answers with what is usual, unless the host is to do something else,
// and returns what it said; "" ends the visit.
func (v *visit) answer(stage, usual string) string {
	said := v.h.say(v.n, stage)
	switch said {
	case "":
		said = usual
	case hang:
		io.Copy(io.Discard, v.nc) //nolint:errcheck // until one of us ends it
		return ""
	case hangUp:
		return ""
	}
	if _, err := io.WriteString(v.nc, said+"\r\n"); err != nil {
		return ""
	}
	return said
}

// command answers a command. It returns whether the visit goes on.
func (v *visit) command(line string) bool {
	verb, rest, _ := strings.Cut(line, " ")
	switch strings.ToUpper(verb) {
	case "EHLO", "LHLO":
		stage, offers := "ehlo", v.h.offers
		if v.secure {
			stage, offers = "ehlo over TLS", slices.DeleteFunc(slices.Clone(offers), func(s string) bool { return s == "STARTTLS" })
		}
		return v.answer(stage, "250-hello\r\n"+strings.TrimSuffix("250-"+strings.Join(offers, "\r\n250-")+"\r\n250 HELP", "\r\n")) != ""
	case "STARTTLS":
		return v.startTLS()
	case "AUTH":
		return v.auth(rest)
	case "MAIL":
		said := v.answer("mail", "250 2.1.0 ok")
		v.from, v.to = strings.TrimPrefix(rest, "FROM:"), nil
		return said != ""
	case "RCPT":
		said := v.answer("rcpt", "250 2.1.5 ok")
		if strings.HasPrefix(said, "250") {
			v.to = append(v.to, strings.TrimPrefix(rest, "TO:"))
		}
		return said != ""
	case "DATA":
		return v.data()
	case "QUIT":
		v.answer("quit", "221 bye")
		return false
	case "RSET", "NOOP":
		return v.answer("rset", "250 ok") != ""
	}
	return v.answer("other", "502 what?") != ""
}

// startTLS goes over to TLS. What it says at the handshake instead is said in
// plain text.
func (v *visit) startTLS() bool {
	said := v.answer("starttls", "220 go ahead")
	if !strings.HasPrefix(said, "220") {
		return said != ""
	}
	switch v.h.say(v.n, "handshake") {
	case hang:
		io.Copy(io.Discard, v.nc) //nolint:errcheck // until one of us ends it
		return false
	case "":
		t := tls.Server(v.nc, v.h.tls)
		v.nc, v.r, v.secure = t, bufio.NewReader(t), true
		return t.Handshake() == nil
	}
	fmt.Fprint(v.nc, "this is not TLS\r\n")
	return false
}

// auth takes whatever PLAIN says.
func (v *visit) auth(rest string) bool {
	said := v.answer("auth", "235 2.7.0 welcome")
	if _, message, _ := strings.Cut(rest, " "); strings.HasPrefix(said, "235") {
		text, _ := base64.StdEncoding.DecodeString(message)
		v.user = strings.ReplaceAll(string(text), "\x00", " ")
	}
	return said != ""
}

func (v *visit) data() bool {
	said := v.answer("data", "354 go ahead")
	if !strings.HasPrefix(said, "354") {
		return said != ""
	}
	switch v.h.say(v.n, "body") {
	case hang: // and take no more
		<-v.h.ended
		return false
	case hangUp:
		return false
	}
	var text strings.Builder
	for {
		line, err := v.r.ReadString('\n')
		if err != nil {
			return false
		}
		if line == ".\r\n" {
			break
		}
		text.WriteString(strings.TrimPrefix(line, "."))
	}
	said = v.answer("dot", "250 2.0.0 taken")
	if strings.HasPrefix(said, "250") {
		took := v.letter
		took.text = text.String()
		v.h.mu.Lock()
		v.h.took = append(v.h.took, took)
		v.h.mu.Unlock()
	}
	return said != ""
}
