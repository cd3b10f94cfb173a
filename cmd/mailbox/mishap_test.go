package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-smtp"
)

// A mishap is what goes wrong with hosts on a test's internet while alice sends
// to them. Her server is impatient, so that the test need not be patient.
type mishap struct {
	*internet
	home *site
}

// TestMishaps sends to hosts that do everything wrong that hosts do. What can
// still be delivered is, and about what cannot alice gets a report.
func TestMishaps(t *testing.T) {
	n := newInternet(t)
	m := &mishap{n, n.site("home.example", "127.0.0.21", "timeout = \"2s\"\ndelay_notice = \"2s\"")}
	password := filepath.Join(m.home.dir, "smarthost.password")
	if err := os.WriteFile(password, []byte("open sesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for domain, tls := range map[string]string{"smart": "starttls", "smarttls": "tls", "untrusted": "starttls"} {
		m.home.set("[mta.routes]", fmt.Sprintf("domains = [\"*.behind-%[1]s.example\"]\nhost = \"mx.%[1]s.example:2587\"\ntls = %[2]q\nuser = \"home\"\npassword_file = %[3]q",
			domain, tls, password))
	}
	m.home.start()
	t.Run("all", func(t *testing.T) { // ends when all of them have
		for name, check := range map[string]func(*mishap, *testing.T){
			"hangs": (*mishap).hangs, "hangs up": (*mishap).hangsUp, "refuses for now": (*mishap).refusesForNow, "refuses": (*mishap).refuses,
			"refuses some": (*mishap).refusesSome, "has no mail": (*mishap).hasNoMail, "is not the first": (*mishap).isNotTheFirst,
			"has no TLS": (*mishap).hasNoTLS, "is a smarthost": (*mishap).isSmarthost, "takes less": (*mishap).takesLess, "is late": (*mishap).isLate,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				check(m, t)
			})
		}
	})
}

// send sends a message of alice's that bears the name of the recipients' domain.
func (m *mishap) send(t *testing.T, to ...string) (subject string) {
	t.Helper()
	subject = "to " + to[0]
	m.home.send(t, order{from: "alice@home.example", to: to}, testMessage("alice@home.example", subject))
	return subject
}

// once does something at the first visit to a host only.
func once(at, what string) func(int, string) string {
	return func(visit int, stage string) string {
		if visit == 1 && stage == at {
			return what
		}
		return ""
	}
}

// deferred checks that the first attempt ended in a stage, for now.
func (m *mishap) deferred(t *testing.T, to, stage string) {
	t.Helper()
	all := m.home.attempts(to)
	if len(all) == 0 || all[0].Msg != "message deferred" || all[0].Stage != stage || !strings.HasPrefix(all[0].Status, "4.") {
		t.Errorf("%s: the attempts were %+v, the first one should have ended at %q", to, all, stage)
	}
}

// The stages in which a host may fail, and what the log calls them.
var failing = []struct{ stage, logged string }{
	{"greeting", "greeting"}, {"ehlo", "ehlo"}, {"ehlo over TLS", "ehlo"}, {"mail", "mail"}, {"rcpt", "rcpt"}, {"data", "data"}, {"body", "data"}, {"dot", "data"},
}

func (m *mishap) hangs(t *testing.T) { m.failsOnce(t, "hangs", hang) }

func (m *mishap) hangsUp(t *testing.T) { m.failsOnce(t, "hangsup", hangUp) }

// refusesForNow is also what greylisting does.
func (m *mishap) refusesForNow(t *testing.T) { m.failsOnce(t, "later", "451 4.7.1 come again") }

