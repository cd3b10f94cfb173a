package wire

import (
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestUTF7(t *testing.T) {
	for utf7, name := range map[string]string{
		"":                                "",
		"INBOX":                           "INBOX",
		"a&-b":                            "a&b",
		"&AOk-":                           "é",
		"Entw&APw-rfe":                    "Entwürfe",
		"~peter/mail/&U,BTFw-/&ZeVnLIqe-": "~peter/mail/台北/日本語",
		"&2D3eAA-":                        "\U0001F600",
		"&-&AOk-&-":                       "&é&",
		"&AAEAfw-":                        "\x01\x7f",
		"&AOkA6ADg-":                      "éèà",
	} {
		if got := EncodeUTF7(name); got != utf7 {
			t.Errorf("encode %q: %q, want %q", name, got, utf7)
		}
		if got, err := DecodeUTF7(utf7); err != nil || got != name {
			t.Errorf("decode %q: %q, %v, want %q", utf7, got, err, name)
		}
	}
}

func TestUTF7IsStrict(t *testing.T) {
	for why, in := range map[string]string{
		"no end":                    "&AOk",
		"ampersand alone":           "a&",
		"letter in base64":          "&AGE-",
		"ampersand in base64":       "&ACY-",
		"superfluous shift":         "&U,BTFw-&ZeVnLIqe-",
		"padding bits set":          "&AOl-",
		"too few bits":              "&A-",
		"octets left over":          "&AOkA-",
		"high surrogate alone":      "&2D0-",
		"low surrogate alone":       "&3gA-",
		"high surrogate and letter": "&2D0AYQ-",
		"slash of other base64":     "&U/BTFw-",
		"padding":                   "&AOk=-",
		"8-bit":                     "é",
		"8-bit in base64":           "&Aé-",
		"control":                   "a\x01",
		"DEL":                       "\x7f",
	} {
		if got, err := DecodeUTF7(in); err == nil {
			t.Errorf("%s: %q accepted as %q", why, in, got)
		} else {
			checkText(t, err)
		}
	}
}

func TestUTF7RoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.String().Draw(t, "name")
		if got, err := DecodeUTF7(EncodeUTF7(name)); err != nil || got != name {
			t.Fatalf("%q became %q, %v", name, got, err)
		}
	})
}

func FuzzUTF7(f *testing.F) {
	for _, s := range []string{"&AOk-", "a&-b", "&U,BTFw-&ZeVnLIqe-", "&2D3eAA-", "&2D0-", "é", "\xff", "&"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if name, err := DecodeUTF7(s); err == nil {
			if !utf8.ValidString(name) || EncodeUTF7(name) != s {
				t.Errorf("%q was decoded to %q", s, name)
			}
		}
		got, err := DecodeUTF7(EncodeUTF7(s))
		if err != nil || utf8.ValidString(s) && got != s {
			t.Errorf("%q became %q, %v", s, got, err)
		}
	})
}
