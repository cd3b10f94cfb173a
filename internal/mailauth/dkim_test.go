package mailauth

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"mailbox/internal/dns/dnstest"
	"mailbox/internal/message"
)

// vectors are the keys of RFC 6376 appendix C and RFC 8463 appendix A.
const vectors = `
brisbane._domainkey.example.com. TXT "v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYt" "IxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhitdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB"
brisbane._domainkey.football.example.com. TXT "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
test._domainkey.football.example.com. TXT "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutAC" "DfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB"
`

func TestVectors(t *testing.T) {
	c, _ := newChecker(t, vectors)
	for name, want := range map[string][]Signature{
		"rfc6376": {{Pass, "", "example.com", "brisbane", "rsa-sha256", "AuUoFEfD"}},
		"rfc8463": {
			{Pass, "", "football.example.com", "brisbane", "ed25519-sha256", "/gCrinpc"},
			{Pass, "", "football.example.com", "test", "rsa-sha256", "F45dVWDf"},
		},
	} {
		text, err := os.ReadFile("testdata/dkim/" + name + ".eml")
		if err != nil {
			t.Fatal(err)
		}
		got := check(t, c, stranger, string(text)).DKIM
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
		for _, s := range check(t, c, stranger, strings.Replace(string(text), "hungry", "angry", 1)).DKIM {
			if s.Result != Fail || s.Reason != "body has been changed" {
				t.Errorf("%s: with another body got %+v", name, s)
			}
		}
		for _, s := range check(t, c, stranger, strings.Replace(string(text), "SixPack", "Sixpack", 1)).DKIM {
			if s.Result != Fail || s.Reason != "signature does not match" {
				t.Errorf("%s: with another header got %+v", name, s)
			}
		}
	}
}

// forge signs text with any tags, of a body that need not be its.
func forge(tb testing.TB, key Key, text, tags, body string) string {
	tb.Helper()
	header, _ := split(text)
	sum := sha256.Sum256([]byte(body))
	raw := fmt.Sprintf("DKIM-Signature: %s; bh=%s; b=", tags, base64.StdEncoding.EncodeToString(sum[:]))
	s, _ := parseSignature(&message.Field{Name: "DKIM-Signature", Raw: []byte(raw + "AA==")})
	if s.tags == nil { // nothing could be right about it
		return raw + "AA==\r\n" + text
	}
	s.fields = s.tags.words("h")
	return raw + signDigest(tb, key, newDigest(header).of(s)) + "\r\n" + text
}

const simple = "From: a@bank.example\nTo: b@home.example\nSubject: hello\n\nhello\n"

const whole = "hello\r\n" // simple's body in both canonical forms

