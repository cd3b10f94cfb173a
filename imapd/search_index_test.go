package imapd

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"mailbox/imapd/wire"
	"mailbox/storage"
)

// An opaque key hides its parts from the search index: the messages are read.
type opaque struct{ key }

// asSession is a session that has INBOX selected, without a client.
func (f *fixture) asSession(t testing.TB) *conn {
	t.Helper()
	f.server.start() // its listener's goroutine may not be that far
	ctx := context.Background()
	m, err := f.db.Mailbox(ctx, f.account, "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	x, err := f.db.Index(ctx, f.account, m.ID)
	if err != nil {
		t.Fatal(err)
	}
	return &conn{s: f.server, account: f.account, view: &view{mailbox: m.ID, cur: x}, told: time.Now().Add(time.Hour)}
}

// keysOf parses the arguments of a SEARCH.
func (c *conn) keysOf(args string) (key, error) {
	var buffers wire.Buffers
	c.dec = wire.NewDecoder(strings.NewReader(" "+args+"\r\n"), &buffers)
	c.dec.OnLiteral = func(int64, bool, bool) error { return nil }
	if err := c.dec.Wait(); err != nil {
		return nil, err
	}
	q := &query{}
	err := c.searchQuery(q)
	return q.key, err
}

// indexed waits until the search index has the email of that number.
func (f *fixture) indexed(t testing.TB, n uint32) {
	t.Helper()
	nowhere := storage.TextQuery{Text: "qqzzj"}
	for until := time.Now().Add(time.Minute); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		if _, known := f.db.SearchText(context.Background(), f.account, nowhere).Holds(n); known {
			return
		}
	}
	t.Fatal("the search index does not come")
}

// searchWords is what messages and queries are made of: in any case, with
// diacritics, of scripts without spaces, mixed, long, and signs.
var searchWords = []string{
	"love", "Clover", "STRASSE", "Straße", "grüße", "GRÜ", "naïve", "nai\u0308ve", "İstanbul", "ΣΊΣΥΦΟΣ", "日本語", "日本", "本", "東京都に行く",
	"한국어", "สวัสดี", "😀👍🏽", "❤️", "a", "I", "x1", "4711", "PO4711XYZ9", "deadbeef01234567", "0123456789", "a@far.example", "don't",
	"Donaudampfschifffahrtsgesellschaftskapitän", strings.Repeat("long", 30),
	"q7Zx/abc/love+I/k3PABCQhVb0JXh/a/x1/no+4711ab", "q7Zx/abc/love+日本/k3PABCQhVb0JXh/ab/x1/no+4711é", "“quoted”", "—", "re:", "Re: Fw:", "fi\u200dn", "\u00a0",
	"e\u0301", "ſ", "K", "日a本", "abc日本", "foo_bar", "foo-bar", "<b>", "&amp;", "ab", "abc", "abcd",
}

func drawText(t *rapid.T, label string, most int) string {
	var b strings.Builder
	for range rapid.IntRange(0, most).Draw(t, label+" words") {
		b.WriteString(rapid.SampledFrom(searchWords).Draw(t, label))
		b.WriteString(rapid.SampledFrom([]string{" ", "", "\r\n", ", ", "/", "+", "  "}).Draw(t, "between"))
	}
	return b.String()
}

func drawMessage(t *rapid.T) string {
	var b strings.Builder
	for _, name := range []string{"Subject", "From", "To", "Cc", "Bcc", "X-Odd", "Message-ID", "Subject"} {
		switch value := strings.ReplaceAll(drawText(t, name, 3), "\r\n", " "); rapid.IntRange(0, 3).Draw(t, "as") {
		case 0:
		case 1:
			fmt.Fprintf(&b, "%s: =?utf-8?b?%s?=\r\n", name, base64.StdEncoding.EncodeToString([]byte(value)))
		default:
			fmt.Fprintf(&b, "%s: %s\r\n", name, value)
		}
	}
	body := drawText(t, "body", 8)
	switch rapid.IntRange(0, 4).Draw(t, "kind") {
	case 0:
		return b.String() + "Content-Type: text/html; charset=utf-8\r\n\r\n<p>" + strings.ReplaceAll(body, "o", "<i>o</i>") + "</p>"
	case 1:
		return b.String() + "Content-Transfer-Encoding: base64\r\n\r\n" + base64.StdEncoding.EncodeToString([]byte(body))
	case 2:
		return b.String() + "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\n" + body + "\r\n--x\r\nContent-Type: message/rfc822\r\n\r\nSubject: " +
			rapid.SampledFrom(searchWords).Draw(t, "inner") + "\r\n\r\n" + drawText(t, "inner", 2) + "\r\n--x\r\nContent-Disposition: attachment; filename=clover\r\n\r\n--x--\r\n"
	case 3:
		return "no field at all 日本 \xff\xfe love\r\n" + b.String() + "\r\n" + body
	}
	return b.String() + "\r\n" + body
}

