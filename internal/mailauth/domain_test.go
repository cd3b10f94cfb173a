package mailauth

import (
	"strings"
	"testing"

	"mailbox/internal/message"
)

func TestASCIIDomain(t *testing.T) {
	long := strings.Repeat("abcdefg.", 31) + "abcde" // 253 octets
	for text, want := range map[string]string{
		"bank.example":                       "bank.example",
		"BANK.Example.":                      "bank.example",
		"bücher.example":                     "xn--bcher-kva.example",
		"_dmarc.a-b.x1":                      "_dmarc.a-b.x1",
		"localhost":                          "localhost",
		long:                                 long,
		long + "f":                           "",
		strings.Repeat("a", 63) + ".example": strings.Repeat("a", 63) + ".example",
		strings.Repeat("a", 64) + ".example": "",
		"":                                   "",
		".":                                  "",
		"a..b":                               "",
		".a":                                 "",
		"a..":                                "",
		"a b":                                "",
		"a\x00b":                             "",
		"a\tb":                               "",
		"a/b":                                "",
		"a;b":                                "",
		`a"b`:                                "",
		"*.a":                                "",
		"[192.0.2.1]":                        "",
		"b\xffcher.example":                  "",
		"\u200b":                             "",
		strings.Repeat("ü", 200):             "",
	} {
		if got, ok := asciiDomain(text); got != want || ok != (want != "") {
			t.Errorf("%q: got %q, %t", text, got, ok)
		}
	}
}

func FuzzASCIIDomain(f *testing.F) {
	for _, s := range []string{"bank.example", "bücher.example.", "a。b", "xn--a", "\u00df"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		domain, ok := asciiDomain(s)
		if !ok {
			return
		}
		if again, ok := asciiDomain(domain); !ok || again != domain || value(domain) != domain {
			t.Errorf("%q: %q, then %q", s, domain, again)
		}
	})
}

func TestAuthorDomain(t *testing.T) {
	for text, want := range map[string]string{
		"From: a@Bücher.example\n":               "xn--bcher-kva.example",
		"From: a@b.example, c@B.example.\n":      "b.example",
		"from : A <a@b.example>\nFrom-X: c@d\n":  "b.example",
		"From: a@b.example, c@d.example\n":       "",
		"From: a@b.example\nFrom: a@b.example\n": "",
		"From: g: a@b.example;\n":                "",
		"From:\n":                                "",
		"Sender: a@b.example\n":                  "",
	} {
		got, err := AuthorDomain(message.ParseHeader([]byte(text)))
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v", text, got, err)
		}
	}
}
