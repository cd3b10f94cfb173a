package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/emersion/go-smtp"
)

// A party is one of those who exchange mail: a domain with two users, each of
// whom can send and has an inbox.
type party struct {
	domain string
	users  [2]string
	send   func(*testing.T, order, string)
	inbox  func(testing.TB, string) func() []string
}

func (p party) address(i int) string { return p.users[i] + "@" + p.domain }

// An exchange is two Mailboxes and a Postfix that know each other.
type exchange struct {
	*internet
	home, away *site
	post       *postfix
	parties    []party
}

// TestExchange has two Mailboxes and a Postfix exchange mail.
func TestExchange(t *testing.T) {
	program(t, "postfix")
	n := newInternet(t)
	x := &exchange{internet: n, home: n.site("home.example", "127.0.0.21", ""), away: n.site("away.example", "127.0.0.22", "")}
	x.post = n.postfix("post.example", "127.0.0.23", []string{"carol", "dave", "jörg"}, x.home, x.away)
	x.away.run(testPassword, "admin", "user", "add", "jörg@away.example", "--password-stdin")
	x.home.run("", "admin", "alias", "add", "team@home.example", "alice@home.example", "bob@away.example", "carol@post.example", "you@late.example")
	x.away.run("", "admin", "alias", "add", "all@away.example", "team@home.example", "bob@away.example", "alice@away.example")
	x.home.start()
	x.away.start()
	x.parties = []party{
		{"home.example", [2]string{"alice", "bob"}, x.home.send, x.home.inbox},
		{"away.example", [2]string{"alice", "bob"}, x.away.send, x.away.inbox},
		{"post.example", [2]string{"carol", "dave"}, x.post.send, x.post.inbox},
	}
	t.Run("all", func(t *testing.T) { // ends when all of them have
		for name, check := range map[string]func(*exchange, *testing.T){
			"directions": (*exchange).directions, "aliases": (*exchange).aliases, "SMTPUTF8": (*exchange).smtputf8, "Bcc": (*exchange).bcc,
			"failed": (*exchange).failed, "succeeded": (*exchange).succeeded, "failed at Postfix": (*exchange).failedAtPostfix,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				check(x, t)
			})
		}
	})
}

// overTLS are the words with which each kind of server says in Received that a
// message came over TLS from a host.
func overTLS(from, by string) *regexp.Regexp {
	if by == "post.example" {
		return regexp.MustCompile(`Received: from mail\.` + from + ` \(.*\) \(using TLSv1\.3 with cipher [^\r]* by mail\.post\.example \(Postfix\) with (UTF8SMTPS|ESMTPS) id `)
	}
	return regexp.MustCompile(`Received: from mail\.` + from + ` \(\[127\.0\.0\.\d+\]\) by mail\.` + by + ` with (UTF8SMTPS|ESMTPS) \(TLS1\.3 TLS_`)
}

// arrived checks that a message came from one party to a user of another, once,
// whole, and over TLS.
func (x *exchange) arrived(t *testing.T, from, by party, user int, subject, text string) string {
	t.Helper()
	got := awaitOne(t, by.inbox(t, by.users[user]), "Subject: "+subject+"\r\n")
	if !overTLS(from.domain, by.domain).MatchString(unfold(got)) {
		t.Errorf("%s: no Received field says that it came over TLS: %q", subject, got)
	}
	if _, body, _ := strings.Cut(text, "\r\n\r\n"); !strings.HasSuffix(got, "\r\n\r\n"+body) {
		t.Errorf("%s: came as %q", subject, got)
	}
	return got
}

