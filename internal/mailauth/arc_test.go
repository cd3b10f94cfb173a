package mailauth

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"mailbox/internal/dns/dnstest"
	"mailbox/internal/message"
)

// seal adds an ARC set with the given results on top of text.
func seal(tb testing.TB, key Key, text, results, cv string, i int) string {
	tb.Helper()
	aar := fmt.Sprintf("ARC-Authentication-Results: i=%d; %s\r\n", i, results)
	_, body := split(text)
	hash := newBodyHash(true)
	hash.Write([]byte(body))
	hash.finish()
	ams := fmt.Sprintf("ARC-Message-Signature: i=%d; a=ed25519-sha256; c=relaxed/relaxed; d=%s; s=%s; h=from:subject; bh=%s; b=",
		i, key.Domain, key.Selector, base64.StdEncoding.EncodeToString(hash.done))
	header, _ := split(text)
	s, err := parseSignature(&message.Field{Name: "ARC-Message-Signature", Raw: []byte(ams + "AA==")})
	if err != nil {
		tb.Fatal(err)
	}
	ams += signDigest(tb, key, newDigest(header).of(s)) + "\r\n"
	as := fmt.Sprintf("ARC-Seal: i=%d; a=ed25519-sha256; cv=%s; d=%s; s=%s; b=", i, cv, key.Domain, key.Selector)
	header, _ = split(as + "AA==\r\n" + ams + aar + text)
	c := readChain(header)
	if len(c.sets) != i || c.sets[i-1].parsed == nil {
		tb.Fatalf("set %d: %v", i, c.err)
	}
	return as + signDigest(tb, key, c.sealed(i-1)) + "\r\n" + ams + aar + text
}

