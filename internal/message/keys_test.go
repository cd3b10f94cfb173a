package message

import "testing"

// TestBaseSubject holds what RFC 5256 section 2.1 says.
func TestBaseSubject(t *testing.T) {
	for _, c := range []struct {
		subject, base string
		reply         bool
	}{
		{"", "", false},
		{"hello", "hello", false},
		{"  a \t b\tc ", "a b c", false},
		{"Re: hello", "hello", true},
		{"RE : Fw:  fWd:hello", "hello", true},
		{"re[2]: hello", "hello", true},
		{"[list] Re: [list] hello", "hello", true},
		{"[list][more] hello", "hello", false},
		{"[list]", "[list]", false},
		{"Re: [list]", "[list]", true},
		{"hello (fwd) (FWD) ", "hello", true},
		{"[Fwd: Re: hello (fwd)]", "hello", true},
		{"[fwd: [fwd: hello]]", "hello", true},
		{"Re:", "", true},
		{"regards", "regards", false},
		{"[a[b] Re: x", "[a[b] Re: x", false},
		{"=?utf-8?q?Re=3A_Gr=C3=BC=C3=9Fe?=", "Grüße", true},
	} {
		if base, reply := BaseSubject(c.subject); base != c.base || reply != c.reply {
			t.Errorf("%q: %q %v, not %q %v", c.subject, base, reply, c.base, c.reply)
		}
	}
}

// TestKeys: texts are compared whatever their case, and however composed.
func TestKeys(t *testing.T) {
	h := ParseHeader([]byte("From: Group: \"B\" <Bob@x>;\r\nTo: <ÉVA@x>, <a@x>\r\nSubject: Re: E\u0301t\u00e9\r\nIn-Reply-To: hm <1@x> <2@x>\r\nMessage-ID: <3@x>\r\n\r\n"))
	k := KeysOf(h)
	if k.From != "group" || k.To != "e\u0301va" || k.Cc != "" || k.Subject != "e\u0301te\u0301" || !k.Reply || k.ID != "<3@x>" || len(k.References) != 1 || k.References[0] != "<1@x>" {
		t.Errorf("%+v", k)
	}
	k = KeysOf(ParseHeader([]byte("References: <1@x>\r\n <2@x>\r\nIn-Reply-To: <9@x>\r\n")))
	if len(k.References) != 2 || k.References[1] != "<2@x>" || !k.Sent.IsZero() {
		t.Errorf("%+v", k)
	}
}