// directions sends from each party to each other one, to one recipient and to
// two, who share a transaction.
func (x *exchange) directions(t *testing.T) {
	each := func(do func(from, to party, one, two string)) {
		for _, from := range x.parties {
			for _, to := range x.parties {
				if from.domain != to.domain {
					do(from, to, from.domain+" to one of "+to.domain, from.domain+" to two of "+to.domain)
				}
			}
		}
	}
	each(func(from, to party, one, two string) {
		from.send(t, order{from: from.address(0), to: []string{to.address(1)}}, testMessage(from.address(0), one))
		from.send(t, order{from: from.address(0), to: []string{to.address(0), to.address(1)}}, testMessage(from.address(0), two))
	})
	each(func(from, to party, one, two string) {
		got := x.arrived(t, from, to, 1, one, testMessage(from.address(0), one))
		if !strings.HasPrefix(got, "Return-Path: <"+from.address(0)+">\r\n") {
			t.Errorf("%s: came as %q", one, got)
		}
		for user := range to.users {
			got = x.arrived(t, from, to, user, two, testMessage(from.address(0), two))
			trace, _, _ := strings.Cut(unfold(got), "\r\nFrom: ")
			trace = strings.NewReplacer("X-Original-To: "+to.address(user), "", "Delivered-To: "+to.address(user), "").Replace(trace)
			for _, other := range to.users {
				if strings.Contains(trace, other+"@"+to.domain) {
					t.Errorf("%s: the trace tells who else got it: %q", two, trace)
				}
			}
		}
		for _, s := range []*site{x.home, x.away} { // the same in the log of who sent it
			if s.domain == from.domain {
				for _, a := range s.attempts(to.address(1)) {
					if a.Msg == "message sent" && !strings.HasPrefix(a.TLS, "TLS 1.3") {
						t.Errorf("%s: %+v", one, a)
					}
				}
			}
		}
	})
}

// aliases lead to users here and elsewhere. One of these is down; the others
// do not wait, and it gets its copy when it comes back.
func (x *exchange) aliases(t *testing.T) {
	late := &host{address: x.address()}
	x.name("late.example", "mx.late.example", late.address)
	alice, bob, carol := x.home.inbox(t, "alice"), x.away.inbox(t, "bob"), x.post.inbox(t, "carol")
	x.post.send(t, order{from: "dave@post.example", to: []string{"team@home.example"}}, testMessage("dave@post.example", "to the team"))
	x.post.send(t, order{from: "dave@post.example", to: []string{"all@away.example"}}, testMessage("dave@post.example", "to all"))
	for _, inbox := range []func() []string{alice, bob, carol} {
		got := awaitOne(t, inbox, "Subject: to the team\r\n")
		if !strings.HasPrefix(got, "Return-Path: <dave@post.example>\r\n") {
			t.Errorf("came as %q", got)
		}
	}
	for _, inbox := range []func() []string{alice, carol, x.away.inbox(t, "alice")} {
		awaitOne(t, inbox, "Subject: to all\r\n")
	}
	await(t, func() []string { // bob is among all, and in the team that is among all
		if found := holders(bob(), []string{"Subject: to all\r\n"}); len(found) == 2 {
			return found
		}
		return nil
	})
	late.start(t, x.certificate("mx.late.example"))
	for _, subject := range []string{"to the team", "to all"} {
		awaitOne(t, late.texts, "Subject: "+subject+"\r\n")
	}
	for _, a := range x.home.attempts("alice@home.example") {
		t.Errorf("who is here was sent to: %+v", a)
	}
}

// smtputf8 sends to and from addresses beyond ASCII, in all directions, and
// subjects beyond it.
func (x *exchange) smtputf8(t *testing.T) {
	utf8 := smtp.MailOptions{UTF8: true}
	for _, c := range []struct {
		from, to          int // of parties
		sender, recipient string
	}{
		{0, 1, "alice@home.example", "jörg@away.example"},
		{0, 2, "alice@home.example", "jörg@post.example"},
		{1, 0, "jörg@away.example", "alice@home.example"},
		{1, 2, "jörg@away.example", "jörg@post.example"},
		{2, 0, "jörg@post.example", "alice@home.example"},
		{2, 1, "jörg@post.example", "jörg@away.example"},
	} {
		from, to := x.parties[c.from], x.parties[c.to]
		to.users[0], _, _ = strings.Cut(c.recipient, "@")
		subject := fmt.Sprintf("Grüße von %s an %s", c.sender, c.recipient)
		text := testMessage(c.sender, subject)
		text = strings.Replace(text, "Message-ID: <", "X-Message-ID: <", 1)
		from.send(t, order{from: c.sender, to: []string{c.recipient}, mail: utf8}, text)
		got := x.arrived(t, from, to, 0, subject, text)
		if !strings.HasPrefix(got, "Return-Path: <"+c.sender+">\r\n") || !strings.Contains(unfold(got), "with UTF8SMTPS") {
			t.Errorf("%s: came as %q", subject, got)
		}
	}
}

