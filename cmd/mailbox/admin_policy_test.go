package main

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"mailbox/admin"
	"mailbox/internal/dns/dnstest"
	"mailbox/mta"
)

const strictBank = `
bank.example.        TXT "v=spf1 -all"
_dmarc.bank.example. TXT "v=DMARC1; p=reject"
`

// fromBank brings a message in the bank's name, and returns the answer to it.
func (s *site) fromBank(id string) string {
	s.t.Helper()
	u := &smtpPeer{t: s.t, s: s}
	u.send("MAIL FROM:<x@sub.list.example>\r\n", "250")
	u.send("RCPT TO:<alice@home.example>\r\n", "250")
	u.send("DATA\r\n", "354")
	answer := u.reply("From: boss@bank.example\r\nTo: x\r\nMessage-ID: <" + id + "@bank.example>\r\n\r\nhello\r\n.\r\n")
	u.nc.Close()
	return answer
}

// TestAdminPolicy: what the operator says of a sender comes before what the
// checks say, and "explain" tells of both.
func TestAdminPolicy(t *testing.T) {
	zone := dnstest.New(t, "127.0.0.1:0", strictBank)
	s := (&site{t: t, domain: "home.example", dns: zone.Addr}).configure()
	s.start()
	explains := func(what string, wants ...string) {
		t.Helper()
		out := s.run("", "admin", "explain", what)
		for _, want := range wants {
			if !strings.Contains(strings.Join(strings.Fields(out), " "), want) {
				t.Errorf("explain %s says\n%s\nwithout %q", what, out, want)
			}
		}
	}
	if got := s.fromBank("1"); !strings.HasPrefix(got, "550 5.7.26") {
		t.Fatalf("without a policy: %q", got)
	}
	explains("1@bank.example", "from x@sub.list.example", "to alice@home.example", "Message-ID <1@bank.example>", "peer 127.0.0.1", "outcome 550 5.7.26",
		"because DMARC: bank.example wants reject", "iprev permerror: address has no name", "SPF, HELO none for odd.example", "SPF, MAIL FROM none for sub.list.example",
		"DKIM none: there is no signature", "DMARC fail for bank.example (neither SPF nor a signature is of that domain)",
		"policy reject of bank.example; what it comes to here: reject", "ARC none")

	s.run("", "admin", "policy", "add", "Boss@Bank.Example", "accept", "--note", "we know him")
	s.run("", "admin", "policy", "add", "@list.example", "reject")
	got := s.fromBank("2")
	if !strings.HasPrefix(got, "250") {
		t.Errorf("From is accepted and the reverse-path is not: %q", got)
	}
	id := got[strings.LastIndexByte(got, ' ')+1:]
	explains(id, "outcome filed in alice@home.example/INBOX", "because the operator's policy for boss@bank.example: accept")
	s.run("", "admin", "policy", "add", "boss@bank.example", "junk")
	if got := s.fromBank("3"); !strings.HasPrefix(got, "550 5.7.26") {
		t.Errorf("junk made DMARC not matter: %q", got)
	}
	if out, want := s.run("", "admin", "policy", "list"), "boss@bank.example junk"; !strings.Contains(strings.Join(strings.Fields(out), " "), want) {
		t.Errorf("the list says\n%s\nwithout %q", out, want)
	}
	s.run("", "admin", "policy", "remove", "boss@bank.example")
	if got := s.fromBank("4"); !strings.HasPrefix(got, "550 5.7.1") {
		t.Errorf("the reverse-path is not wanted: %q", got)
	}
	explains("<4@bank.example>", "because the operator's policy for x@sub.list.example: reject", "outcome 550 5.7.1")

	s.stop()
	var found []admin.Explanation
	if err := json.Unmarshal([]byte(s.run("", "admin", "explain", "alice@home.example", "--json", "--limit", "2")), &found); err != nil || len(found) != 2 || found[0].MessageID != "<4@bank.example>" {
		t.Fatalf("explain --json: %+v, %v", found, err)
	}
	var checks mta.Checks
	if err := json.Unmarshal(found[1].Checks, &checks); err != nil || checks.Results == nil || checks.Results.DMARC.Domain != "bank.example" {
		t.Errorf("%s: %v", found[1].Checks, err)
	}
	out, err := s.try("", "admin", "explain", "nobody@far.example")
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 1 || !strings.Contains(out, "nothing is known of") {
		t.Errorf("explain of what never came: %v, %s", err, out)
	}
}

// TestTrustUsage: what cannot be understood is told with exit status 2, what
// cannot be done with 1.
func TestTrustUsage(t *testing.T) {
	s := newSite(t)
	for _, c := range []struct {
		command, want string
		status        int
	}{
		{"policy add bank.example", "accepts 2 arg", 2},
		{"policy add bank.example burn", "none of accept, junk, reject", 2},
		{"policy add bank..example junk", "no domain", 1},
		{"policy remove bank.example", "not found", 1},
		{"dkim add", "accepts 1 arg", 2},
		{"dkim add home.example --algorithm dsa", "none of rsa, ed25519, both", 2},
		{"dkim add far.example", "not among the domains", 1},
		{"dkim rotate home.example", "no key that signs", 1},
		{"dkim retire home.example", "accepts 2 arg", 2},
		{"dkim remove home.example x", "not found", 1},
		{"explain", "accepts 1 arg", 2},
		{"explain x --limit 0", "less than 1", 2},
		{"explain x --limit 1001", "not between 1 and 1000", 1},
	} {
		out, err := s.try("", append([]string{"admin"}, strings.Fields(c.command)...)...)
		if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != c.status || !strings.Contains(out, c.want) {
			t.Errorf("%s: %v\n%s\nwithout %q", c.command, err, out, c.want)
		}
	}
	for command, want := range map[string]string{
		"policy": "The address in From counts first", "policy add": "DMARC and blocklists do not matter", "dkim rotate": "Leave the old records", "explain": "Examples:",
	} {
		out := s.run("", append(append([]string{"admin"}, strings.Fields(command)...), "--help")...)
		if !strings.Contains(out, want) {
			t.Errorf("help of %s:\n%s", command, out)
		}
	}
}
