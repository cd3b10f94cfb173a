package imapd

import (
	"fmt"
	"strings"
	"testing"
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

// BenchmarkSearch50000 searches a mailbox of 50,000 messages, of which a third
// are replies.
func BenchmarkSearch50000(b *testing.B) {
	f := newFixture(b, nil)
	f.fill(b, 50_000, "hello\r\n")
	c := f.login()
	c.ok("SELECT INBOX")
	for _, command := range []string{
		"SEARCH UNSEEN", "SEARCH FLAGGED", "SEARCH SINCE 1-May-2025", "SEARCH ON 1-May-2025", "SEARCH SENTSINCE 1-May-2025", "SEARCH LARGER 1000000",
		"SORT (REVERSE DATE) UTF-8 ALL", "SORT (SUBJECT) UTF-8 ALL", "SORT (REVERSE DATE) UTF-8 FLAGGED",
		"THREAD REFERENCES UTF-8 ALL", "THREAD ORDEREDSUBJECT UTF-8 ALL",
	} {
		b.Run(strings.ReplaceAll(command, " ", "_"), func(b *testing.B) {
			for b.Loop() {
				c.ok(command)
			}
		})
	}
}