// TestDKIMAttacks has what senders try, and what they get wrong.
func TestDKIMAttacks(t *testing.T) {
	key := newKey(t, Ed25519, "bank.example", "s")
	zone := published(t, key)
	record, _ := key.Record()
	zone += zoneTXT("exact._domainkey.bank.example", record+"; t=y:s")
	zone += zoneTXT("sha1._domainkey.bank.example", record+"; h=sha1")
	zone += zoneTXT("both._domainkey.bank.example", record+"; h=sha1:sha256")
	zone += zoneTXT("web._domainkey.bank.example", record+"; s=web")
	zone += zoneTXT("mail._domainkey.bank.example", record+"; s=web : email")
	zone += zoneTXT("two._domainkey.bank.example", "v=spf1 -all") + zoneTXT("two._domainkey.bank.example", record)
	zone += zoneTXT("revoked._domainkey.bank.example", "v=DKIM1; p=")
	zone += zoneTXT("rsa._domainkey.bank.example", strings.Replace(record, "k=ed25519", "k=rsa", 1))
	zone += zoneTXT("other._domainkey.bank.example", strings.Replace(record, "k=ed25519", "k=other", 1))
	zone += zoneTXT("s._domainkey.xn--bnk-qla.example", record)
	c, server := newChecker(t, zone)
	server.Fail("trouble._domainkey.bank.example", dnstest.ServFail)

	const good = "v=1; a=ed25519-sha256; d=bank.example; s=s; h=from"
	past, future := time.Now().Add(-time.Hour).Unix(), time.Now().Add(time.Hour).Unix()
	for _, test := range []struct {
		name, tags, body string
		want             Result
		reason           string
	}{
		{"nothing wrong", good, whole, Pass, ""},
		{"every tag", good + "; q=dns/txt; c=relaxed/simple; i=joe@sub.bank.example; z=From:x; x=" + fmt.Sprint(future), whole, Pass, ""},
		{"tags that it need not know", good + "; xb=b; bh2=x", whole, Pass, ""},
		{"spaces", " v = 1 ;\r\n\ta=ed25519-sha256 ; d = bank.example; s=s;h= From : \r\n Subject", whole, Pass, ""},
		{"upper case", "v=1; a=Ed25519-SHA256; c=Relaxed; d=BANK.example; s=S; h=FROM", whole, Pass, ""},
		{"U-labels", "v=1; a=ed25519-sha256; d=bänk.example; s=s; h=from", whole, Pass, ""},

		{"its own name is signed", good + ":dkim-signature", whole, Pass, ""},

		{"l= is all", good + "; l=7", whole, Pass, ""},
		{"l= lets others append", good + "; l=3", "hel", Policy, "l= leaves a part of the body unsigned"},
		{"l= of nothing", good + "; l=0", "", Policy, "l= leaves a part of the body unsigned"},
		{"l= is more than all", good + "; l=8", whole, PermError, "l= is more than there is"},
		{"l= is negative", good + "; l=-1", whole, PermError, "signature is malformed"},
		{"l= is no number", good + "; l=7x", whole, PermError, "signature is malformed"},
		{"l= is beyond all numbers", good + "; l=99999999999999999999999", whole, PermError, "l= is more than there is"},

		{"From is not signed", "v=1; a=ed25519-sha256; d=bank.example; s=s; h=subject:to", whole, PermError, "From is not signed"},
		{"nothing is signed", "v=1; a=ed25519-sha256; d=bank.example; s=s; h=", whole, PermError, "From is not signed"},
		{"too much is signed", good + strings.Repeat(":x", 1000), whole, PermError, "too many signed fields"},
		{"another body", good, "hallo\r\n", Fail, "body has been changed"},

		{"expired", good + "; x=" + fmt.Sprint(past), whole, Fail, "signature has expired"},
		{"expired before it was made", fmt.Sprintf("%s; t=%d; x=%d", good, future, future), whole, PermError, "signature expires before it was made"},
		{"made in the future", good + "; t=" + fmt.Sprint(future), whole, Pass, ""},
		{"expires at no time", good + "; x=never", whole, PermError, "signature is malformed"},

		{"tag twice", good + "; x=" + fmt.Sprint(future) + "; x=" + fmt.Sprint(future), whole, PermError, "signature is malformed"},
		{"tag without a value", good + "; x", whole, PermError, "signature is malformed"},
		{"tag without a name", good + "; =x", whole, PermError, "signature is malformed"},
		{"semicolons too many", ";" + good + "; ;;", whole, Pass, ""},
		{"another version", strings.Replace(good, "v=1", "v=2", 1), whole, PermError, "unknown version"},
		{"no version", strings.Replace(good, "v=1; ", "", 1), whole, PermError, "unknown version"},
		{"SHA-1", strings.Replace(good, "ed25519-sha256", "rsa-sha1", 1), whole, Policy, "SHA-1 is too weak"},
		{"no algorithm", strings.Replace(good, "a=ed25519-sha256; ", "", 1), whole, PermError, "unknown algorithm"},
		{"another canonicalization", good + "; c=relaxed/nowsp", whole, PermError, "unknown canonicalization"},
		{"another query", good + "; q=dns/foo", whole, PermError, "unknown way to get the key"},
		{"identity of somebody else", good + "; i=a@evil.example", whole, PermError, "identity is not of the domain that signed"},
		{"identity that ends alike", good + "; i=a@evilbank.example", whole, PermError, "identity is not of the domain that signed"},
		{"no domain", strings.Replace(good, "d=bank.example; ", "", 1), whole, PermError, "signature names no key"},
		{"domain that is none", strings.Replace(good, "d=bank.example", "d=bank..example", 1), whole, PermError, "signature names no key"},
		{"selector that is none", strings.Replace(good, "s=s", "s=a b", 1), whole, PermError, "signature names no key"},
		{"selector of many octets", strings.Replace(good, "s=s", "s="+strings.Repeat("a", 64), 1), whole, PermError, "signature names no key"},

		{"no key", strings.Replace(good, "s=s", "s=none", 1), whole, PermError, "no key"},
		{"DNS trouble", strings.Replace(good, "s=s", "s=trouble", 1), whole, TempError, "DNS trouble"},
		{"revoked key", strings.Replace(good, "s=s", "s=revoked", 1), whole, PermError, "key is revoked"},
		{"another kind of key", strings.Replace(good, "s=s", "s=rsa", 1), whole, PermError, "key is malformed"},
		{"algorithm of another kind of key", strings.Replace(good, "a=ed25519", "a=rsa", 1), whole, PermError, "key is of another kind"},
		{"unknown kind of key", strings.Replace(good, "s=s", "s=other", 1), whole, PermError, "unknown kind of key"},
		{"key for SHA-1", strings.Replace(good, "s=s", "s=sha1", 1), whole, PermError, "key is not for SHA-256"},
		{"key for both", strings.Replace(good, "s=s", "s=both", 1), whole, Pass, ""},
		{"key for the web", strings.Replace(good, "s=s", "s=web", 1), whole, PermError, "key is not for mail"},
		{"key for mail", strings.Replace(good, "s=s", "s=mail", 1), whole, Pass, ""},
		{"key beside other texts", strings.Replace(good, "s=s", "s=two", 1), whole, Pass, ""},
		{"key for this very domain", strings.Replace(good, "s=s", "s=exact", 1) + "; i=@bank.example", whole, Pass, ""},
		{"key not for subdomains", strings.Replace(good, "s=s", "s=exact", 1) + "; i=@sub.bank.example", whole, PermError, "key is not for subdomains"},
	} {
		got := check(t, c, stranger, forge(t, key, simple, test.tags, test.body)).DKIM
		if len(got) != 1 || got[0].Result != test.want || got[0].Reason != test.reason {
			t.Errorf("%s: got %+v, want %s (%s)", test.name, got, test.want, test.reason)
		}
	}
}