// failsOnce has a host fail in each stage at the first visit. At another one it
// gets the message, exactly once, and the log says why it took two.
func (m *mishap) failsOnce(t *testing.T, name, what string) {
	hosts := make([]*host, len(failing))
	texts := make([]string, len(failing))
	for i, at := range failing {
		if at.stage == "body" && what[0] != '(' {
			continue // there is nothing to say
		}
		domain := fmt.Sprintf("%s%d.example", name, i)
		hosts[i] = m.host(t, domain, &host{say: once(at.stage, what)})
		texts[i] = testMessage("alice@home.example", name+" "+at.stage)
		if at.stage == "body" {
			texts[i] += strings.Repeat(strings.Repeat("more than any buffer takes ", 30)+"\r\n", 16<<10)
		}
		m.home.send(t, order{from: "alice@home.example", to: []string{"you@" + domain}}, texts[i])
	}
	for i, h := range hosts {
		if h == nil {
			continue
		}
		got := h.only(t)
		if got.from != "<alice@home.example>" && !strings.HasPrefix(got.from, "<alice@home.example> ") {
			t.Errorf("%s: it came from %q", failing[i].stage, got.from)
		}
		if !strings.HasSuffix(got.text, texts[i]) {
			t.Errorf("%s: it came as %.1000q", failing[i].stage, got.text)
		}
		m.deferred(t, fmt.Sprintf("you@%s%d.example", name, i), failing[i].logged)
	}
}

// refuses: what is refused for good is not tried again, and alice learns why.
func (m *mishap) refuses(t *testing.T) {
	inbox := m.home.inbox(t, "alice")
	for i, stage := range []string{"greeting", "mail", "rcpt", "data", "dot"} {
		domain := fmt.Sprintf("refuses%d.example", i)
		h := m.host(t, domain, &host{say: func(_ int, at string) string {
			if at == stage {
				return "554 5.7.1 go away, " + stage
			}
			return ""
		}})
		m.send(t, "you@"+domain)
		awaitOne(t, inbox, "Action: failed", "Final-Recipient: rfc822; you@"+domain, "Status: 5.7.1", "Diagnostic-Code: smtp; 554 5.7.1 go away, "+stage,
			"Remote-MTA: dns; mx."+domain, "Subject: to you@"+domain)
		if got := m.home.attempts("you@" + domain); len(got) != 1 {
			t.Errorf("%s: %+v", domain, got)
		}
		if len(h.texts()) > 0 {
			t.Errorf("%s took it", domain)
		}
	}
}

// refusesSome: one report tells of those who were refused, the others get it.
func (m *mishap) refusesSome(t *testing.T) {
	inbox := m.home.inbox(t, "alice")
	replies := map[int]string{2: "550 5.1.1 no such user", 4: "550 5.2.1 no more"} // the first, third and fifth are fine
	seen := 0
	h := m.host(t, "some.example", &host{say: func(_ int, stage string) string {
		if stage != "rcpt" {
			return ""
		}
		seen++
		return replies[seen]
	}})
	m.send(t, "a@some.example", "b@some.example", "c@some.example", "d@some.example", "e@some.example")
	if got := h.only(t).to; len(got) != 3 {
		t.Errorf("taken for %q", got)
	}
	report := awaitOne(t, inbox, "Subject: to a@some.example", "Action: failed", "5.1.1", "5.2.1")
	for _, user := range []string{"a", "b", "c", "d", "e"} {
		told := strings.Contains(report, "Final-Recipient: rfc822; "+user+"@some.example")
		var sent, failed int
		for _, a := range m.home.attempts(user + "@some.example") {
			switch a.Msg {
			case "message sent":
				sent++
			case "message failed":
				failed++
			}
		}
		if sent+failed != 1 || told != (failed == 1) {
			t.Errorf("%s: sent %d, failed %d, told of: %t", user, sent, failed, told)
		}
	}
}

// hasNoMail: domains that take no mail, or that are none.
func (m *mishap) hasNoMail(t *testing.T) {
	inbox := m.home.inbox(t, "alice")
	m.add("nullmx.example. MX 0 .")
	m.add("nomail.example. TXT \"just a name\"")
	for domain, status := range map[string]string{"nullmx.example": "5.1.10", "nomail.example": "5.1.2", "nowhere.invalid": "5.1.2"} {
		m.send(t, "you@"+domain)
		awaitOne(t, inbox, "Action: failed", "Final-Recipient: rfc822; you@"+domain, "Status: "+status)
	}
}

