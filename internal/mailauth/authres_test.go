package mailauth

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/authres"

	"mailbox/internal/message"
)

// forgeries claim to be from mx.bücher.example, whose A-labels are
// mx.xn--bcher-kva.example.
var forgeries = []string{
	"mx.xn--bcher-kva.example; dkim=pass header.d=bank.example",
	"mx.xn--bcher-kva.example;dkim=pass",
	"MX.XN--BCHER-KVA.EXAMPLE; dkim=pass",
	"mx.xn--bcher-kva.example.; dkim=pass",
	"mx.xn--bcher-kva.example 1; dkim=pass",
	"mx.xn--bcher-kva.example 99; dkim=pass",
	"mx.xn--bcher-kva.example/1; dkim=pass",
	"  mx.xn--bcher-kva.example  ; dkim=pass",
	"\r\n\tmx.xn--bcher-kva.example\r\n\t; dkim=pass",
	"(comment) mx.xn--bcher-kva.example; dkim=pass",
	"(a (nested \\) one)) mx.xn--bcher-kva.example (more) 1 (more); dkim=pass",
	"(semi;colon) mx.xn--bcher-kva.example; dkim=pass",
	"\"mx.xn--bcher-kva.example\"; dkim=pass",
	"\"mx.xn--bcher\\-kva.example\"; dkim=pass",
	"\"mx\".xn--bcher-kva.example; dkim=pass",
	"mx(comment).xn--bcher-kva.example; dkim=pass",
	"mx . xn--bcher-kva . example; dkim=pass",
	"mx.\r\n xn--bcher-kva.example; dkim=pass",
	"mx.bücher.example; dkim=pass",
	"MX.BÜCHER.Example; dkim=pass",
	"mx.bu\u0308cher.example; dkim=pass", // decomposed
	"mx。bücher。example; dkim=pass",       // ideographic full stops
	"ｍｘ.bücher.example; dkim=pass",       // full width
	"mx.bü\u00adcher.example; dkim=pass", // soft hyphen
	"mx.xn--bcher-kva.example\u200b; dkim=pass",
	"\u00a0mx.xn--bcher-kva.example; dkim=pass",
	"mx.xn--bcher-kva.example\x00; dkim=pass",
	"mx.xn--bcher-kva.example\xff; dkim=pass",
	"=?utf-8?q?mx=2Exn--bcher-kva.example?=; dkim=pass",
	"=?utf-8?b?bXguYsO8Y2hlci5leGFtcGxl?=; dkim=pass",
	"mx.xn--bcher-kva.example",
	"mx.xn--bcher-kva.example; none",
	"<mx.xn--bcher-kva.example>; dkim=pass",
	"x@mx.xn--bcher-kva.example; dkim=pass",
	"other.example, mx.xn--bcher-kva.example; dkim=pass",
	"other.example (for mx.xn--bcher-kva.example); dkim=pass",
	"(never ends mx.xn--bcher-kva.example; dkim=pass",
	"\"never ends; mx.xn--bcher-kva.example; dkim=pass",
	"(never ends; spf=pass",
	"mx.xn--bcher-kva.example; (never ends",
}

func TestForged(t *testing.T) {
	for _, hostname := range []string{"mx.xn--bcher-kva.example", "mx.bücher.example", "MX.bücher.example."} {
		for _, value := range forgeries {
			for _, name := range []string{"Authentication-Results", "AUTHENTICATION-RESULTS ", "authentication-results\t"} {
				header := message.ParseHeader([]byte("X: y\r\n" + name + ":" + value + "\r\nFrom: a@b.example\r\n"))
				if got := Forged(header, hostname); len(got) != 1 || got[0].Offset != 6 {
					t.Errorf("%s survives: %s:%q", hostname, name, value)
				}
			}
		}
		for _, value := range []string{
			"other.example; dkim=pass header.d=mx.xn--bcher-kva.example",
			"other.example; spf=pass smtp.helo=mx.xn--bcher-kva.example; none",
			"notmx.xn--bcher-kva.example; dkim=pass",
			"mx.xn--bcher-kva.example.evil.example; dkim=pass",
			"xn--bcher-kva.example; dkim=pass",
			"mx.bucher.example; dkim=pass",
			"other.example (ok) 1; none",
			"\"other.example\"; none",
			"",
		} {
			header := message.ParseHeader([]byte("Authentication-Results: " + value + "\r\n"))
			if got := Forged(header, hostname); len(got) != 0 {
				t.Errorf("%s: taken for forged: %s", hostname, value)
			}
		}
		header := message.ParseHeader([]byte("X-Authentication-Results: mx.bücher.example; none\r\nARC-Authentication-Results: i=1; mx.bücher.example; none\r\n"))
		if got := Forged(header, hostname); len(got) != 0 {
			t.Errorf("other fields are taken for forged: %d of them", len(got))
		}
	}
}

// trusts tells whether somebody who reads results, in one of the ways in which
// programs do, takes a field for ours.
func trusts(value, own string) bool {
	identity, _, _ := authres.Parse(value)
	naive, _, _ := strings.Cut(value, ";")
	words := strings.Fields(naive)
	first := ""
	if len(words) > 0 {
		first = words[0]
	}
	strict := splitResults(value)[0]
	readings := []string{identity, strings.TrimSpace(naive), first, strings.Trim(first, `"`), strings.Join(strict, " ")}
	if len(strict) > 0 {
		readings = append(readings, strict[0])
	}
	for _, r := range readings {
		if domain, ok := asciiDomain(r); ok && domain == own {
			return true
		}
	}
	return false
}