// TestDKIMDuplicateFields has fields added to a message after it was signed.
func TestDKIMDuplicateFields(t *testing.T) {
	key := newKey(t, Ed25519, "bank.example", "s")
	c, _ := newChecker(t, published(t, key)+zoneTXT("_dmarc.bank.example", "v=DMARC1; p=reject"))
	once := forge(t, key, simple, "v=1; a=ed25519-sha256; d=bank.example; s=s; h=from:subject", whole)
	r := check(t, c, stranger, "From: ceo@bank.example\r\n"+once)
	if r.DKIM[0].Result != Pass || r.DMARC.Result != Fail || r.DMARC.Disposition != DispositionReject {
		t.Errorf("second From on top of one that was signed once: got %+v, %+v", r.DKIM, r.DMARC)
	}
	ours := sign(t, simple, key)
	for _, field := range []string{
		"From: x@bank.example", "Subject: other", "Reply-To: x@evil.example", "To: x@y.example", "Cc: x@y.example", "Date: x",
		"Content-Type: text/html", "MIME-Version: 1.0", "Content-Transfer-Encoding: base64", "Message-ID: <a@b>", "References: <a@b>",
	} {
		for _, text := range []string{field + "\r\n" + ours, strings.Replace(ours, "\nSubject:", "\n"+field+"\r\nSubject:", 1)} {
			if r := check(t, c, stranger, text); r.DKIM[0].Result != Fail || r.DMARC.Result != Fail {
				t.Errorf("%s added: got %+v, %+v", field, r.DKIM, r.DMARC)
			}
		}
	}
	for _, field := range []string{"Received: x", "List-Id: <x>", "Sender: x@y.example", "X-Spam: yes"} {
		if r := check(t, c, stranger, field+"\r\n"+ours); r.DKIM[0].Result != Pass || r.DMARC.Result != Pass {
			t.Errorf("%s added: got %+v, %+v", field, r.DKIM, r.DMARC)
		}
	}
}

