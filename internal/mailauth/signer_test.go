package mailauth

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

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