func signDigest(tb testing.TB, key Key, digest []byte) string {
	tb.Helper()
	hash := crypto.SHA256
	if _, ok := key.Private.(ed25519.PrivateKey); ok {
		hash = 0
	}
	value, err := key.Private.Sign(rand.Reader, digest, hash)
	if err != nil {
		tb.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(value)
}

const passedAtList = "list.example; dmarc=pass (p=reject; dis=none) header.from=bank.example; spf=pass"

func TestARC(t *testing.T) {
	one, two := newKey(t, Ed25519, "list.example", "s"), newKey(t, Ed25519, "forwarder.example", "s")
	c, server := newChecker(t, published(t, one, two)+zoneTXT("_dmarc.bank.example", "v=DMARC1; p=reject"))
	c.TrustedSealers = []string{"List.example."}
	server.Fail("trouble._domainkey.list.example", dnstest.ServFail)
	first := seal(t, one, simple, passedAtList, "none", 1)
	second := seal(t, two, first, "forwarder.example; arc=pass; dmarc=fail header.from=bank.example", "pass", 2)
	unknown := one
	unknown.Selector = "none"
	trouble := one
	trouble.Selector = "trouble"
	for _, test := range []struct {
		name, text string
		want       Result
		reason     string
		sealers    string
	}{
		{"no chain", simple, None, "", "[]"},
		{"one set", first, Pass, "", "[list.example]"},
		{"two sets", second, Pass, "", "[forwarder.example list.example]"},
		{"fields in between", strings.Replace(second, "ARC-Message", "Received: x\r\nARC-Message", 1), Pass, "", "[forwarder.example list.example]"},
		// RFC 8617 section 5.2
		{"body changed", strings.Replace(second, "hello\n", "hallo\n", 2), Fail, "body has been changed", "[]"},
		{"subject changed", strings.Replace(second, "Subject: hello", "Subject: hallo", 1), Fail, "signature does not match", "[]"},
		{"results changed", strings.Replace(second, "i=1; list.example; dmarc=pass", "i=1; list.example; dmarc=fail", 1), Fail, "seal does not match", "[]"},
		{"newest results changed", strings.Replace(second, "dmarc=fail", "dmarc=pass", 1), Fail, "seal does not match", "[]"},
		{"first set gone", strings.Replace(second, first, simple, 1), Fail, "set is not whole", "[]"},
		{"results gone", strings.Replace(first, "ARC-Authentication-Results", "X", 1), Fail, "set is not whole", "[]"},
		{"seal gone", strings.Replace(first, "ARC-Seal", "X", 1), Fail, "set is not whole", "[]"},
		{"signature gone", strings.Replace(first, "ARC-Message-Signature", "X", 1), Fail, "set is not whole", "[]"},
		{"set twice", "ARC-Authentication-Results: i=1; x\r\n" + first, Fail, "set is there twice", "[]"},
		{"set zero", "ARC-Authentication-Results: i=0; x\r\n" + first, Fail, "set has no proper number", "[]"},
		{"set without a number", "ARC-Seal: a=b\r\n" + first, Fail, "set has no proper number", "[]"},
		{"set 51", "ARC-Seal: i=51\r\n" + first, Fail, "set has no proper number", "[]"},
		{"set beyond all numbers", "ARC-Seal: i=99999999999999999999\r\n" + first, Fail, "set has no proper number", "[]"},
		{"sealed as broken", seal(t, two, first, "x; none", "fail", 2), Fail, "chain was broken before", "[]"},
		{"first says pass", seal(t, one, simple, "x; none", "pass", 1), Fail, "chain was broken before", "[]"},
		{"second says none", seal(t, two, first, "x; none", "none", 2), Fail, "chain was broken before", "[]"},
		{"seal names fields", strings.Replace(first, "ARC-Seal: i=1;", "ARC-Seal: i=1; h=from;", 1), Fail, "seal is malformed", "[]"},
		{"no key", seal(t, unknown, simple, "x; none", "none", 1), Fail, "no key", "[]"},
		{"DNS trouble", seal(t, trouble, simple, "x; none", "none", 1), TempError, "DNS trouble", "[]"},
	} {
		got := check(t, c, stranger, test.text).ARC
		if got.Result != test.want || got.Reason != test.reason || fmt.Sprint(got.Sealers) != test.sealers {
			t.Errorf("%s: got %+v, want %s (%s) by %s", test.name, got, test.want, test.reason, test.sealers)
		}
	}
}

// TestARCCountsOnlyForTrusted has chains vouch for a message that fails DMARC.
func TestARCCountsOnlyForTrusted(t *testing.T) {
	list, forwarder := newKey(t, Ed25519, "list.example", "s"), newKey(t, Ed25519, "forwarder.example", "s")
	c, _ := newChecker(t, published(t, list, forwarder)+zoneTXT("_dmarc.bank.example", "v=DMARC1; p=reject"))
	first := seal(t, list, simple, passedAtList, "none", 1)
	failed := seal(t, list, simple, strings.Replace(passedAtList, "dmarc=pass", "dmarc=fail", 1), "none", 1)
	other := seal(t, list, simple, strings.Replace(passedAtList, "bank.example", "evil.example", 1), "none", 1)
	quoted := seal(t, list, simple, `list.example; spf=pass smtp.mailfrom="x; dmarc=pass header.from=bank.example"`, "none", 1)
	comment := seal(t, list, simple, `list.example; spf=pass (x; dmarc=pass header.from=bank.example)`, "none", 1)
	second := seal(t, forwarder, first, "forwarder.example; arc=pass; dmarc=fail header.from=bank.example", "pass", 2)
	for _, test := range []struct {
		name, text string
		trusted    []string
		sealers    int
		want       Disposition
	}{
		{"nobody is trusted", first, nil, 0, DispositionReject},
		{"the sealer is", first, []string{"list.example"}, 1, DispositionNone},
		{"a subdomain is not", first, []string{"a.list.example", "example"}, 0, DispositionReject},
		{"it failed there too", failed, []string{"list.example"}, 1, DispositionReject},
		{"somebody else passed there", other, []string{"list.example"}, 1, DispositionReject},
		{"in quotes only", quoted, []string{"list.example"}, 1, DispositionReject},
		{"in a comment only", comment, []string{"list.example"}, 1, DispositionReject},
		{"both are", second, []string{"list.example", "forwarder.example"}, 2, DispositionNone},
		{"only the newest is", second, []string{"forwarder.example"}, 1, DispositionReject},
		{"only the oldest is", second, []string{"list.example"}, 0, DispositionReject},
		{"broken since", strings.Replace(first, "Subject: hello", "Subject: hallo", 1), []string{"list.example"}, 0, DispositionReject},
	} {
		c.TrustedSealers = test.trusted
		r := check(t, c, stranger, test.text)
		if r.DMARC.Result != Fail || r.DMARC.Disposition != test.want || r.DMARC.Policy != DispositionReject || r.ARC.Trusted != test.sealers {
			t.Errorf("%s: got %+v, %+v", test.name, r.DMARC, r.ARC)
		}
	}
}

// TestARCManySets has a chain as long as one may be, and one that is longer.
func TestARCManySets(t *testing.T) {
	key := newKey(t, Ed25519, "list.example", "s")
	c, _ := newChecker(t, published(t, key))
	text := seal(t, key, simple, "x; none", "none", 1)
	for i := 2; i <= maxSets; i++ {
		text = seal(t, key, text, "x; none", "pass", i)
	}
	if r := check(t, c, stranger, text); r.ARC.Result != Pass || len(r.ARC.Sealers) != maxSets {
		t.Errorf("got %+v", r.ARC)
	}
	if r := check(t, c, stranger, "ARC-Seal: i=51; a=rsa-sha256\r\n"+text); r.ARC.Result != Fail {
		t.Errorf("one more: got %+v", r.ARC)
	}
}

// TestARCMailDKIM verifies chains that Perl's Mail::DKIM sealed.
func TestARCMailDKIM(t *testing.T) {
	requireProgram(t, exec.Command("perl", "-MMail::DKIM::ARC::Signer", "-e1").Run() != nil, "Mail::DKIM")
	key := newKey(t, RSA, "list.example", "r1")
	c, _ := newChecker(t, published(t, key))
	dir := t.TempDir()
	writeFile(t, dir, "key.pem", pkcs1(t, key))
	messages := randomMessages(t, 100)
	writeMessages(t, dir, messages)
	out := run(t, dir, "perl", "-MMail::DKIM::ARC::Signer", "-e", `
		for (sort glob("0*")) {
			open my $f, "<:raw", $_ or die; my $text = do { local $/; <$f> };
			for my $chain ("none", "pass") {
				$text = "Authentication-Results: list.example; spf=pass smtp.mailfrom=bank.example\r\n$text";
				my $s = Mail::DKIM::ARC::Signer->new(Algorithm => "rsa-sha256", Chain => $chain,
					Domain => "list.example", SrvId => "list.example", Selector => "r1", KeyFile => "key.pem");
				$s->PRINT($text); $s->CLOSE;
				die $s->{details} if $s->result ne "sealed";
				$text = join("\r\n", $s->as_strings, $text);
			}
			print $text, "\0";
		}`)
	sealed := strings.Split(out, "\x00")
	if len(sealed) != len(messages)+1 {
		t.Fatalf("Mail::DKIM sealed %d of %d messages", len(sealed)-1, len(messages))
	}
	for _, text := range sealed[:len(messages)] {
		if r := check(t, c, stranger, text); r.ARC.Result != Pass || len(r.ARC.Sealers) != 2 {
			t.Errorf("got %+v\n%.3000q", r.ARC, text)
		}
	}
}
