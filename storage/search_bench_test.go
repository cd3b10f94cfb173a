package storage

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// benchMail is a mail of about 4 KiB, of a vocabulary whose words are as
// frequent as those of a language (Zipf), with what real headers have.
func benchMail(r *rand.Rand, zipf *rand.Zipf, words []string, n int) string {
	var b strings.Builder
	token := func(octets int) string {
		const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
		s := make([]byte, octets)
		for i := range s {
			s[i] = digits[r.IntN(len(digits))]
		}
		return string(s)
	}
	sentence := func(n int) string {
		s := make([]string, n)
		for i := range s {
			s[i] = words[zipf.Uint64()]
		}
		return strings.Join(s, " ")
	}
	fmt.Fprintf(&b, "Received: from relay%d.far.example (relay%d.far.example [192.0.2.%d])\r\n\tby mx.home.example with ESMTPS id %s;\r\n\tMon, 2 Feb 2026 10:00:00 +0000\r\n",
		n%9, n%9, n%250, token(12))
	fmt.Fprintf(&b, "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=far.example; s=sel1;\r\n\tbh=%s=; b=%s\r\n\t%s\r\n\t%s\r\n\t%s\r\n\t%s==\r\n",
		token(43), token(70), token(70), token(70), token(70), token(62))
	date := time.Date(2024, 1, 1, 8, 0, 0, 0, time.UTC).Add(time.Duration(n*7919%50_000) * 15 * time.Minute)
	subject := sentence(4 + r.IntN(4))
	if n%10_000 == 4321 {
		subject += " xylozephyr"
	}
	fmt.Fprintf(&b, "Date: %s\r\nFrom: Person %d <person%d@far.example>\r\nTo: alice@home.example\r\nSubject: %s%s\r\nMessage-ID: <%d@far.example>\r\n",
		date.Format(time.RFC1123Z), n%200, n%200, []string{"", "Re: ", ""}[n%3], subject, n)
	if n%3 == 1 {
		fmt.Fprintf(&b, "In-Reply-To: <%d@far.example>\r\nReferences: <%d@far.example>\r\n", n-1, n-1)
	}
	fmt.Fprintf(&b, "MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=\"=_%s\"\r\n\r\n", "part")
	var text []string
	for range 12 {
		text = append(text, sentence(16))
	}
	if n%10_000 == 1234 {
		text = append(text, "the quixotrope is here")
	}
	fmt.Fprintf(&b, "--=_part\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n%s\r\n", strings.Join(text, ".\r\n"))
	fmt.Fprintf(&b, "--=_part\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html><body><p>%s</p></body></html>\r\n--=_part--\r\n", strings.Join(text, ".</p>\r\n<p>"))
	return b.String()
}

// bench50000 is a mailbox with 50,000 messages of realistic text, indexed.
func bench50000(b *testing.B) (db *DB, a AccountID, inbox MailboxID) {
	b.Helper()
	const n = 50_000
	dir := os.Getenv("MAILBOX_BENCH_DIR") // kept from one run to the next
	if dir == "" {
		dir = b.TempDir()
	}
	db = openAt(b, dir)
	b.Cleanup(func() { db.Close() })
	if all, err := db.Accounts(ctx); err == nil && len(all) > 0 {
		a = all[0].ID
	} else {
		a = account(b, db, "alice")
		fill(b, db, a, n)
	}
	inbox = named(b, db, a, "INBOX").ID
	for begin := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		if hits := db.SearchText(ctx, a, TextQuery{Text: "xylozephyr"}); hits != nil && uint32(hits.last) >= n {
			b.Logf("waited %s for the search index", time.Since(begin))
			return db, a, inbox
		}
	}
}

func fill(b *testing.B, db *DB, a AccountID, n int) {
	r := rand.New(rand.NewPCG(1, 2))
	var words []string
	for range 30_000 {
		w := make([]byte, 2+r.IntN(10))
		for k := range w {
			w[k] = "eeettaaoinshrdlucmfwypvbgkjqxz"[r.IntN(30)]
		}
		words = append(words, string(w))
	}
	words[0], words[5] = "the", "budget"
	zipf := rand.NewZipf(r, 1.1, 3, uint64(len(words)-1))
	inbox := named(b, db, a, "INBOX").ID
	for at := 0; at < n; at += 500 {
		var uploads []Upload
		for i := at; i < min(at+500, n); i++ {
			uploads = append(uploads, Upload{Message: spool(b, db, benchMail(r, zipf, words, i)), Received: time.Date(2024, 1, 1, 8, 0, 0, 0, time.UTC).Add(time.Duration(i) * 15 * time.Minute)})
		}
		if _, _, err := db.Append(ctx, a, inbox, uploads); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSearchText50000(b *testing.B) {
	db, a, _ := bench50000(b)
	for name, q := range map[string]TextQuery{
		"body/rare": {Text: "quixotrope"}, "body/part": {Text: "ixotro"}, "body/none": {Text: "zzzqqq"}, "body/frequent": {Text: "the"},
		"text/rare": {Header: true, Text: "quixotrope"}, "text/frequent": {Header: true, Text: "budget"}, "text/all": {Header: true, Text: "received"},
		"subject/rare": {Field: "subject", Text: "xylozephyr"}, "subject/frequent": {Field: "subject", Text: "budget"}, "from": {Field: "from", Text: "person17"},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if db.SearchText(ctx, a, q) == nil {
					b.Fatal("the index does not know")
				}
			}
			hits := db.SearchText(ctx, a, q)
			is, may := 0, 0
			for n := range uint32(hits.last) + 1 {
				if holds, known := hits.Holds(n); holds {
					is++
				} else if !known {
					may++
				}
			}
			b.ReportMetric(float64(is), "found")
			b.ReportMetric(float64(may), "unsure")
		})
	}
}

// BenchmarkIndexing fills an index with 50,000 emails, as after a rebuild. It
// reports the CPU of one email (reading and decoding it, and the merges that go
// on with it, included), and the size of the index beside the text.
func BenchmarkIndexing(b *testing.B) {
	db, a, _ := bench50000(b)
	source := searchSource{db}
	size, n := 0, 0
	for more := true; more; {
		texts, err := source.texts(ctx, a, EmailID(a)<<32+EmailID(n), searchBatch)
		if err != nil {
			b.Fatal(err)
		}
		for _, e := range texts {
			size += len(e.texts[inHeader]) + len(e.texts[inBody])
		}
		n += len(texts)
		more = len(texts) > 0
	}
	for b.Loop() {
		s := &searchIndex{file: b.TempDir() + "/search.db", source: source, log: db.log}
		if err := s.recreate(ctx); err != nil {
			b.Fatal(err)
		}
		begin := cpuTime()
		for more := true; more; {
			var err error
			if more, err = s.indexBatch(ctx, a); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric((cpuTime()-begin).Seconds()*1000/float64(n), "cpu-ms/email")
		s.db.Close()
		if info, err := os.Stat(s.file); err == nil {
			b.ReportMetric(100*float64(info.Size())/float64(size), "%-of-text")
		}
	}
}

// cpuTime is what the process has had of the processors.
func cpuTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
