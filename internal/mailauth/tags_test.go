package mailauth

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

func TestParseTags(t *testing.T) {
	for text, want := range map[string]string{
		"a=b":                 "[{a b 2 3}]",
		" a = b ;\r\n\tc=d; ": "[{a b 4 7} {c d 13 14}]",
		"a=;b=c=d":            "[{a  2 2} {b c=d 5 8}]",
		"A=b;a=c":             "[{A b 2 3} {a c 6 7}]",
		"a_1=ü":               "[{a_1 ü 4 6}]",
		"":                    "",
		";":                   "",
		"a":                   "",
		"=b":                  "",
		"a=b; ;;c=d;;":        "[{a b 2 3} {c d 9 10}]",
		"a=b;a=c":             "",
		"1a=b":                "",
		"a-b=c":               "",
		"a b=c":               "",
		"a=b\x00":             "",
		"a=b\x7f":             "",
	} {
		list, ok := parseTags(text)
		if got := fmt.Sprint(list); ok != (want != "") || ok && got != want {
			t.Errorf("%q: got %s, %t, want %s", text, got, ok, want)
		}
	}
}

func FuzzParseTags(f *testing.F) {
	f.Add(" a = b ;\r\n\tc=d; ")
	f.Fuzz(func(t *testing.T, s string) {
		list, ok := parseTags(s)
		if !ok {
			return
		}
		for _, tag := range list {
			if got := trimSpace(s[tag.from:tag.to]); got != tag.value {
				t.Errorf("%q: %+v stands where %q does", s, tag, got)
			}
		}
	})
}

func FuzzPublicKey(f *testing.F) {
	key := newKey(f, Ed25519, "bank.example", "s")
	record, _ := key.Record()
	f.Add(record)
	f.Add("k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP; s=*; t=s:y; h=sha256")
	f.Fuzz(func(t *testing.T, txt string) {
		key, err := parsePublicKey(txt)
		if err == nil {
			key.verify(make([]byte, 32), make([]byte, 64)) // must not panic
			return
		}
		if flaw := (flaw{}); !errors.As(err, &flaw) {
			t.Errorf("%q: %v", txt, err)
		}
	})
}

// FuzzBodyHash checks that it does not matter how a body comes in pieces, nor
// whether its lines end in CRLF or in line feeds alone.
func FuzzBodyHash(f *testing.F) {
	f.Add([]byte("a \r\n\tb\r\r\n\r\n"), uint(3))
	f.Fuzz(func(t *testing.T, body []byte, at uint) {
		at %= uint(len(body) + 1)
		for _, relaxed := range []bool{false, true} {
			one, two, three := newBodyHash(relaxed), newBodyHash(relaxed), newBodyHash(relaxed)
			one.Write(body)
			two.Write(body[:at])
			two.Write(body[at:])
			three.Write(bytes.ReplaceAll(body, []byte("\r\n"), []byte("\n")))
			one.finish()
			two.finish()
			three.finish()
			if !bytes.Equal(one.done, two.done) || one.length != two.length {
				t.Errorf("%q in two pieces at %d is another body", body, at)
			}
			if !bytes.Contains(body, []byte("\r\r\n")) && !bytes.Equal(one.done, three.done) {
				t.Errorf("%q with other line ends is another body", body)
			}
		}
	})
}

func FuzzSPFSyntax(f *testing.F) {
	f.Add("ip4:192.0.2.0/24 include:%{d2r}.example redirect=a.b -all")
	f.Fuzz(func(t *testing.T, terms string) {
		if wellFormed(terms) != wellFormed(terms+" ") {
			t.Errorf("%q: a space at the end matters", terms)
		}
	})
}