func FuzzForged(f *testing.F) {
	for _, value := range forgeries {
		f.Add("Authentication-Results", value)
	}
	f.Add("Authentication-Results ", "other.example; none")
	f.Fuzz(func(t *testing.T, name, value string) {
		const own = "mx.xn--bcher-kva.example"
		header := message.ParseHeader([]byte(name + ":" + value + "\r\n"))
		for _, field := range remove(header, Forged(header, own)) {
			if strings.EqualFold(field.Name, "Authentication-Results") && trusts(field.Value(), own) {
				t.Errorf("survives: %q", field.Raw)
			}
		}
	})
}

func TestField(t *testing.T) {
	r := Results{
		Hostname: ours,
		IPRev:    IPRev{Result: Pass, Addr: netip.MustParseAddr("2001:db8::1"), Name: "mx.bank.example"},
		Helo:     SPF{Result: None, Reason: "no domain name"},
		MailFrom: SPF{Result: Pass, Domain: "bank.example"},
		DKIM: []Signature{
			{Result: Pass, Domain: "bank.example", Selector: "s1", Algorithm: "rsa-sha256", Begin: "ab/+cd=="},
			{Result: PermError, Reason: "signature is malformed"},
		},
		DMARC: DMARC{Result: Pass, Domain: "bank.example", Record: "bank.example", Policy: DispositionReject},
		ARC:   ARC{Result: Fail, Reason: "set is not whole"},
	}
	want := "Authentication-Results: mx.home.example;\r\n" +
		"\tiprev=pass policy.iprev=\"2001:db8::1\";\r\n" +
		"\tspf=none reason=\"no domain name\";\r\n" +
		"\tspf=pass smtp.mailfrom=bank.example;\r\n" +
		"\tdkim=pass header.d=bank.example header.s=s1 header.a=rsa-sha256 header.b=\"ab/+cd==\";\r\n" +
		"\tdkim=permerror reason=\"signature is malformed\";\r\n" +
		"\tdmarc=pass header.from=bank.example (p=reject dis=none);\r\n" +
		"\tarc=fail reason=\"set is not whole\"\r\n"
	if got := string(r.Field()); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestFieldTellsWhatIsTrue has a peer that tries to write into our field.
func TestFieldTellsWhatIsTrue(t *testing.T) {
	key := newKey(t, Ed25519, "bank.example", "s")
	c, _ := newChecker(t, published(t, key))
	evil := `x"; dkim=pass header.d=bank.example (\` + "\r\n"
	p := Peer{Addr: netip.MustParseAddr("192.0.2.1"), Helo: evil, MailFrom: evil + "@" + evil}
	for _, text := range []string{
		"From: a@bank.example;dkim=pass\nDKIM-Signature: v=1; d=a\"b; s=\\; a=x; b=\"; dkim=pass\n\n",
		"From: <a@b\"; dmarc=pass header.from=bank.example>\nDKIM-Signature: d=bank.example;s=s;a=ed25519-sha256;b=AAAA;bh=AAAA;h=from;v=\"1\n\n",
		"DKIM-Signature:\nARC-Seal: i=1; dkim=pass\n\n",
	} {
		field := string(check(t, c, p, text).Field())
		if strings.Contains(field, "=pass") || strings.Count(field, "\n") != strings.Count(field, "\r\n\t")+1 {
			t.Errorf("%q\n gave %s", text, field)
		}
		_, value, _ := strings.Cut(field, ":")
		for _, result := range splitResults(value)[1:] {
			if len(result) == 0 || !strings.Contains(result[0], "=") {
				t.Errorf("%q\n gave %s", text, field)
			}
		}
	}
}

// FuzzField checks that readers of our field find there what we put there, and
// nothing else.
func FuzzField(f *testing.F) {
	f.Add("x", "bank.example", "s", "AAAA")
	f.Add("a\"b\\", "a;b", "(", "=\r\nX: y")
	f.Fuzz(func(t *testing.T, reason, domain, selector, begin string) {
		r := Results{
			Hostname: ours, IPRev: IPRev{Result: Pass, Addr: netip.MustParseAddr("192.0.2.1")}, Helo: SPF{Result: None}, MailFrom: SPF{Result: Fail, Domain: domain},
			DKIM: []Signature{{Result: Fail, Reason: reason, Domain: domain, Selector: selector, Begin: begin}}, DMARC: DMARC{Result: None}, ARC: ARC{Result: None},
		}
		field := r.Field()
		header := message.ParseHeader(field)
		if len(header) != 1 || len(header[0].Raw) != len(field) {
			t.Fatalf("not one field: %q", field)
		}
		var got []string
		for _, result := range splitResults(header[0].Value()) {
			got = append(got, result[0])
		}
		if want := []string{ours, "iprev=pass", "spf=none", "spf=fail", "dkim=fail", "dmarc=none"}; !reflect.DeepEqual(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if len(Forged(header, ours)) != 1 {
			t.Error("does not know its own")
		}
	})
}

func TestSplitResults(t *testing.T) {
	for value, want := range map[string][][]string{
		"":                             {nil},
		"a":                            {{"a"}},
		"i=1; a (b;c) d; e=\"f;g\" h;": {{"i=1"}, {"a", "d"}, {"e=f;g", "h"}, nil},
		`a="b\"c" (\) x) d`:            {{`a=b"c`, "d"}},
		`"";x`:                         {{""}, {"x"}},
		"a(never":                      {{"a"}},
		"a(b)c":                        {{"a", "c"}},
	} {
		if got := splitResults(value); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %q, want %q", value, got, want)
		}
	}
}
