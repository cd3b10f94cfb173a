package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"mailbox/admin"
	"mailbox/internal/mailauth"
	"mailbox/mta"
)

// explained is what "explain" prints of checks, with single spaces.
func explained(t *testing.T, checks mta.Checks) string {
	t.Helper()
	text, err := json.Marshal(checks)
	if err != nil {
		t.Fatal(err)
	}
	var w strings.Builder
	showExplanations(&w, []admin.Explanation{{At: time.Now(), ID: "X", Sender: "", Recipients: []string{"a@home.example", "b@home.example"}, Peer: "192.0.2.1", Outcome: "filed", Checks: text}})
	return strings.ReplaceAll(w.String(), "\t", " ")
}

// TestExplainWords: each check is told in words.
func TestExplainWords(t *testing.T) {
	r := &mailauth.Results{
		IPRev:    mailauth.IPRev{Result: mailauth.Pass, Name: "mx.far.example"},
		Helo:     mailauth.SPF{Result: mailauth.None, Reason: "no domain name"},
		MailFrom: mailauth.SPF{Result: mailauth.SoftFail, Domain: "far.example"},
		DKIM: []mailauth.Signature{
			{Result: mailauth.Pass, Domain: "far.example", Selector: "s", Algorithm: "rsa-sha256"}, {Result: mailauth.PermError, Reason: "signature is malformed"},
		},
		Unchecked: 3,
		DMARC:     mailauth.DMARC{Result: mailauth.Pass, Domain: "far.example", Record: "far.example", Policy: mailauth.DispositionQuarantine, SPFAligned: true, DKIMAligned: "far.example"},
		ARC:       mailauth.ARC{Result: mailauth.Pass, Sealers: []string{"list.example", "other.example"}, Trusted: 1},
	}
	out := explained(t, mta.Checks{Results: r, Blocklists: []mta.Listing{{Zone: "bl.example", Text: "bad"}}, Because: []string{"one", "two"}})
	for _, want := range []string{
		"from <>\n", "to a@home.example, b@home.example\n", "peer 192.0.2.1\n", "outcome filed\n", "because one\n", "because two\n",
		"iprev pass for mx.far.example\n", "SPF, HELO none: no domain name\n", "SPF, MAIL FROM softfail for far.example\n",
		"DKIM pass for far.example (selector s, rsa-sha256)\n", "DKIM permerror: signature is malformed\n", "DKIM 3 more signatures were not looked at\n",
		"DMARC pass for far.example (by SPF and by the signature of far.example)\n", "policy quarantine of far.example; what it comes to here: none\n",
		"ARC pass for list.example, other.example (only the newest 1 trusted)\n", "blocklist bl.example has the peer: bad\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("explained as\n%s\nwithout %q", out, want)
		}
	}
	if out := explained(t, mta.Checks{}); !strings.Contains(out, "checks none were made\n") {
		t.Errorf("without checks:\n%s", out)
	}
}

// TestTrustShowsStrangersWords: what others wrote cannot speak to a terminal.
func TestTrustShowsStrangersWords(t *testing.T) {
	const bad = "\x1b[2J\u009b\r\n\x07\u202e"
	r := &mailauth.Results{
		IPRev: mailauth.IPRev{Name: bad, Reason: bad}, Helo: mailauth.SPF{Domain: bad, Reason: bad}, MailFrom: mailauth.SPF{Domain: bad},
		DKIM:  []mailauth.Signature{{Domain: bad, Selector: bad, Algorithm: bad, Reason: bad}},
		DMARC: mailauth.DMARC{Domain: bad, Record: bad, DKIMAligned: bad, Reason: bad}, ARC: mailauth.ARC{Sealers: []string{bad}, Reason: bad},
	}
	checks, err := json.Marshal(mta.Checks{Results: r, Blocklists: []mta.Listing{{Zone: bad, Text: bad}}, Because: []string{bad}})
	if err != nil {
		t.Fatal(err)
	}
	var w strings.Builder
	showExplanations(&w, []admin.Explanation{
		{ID: bad, MessageID: bad, Sender: bad, Recipients: []string{bad}, Peer: bad, Outcome: bad, Checks: checks},
		{ID: bad, Checks: json.RawMessage(`{"because":"` + bad)},
	})
	for _, c := range []string{"\x1b", "\u009b", "\r", "\x07", "\u202e", "J\n"} {
		if strings.Contains(w.String(), c) {
			t.Errorf("%q is shown:\n%q", c, w.String())
		}
	}
}
