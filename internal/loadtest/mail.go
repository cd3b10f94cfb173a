package loadtest

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// Words that are in few messages only.
const (
	subjectWord = "xylozephyr"
	textWord    = "quixotrope"
)

func hasSubjectWord(n int) bool { return n%5000 == 123 }
func hasTextWord(n int) bool    { return n%5000 == 77 }
func isUnseen(n int) bool       { return n%10 == 3 }

// dateOf is when message n was written.
func dateOf(n int) time.Time {
	return time.Date(2024, 1, 1, 8, 0, 0, 0, time.UTC).Add(time.Duration(n) * 15 * time.Minute)
}

// senderOf is one of two hundred people, each at a domain of their own.
func senderOf(n int) string {
	who := n * 7919 % 200
	return fmt.Sprintf("person%03d@sender%03d.test", who, who)
}

// A writer writes text whose words are as unequally frequent as those of a
// language, so that it compresses and is indexed as mail is.
type writer struct {
	strings.Builder
	random *rand.Rand
	rank   *rand.Zipf
}

const vocabulary = 50_000

// newWriter returns a writer that writes the same for the same n.
func newWriter(n int) *writer {
	random := rand.New(rand.NewPCG(1, uint64(n)))
	return &writer{random: random, rank: rand.NewZipf(random, 1.05, 2, vocabulary-1)}
}

// word is a word of the vocabulary: the more frequent, the shorter.
func (w *writer) word() string {
	const onsets, vowels, codas = "bdfghklmnprstvwz", "aeiou", " nrs"
	var word []byte
	for rank := w.rank.Uint64(); ; rank /= 320 {
		word = append(word, onsets[rank%16], vowels[rank/16%5])
		if coda := codas[rank/80%4]; coda != ' ' {
			word = append(word, coda)
		}
		if rank < 320 {
			return string(word)
		}
	}
}

// words are n of them.
func (w *writer) words(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = w.word()
	}
	return strings.Join(list, " ")
}

// text writes lines of words, of about so many octets.
func (w *writer) text(octets int) {
	for end := w.Len() + octets; w.Len() < end; {
		w.WriteString(w.words(12) + "\r\n")
	}
}

// noise writes base64 of random octets, in n lines, each with prefix in front.
func (w *writer) noise(n int, prefix string) {
	octets := make([]byte, 57)
	for range n {
		for i := range octets {
			octets[i] = byte(w.random.Uint32())
		}
		w.WriteString(prefix + base64.StdEncoding.EncodeToString(octets) + "\r\n")
	}
}

// newMessage returns message n, of about size octets: a text beside another in
// HTML, or with an attachment if it is large.
func newMessage(n, size int, from, to string) []byte {
	w := newWriter(n)
	attached := size > 64<<10
	if attached {
		w.header(n, from, to, "mixed")
	} else {
		w.header(n, from, to, "alternative")
	}
	half := min((size-w.Len())/2, 2000)
	w.WriteString("--part\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n")
	if hasTextWord(n) {
		w.WriteString(textWord + "\r\n")
	}
	w.text(half - 100)
	if attached {
		w.WriteString("--part\r\nContent-Type: application/pdf; name=\"report.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\n")
		w.noise((size-w.Len())/78, "")
	} else {
		w.WriteString("--part\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html><head><style>p { margin: 0 }</style></head><body><p>\r\n")
		w.text(half - 180)
		w.WriteString("</p></body></html>\r\n")
	}
	w.WriteString("--part--\r\n")
	return []byte(w.String())
}

// header writes what mail has in front when it arrives, and the empty line.
func (w *writer) header(n int, from, to, multipart string) {
	date := dateOf(n).Format(time.RFC1123Z)
	_, domain, _ := strings.Cut(from, "@")
	subject := w.words(3 + w.random.IntN(5))
	if hasSubjectWord(n) {
		subject += " " + subjectWord
	}
	for hop := range 2 {
		fmt.Fprintf(w, "Received: from relay%d.%s (relay%[1]d.%[2]s [192.0.2.%[3]d])\r\n\tby mx%[1]d.%[2]s with ESMTPS id %[4]X\r\n\tfor <%[5]s>; %[6]s\r\n",
			hop, domain, 1+w.random.IntN(250), w.random.Uint64(), to, date)
	}
	fmt.Fprintf(w, "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=%s; s=mail;\r\n\th=from:to:subject:date:message-id; bh=%s;\r\n\tb=\r\n", domain, base64.StdEncoding.EncodeToString(make([]byte, 32)))
	w.noise(5, "\t ")
	fmt.Fprintf(w, "Date: %s\r\nFrom: %s <%s>\r\nTo: <%s>\r\nSubject: %s\r\nMessage-ID: <%x.%d@%s>\r\n", date, w.words(2), from, to, subject, w.random.Uint64(), n, domain)
	if n%3 == 1 {
		fmt.Fprintf(w, "In-Reply-To: <%x@%s>\r\n", w.random.Uint64(), domain)
	}
	fmt.Fprintf(w, "MIME-Version: 1.0\r\nContent-Type: multipart/%s; boundary=part\r\n\r\n", multipart)
}
