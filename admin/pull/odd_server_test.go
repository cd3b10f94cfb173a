package pull

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"mailbox/imapd/wire"
)

// An oddServer is an IMAP server that does what it should, but for what its
// hook does in its place.
type oddServer struct {
	caps  string
	boxes []*oddBox

	// hook may answer a command and return true. It is called by one connection
	// at a time.
	hook func(s *oddSession, tag, command string) bool

	mu       sync.Mutex
	sessions int
}

type oddBox struct {
	name, attrs string
	uidValidity uint32
	modseq      uint64
	messages    []*oddMessage
}

type oddMessage struct {
	uid    uint32
	text   string
	flags  string
	labels string
	size   int // as claimed; 0 means the true one
}

// An oddSession is one connection.
type oddSession struct {
	*oddServer
	number int
	nc     net.Conn
	box    *oddBox
}

// puller pulls from the server over pipes.
func (o *oddServer) puller(t *testing.T, a *account) *Puller {
	return &Puller{
		Address: "odd.example", Security: Plaintext, User: "ann", Password: "secret",
		Destination: a, Dial: o.dial, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
}

func (o *oddServer) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	o.mu.Lock()
	o.sessions++
	s := &oddSession{oddServer: o, number: o.sessions, nc: server}
	o.mu.Unlock()
	go s.serve()
	return client, nil
}

func (s *oddSession) say(format string, args ...any) {
	_, _ = fmt.Fprintf(s.nc, format+"\r\n", args...)
}

func (s *oddSession) serve() {
	defer s.nc.Close()
	s.say("* OK here I am")
	lines := bufio.NewScanner(s.nc)
	for lines.Scan() {
		tag, command, _ := strings.Cut(lines.Text(), " ")
		s.mu.Lock()
		s.answer(tag, command)
		s.mu.Unlock()
	}
}

func (s *oddSession) answer(tag, command string) {
	if s.hook != nil && s.hook(s, tag, command) {
		return
	}
	switch verb, rest, _ := strings.Cut(command, " "); verb {
	case "CAPABILITY":
		s.say("* CAPABILITY IMAP4rev1 %s", s.caps)
	case "LIST":
		for _, b := range s.boxes {
			s.say(`* LIST (%s) "/" %s`, b.attrs, quote(b.name))
		}
	case "STATUS":
		if b := s.named(rest); b != nil {
			s.say("* STATUS %s (MESSAGES %d UIDVALIDITY %d HIGHESTMODSEQ %d)", quote(b.name), len(b.messages), b.uidValidity, b.modseq)
		}
	case "EXAMINE":
		s.box = s.named(rest)
		s.say("* %d EXISTS", len(s.box.messages))
		s.say("* OK [UIDVALIDITY %d] so it is", s.box.uidValidity)
	case "UID":
		s.fetch(command)
	}
	s.say("%s OK done", tag)
	if command == "LOGOUT" {
		s.nc.Close()
	}
}

func (s *oddSession) named(quoted string) *oddBox {
	for _, b := range s.boxes {
		if strings.HasPrefix(quoted, quote(b.name)) {
			return b
		}
	}
	return &oddBox{}
}

// fetch answers UID FETCH.
func (s *oddSession) fetch(command string) {
	for i, m := range s.asked(command) {
		claimed := m.size
		if claimed == 0 {
			claimed = len(m.text)
		}
		line := fmt.Sprintf("* %d FETCH (UID %d FLAGS (%s) RFC822.SIZE %d", i+1, m.uid, m.flags, claimed)
		if strings.Contains(command, "X-GM-LABELS") {
			line += " X-GM-LABELS (" + m.labels + ")"
		}
		if strings.Contains(command, "BODY.PEEK[]") {
			line += fmt.Sprintf(" INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" BODY[] {%d}\r\n%s", len(m.text), m.text)
		}
		s.say("%s)", line)
	}
}

// asked returns the messages that a UID FETCH is about.
func (s *oddSession) asked(command string) []*oddMessage {
	set, err := wire.ParseNumSet([]byte(strings.Fields(command)[2]))
	if err != nil {
		panic(err)
	}
	all := set.Normalize(1 << 31)
	return slices.DeleteFunc(slices.Clone(s.box.messages), func(m *oddMessage) bool { return !all.Contains(m.uid) })
}

// oddLetters makes messages with the UIDs from 1 on.
func oddLetters(n int) []*oddMessage {
	var all []*oddMessage
	for i := 1; i <= n; i++ {
		all = append(all, &oddMessage{uid: uint32(i), text: "Subject: " + strconv.Itoa(i) + "\r\n\r\nbody\r\n", flags: `\Seen`})
	}
	return all
}

// inboxOf is a server with one mailbox.
func inboxOf(messages []*oddMessage) *oddServer {
	return &oddServer{boxes: []*oddBox{{name: "INBOX", uidValidity: 7, messages: messages}}}
}

// texts returns the octets of the messages in a mailbox.
func (a *account) texts(mailbox string) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mailboxes[mailbox] == nil {
		return nil
	}
	var out []string
	for _, s := range a.mailboxes[mailbox].messages {
		out = append(out, s.text)
	}
	return out
}

func (b *oddBox) texts() []string {
	var out []string
	for _, m := range b.messages {
		out = append(out, m.text)
	}
	return out
}
