package msa

import (
	"strings"
	"testing"
)

// TestMailFrom: a user writes from addresses that are theirs, and from the null
// reverse-path.
func TestMailFrom(t *testing.T) {
	f := newFixture(t, nil)
	for _, c := range []struct{ user, from, reply string }{
		{"alice@home.example", "alice@home.example", "250"},
		{"alice@home.example", "ALICE@Home.Example", "250"},
		{"alice@home.example", "alice@home.example.", "250"}, // the root's dot is no other domain
		{"alice@home.example", `"alice"@home.example`, "250"},
		{"alice@home.example", "@relay.example:alice@home.example", "250"}, // the route is dropped
		{"alice@home.example", "alice+lists@home.example", "250"},
		{"alice@home.example", "a.liddell@home.example", "250"},
		{"alice@home.example", "alice@xn--bcher-kva.example", "250"},
		{"alice@home.example", "alice@bücher.example> SMTPUTF8 BODY=8BITMIME X<", "555"},
		{"alice@home.example", "alice@bücher.example", "553 5.6.7"}, // without SMTPUTF8
		{"alice@home.example", "", "250"},
		{"alice@home.example", "staff@home.example", "250"},
		{"alice@home.example", "staff+x@home.example", "250"},
		{"alice@home.example", "all@home.example", "553 5.7.1"}, // an alias for an alias
		{"alice@home.example", "bob@home.example", "553 5.7.1"},
		{"alice@home.example", "bob+alice@home.example", "553 5.7.1"},
		{"alice@home.example", "nobody@home.example", "553 5.7.1"},
		{"alice@home.example", "alice@elsewhere.example", "553 5.7.1"},
		{"alice@home.example", "out@elsewhere.example", "553 5.7.1"}, // behind an alias of hers
		{"alice@home.example", "alice@sub.home.example", "553 5.7.1"},
		{"alice@home.example", "alice%home.example@elsewhere.example", "553 5.7.1"},
		{"alice@home.example", `"alice@home.example"@elsewhere.example`, "553 5.7.1"},
		{"alice@home.example", `"alice@home.example,x"@home.example`, "553 5.7.1"},
		{"alice@home.example", `"alice "@home.example`, "553 5.7.1"},
		{"alice@home.example", "alice@[127.0.0.1]", "553 5.7.1"},
		{"alice@home.example", "alice", "501"},
		{"alice@home.example", "@home.example", "501"},
		{"alice@home.example", "anything@open.example", "553 5.7.1"},
		{"alice@home.example", "postmaster@home.example", "250"}, // she gets that mail
		{"alice@home.example", "abuse@open.example", "250"},
		{"bob@home.example", "postmaster@home.example", "553 5.7.1"},
		{"bob@home.example", "abuse@home.example", "553 5.7.1"},
		{"bob@home.example", "anything@open.example", "250"},
		{"bob@home.example", "any+tag@OPEN.example", "250"},
		{"bob@home.example", "carol@open.example", "553 5.7.1"}, // somebody else's, catch-all or not
		{"bob@home.example", "carol+tag@open.example", "553 5.7.1"},
		{"bob@home.example", "sales@open.example", "553 5.7.1"}, // an alias for somebody else
		{"bob@home.example", "postmaster@open.example", "553 5.7.1"},
		{"bob@home.example", "Abuse@open.example", "553 5.7.1"},
		{"bob@home.example", "postmaster+x@open.example", "553 5.7.1"},
		{"carol@open.example", "sales@open.example", "250"},
		{"carol@open.example", "anything@open.example", "553 5.7.1"},
	} {
		cl := f.client(t, c.user)
		if reply := cl.say("MAIL FROM:<" + c.from + ">"); !strings.HasPrefix(reply, c.reply) {
			t.Errorf("%s from %s: %s, not %s", c.user, c.from, reply, c.reply)
		}
		cl.Close()
	}
}