// isNotTheFirst: the preferred host is down, or has an address that is, and
// the next one gets the message at once.
func (m *mishap) isNotTheFirst(t *testing.T) {
	second, last := m.host(t, "second.example", &host{}), m.host(t, "last.example", &host{})
	m.add("first.example. MX 5 down.first.example.\nfirst.example. MX 10 gone.first.example.")
	m.add("first.example. MX 30 mx.last.example.\nfirst.example. MX 20 mx.second.example.")
	m.add("down.first.example. A %s", m.address())
	six := m.host(t, "six.example", &host{})
	m.add("mx.six.example. AAAA ::1\nmx.six.example. AAAA 100::1") // nobody listens there; the second one is nowhere
	bare := m.host(t, "mx.bare.example", &host{})
	m.add("bare.example. A %s", bare.address) // no MX
	for domain, h := range map[string]*host{"first.example": second, "six.example": six, "bare.example": bare} {
		m.send(t, "you@"+domain)
		h.only(t)
		if all := m.home.attempts("you@" + domain); len(all) > 0 && all[0].Msg != "message sent" {
			t.Errorf("%s: %+v", domain, all)
		}
	}
	if got := last.texts(); len(got) > 0 {
		t.Errorf("the last resort got %q", got)
	}
}

// hasNoTLS: opportunistic TLS never stands in the way of mail.
func (m *mishap) hasNoTLS(t *testing.T) {
	hosts := map[string]*host{
		"plain.example":  m.host(t, "plain.example", &host{offers: without("STARTTLS")}),
		"broken.example": m.host(t, "broken.example", &host{say: func(_ int, at string) string { return map[string]string{"handshake": "nonsense"}[at] }}),
		"silent.example": m.host(t, "silent.example", &host{say: func(_ int, at string) string { return map[string]string{"handshake": hang}[at] }}),
		"mute.example":   m.host(t, "mute.example", &host{say: func(_ int, at string) string { return map[string]string{"starttls": hang}[at] }}),
		"no454.example":  m.host(t, "no454.example", &host{say: func(_ int, at string) string { return map[string]string{"starttls": "454 4.7.0 not now"}[at] }}),
	}
	for domain, h := range hosts {
		m.send(t, "you@"+domain)
		if got := h.only(t); got.secure {
			t.Errorf("%s was spoken to over TLS", domain)
		}
		if all := m.home.attempts("you@" + domain); len(all) > 0 && (all[0].Msg != "message sent" || all[0].TLS != "") {
			t.Errorf("%s: %+v", domain, all)
		}
	}
	secure := m.host(t, "secure.example", &host{})
	m.send(t, "you@secure.example")
	if got := secure.only(t); !got.secure {
		t.Error("a host that can was not spoken to over TLS")
	}
}

// isSmarthost: mail that a route fits goes through its host, after a login,
// and neither mail nor password to one whose certificate is another's.
func (m *mishap) isSmarthost(t *testing.T) {
	offers := append(without("STARTTLS"), "AUTH PLAIN LOGIN")
	for domain, h := range map[string]*host{
		"smart":    m.host(t, "smart.example", &host{port: "2587", offers: append(offers, "STARTTLS"), say: once("auth", "535 5.7.8 no")}),
		"smarttls": m.host(t, "smarttls.example", &host{port: "2587", offers: offers, implicit: true}),
	} {
		to := "you@deep.behind-" + domain + ".example"
		m.send(t, to)
		got := h.only(t)
		if got.user != " home open sesame" || !got.secure || len(got.to) != 1 || !strings.HasPrefix(got.to[0], "<"+to+">") {
			t.Errorf("%s: %+v", domain, got)
		}
	}
	m.deferred(t, "you@deep.behind-smart.example", "auth") // whoever set up the wrong password may mend it

	impostor := &host{port: "2587", address: m.address(), offers: append(offers, "STARTTLS")}
	m.name("untrusted.example", "mx.untrusted.example", impostor.address)
	impostor.start(t, m.certificate("mx.elsewhere.example"))
	m.send(t, "you@deep.behind-untrusted.example")
	awaitOne(t, m.home.inbox(t, "alice"), "Action: delayed", "Final-Recipient: rfc822; you@deep.behind-untrusted.example")
	m.deferred(t, "you@deep.behind-untrusted.example", "tls")
	if got := impostor.texts(); len(got) > 0 {
		t.Errorf("whoever is no smarthost of ours got %q", got)
	}
}