func TestDKIMKeySizes(t *testing.T) {
	key := newKey(t, Ed25519, "bank.example", "s")
	var zone strings.Builder
	for _, bits := range []uint{512, 1023, 8193, 16384, 100_000} {
		n := new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), bits-1), big.NewInt(1))
		der := x509.MarshalPKCS1PublicKey(&rsa.PublicKey{N: n, E: 65537})
		zone.WriteString(zoneTXT(fmt.Sprintf("b%d._domainkey.bank.example", bits), "k=rsa; p="+base64.StdEncoding.EncodeToString(der)))
	}
	c, _ := newChecker(t, zone.String())
	for bits, want := range map[int]string{512: "key is too short", 1023: "key is too short", 8193: "key is too long", 16384: "key is too long", 100_000: "key is too long"} {
		tags := fmt.Sprintf("v=1; a=rsa-sha256; d=bank.example; s=b%d; h=from", bits)
		if got := check(t, c, stranger, forge(t, key, simple, tags, whole)).DKIM[0]; got.Result != Policy || got.Reason != want {
			t.Errorf("%d bits: got %+v, want %s", bits, got, want)
		}
	}
}

func TestDKIMTenThousandSignatures(t *testing.T) {
	key := newKey(t, Ed25519, "bank.example", "s")
	c, server := newChecker(t, published(t, key))
	one := strings.TrimSuffix(forge(t, key, simple, "v=1; a=ed25519-sha256; d=bank.example; s=s; h=from", whole), simple)
	r := check(t, c, stranger, strings.Repeat(one, 10_000)+simple)
	if len(r.DKIM) != 10 || r.Unchecked != 9990 || r.DKIM[9].Result != Pass {
		t.Errorf("looked at %d signatures, not at %d", len(r.DKIM), r.Unchecked)
	}
	if n := server.Queries(key.Name()); n != 1 {
		t.Errorf("asked %d times for one key", n)
	}
	if field := string(r.Field()); !strings.Contains(field, `dkim=neutral reason="9990 more signatures were not looked at"`) {
		t.Errorf("the field does not tell: %s", field)
	}
}

func TestDKIMMalformedKeys(t *testing.T) {
	for _, record := range []string{
		"", "x", ";", "p", "=", "v=DKIM1", "v=DKIM2; p=AAAA", "p=AAAA; v=DKIM1", "v=DKIM1; p=!", "v=DKIM1; k=ed25519; p=AAAA",
		"v=DKIM1; k=rsa; p=AAAA", "v=DKIM1; p=AAAA; p=AAAA", "v=DKIM1; k=; k=rsa; p=AAAA", "v=DKIM1; p=" + strings.Repeat("A", 60000),
		strings.Repeat("a=b;", 10000), "v=DKIM1; p=A\x00A", "\xff\xfe", "v=DKIM1;;p=AAAA", ";p",
	} {
		if key, err := parsePublicKey(record); err == nil {
			t.Errorf("%.50q: got %+v", record, key)
		} else if f := (flaw{}); !errors.As(err, &f) || f.result != PermError && f.result != Policy {
			t.Errorf("%.50q: %v", record, err)
		}
	}
}

