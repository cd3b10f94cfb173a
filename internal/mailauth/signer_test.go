package mailauth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"mailbox/internal/dns/dnstest"
	"mailbox/internal/message"
)

func TestSignRefuses(t *testing.T) {
	key := newKey(t, Ed25519, "bank.example", "s")
	signer := Signer{Keys: []Key{key}}
	header, _ := split("To: x@y.example\n\n")
	if _, err := signer.Sign(header, strings.NewReader("")); err == nil {
		t.Error("signed a message without From")
	}
	header, _ = split(simple)
	broken := errors.New("disk on fire")
	if _, err := signer.Sign(header, iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("body that cannot be read: %v", err)
	}
	for _, bad := range []Key{{"bank..example", "s", key.Private}, {"bank.example", "a b; x=y", key.Private}} {
		signer := Signer{Keys: []Key{bad}}
		if fields, err := signer.Sign(header, strings.NewReader("")); err == nil {
			t.Errorf("signed as %s: %s", bad.Name(), fields)
		}
	}
}

// TestSignManyFields has a header with more fields than a signature may name.
func TestSignManyFields(t *testing.T) {
	key := newKey(t, Ed25519, "bank.example", "s")
	c, _ := newChecker(t, published(t, key))
	text := strings.Repeat("To: x@y.example\nList-Id: x\n", 5000) + simple
	if r := check(t, c, stranger, sign(t, text, key)); r.DKIM[0].Result != Pass {
		t.Errorf("got %+v", r.DKIM)
	}
}

func TestKeys(t *testing.T) {
	for _, algorithm := range []Algorithm{RSA, Ed25519} {
		key := newKey(t, algorithm, "bank.example", "s1")
		text, err := MarshalKey(key.Private)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseKey(text)
		if err != nil {
			t.Fatal(err)
		}
		was, _ := key.Record()
		is, _ := Key{"bank.example", "s1", again}.Record()
		if was != is {
			t.Errorf("%s: became another key", algorithm)
		}
		public, err := parsePublicKey(was)
		if err != nil || public.algorithm != string(algorithm) {
			t.Errorf("%s: record %s: %v", algorithm, was, err)
		}
		// What the operator pastes is what the world sees, whole.
		c, _ := newChecker(t, key.Name()+". TXT "+ZoneText(was))
		answer, err := c.DNS.TXT(ctx, key.Name())
		if err != nil || len(answer.Records) != 1 || answer.Records[0] != was {
			t.Errorf("%s: %q, %v, want %q", algorithm, answer.Records, err, was)
		}
		for part := range strings.SplitSeq(strings.Trim(ZoneText(was), `"`), `" "`) {
			if len(part) > 255 {
				t.Errorf("string of %d octets", len(part))
			}
		}
	}
	if _, err := ParseKey(pkcs1(t, newKey(t, RSA, "a.example", "s"))); err != nil {
		t.Errorf("PKCS #1: %v", err)
	}
	for _, bad := range []string{"", "key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"} {
		if key, err := ParseKey([]byte(bad)); err == nil {
			t.Errorf("%q: got %v", bad, key)
		}
	}
	if _, err := GenerateKey("dsa"); err == nil {
		t.Error("made a key for an algorithm that there is not")
	}
}

// TestPublished: a key is published where a verifier finds it, however it was
// pasted.
func TestPublished(t *testing.T) {
	key, other := newKey(t, Ed25519, "bank.example", "s"), newKey(t, Ed25519, "bank.example", "s")
	rsa := newKey(t, RSA, "bank.example", "rsa")
	record, _ := key.Record()
	wrong, _ := other.Record()
	_, short, _ := strings.Cut(record, ";")
	zone := published(t, key, rsa)
	for selector, txt := range map[string]string{
		"spaces": strings.ReplaceAll(record, "; ", " ;  ") + ";", "short": short, "testing": record + "; t=y",
		"other": wrong, "revoked": "v=DKIM1; p=", "sha1": record + "; h=sha1", "web": record + "; s=web", "text": "hello",
	} {
		zone += zoneTXT(selector+"._domainkey.bank.example", txt)
	}
	c, server := newChecker(t, zone)
	for selector, want := range map[string]bool{
		"s": true, "spaces": true, "short": true, "testing": true,
		"other": false, "revoked": false, "sha1": false, "web": false, "text": false, "none": false, "rsa": false, "": false,
	} {
		if got, err := (Key{"bank.example", selector, key.Private}).Published(ctx, c.DNS); got != want || err != nil {
			t.Errorf("%q: published %v, %v; want %v", selector, got, err, want)
		}
	}
	if ok, err := rsa.Published(ctx, c.DNS); !ok || err != nil {
		t.Errorf("RSA: published %v, %v", ok, err)
	}
	server.Fail("trouble._domainkey.bank.example", dnstest.ServFail)
	if ok, err := (Key{"bank.example", "trouble", key.Private}).Published(ctx, c.DNS); ok || err == nil {
		t.Errorf("with DNS trouble: published %v, %v", ok, err)
	}
}

// TestResultsAsJSON: what was found out survives being written down.
func TestResultsAsJSON(t *testing.T) {
	was := Results{Hostname: "mail.home.example", DMARC: DMARC{Result: Fail, Policy: DispositionReject, Disposition: DispositionQuarantine}}
	text, err := json.Marshal(was)
	if err != nil || !strings.Contains(string(text), `"Policy":"reject","Disposition":"quarantine"`) {
		t.Fatalf("%s, %v", text, err)
	}
	var is Results
	if err := json.Unmarshal(text, &is); err != nil || is.DMARC != was.DMARC || is.Hostname != was.Hostname {
		t.Errorf("%+v, %v", is, err)
	}
	if err := json.Unmarshal([]byte(`{"DMARC":{"Policy":"burn"}}`), &is); err == nil {
		t.Error("an unknown policy was read")
	}
}

func TestZoneText(t *testing.T) {
	for text, want := range map[string]string{
		"":                       `""`,
		"v=DKIM1; p=AA":          `"v=DKIM1; p=AA"`,
		`a"b\c`:                  `"a\"b\\c"`,
		"ä\x00":                  `"\195\164\000"`,
		strings.Repeat("a", 255): `"` + strings.Repeat("a", 255) + `"`,
		strings.Repeat("a", 256): `"` + strings.Repeat("a", 255) + `" "a"`,
	} {
		if got := ZoneText(text); got != want {
			t.Errorf("%.20q: got %s, want %s", text, got, want)
		}
	}
}

func FuzzSign(f *testing.F) {
	key := newKey(f, Ed25519, "bank.example", "s")
	c, _ := newChecker(f, published(f, key))
	f.Add([]byte("From: a@bank.example\r\n"), []byte("hello \r\n\r\n"))
	f.Add([]byte("from:\n x\nSubject : a\n"), []byte("a\rb"))
	f.Fuzz(func(t *testing.T, head, body []byte) {
		header := message.ParseHeader(head)
		signer := Signer{Keys: []Key{key}}
		fields, err := signer.Sign(header, bytes.NewReader(body))
		if err != nil {
			return
		}
		signed := append(message.ParseHeader(fields), header...)
		r, err := c.Begin(context.Background(), stranger).Check(signed, io.Reader(bytes.NewReader(body)))
		if err != nil || r.DKIM[0].Result != Pass {
			t.Errorf("%v, %+v\n%s", err, r.DKIM, fields)
		}
	})
}