// takesLess: what a host cannot take as it is comes back; it is never altered.
func (m *mishap) takesLess(t *testing.T) {
	inbox := m.home.inbox(t, "alice")
	seven := m.host(t, "seven.example", &host{offers: without("8BITMIME")})
	old := m.host(t, "old.example", &host{offers: without("SMTPUTF8")})
	small := m.host(t, "small.example", &host{offers: append(without("SIZE 50000000"), "SIZE 100")})
	for domain, c := range map[string]struct {
		h       *host
		subject string
		body    string
		utf8    bool
		status  string
	}{
		"seven.example": {seven, "eight bits", "Gr\xfc\xdfe\r\n", false, "5.6.3"},
		"old.example":   {old, "Gr\u00fc\u00dfe", "body\r\n", true, "5.6.7"},
		"small.example": {small, "large", strings.Repeat("large\r\n", 100), false, "5.3.4"},
	} {
		to := "you@" + domain
		m.home.send(t, order{from: "alice@home.example", to: []string{to}, mail: smtp.MailOptions{UTF8: c.utf8}},
			"From: alice@home.example\r\nSubject: "+c.subject+"\r\n\r\n"+c.body)
		awaitOne(t, inbox, "Action: failed", "Final-Recipient: rfc822; "+to, "Status: "+c.status)
		m.send(t, "plain@"+domain) // ordinary mail is taken, if it is small
		if domain == "small.example" {
			awaitOne(t, inbox, "Action: failed", "Final-Recipient: rfc822; plain@"+domain)
		} else if got := c.h.only(t); !strings.Contains(got.text, "Subject: to plain@"+domain) {
			t.Errorf("%+v", got)
		}
	}
	m.home.send(t, order{from: "alice@home.example", to: []string{"j\u00f6rg@old.example"}, mail: smtp.MailOptions{UTF8: true}}, testMessage("alice@home.example", "to jorg"))
	awaitOne(t, inbox, "Action: failed", "Final-Recipient: utf-8; j\u00f6rg@old.example", "Status: 5.6.7")
}

// isLate: a host that is down for long makes a report, one only, and the
// message gets there all the same.
func (m *mishap) isLate(t *testing.T) {
	inbox := m.home.inbox(t, "alice")
	late := &host{address: m.address()}
	m.name("late.example", "mx.late.example", late.address)
	m.send(t, "you@late.example")
	for _, c := range []struct{ user, notify string }{{"never", "NEVER"}, {"failure", "FAILURE"}, {"delay", "DELAY"}} {
		m.home.send(t, order{from: "alice@home.example", to: []string{c.user + "@late.example"}, rcpt: smtp.RcptOptions{Notify: []smtp.DSNNotify{smtp.DSNNotify(c.notify)}}},
			testMessage("alice@home.example", "late "+c.user))
	}
	for _, user := range []string{"you", "delay"} {
		awaitOne(t, inbox, "Action: delayed", "Final-Recipient: rfc822; "+user+"@late.example", "Status: 4.4.1", "Will-Retry-Until: ")
	}
	late.start(t, m.certificate("mx.late.example"))
	for _, subject := range []string{"to you@late.example", "late never", "late failure", "late delay"} {
		awaitOne(t, late.texts, "Subject: "+subject+"\r\n")
	}
	for _, user := range []string{"you", "delay"} {
		awaitOne(t, inbox, "Final-Recipient: rfc822; "+user+"@late.example")
	}
	if got := holders(inbox(), []string{"@late.example", "Action: "}); len(got) != 2 {
		t.Errorf("%d reports: %q", len(got), got)
	}
}