// fields are headers that alice may send, by what they are about; the table of
// those that she may not is below.
var fields = map[string]string{
	"bare":                      "From: alice@home.example",
	"angle":                     "From: <alice@home.example>",
	"name":                      "From: Alice Liddell <alice@home.example>",
	"no space":                  "From: Alice<alice@home.example>",
	"initial":                   "From: Alice P. Liddell <alice@home.example>",
	"apostrophe":                "From: Alice O'Liddell <alice@home.example>",
	"quoted comma":              `From: "Liddell, Alice" <alice@home.example>`,
	"quoted quote":              `From: "Alice \"Al\" Liddell" <alice@home.example>`,
	"empty name":                `From: "" <alice@home.example>`,
	"comment":                   "From: alice@home.example (Alice Liddell)",
	"two comments":              `From: Alice (at (the) \(office) <alice@home.example> (mobile)`,
	"parentheses in quotes":     `From: "Alice (Work)" <alice@home.example>`,
	"colon in quotes":           `From: "Re: Alice; all" <alice@home.example>`,
	"utf-8":                     "From: Älice Wunderländ 🐇 <alice@home.example>",
	"quoted utf-8":              `From: "Älice, Wunderländ" <alice@home.example>`,
	"joined emoji":              "From: 👩\u200d💻 Alice <alice@home.example>",
	"hebrew":                    "From: \u200fאליס\u200e <alice@home.example>",
	"encoded":                   "From: =?UTF-8?Q?=C3=84lice_Wunderl=C3=A4nd?= <alice@home.example>",
	"encoded base64":            "From: =?utf-8?B?w4RsaWNl?= =?utf-8?B?IExpZGRlbGw=?= <alice@home.example>",
	"encoded latin1":            "From: =?iso-8859-1?q?=C4lice?= Liddell <alice@home.example>",
	"encoded japanese":          "From: =?ISO-2022-JP?B?GyRCJSIlaiU5GyhC?= <alice@home.example>",
	"encoded in quotes":         `From: "=?utf-8?q?=C3=84lice=2C_Liddell?=" <alice@home.example>`,
	"encoded comma":             "From: =?utf-8?q?Liddell=2C_Alice?= <alice@home.example>",
	"@ home":                    `From: "Alice @ Home" <alice@home.example>`,
	"@ with a stop":             `From: "Alice @ Liddell Inc." <alice@home.example>`,
	"@ and dots":                `From: "Alice P. @ Dr. Liddell" <alice@home.example>`,
	"R&D @":                     `From: "R&D @ Example" <alice@home.example>`,
	"joined @":                  `From: "Alice@Work" <alice@home.example>`,
	"handle":                    `From: "Alice (@alice)" <alice@home.example>`,
	"@ alone":                   `From: "@" <alice@home.example>`,
	"encoded @":                 "From: =?utf-8?q?=C3=84lice_=40_Home?= <alice@home.example>",
	"own address as name":       `From: "alice@home.example" <alice@home.example>`,
	"own address in quotes":     `From: "'alice@home.example'" <alice@home.example>`,
	"own address encoded":       "From: =?utf-8?q?alice=40home=2Eexample?= <alice@home.example>",
	"other own address as name": `From: "Staff <staff@home.example>" <alice@home.example>`,
	"folded":                    "From: Alice\r\n Liddell\r\n\t<alice@home.example>",
	"folded at once":            "From:\r\n alice@home.example",
	"odd case":                  "fROM: ALICE@HOME.EXAMPLE",
	"space before the colon":    "From : alice@home.example",
	"tag":                       "From: Alice <alice+news@home.example>",
	"alias":                     "From: Staff <staff@home.example>",
	"further address":           "From: a.liddell@home.example",
	"quoted local part":         `From: "alice"@home.example`,
	"utf-8 local part":          "From: Jörg <jörg@home.example>",
	"decomposed local part":     "From: Jörg <jo\u0308rg@home.example>",
	"u-labels":                  "From: alice@bücher.example",
	"a-labels":                  "From: alice@XN--BCHER-KVA.example",
	"postmaster":                "From: Mail operator <postmaster@home.example>",
	"two of hers":               "From: alice@home.example, Staff <staff@home.example>\r\nSender: alice@home.example",
	"sender":                    "From: Staff <staff@home.example>\r\nSender: Alice <alice@home.example>",
	"resent":                    "From: alice@home.example\r\nResent-From: staff@home.example\r\nResent-Sender: alice@home.example\r\nResent-From: alice@home.example",
	"other fields":              "From: alice@home.example\r\nReply-To: bob@home.example, x@elsewhere.example\r\nX-From: eve@elsewhere.example",
}

