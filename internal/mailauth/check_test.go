package mailauth

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mailbox/internal/dns/dnstest"
	"mailbox/internal/message"
)

// TestDeadResolver has nobody answer: everything is temporary, nothing is
// refused, and it takes no longer than it may.
func TestDeadResolver(t *testing.T) {
	key := newKey(t, Ed25519, "bank.example", "s")
	c, server := newChecker(t, "")
	c.Timeout = 50 * time.Millisecond
	for _, name := range []string{
		"99.2.0.192.in-addr.arpa", "stranger.example", "_dmarc.bank.example", "_dmarc.example", key.Name(), "s._domainkey.list.example",
	} {
		server.Drop(name)
	}
	key.Domain = "list.example"
	text := seal(t, key, simple, "list.example; none", "none", 1)
	key.Domain = "bank.example"
	r := check(t, c, stranger, sign(t, text, key))
	for what, got := range map[string]Result{
		"iprev": r.IPRev.Result, "HELO": r.Helo.Result, "MAIL FROM": r.MailFrom.Result,
		"DKIM": r.DKIM[0].Result, "DMARC": r.DMARC.Result, "ARC": r.ARC.Result,
	} {
		if got != TempError {
			t.Errorf("%s: %s", what, got)
		}
	}
	if r.DMARC.Disposition != DispositionNone {
		t.Errorf("DMARC wants %s", r.DMARC.Disposition)
	}
}

