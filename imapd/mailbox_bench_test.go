package imapd

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"mailbox/storage"
)

// BenchmarkMailbox measures commands on a mailbox as a client sees them, to the
// last octet of the answer. What it costs to look at one must not depend on how
// large it is, and what is asked of all messages must grow with them alone.
// With MAILBOX_LONG it has 500,000 messages, too.
func BenchmarkMailbox(b *testing.B) {
	sizes := []int{1000, 50_000}
	if os.Getenv("MAILBOX_LONG") != "" {
		sizes = append(sizes, 500_000)
	}
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			f := newFixture(b, nil)
			f.fill(b, n, strings.Repeat("Shall we meet at noon, at the usual place by the river?\r\n", 70))
			c := f.login()
			for _, m := range []struct {
				name string
				run  func(b *testing.B, c *client, n int)
			}{
				{"select", benchCommand("SELECT INBOX")},
				{"flags", benchCommand("UID FETCH 1:* (FLAGS)")},
				{"overview", benchCommand("FETCH 1:* (ENVELOPE INTERNALDATE RFC822.SIZE BODYSTRUCTURE)")},
				{"last 50", benchCommand("FETCH 1:* (FLAGS ENVELOPE) (PARTIAL -1:-50)")},
				{"bodies of 1000", benchCommand("FETCH 1:1000 (BODY.PEEK[])")},
				{"store 1000", benchStore},
				{"move 1000", benchMove},
				{"expunge 1000", benchExpunge},
				{"append", benchAppend},
				{"append 200", benchMultiAppend},
				{"deliver", benchDeliver(f)},
			} {
				b.Run(m.name, func(b *testing.B) {
					c.ok("SELECT INBOX")
					m.run(b, c, n)
				})
			}
		})
	}
}

// fill puts messages with that text into INBOX.
func (f *fixture) fill(b *testing.B, n int, text string) {
	b.Helper()
	inbox, err := f.db.Mailbox(context.Background(), f.account, "INBOX")
	if err != nil {
		b.Fatal(err)
	}
	start := time.Date(2024, 1, 1, 8, 0, 0, 0, time.UTC)
	for at := 0; at < n; at += 500 {
		var uploads []storage.Upload
		for i := at; i < at+500; i++ {
			s := f.db.NewSpool()
			date := start.Add(time.Duration(i*7919%n) * 15 * time.Minute)
			fmt.Fprintf(s, "Date: %s\r\nFrom: p%d@far.example\r\nSubject: %s%d\r\nMessage-ID: <%d@far.example>\r\n", date.Format(time.RFC1123Z), i%200, []string{"", "Re: "}[i%2], i/7, i)
			if i%3 == 1 {
				fmt.Fprintf(s, "References: <r%d@far.example> <%d@far.example>\r\n", i, i-1)
			}
			io.WriteString(s, "\r\n"+text) //nolint:errcheck // Finish tells
			m, err := s.Finish(nil)
			if err != nil {
				b.Fatal(err)
			}
			flags := storage.Seen
			if i%10 == 3 {
				flags = storage.Flagged
			}
			uploads = append(uploads, storage.Upload{Message: m, Flags: flags, Received: start.Add(time.Duration(i) * 15 * time.Minute)})
		}
		if _, _, err := f.db.Append(context.Background(), f.account, inbox.ID, uploads); err != nil {
			b.Fatal(err)
		}
	}
}

// swallow is ok for a command with a long answer, which nobody looks at.
func (c *client) swallow(command string) {
	c.t.Helper()
	c.n++
	tag := fmt.Sprintf("t%d ", c.n)
	c.send(tag + command + "\r\n")
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			c.t.Fatal(err)
		}
		if bytes.HasPrefix(line, []byte(tag)) {
			if !bytes.HasPrefix(line, []byte(tag+"OK")) {
				c.t.Fatalf("%.80s: %s", command, line)
			}
			return
		}
		if i := bytes.LastIndexByte(line, '{'); i >= 0 && bytes.HasSuffix(line, []byte("}\r\n")) {
			n, err := strconv.Atoi(string(line[i+1 : len(line)-3]))
			if err == nil {
				_, err = c.r.Discard(n)
			}
			if err != nil {
				c.t.Fatal(err)
			}
		}
	}
}

func benchCommand(command string) func(*testing.B, *client, int) {
	return func(b *testing.B, c *client, _ int) {
		for b.Loop() {
			c.swallow(command)
		}
	}
}

func benchStore(b *testing.B, c *client, _ int) {
	for sign := "+"; b.Loop(); sign = map[string]string{"+": "-", "-": "+"}[sign] {
		c.swallow("UID STORE 1:1000 " + sign + `FLAGS (\Answered)`)
	}
}

// benchMove moves messages away, and then back to the end.
func benchMove(b *testing.B, c *client, _ int) {
	for b.Loop() {
		c.swallow("MOVE 1:1000 Archive")
		b.StopTimer()
		c.swallow("SELECT Archive")
		c.swallow("MOVE 1:* INBOX")
		c.swallow("SELECT INBOX")
		b.StartTimer()
	}
}

func benchExpunge(b *testing.B, c *client, n int) {
	for b.Loop() {
		b.StopTimer()
		c.swallow("COPY 1:1000 INBOX")
		c.swallow(fmt.Sprintf(`STORE %d:* +FLAGS.SILENT (\Deleted)`, n+1))
		b.StartTimer()
		c.swallow("EXPUNGE")
	}
}

func benchAppend(b *testing.B, c *client, _ int) {
	text := hello + strings.Repeat("Shall we meet at noon, at the usual place by the river?\r\n", 70)
	for b.Loop() {
		c.upload("INBOX", "", text)
	}
}

func benchMultiAppend(b *testing.B, c *client, _ int) {
	text := hello + strings.Repeat("Shall we meet at noon, at the usual place by the river?\r\n", 70)
	command := "APPEND INBOX" + strings.Repeat(fmt.Sprintf(" {%d+}\r\n%s", len(text), text), 200)
	for b.Loop() {
		c.swallow(command)
	}
}

// benchDeliver measures from the begin of a delivery to EXISTS at a client that
// is in IDLE.
func benchDeliver(f *fixture) func(*testing.B, *client, int) {
	return func(b *testing.B, c *client, _ int) {
		c.send("i IDLE\r\n")
		c.line()
		for b.Loop() {
			f.deliver(hello)
			for !strings.HasSuffix(c.line(), " EXISTS") {
			}
		}
		c.send("DONE\r\n")
		for !strings.HasPrefix(c.line(), "i OK") {
		}
	}
}