// forged are headers that alice may not send, with the replies.
var forged = map[string]string{
	"none":                        "554 Subject: x",
	"empty":                       "554 From:",
	"blank":                       "554 From: \r\n ",
	"empty angle":                 "554 From: <>",
	"name only":                   "554 From: Alice",
	"no domain":                   "554 From: <alice>",
	"another's":                   "553 From: bob@home.example",
	"another's tag":               "553 From: bob+alice@home.example",
	"elsewhere":                   "553 From: alice@elsewhere.example",
	"nobody's":                    "553 From: nobody@home.example",
	"subdomain":                   "553 From: alice@sub.home.example",
	"two":                         "554 From: alice@home.example\r\nFrom: bob@home.example",
	"two, odd case":               "554 From: alice@home.example\r\nX: y\r\nfrom : bob@home.example",
	"two of her own":              "554 From: alice@home.example\r\nFrom: alice@home.example",
	"second in list":              "553 From: alice@home.example, bob@home.example",
	"first in list":               "553 From: bob@home.example, alice@home.example",
	"list with nothing":           "554 From: alice@home.example,",
	"list begins with nothing":    "554 From: , alice@home.example",
	"semicolon":                   "554 From: alice@home.example; bob@home.example",
	"group":                       "554 From: Friends: alice@home.example;",
	"empty group":                 "554 From: undisclosed:;",
	"group behind":                "554 From: alice@home.example, x: bob@home.example;",
	"route":                       "554 From: <@relay.example:alice@home.example>",
	"two angles":                  "554 From: <bob@home.example> <alice@home.example>",
	"angle in angle":              "554 From: <<alice@home.example>>",
	"address before angle":        "554 From: bob@home.example <alice@home.example>",
	"address behind angle":        "554 From: <alice@home.example> bob@home.example",
	"unclosed angle":              "554 From: <alice@home.example",
	"unclosed quote":              `554 From: "Alice <alice@home.example>`,
	"unclosed comment":            "554 From: alice@home.example (Alice",
	"ends in a backslash":         `554 From: "Alice\`,
	"comment inside":              "554 From: alice(bob@home.example)@home.example",
	"comment in the domain":       "554 From: alice@(x)home.example",
	"space inside":                "554 From: <alice @home.example>",
	"space in the local part":     "554 From: <bob alice@home.example>",
	"quoted space":                `554 From: <"bob alice"@home.example>`,
	"quoted @":                    `554 From: <"bob@elsewhere.example"@home.example>`,
	"quoted dots":                 `554 From: <"alice..x"@home.example>`,
	"two quoted":                  `554 From: "alice"."x"@home.example`,
	"quoted domain":               `554 From: alice@"home.example"`,
	"two @":                       "554 From: alice@home.example@elsewhere.example",
	"literal":                     "554 From: alice@[127.0.0.1]",
	"dot at the end":              "554 From: alice@home.example.",
	"homograph":                   "553 From: \u0430lice@home.example",
	"homograph domain":            "553 From: alice@h\u043eme.example",
	"soft hyphen":                 "553 From: al\u00adice@home.example",
	"not utf-8":                   "554 From: J\xf6rg <alice@home.example>",
	"cut utf-8":                   "554 From: \xc3 <alice@home.example>",
	"nul":                         "554 From: alice@home.example\x00",
	"nul in the name":             "554 From: \"Alice\x00\" <alice@home.example>",
	"escape":                      "554 From: \x1b$B <alice@home.example>",
	"c1 control":                  "554 From: \"Alice\u0085\" <alice@home.example>",
	"folded to hide":              "554 From: alice@home.example\r\n bob@home.example",
	"folded list":                 "553 From: alice@home.example,\r\n\tbob@home.example",
	"name is an address":          `553 From: "bob@elsewhere.example" <alice@home.example>`,
	"name has an address":         `553 From: "Bob (bob@elsewhere.example)" <alice@home.example>`,
	"name ends early":             `553 From: "bob@elsewhere.example>" <alice@home.example>`,
	"spaced address as name":      `553 From: "bob @ elsewhere.example" <alice@home.example>`,
	"tab in the address as name":  "553 From: \"bob\t@ elsewhere.example\" <alice@home.example>",
	"dots apart":                  `553 From: "bob@elsewhere .example" <alice@home.example>`,
	"words apart":                 `553 From: "bob@elsewhere"".example" <alice@home.example>`,
	"words that touch":            `553 From: "bob@elsewhere.""example" <alice@home.example>`,
	"atoms that touch":            `553 From: "bob@"elsewhere.example <alice@home.example>`,
	"backslashes":                 `553 From: "bob\@elsewhere\.example" <alice@home.example>`,
	"wide @":                      "553 From: bob\uff20elsewhere.example <alice@home.example>",
	"wide dot":                    "553 From: \"bob@elsewhere\uff0eexample\" <alice@home.example>",
	"invisible":                   "553 From: \"bob\u200b@\u200belsewhere.example\" <alice@home.example>",
	"invisible between":           "553 From: \"bob @\u200b elsewhere.example\" <alice@home.example>",
	"literal as name":             `553 From: "bob@[192.0.2.1]" <alice@home.example>`,
	"comment is an address":       "553 From: alice@home.example (bob@elsewhere.example)",
	"comment before":              "553 From: (bob@elsewhere.example) alice@home.example",
	"nested comment":              "553 From: alice@home.example (x (bob@elsewhere.example))",
	"handle with a server":        `553 From: "@bob@elsewhere.example" <alice@home.example>`,
	"encoded address":             "553 From: =?utf-8?q?bob=40elsewhere=2Eexample?= <alice@home.example>",
	"encoded base64":              "553 From: =?utf-8?B?Ym9iQGVsc2V3aGVyZS5leGFtcGxl?= <alice@home.example>",
	"encoded in pieces":           "553 From: =?utf-8?q?bob=40?= =?utf-8?q?elsewhere=2Eexample?= <alice@home.example>",
	"encoded in quotes":           `553 From: "=?utf-8?q?bob=40elsewhere=2Eexample?=" <alice@home.example>`,
	"encoded in a comment":        "553 From: alice@home.example (=?utf-8?q?bob=40elsewhere=2Eexample?=)",
	"encoded, other charset":      "553 From: =?utf-16be?B?AGIAbwBiAEAAZQAuAGUAeA==?= <alice@home.example>",
	"encoded with a language":     "553 From: =?utf-8*en?q?bob=40elsewhere=2Eexample?= <alice@home.example>",
	"encoded list":                "554 From: =?utf-8?q?bob=40elsewhere=2Eexample=2C?= alice@home.example <alice@home.example>",
	"encoded utf-7":               "554 From: =?utf-7?q?bob+AEA-elsewhere.example?= <alice@home.example>",
	"encoded utf-7, other name":   "554 From: =?unicode-1-1-utf-7?q?bob+AEA-elsewhere.example?= <alice@home.example>",
	"encoded ebcdic":              "554 From: =?ibm037?q?bob=7Celsewhere?= <alice@home.example>",
	"base64 with noise":           "554 From: =?utf-8?b?Ym9i!QGVsc2V3aGVyZS5leGFtcGxl?= <alice@home.example>",
	"base64 in two":               "554 From: =?utf-8?b?Ym8=YkBlbHNld2hlcmUuZXhhbXBsZQ==?= <alice@home.example>",
	"base64 behind padding":       "554 From: alice@home.example (=?utf-8?b?Ym8=YkBlbHNld2hlcmUuZXhhbXBsZQ==?=)",
	"overlong encoded word":       "554 From: =?utf-8?q?" + strings.Repeat("_", 5000) + "bob=40elsewhere.example?= <alice@home.example>",
	"half an encoded word":        "554 From: =?utf-8?q?bob=40elsewhere.example <alice@home.example>",
	"escaped in a comment":        `553 From: alice@home.example (bob\@elsewhere\.example)`,
	"escaped twice":               `553 From: "bob\\@elsewhere.example" <alice@home.example>`,
	"quotes in the name":          `553 From: "\"bob\"@\"elsewhere.example\"" <alice@home.example>`,
	"encoded line end":            "554 From: =?utf-8?q?Alice=0D=0AFrom:_bob?= <alice@home.example>",
	"encoded nul":                 "554 From: =?utf-8?q?Alice=00?= <alice@home.example>",
	"encoded local part":          "554 From: =?utf-8?q?alice?=@home.example",
	"encoded domain":              "554 From: <alice@=?utf-8?q?home?=.example>",
	"encoded @ in the address":    "554 From: <alice=?utf-8?q?=40?=@home.example>",
	"raw @ in an encoded word":    "554 From: =?utf-8?q?bob@elsewhere.example?= <alice@home.example>",
	"sender":                      "553 From: alice@home.example\r\nSender: bob@home.example",
	"sender elsewhere":            "553 From: alice@home.example\r\nSender : Alice <alice@elsewhere.example>",
	"sender's name":               "553 From: alice@home.example\r\nSender: \"bob@elsewhere.example\" <alice@home.example>",
	"two senders":                 "554 From: alice@home.example\r\nSender: alice@home.example\r\nSender: alice@home.example",
	"list of senders":             "554 From: alice@home.example\r\nSender: alice@home.example, staff@home.example",
	"empty sender":                "554 From: alice@home.example\r\nSender:",
	"resent-from":                 "553 From: alice@home.example\r\nResent-From: bob@home.example",
	"second resent-from":          "553 From: alice@home.example\r\nResent-From: alice@home.example\r\nresent-FROM: bob@home.example",
	"resent-sender":               "553 From: alice@home.example\r\nResent-Sender: bob@home.example",
	"list of resent-sender":       "554 From: alice@home.example\r\nResent-Sender: alice@home.example, staff@home.example",
	"from behind the header":      "554 Subject: x\r\nno field\r\nFrom: alice@home.example",
	"from with a nul in its name": "554 Subject: x\r\nFrom\x00: alice@home.example",
	"begins with a continuation":  "554  x\r\nFrom: alice@home.example",
}

// TestSenderFields: who the header names must be the user. What clients write
// passes; what could be read in two ways, or shows somebody else, does not.
func TestSenderFields(t *testing.T) {
	f := newFixture(t, nil)
	c := f.client(t, "alice@home.example")
	defer c.Close() //nolint:errcheck // over
	for name, header := range fields {
		if reply := c.submit("alice@home.example", []string{"alice@home.example"}, header+"\r\n\r\nbody"); !strings.HasPrefix(reply, "250 ") {
			t.Errorf("%s: %q: %s", name, header, reply)
		}
	}
	if n := len(f.inbox(t, f.alice)); n != len(fields) {
		t.Errorf("%d messages were filed, not %d", n, len(fields))
	}
	for name, row := range forged {
		want, header, _ := strings.Cut(row, " ")
		for _, from := range []string{"alice@home.example", ""} {
			if reply := c.submit(from, []string{"bob@home.example"}, header+"\r\n\r\nbody"); !strings.HasPrefix(reply, want+" ") {
				t.Errorf("%s from <%s>: %q: %s, not %s", name, from, header, reply, want)
			}
		}
	}
	if texts := f.inbox(t, f.bob); len(texts) > 0 {
		t.Errorf("bob got %q", texts)
	}
}

// TestManySenders: a message cannot make us look up addresses without end.
func TestManySenders(t *testing.T) {
	f := newFixture(t, nil)
	header := "From: alice@home.example\r\n"
	for i := range 2 * maxOrigins {
		header += "Resent-From: alice+" + strings.Repeat("x", i%50) + strings.Repeat("y", i/50) + "@home.example\r\n"
	}
	if reply := f.submit(t, "alice@home.example", "", []string{"bob@home.example"}, header+"\r\n"); !strings.HasPrefix(reply, "554 5.6.0 message has too many senders") {
		t.Error(reply)
	}
}