// TestServFail has a resolver that answers, and cannot help.
func TestServFail(t *testing.T) {
	c, server := newChecker(t, "")
	for _, name := range []string{"99.2.0.192.in-addr.arpa", "stranger.example", "_dmarc.bank.example"} {
		server.Fail(name, dnstest.ServFail)
	}
	r := check(t, c, stranger, simple)
	want := "Authentication-Results: mx.home.example;\r\n" +
		"\tiprev=temperror reason=\"DNS trouble\" policy.iprev=192.0.2.99;\r\n" +
		"\tspf=temperror reason=\"DNS trouble\" smtp.helo=stranger.example;\r\n" +
		"\tspf=temperror reason=\"DNS trouble\" smtp.mailfrom=stranger.example;\r\n" +
		"\tdkim=none;\r\n" +
		"\tdmarc=temperror reason=\"DNS trouble\" header.from=bank.example\r\n"
	if got := string(r.Field()); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestEnd gives an inquiry up while nobody answers.
func TestEnd(t *testing.T) {
	c, server := newChecker(t, "")
	server.Drop("stranger.example")
	q := c.Begin(ctx, stranger)
	q.End() // does not return before all is over; the race detector looks
	q.End()

	gone, cancel := context.WithCancel(ctx)
	cancel()
	header, body := split(simple)
	r, err := c.Begin(gone, stranger).Check(header, strings.NewReader(body))
	if err != nil || r.MailFrom.Result != TempError || r.DMARC.Result != TempError {
		t.Errorf("with a context that has ended: %+v, %v", r, err)
	}
}

// TestPanic has a check that panics: the others go on, and it is temporary.
func TestPanic(t *testing.T) {
	var log bytes.Buffer
	var panics atomic.Int64
	c := &Checker{Hostname: ours, Log: slog.New(slog.NewTextHandler(&log, nil))} // without DNS, to make it panic
	c.OnPanic = func(any, []byte) { panics.Add(1) }
	r := check(t, c, stranger, simple)
	if r.IPRev.Result != TempError || r.MailFrom.Result != TempError || r.DMARC.Result != TempError || r.ARC.Result != None {
		t.Errorf("got %+v", r)
	}
	if n := strings.Count(log.String(), "check panicked"); n == 0 || panics.Load() != int64(n) {
		t.Errorf("%d panics were counted; the log: %s", panics.Load(), &log)
	}
}

// TestHugeHeaders has what a header may hold at most work against us.
func TestHugeHeaders(t *testing.T) {
	key := newKey(t, Ed25519, "bank.example", "s")
	c, _ := newChecker(t, published(t, key))
	for name, text := range map[string]string{
		"long list of signed fields": "DKIM-Signature: v=1; a=ed25519-sha256; d=bank.example; s=s; bh=AAAA; b=AAAA; h=from" + strings.Repeat(":a", 400_000) + "\n" + simple,
		"many tags":                  "DKIM-Signature: " + strings.Repeat("a=b;", 200_000) + "\n" + simple,
		"many addresses":             "From: " + strings.Repeat("a@b.example, ", 70_000) + "\n\n",
		"many comments":              "From: " + strings.Repeat("(", 900_000) + "\n\n",
		"many dots":                  "From: a@" + strings.Repeat("a.", 400_000) + "\n\n",
		"many From fields":           strings.Repeat("From: a@b.example\n", 50_000) + "\n",
		"many seals":                 strings.Repeat("ARC-Seal: i=1\n", 50_000) + "\n",
		"many results":               "Authentication-Results: " + strings.Repeat("mx.home.example (", 50_000) + "\n" + simple,
	} {
		r := check(t, c, stranger, text)
		header, _ := split(text)
		Forged(header, ours)
		if r.DMARC.Result == Pass {
			t.Errorf("%s: %+v", name, r.DMARC)
		}
	}
}

func FuzzCheck(f *testing.F) {
	key := newKey(f, Ed25519, "bank.example", "s")
	c, _ := newChecker(f, published(f, key)+zoneTXT("_dmarc.bank.example", "v=DMARC1; p=reject"))
	c.TrustedSealers = []string{"bank.example"}
	c.Log = slog.New(slog.DiscardHandler)
	f.Add([]byte(sign(f, simple, key)))
	f.Add([]byte(seal(f, key, simple, passedAtList, "none", 1)))
	f.Add([]byte("From: g:a@b;,<@x:y@z>\nARC-Seal: i=51\nDKIM-Signature: l=-1\n\n\r"))
	f.Fuzz(func(t *testing.T, text []byte) {
		header := message.ParseHeader(text)
		body := text
		if n := len(header); n > 0 {
			body = text[header[n-1].Offset+int64(len(header[n-1].Raw)):]
		}
		r, err := c.Begin(ctx, stranger).Check(header, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for _, reason := range []string{r.DMARC.Reason, r.ARC.Reason, r.IPRev.Reason, r.MailFrom.Reason} {
			if reason == "internal error" {
				t.Fatalf("a check panicked: %+v", r)
			}
		}
		if fields := message.ParseHeader(r.Field()); len(fields) != 1 || len(Forged(fields, ours)) != 1 {
			t.Errorf("not one field: %q", r.Field())
		}
	})
}

// BenchmarkCheck checks a message of 20 KiB with two DKIM signatures; the DNS
// has been asked before.
func BenchmarkCheck(b *testing.B) {
	keys, zone := bothKeys(b)
	c, _ := newChecker(b, zone+zoneTXT("_dmarc.bank.example", "v=DMARC1; p=reject")+zoneTXT("bank.example", "v=spf1 ip4:192.0.2.99 -all")+
		"99.2.0.192.in-addr.arpa. PTR mx.bank.example.\nmx.bank.example. A 192.0.2.99\n")
	text := "To: b@home.example\nSubject: hello\nDate: Mon, 02 Nov 2026 10:00:00 +0000\nMessage-ID: <1@bank.example>\nFrom: a@bank.example\n\n" +
		strings.Repeat("A line of  text as people write it, with spaces and all.\n", 20<<10/57)
	header, body := split(sign(b, text, keys...))
	peer := Peer{stranger.Addr, "mx.bank.example", "a@bank.example"}
	b.ReportAllocs()
	for b.Loop() {
		r, err := c.Begin(ctx, peer).Check(header, strings.NewReader(body))
		if err != nil || r.DMARC.Result != Pass || r.DKIM[0].Result != Pass || r.DKIM[1].Result != Pass {
			b.Fatalf("%v, %+v", err, r)
		}
	}
}

// BenchmarkSign signs the same with two keys.
func BenchmarkSign(b *testing.B) {
	keys, _ := bothKeys(b)
	signer := Signer{Keys: keys}
	header, body := split("Subject: hello\nFrom: a@bank.example\n\n" + strings.Repeat("A line of  text as people write it.\n", 20<<10/36))
	for b.Loop() {
		if _, err := signer.Sign(header, strings.NewReader(body)); err != nil {
			b.Fatal(err)
		}
	}
}
