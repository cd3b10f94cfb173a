package imapd

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"mailbox/storage"
)

// large is a client that has selected an INBOX of n messages.
func large(b *testing.B, n int) *client {
	c := newFixture(b, nil).login()
	c.upload("INBOX", "", hello)
	c.ok("SELECT INBOX")
	for have := 1; have < n; have *= 2 { // doubling is quicker than delivering
		c.ok(fmt.Sprintf("COPY 1:%d INBOX", min(have, n-have)))
	}
	return c
}

func benchFetch(b *testing.B, n int, command string) {
	c := large(b, n)
	b.ResetTimer()
	for b.Loop() {
		c.ok(command)
	}
}

func BenchmarkFetchFlags10000(b *testing.B)   { benchFetch(b, 10_000, "FETCH 1:* FLAGS") }
func BenchmarkFetchEnvelope1000(b *testing.B) { benchFetch(b, 1000, "FETCH 1:* ENVELOPE") }

// benchSince measures a command that asks for 100 changes among 50,000
// messages; %d in it are UIDVALIDITY and the modseq before them.
func benchSince(b *testing.B, command string, want int) {
	c := large(b, 50_000)
	c.ok("ENABLE QRESYNC")
	before := c.ok("SELECT INBOX")
	for i := range 50 {
		c.ok(fmt.Sprintf(`UID STORE %d FLAGS.SILENT (\Seen)`, 1+i*900))
		c.ok(fmt.Sprintf("UID MOVE %d Archive", 2+i*900))
	}
	command = fmt.Sprintf(command, number(b, validityCode, before), number(b, highestCode, before))
	if got := strings.Count(c.ok(command), " FETCH ("); got != want {
		b.Fatalf("%d FETCH, not %d", got, want)
	}
	b.ResetTimer()
	for b.Loop() {
		c.ok(command)
	}
}

func BenchmarkSelectQResync50000(b *testing.B) {
	benchSince(b, "SELECT INBOX (QRESYNC (%d %d))", 50)
}

func BenchmarkFetchChangedSince50000(b *testing.B) {
	benchSince(b, "UID FETCH 1:* FLAGS (CHANGEDSINCE %[2]d VANISHED)", 50)
}

func BenchmarkSearchModSeq50000(b *testing.B) {
	benchSince(b, "SEARCH RETURN (COUNT) MODSEQ %[2]d", 0)
}

// BenchmarkPage asks for 50 messages of 50,000.
func BenchmarkPage(b *testing.B) {
	c := large(b, 50_000)
	for _, command := range []string{"UID FETCH 1:* FLAGS (PARTIAL -1:-50)", "FETCH 1:* FLAGS (PARTIAL 1:50)", "UID SEARCH RETURN (PARTIAL -1:-50) ALL"} {
		b.Run(strings.ReplaceAll(command, " ", "_"), func(b *testing.B) {
			for b.Loop() {
				c.ok(command)
			}
		})
	}
}

func BenchmarkAppend(b *testing.B) {
	f := newFixture(b, nil)
	c := f.login()
	b.ResetTimer()
	for b.Loop() {
		c.upload("INBOX", "", hello)
	}
}

// bench50000 is a session with a mailbox of 50,000 messages, of which a third
// are replies, as a command of the client sees it.
func bench50000(b *testing.B, commands ...string) {
	f := newFixture(b, nil)
	inbox, err := f.db.Mailbox(context.Background(), f.account, "INBOX")
	if err != nil {
		b.Fatal(err)
	}
	const n = 50_000
	for at := 0; at < n; at += 500 {
		var uploads []storage.Upload
		for i := at; i < at+500; i++ {
			s := f.db.NewSpool()
			date := time.Date(2024, 1, 1, 8, 0, 0, 0, time.UTC).Add(time.Duration(i*7919%n) * 15 * time.Minute)
			fmt.Fprintf(s, "Date: %s\r\nFrom: p%d@far.example\r\nSubject: %s%d\r\nMessage-ID: <%d@far.example>\r\n", date.Format(time.RFC1123Z), i%200, []string{"", "Re: "}[i%2], i/7, i)
			if i%3 == 1 {
				fmt.Fprintf(s, "References: <r%d@far.example> <%d@far.example>\r\n", i, i-1)
			}
			io.WriteString(s, "\r\nhello\r\n")
			m, err := s.Finish(nil)
			if err != nil {
				b.Fatal(err)
			}
			flags := storage.Seen
			if i%10 == 3 {
				flags = storage.Flagged
			}
			uploads = append(uploads, storage.Upload{Message: m, Flags: flags, Received: time.Date(2024, 1, 1, 8, 0, 0, 0, time.UTC).Add(time.Duration(i) * 15 * time.Minute)})
		}
		if _, _, err := f.db.Append(context.Background(), f.account, inbox.ID, uploads); err != nil {
			b.Fatal(err)
		}
	}
	c := f.login()
	c.ok("SELECT INBOX")
	for _, command := range commands {
		b.Run(strings.ReplaceAll(command, " ", "_"), func(b *testing.B) {
			for b.Loop() {
				c.ok(command)
			}
		})
	}
}

func BenchmarkSearch50000(b *testing.B) {
	bench50000(b, "SEARCH UNSEEN", "SEARCH FLAGGED", "SEARCH SINCE 1-May-2025", "SEARCH ON 1-May-2025", "SEARCH SENTSINCE 1-May-2025", "SEARCH LARGER 1000000",
		"SORT (REVERSE DATE) UTF-8 ALL", "SORT (SUBJECT) UTF-8 ALL", "SORT (REVERSE DATE) UTF-8 FLAGGED",
		"THREAD REFERENCES UTF-8 ALL", "THREAD ORDEREDSUBJECT UTF-8 ALL")
}