func TestBodyThatCannotBeRead(t *testing.T) {
	key := newKey(t, Ed25519, "bank.example", "s")
	c, _ := newChecker(t, published(t, key))
	broken := errors.New("disk on fire")
	header, _ := split(sign(t, simple, key))
	if _, err := c.Begin(ctx, stranger).Check(header, iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	header, _ = split(simple)
	if _, err := c.Begin(ctx, stranger).Check(header, iotest.ErrReader(broken)); err != nil {
		t.Errorf("read the body although there was no need: %v", err)
	}
}

func TestCanonicalBody(t *testing.T) {
	for _, test := range []struct{ body, simple, relaxed string }{
		{"", "\r\n", ""}, // RFC 6376 section 3.4.3 and 3.4.4
		{"\r\n", "\r\n", ""},
		{"\r\n\r\n", "\r\n", ""},
		{" \r\n\t\r\n", " \r\n\t\r\n", ""},
		{" C \r\nD \t E\r\n\r\n\r\n", " C \r\nD \t E\r\n", " C\r\nD E\r\n"}, // section 3.4.5
		{"no end", "no end\r\n", "no end\r\n"},
		{"space at the end \t ", "space at the end \t \r\n", "space at the end\r\n"},
		{"bare\nline feeds\n\n", "bare\r\nline feeds\r\n", "bare\r\nline feeds\r\n"},
		{"a\rb\r", "a\rb\r\r\n", "a\rb\r\r\n"},
		{"a\r\r\nb", "a\r\r\nb\r\n", "a\r\r\nb\r\n"},
		{"a \r b\r\n", "a \r b\r\n", "a \r b\r\n"},
		{"\r\n\r\na", "\r\n\r\na\r\n", "\r\n\r\na\r\n"},
		{strings.Repeat("x", 10_000) + "\r\n", strings.Repeat("x", 10_000) + "\r\n", strings.Repeat("x", 10_000) + "\r\n"},
	} {
		for relaxed, want := range map[bool]string{false: test.simple, true: test.relaxed} {
			for _, r := range []io.Reader{strings.NewReader(test.body), iotest.OneByteReader(strings.NewReader(test.body))} {
				h := newBodyHash(relaxed)
				if _, err := io.Copy(h, r); err != nil {
					t.Fatal(err)
				}
				h.finish()
				if sum := sha256.Sum256([]byte(want)); string(h.done) != string(sum[:]) || h.length != int64(len(want)) {
					t.Errorf("%.40q, relaxed %t: %d octets, want %.40q", test.body, relaxed, h.length, want)
				}
			}
		}
	}
}

func TestCanonicalHeader(t *testing.T) {
	for _, test := range []struct{ raw, simple, relaxed string }{
		{"A: X\r\n", "A: X\r\n", "a:X\r\n"},
		{"B : Y\t\r\n\tZ  \r\n", "B : Y\t\r\n\tZ  \r\n", "b:Y Z\r\n"}, // RFC 6376 section 3.4.5
		{"Subject:\r\n", "Subject:\r\n", "subject:\r\n"},
		{"Subject: \r\n \r\n", "Subject: \r\n \r\n", "subject:\r\n"},
		{"S: a\n b\n", "S: a\r\n b\r\n", "s:a b\r\n"},
		{"S: no end", "S: no end\r\n", "s:no end\r\n"},
		{"S: \xff\xa0 \xc3\xa4\r\n", "S: \xff\xa0 \xc3\xa4\r\n", "s:\xff\xa0 \xc3\xa4\r\n"},
		{"S: a:b\r\n", "S: a:b\r\n", "s:a:b\r\n"},
	} {
		if got := appendField(nil, []byte(test.raw), false); string(got) != test.simple {
			t.Errorf("%q, simple: got %q", test.raw, got)
		}
		if got := appendField(nil, []byte(test.raw), true); string(got) != test.relaxed {
			t.Errorf("%q, relaxed: got %q", test.raw, got)
		}
	}
}