// drawQuery makes a query of a text: of words, parts of them, or what stands
// between them.
func drawQuery(t *rapid.T, texts []string) string {
	text := []rune(rapid.SampledFrom(texts).Draw(t, "of"))
	if len(text) == 0 || rapid.IntRange(0, 3).Draw(t, "whence") == 0 {
		text = []rune(drawText(t, "query", 2))
	}
	from := rapid.IntRange(0, len(text)).Draw(t, "from")
	to := rapid.IntRange(from, min(len(text), from+rapid.SampledFrom([]int{1, 2, 3, 4, 9, 40}).Draw(t, "runes"))).Draw(t, "to")
	q := string(text[from:to])
	if rapid.Bool().Draw(t, "upper") {
		q = strings.ToUpper(q)
	}
	return q
}

func drawKey(t *rapid.T, texts []string, depth int) string {
	kind := rapid.IntRange(0, 9).Draw(t, "key")
	if depth > 2 {
		kind = 5
	}
	switch kind {
	case 0:
		return "NOT " + drawKey(t, texts, depth+1)
	case 1, 2:
		return "OR " + drawKey(t, texts, depth+1) + " " + drawKey(t, texts, depth+1)
	case 3:
		return "(" + drawKey(t, texts, depth+1) + " " + drawKey(t, texts, depth+1) + ")"
	case 4:
		return "SEEN"
	}
	name := rapid.SampledFrom([]string{"TEXT", "BODY", "SUBJECT", "FROM", "TO", "CC", "BCC", "HEADER X-Odd", "HEADER Subject", "HEADER Message-ID", `HEADER ""`}).Draw(t, "name")
	q := drawQuery(t, texts)
	return fmt.Sprintf("%s {%d+}\r\n%s", name, len(q), q)
}

// TestIndexFindsWhatIsThere: whatever is searched for, the search index and
// the text of the messages give the same answer, whole or a page of it.
func TestIndexFindsWhatIsThere(t *testing.T) {
	f := newFixture(t, nil)
	ctx := context.Background()
	var texts []string
	round := 0
	rapid.Check(t, func(t *rapid.T) {
		for range rapid.IntRange(1, 4).Draw(t, "messages") {
			text := drawMessage(t)
			texts = append(texts, text)
			f.deliver(text)
		}
		if round++; round%8 == 0 { // else the last messages are not indexed yet
			f.indexed(f.t, uint32(len(texts)))
		}
		for range 10 {
			args := drawKey(t, texts, 0)
			c := f.asSession(f.t)
			k, err := c.keysOf(args)
			if err != nil {
				t.Fatalf("%q: %v", args, err)
			}
			got, err := c.find(ctx, k, page{})
			if err != nil {
				t.Fatal(err)
			}
			plain, _ := c.keysOf(args)
			want, err := c.find(ctx, opaque{plain}, page{})
			if err != nil {
				t.Fatal(err)
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Fatalf("%q: found %v, not %v", args, got, want)
			}
			p := drawPage(t)
			k, _ = c.keysOf(args)
			got, err = c.find(ctx, k, p)
			if err != nil {
				t.Fatal(err)
			}
			if fmt.Sprint(pageOf(got, p)) != fmt.Sprint(pageOf(want, p)) {
				t.Fatalf("%q: %s of %v is not that of %v", args, p, got, want)
			}
		}
	})
}