// bcc: nobody elsewhere learns who else got a message.
func (x *exchange) bcc(t *testing.T) {
	text := strings.Replace(testMessage("alice@home.example", "in confidence"), "Subject: ", "To: carol@post.example\r\nBcc: dave@post.example,\r\n alice@away.example\r\nSubject: ", 1)
	x.home.send(t, order{from: "alice@home.example", to: []string{"carol@post.example", "dave@post.example", "alice@away.example", "bob@home.example"}}, text)
	for who, inbox := range map[string]func() []string{
		"carol@post.example": x.post.inbox(t, "carol"), "dave@post.example": x.post.inbox(t, "dave"),
		"alice@away.example": x.away.inbox(t, "alice"), "bob@home.example": x.home.inbox(t, "bob"),
	} {
		got := awaitOne(t, inbox, "Subject: in confidence\r\n")
		for _, other := range []string{"Bcc", "dave@post.example", "alice@away.example", "bob@home.example"} {
			if other != who && strings.Contains(got, other) {
				t.Errorf("%s learns of %s: %q", who, other, got)
			}
		}
	}
}

// failed: whom the other server refuses, the sender hears of, with what was
// asked for in a report.
func (x *exchange) failed(t *testing.T) {
	inbox := x.home.inbox(t, "alice")
	for _, c := range []struct {
		domain, ret, envid string
		notify             []smtp.DSNNotify
	}{
		{"away.example", "FULL", "F-away-1", nil}, {"post.example", "HDRS", "F-post-2", []smtp.DSNNotify{"FAILURE", "DELAY"}},
	} {
		subject := "to nobody at " + c.domain
		x.home.send(t, order{
			from: "alice@home.example", to: []string{"nobody@" + c.domain, "no-one@" + c.domain}, mail: smtp.MailOptions{Return: smtp.DSNReturn(c.ret), EnvelopeID: c.envid},
			rcpt: smtp.RcptOptions{Notify: c.notify, OriginalRecipientType: "RFC822", OriginalRecipient: "old." + c.domain + "@list.example"},
		}, testMessage("alice@home.example", subject))
		got := awaitOne(t, inbox, "Original-Envelope-Id: "+c.envid, "Reporting-MTA: dns; mail.home.example", "Original-Recipient: rfc822; old."+c.domain+"@list.example",
			"Final-Recipient: rfc822; nobody@"+c.domain, "Final-Recipient: rfc822; no-one@"+c.domain, "Action: failed", "Status: 5.1.1",
			"Remote-MTA: dns; mail."+c.domain, "Diagnostic-Code: smtp; 550 5.1.1 ", "Subject: "+subject+"\r\n")
		if full := strings.Contains(got, "the body of "+subject); full != (c.ret == "FULL") {
			t.Errorf("RET=%s: the body is in the report: %t: %q", c.ret, full, got)
		}
		if !strings.HasPrefix(got, "Return-Path: <>\r\n") {
			t.Errorf("the report came as %q", got)
		}
	}
	x.home.send(t, order{
		from: "alice@home.example", to: []string{"nobody@away.example"}, mail: smtp.MailOptions{EnvelopeID: "F-never"}, rcpt: smtp.RcptOptions{Notify: []smtp.DSNNotify{"NEVER"}},
	}, testMessage("alice@home.example", "never mind"))
	x.home.send(t, order{from: "alice@home.example", to: []string{"nobody@post.example"}, mail: smtp.MailOptions{EnvelopeID: "F-last"}}, testMessage("alice@home.example", "the last"))
	awaitOne(t, inbox, "Original-Envelope-Id: F-last")
	failed := false
	for _, a := range x.home.attempts("nobody@away.example") {
		failed = failed || a.Msg == "message failed"
	}
	if got := holders(inbox(), []string{"F-never"}); len(got) > 0 || !failed {
		t.Errorf("what nobody wanted to hear of: %q, failed: %t", got, failed)
	}
}

