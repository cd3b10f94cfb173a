package main

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"mailbox/internal/message"
)

// oddMessages is how many TestOddMessages makes.
const oddMessages = 1000

// TestOddMessages holds promise 3: whatever claims to be mail is stored and
// served byte for byte, and every part of it can be fetched.
func TestOddMessages(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	odd := oddity{rand.New(rand.NewPCG(seed, 2))}
	s := newSite(t)
	s.start()
	c := s.imapClient("alice")
	in := &smtpPeer{t: t, s: s}
	var want []string
	for i := range oddMessages {
		m := odd.message()
		switch i % 3 {
		case 0:
			in.bdat(m)
		case 1:
			m = strings.NewReplacer("\r\n", "\r\n", "\r", "", "\n", "\r\n").Replace(m)
			if m != "" && !strings.HasSuffix(m, "\r\n") {
				m += "\r\n"
			}
			in.data(m)
		default:
			if m == "" { // which cancels an APPEND (RFC 3502 section 6.3.11)
				m = "\r\n"
			}
			c.ok(fmt.Sprintf("APPEND INBOX {%d+}\r\n%s", len(m), m))
		}
		want = append(want, m)
	}
	c.ok("SELECT INBOX")
	for i, m := range want {
		got := c.body(i+1, "")
		if trace := len(got) - len(m); i%3 == 2 && trace != 0 || trace < 0 || got[trace:] != m {
			t.Fatalf("message %d came back as %q, was %q", i+1, short(got), short(m))
		} else if trace > 0 && strings.Count(got[:trace], "\r\n") < 2 {
			t.Fatalf("message %d has trace fields %q", i+1, got[:trace])
		}
		c.parts(i+1, got)
	}
	fetchWithGoIMAP(t, s, want)
	if out, err := s.try("", "verify"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func short(s string) string { return s[:min(len(s), 300)] }

// body fetches a section of a message.
func (c *imapClient) body(n int, section string) string {
	c.t.Helper()
	got := c.ok(fmt.Sprintf("FETCH %d BODY.PEEK[%s]", n, section))
	_, rest, ok := strings.Cut(got, "BODY["+section+"] ")
	switch {
	case !ok:
		c.t.Fatalf("FETCH %d BODY[%s]: %q", n, section, short(got))
	case strings.HasPrefix(rest, "{"):
		var size int
		fmt.Sscanf(rest, "{%d}", &size) //nolint:errcheck // a wrong size shows below
		at := strings.Index(rest, "\r\n") + 2
		return rest[at : at+size]
	case strings.HasPrefix(rest, `""`):
		return ""
	}
	c.t.Fatalf("FETCH %d BODY[%s]: %q", n, section, short(got))
	return ""
}

// parts fetches all parts of a message by their numbers and compares them with
// where they stand in it.
func (c *imapClient) parts(n int, text string) {
	b := message.NewBuilder()
	io.WriteString(b, text) //nolint:errcheck // it never fails
	root := b.Finish(nil).Root
	var walk func(p *message.Part, number string)
	walk = func(p *message.Part, number string) {
		if got := c.body(n, number); got != text[p.BodyOffset:p.End] {
			c.t.Fatalf("part %s of message %d is %q, not %q", number, n, short(got), short(text[p.BodyOffset:p.End]))
		}
		if got := c.body(n, number+".MIME"); p != root && got != text[p.Offset:p.BodyOffset] && number != "1" {
			c.t.Fatalf("header of part %s of message %d is %q, not %q", number, n, short(got), short(text[p.Offset:p.BodyOffset]))
		}
		inner := p
		if p.Message {
			inner = p.Children[0]
			if got := c.body(n, number+".HEADER"); got != text[inner.Offset:inner.BodyOffset] {
				c.t.Fatalf("header of message %s in message %d is %q", number, n, short(got))
			}
		}
		if inner.Type == "multipart" {
			for i, child := range inner.Children {
				walk(child, fmt.Sprintf("%s.%d", number, i+1))
			}
		}
	}
	if root.Type != "multipart" {
		walk(root, "1")
		return
	}
	for i, child := range root.Children {
		walk(child, fmt.Sprint(i+1))
	}
}

// fetchWithGoIMAP has another program's parser read every message, ENVELOPE and
// BODYSTRUCTURE.
func fetchWithGoIMAP(t *testing.T, s *site, want []string) {
	nc, err := net.Dial("tcp", s.imap)
	if err != nil {
		t.Fatal(err)
	}
	c := imapclient.New(nc, nil)
	defer c.Close()
	if err := c.Login("alice@home.example", testPassword).Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	var all imap.SeqSet
	all.AddRange(1, 0)
	whole := &imap.FetchItemBodySection{Peek: true}
	got, err := c.Fetch(all, &imap.FetchOptions{
		Envelope: true, RFC822Size: true, BodyStructure: &imap.FetchItemBodyStructure{Extended: true}, BodySection: []*imap.FetchItemBodySection{whole},
	}).Collect()
	if err != nil {
		t.Fatalf("go-imap: %v", err)
	}
	if len(got) != oddMessages {
		t.Errorf("go-imap read %d messages of %d", len(got), oddMessages)
	}
	for _, m := range got {
		if m.Envelope == nil || m.BodyStructure == nil {
			t.Errorf("go-imap: message %d has no envelope or no structure", m.SeqNum)
		}
		if text := m.FindBodySection(whole); int64(len(text)) != m.RFC822Size || !bytes.HasSuffix(text, []byte(want[m.SeqNum-1])) {
			t.Errorf("go-imap: message %d came back as %q", m.SeqNum, short(string(text)))
		}
	}
}

// A smtpPeer sends messages over one connection to port 25.
type smtpPeer struct {
	t  testing.TB
	s  *site
	nc net.Conn
}

// send sends octets and waits for a reply that begins with code.
func (u *smtpPeer) send(octets, code string) {
	u.t.Helper()
	if u.nc == nil {
		nc, err := u.s.dial("smtp")
		if err != nil {
			u.t.Fatal(err)
		}
		u.nc = nc
		u.t.Cleanup(func() { nc.Close() })
		u.send("", "220")
		u.send("EHLO odd.example\r\n", "250")
	}
	if got := u.reply(octets); !strings.HasPrefix(got, code) {
		u.t.Fatalf("smtp: %q, after %q", got, short(octets))
	}
}

// reply sends octets and returns the last line of the reply.
func (u *smtpPeer) reply(octets string) string {
	u.t.Helper()
	if _, err := io.WriteString(u.nc, octets); err != nil {
		u.t.Fatal(err)
	}
	u.nc.SetReadDeadline(time.Now().Add(time.Minute)) //nolint:errcheck // the read tells
	var got []byte
	buf := make([]byte, 4096)
	for {
		n, err := u.nc.Read(buf)
		got = append(got, buf[:n]...)
		lines := bytes.Split(bytes.TrimSuffix(got, []byte("\r\n")), []byte("\r\n"))
		last := lines[len(lines)-1]
		if bytes.HasSuffix(got, []byte("\r\n")) && len(last) > 3 && last[3] == ' ' {
			return string(last)
		}
		if err != nil {
			u.t.Fatalf("smtp: %q %v", got, err)
		}
	}
}

func (u *smtpPeer) begin() {
	u.send("MAIL FROM:<odd@client.example>\r\n", "250")
	u.send("RCPT TO:<alice@home.example>\r\n", "250")
}

func (u *smtpPeer) bdat(m string) {
	u.begin()
	half := len(m) / 2
	u.send(fmt.Sprintf("BDAT %d\r\n%s", half, m[:half]), "250")
	u.send(fmt.Sprintf("BDAT %d LAST\r\n%s", len(m)-half, m[half:]), "250")
}

func (u *smtpPeer) data(m string) {
	u.begin()
	u.send("DATA\r\n", "354")
	stuffed := strings.ReplaceAll(m, "\r\n.", "\r\n..")
	if strings.HasPrefix(m, ".") {
		stuffed = "." + stuffed
	}
	u.send(stuffed+".\r\n", "250")
}