// succeeded: who asks to hear of success does: of a delivery here, of a relay to
// a server that sends no reports, and from Postfix, which does.
func (x *exchange) succeeded(t *testing.T) {
	inbox := x.home.inbox(t, "alice")
	for to, c := range map[string]struct {
		inbox func() []string
		want  []string
	}{
		"bob@home.example":   {x.home.inbox(t, "bob"), []string{"Reporting-MTA: dns; mail.home.example", "Action: delivered", "Status: 2."}},
		"bob@away.example":   {x.away.inbox(t, "bob"), []string{"Reporting-MTA: dns; mail.home.example", "Action: relayed", "Status: 2."}},
		"carol@post.example": {x.post.inbox(t, "carol"), []string{"Reporting-MTA: dns; mail.post.example", "Action: delivered", "Status: 2."}},
	} {
		envid := "S-" + strings.ReplaceAll(to, "@", ".")
		x.home.send(t, order{
			from: "alice@home.example", to: []string{to}, mail: smtp.MailOptions{Return: "FULL", EnvelopeID: envid},
			rcpt: smtp.RcptOptions{Notify: []smtp.DSNNotify{"SUCCESS"}, OriginalRecipientType: "RFC822", OriginalRecipient: "First+" + to},
		}, testMessage("alice@home.example", "success "+to))
		awaitOne(t, c.inbox, "Subject: success "+to+"\r\n")
		got := awaitOne(t, inbox, append(c.want, "Original-Envelope-Id: "+envid, "Final-Recipient: rfc822; "+to, "Original-Recipient: ", "First+"+to)...)
		if all := holders(inbox(), []string{"Original-Envelope-Id: " + envid}); len(all) != 1 {
			t.Errorf("%s: %d reports: %q", to, len(all), all)
		}
		if strings.Contains(got, "the body of success") {
			t.Errorf("%s: a report of success returns the body: %q", to, got)
		}
	}
	x.home.send(t, order{from: "alice@home.example", to: []string{"bob@home.example", "bob@away.example", "carol@post.example"}}, testMessage("alice@home.example", "no news"))
	for _, inbox := range []func() []string{x.home.inbox(t, "bob"), x.away.inbox(t, "bob"), x.post.inbox(t, "carol")} {
		awaitOne(t, inbox, "Subject: no news\r\n")
	}
	if got := holders(inbox(), []string{"Subject: no news", "Action: "}); len(got) > 0 {
		t.Errorf("who did not ask was told: %q", got)
	}
}

// failedAtPostfix: what we refuse during SMTP comes back to its sender from
// the server that had it, in our words; and Postfix's reports get through to
// our users.
func (x *exchange) failedAtPostfix(t *testing.T) {
	x.post.send(t, order{from: "carol@post.example", to: []string{"nobody@home.example"}}, testMessage("carol@post.example", "to nobody here"))
	awaitOne(t, x.post.inbox(t, "carol"), "Action: failed", "Final-Recipient: rfc822; nobody@home.example", "Status: 5.1.1",
		"Remote-MTA: dns; 127.0.0.21", "Diagnostic-Code: smtp; 550 5.1.1 no such user here")
	x.post.send(t, order{from: "bob@home.example", to: []string{"nobody@away.example"}}, testMessage("bob@home.example", "by way of Postfix"))
	got := awaitOne(t, x.home.inbox(t, "bob"), "Reporting-MTA: dns; mail.post.example", "Action: failed", "Final-Recipient: rfc822; nobody@away.example",
		"Diagnostic-Code: smtp; 550 5.1.1 no such user here")
	if !strings.HasPrefix(got, "Return-Path: <>\r\n") {
		t.Errorf("the report came as %q", got)
	}
}
