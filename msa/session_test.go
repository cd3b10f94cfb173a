package msa

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"mailbox/internal/smtpd"
	"mailbox/storage"
)

const letter = "From: alice@home.example\r\nSubject: x\r\n\r\nbody"

// TestRecipients: who is unknown here is refused while the client listens; who
// is elsewhere is taken, in the form in which it can be sent to.
func TestRecipients(t *testing.T) {
	f := newFixture(t, nil)
	if err := f.db.SetQuota(ctx, f.bob, 1000); err != nil {
		t.Fatal(err)
	}
	c := f.client(t, "alice@home.example")
	defer c.Close() //nolint:errcheck // over
	for _, r := range []struct{ mail, to, reply string }{
		{"", "bob@home.example", "250"},
		{"", "BOB+x@Home.Example", "250"},
		{"", "postmaster", "250"},
		{"", "staff@home.example", "250"},
		{"", "anybody@open.example", "250"},
		{"", "nobody@home.example", "550 5.1.1"},
		{"", "bob%home.example@home.example", "550 5.1.1"},
		{"", `"x@elsewhere.example"@home.example`, "550 5.1.1"},
		{"", "\xff@home.example", "550 5.1.1"},
		{" SIZE=2000", "bob@home.example", "452 4.2.2"},
		{" SIZE=2000", "staff@home.example", "452 4.2.2"},
		{" SIZE=2000", "alice@home.example", "250"},
		{"", "x@elsewhere.example", "250"},
		{"", "x@[192.0.2.1]", "250"},
		{"", "x@[IPv6:2001:db8::1]", "250"},
		{"", "x@[nowhere]", "553 5.1.3"},
		{"", "x@[IPv6:fe80::1%lo]", "553 5.1.3"},
		{"", "x@else where.example", "501"},
		{"", "x@else_where..example", "553 5.1.3"},
		{"", "x@elsewhere.example,y@elsewhere.example", "553 5.1.3"},
		{"", "x@y@elsewhere.example", "553 5.1.3"},
		{"", `"x y"@elsewhere.example`, "553 5.1.3"},
		{"", `"x>"@elsewhere.example`, "553 5.1.3"},
		{"", `"x@y"@elsewhere.example`, "553 5.1.3"},
		{"", `"x,y"@elsewhere.example`, "250"},
		{"", strings.Repeat("x", 65) + "@elsewhere.example", "553 5.1.3"},
		{"", "x@" + strings.Repeat("x.", 127) + "example", "553 5.1.3"},
		{"", "ü@elsewhere.example", "553 5.6.7"},
		{" SMTPUTF8", "ü@bücher2.example", "250"},
		{" SMTPUTF8", "\xff@elsewhere.example", "553 5.1.3"},
		{" SMTPUTF8", "x\u0085@elsewhere.example", "553 5.1.3"},
	} {
		c.say("MAIL FROM:<alice@home.example>" + r.mail)
		if reply := c.say("RCPT TO:<" + r.to + ">"); !strings.HasPrefix(reply, r.reply) {
			t.Errorf("%s%s: %s, not %s", r.to, r.mail, reply, r.reply)
		}
		c.say("RSET")
	}
}

// TestDelivery: those here get it at once, those elsewhere by the queue, each
// once; nobody learns of Bcc, the client's address, or the other recipients.
func TestDelivery(t *testing.T) {
	f := newFixture(t, nil)
	const text = "Bcc: carol@open.example\r\nFrom: alice@home.example\r\nTo: staff@home.example\r\nbcc :\r\n eve@elsewhere.example\r\n\r\nbody"
	reply := f.submit(t, "alice@home.example", "Alice@HOME.example",
		[]string{"staff@home.example", "bob@home.example", "out@ELSEWHERE.example", "carol@open.example", "eve@elsewhere.example"}, text)
	if !strings.HasPrefix(reply, "250 2.0.0 queued as ") {
		t.Fatal(reply)
	}
	for name, id := range map[string]storage.AccountID{"alice": f.alice, "bob": f.bob, "carol": f.carol} {
		texts := f.inbox(t, id)
		if len(texts) != 1 {
			t.Fatalf("%s got %d messages", name, len(texts))
		}
		got := texts[0]
		if !strings.HasPrefix(got, "Return-Path: <Alice@home.example>\r\nReceived: by mail.home.example with ESMTPA\r\n\tid ") {
			t.Errorf("%s got %q", name, got)
		}
		for _, secret := range []string{"127.0.0.1", "client.example", "bcc", "eve@", "carol@", "for <"} {
			if strings.Contains(strings.ToLower(got), secret) {
				t.Errorf("%s reads %q in %q", name, secret, got)
			}
		}
		if !strings.Contains(got, "\r\nDate: ") || !strings.Contains(got, "\r\nMessage-ID: <") || !strings.HasSuffix(got, "\r\n\r\nbody\r\n") {
			t.Errorf("%s got %q", name, got)
		}
	}
	queue := f.queued(t)
	if len(queue) != 1 {
		t.Fatalf("%d messages are queued", len(queue))
	}
	q := queue[0]
	var to []string
	for _, r := range q.To {
		to = append(to, r.Address+" "+r.ORCPT)
	}
	want := "[out@elsewhere.example rfc822;staff@home.example eve@elsewhere.example rfc822;eve@elsewhere.example]"
	if fmt.Sprint(to) != want || q.Account != f.alice || q.Sender != "Alice@home.example" || q.UTF8 || q.RequireTLS {
		t.Errorf("queued %v %+v", to, q)
	}
	sent := f.blob(t, q.Blob)[q.Skip:]
	if !strings.HasPrefix(sent, "Received: by ") || int64(len(sent)) != q.Size || strings.Contains(sent, "cc:") || strings.Contains(sent, "Return-Path") {
		t.Errorf("to be sent: %q", sent)
	}
}

// TestInternationalized: an internationalized domain alone does not make a
// message need SMTPUTF8 elsewhere; a header does.
func TestInternationalized(t *testing.T) {
	f := newFixture(t, nil)
	for _, text := range []string{letter, strings.Replace(letter, "Subject: x", "Subject: Grüße", 1)} {
		c := f.client(t, "alice@home.example")
		c.say("MAIL FROM:<alice@bücher.example> SMTPUTF8")
		c.say("RCPT TO:<x@bücher2.example>")
		c.say("DATA")
		if reply := c.say(text + "\r\n."); !strings.HasPrefix(reply, "250") {
			t.Error(reply)
		}
		c.Close()
	}
	queue := f.queued(t)
	if len(queue) != 2 || queue[0].UTF8 || !queue[1].UTF8 || queue[0].Sender != "alice@xn--bcher-kva.example" || queue[0].To[0].Address != "x@xn--bcher2-3ya.example" {
		t.Errorf("queued %+v", queue)
	}
}

// TestParameters: what the client asks for is kept with the message: reports,
// REQUIRETLS, the time of release. What is held or to be reported on goes by
// the queue, also to those here.
func TestParameters(t *testing.T) {
	f := newFixture(t, nil)
	f.play(t, strings.Replace(loggedIn("ALICE"), "connect submission", "connect submissions", 1)+`
C: MAIL FROM:<alice@home.example> RET=HDRS ENVID=a+2Bb REQUIRETLS
S: 250 *
C: RCPT TO:<x@elsewhere.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;y+2B@z.example
S: 250 *
C: RCPT TO:<bob+news@home.example> NOTIFY=SUCCESS
S: 250 *
C: RCPT TO:<carol@open.example> NOTIFY=NEVER
S: 250 *
C: DATA
S: 354 *
C: From: alice@home.example\r\n\r\n.
S: 250 *
C: MAIL FROM:<alice@home.example> HOLDUNTIL=`+time.Now().Add(time.Hour).UTC().Format(time.RFC3339)+`
S: 250 *
C: RCPT TO:<staff@home.example>
S: 250 *
C: DATA
S: 354 *
C: From: alice@home.example\r\n\r\n.
S: 250 *
`)
	queue := f.queued(t)
	if len(queue) != 2 {
		t.Fatalf("queued %+v", queue)
	}
	describe := func(q storage.QueuedMessage) string {
		s := fmt.Sprintf("%s %s %v %v:", q.Ret, q.EnvID, q.RequireTLS, !q.Release.IsZero())
		for _, r := range q.To {
			s += fmt.Sprintf(" %s[%s %s]", r.Address, r.Notify, r.ORCPT)
		}
		return s
	}
	for i, want := range []string{
		"HDRS a+b true false: x@elsewhere.example[SUCCESS,DELAY rfc822;y+@z.example] bob+news@home.example[SUCCESS rfc822;bob+news@home.example]",
		"  false true: alice@home.example[ rfc822;staff@home.example] bob@home.example[ rfc822;staff@home.example] out@elsewhere.example[ rfc822;staff@home.example]",
	} {
		if got := describe(queue[i]); got != want {
			t.Errorf("queued %s\nnot    %s", got, want)
		}
	}
	if due := queue[1].To[0].Due; !due.Equal(queue[1].Release) {
		t.Errorf("released at %v, due at %v", queue[1].Release, due)
	}
	if a, b, c := len(f.inbox(t, f.alice)), len(f.inbox(t, f.bob)), len(f.inbox(t, f.carol)); a != 0 || b != 0 || c != 1 {
		t.Errorf("%d, %d and %d messages were filed at once", a, b, c)
	}
	if text := f.inbox(t, f.carol)[0]; !strings.Contains(text, "with ESMTPSA\r\n\t(TLS1.3 ") {
		t.Errorf("carol got %q", text)
	}
	if n, err := f.db.SentToday(ctx, f.alice); n != 2 || err != nil {
		t.Errorf("alice has written to %d elsewhere (%v)", n, err)
	}
}

// TestDailyLimit: it counts recipients elsewhere, also those behind aliases and
// those of several messages, but none of ours; and no two connections get past
// it together.
func TestDailyLimit(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.RecipientsPerDay = 4 })
	const full = "452 4.7.1 you may write to 4 recipients elsewhere on a day; it opens again at 00:00 UTC"
	alice := func(to ...string) string { return f.submit(t, "alice@home.example", "alice@home.example", to, letter) }
	for range 6 {
		if reply := alice("bob@home.example", "carol@open.example"); reply[:3] != "250" {
			t.Fatal(reply)
		}
	}
	if reply := alice("a@x.example", "b@x.example", "c@x.example", "d@x.example", "e@x.example"); reply != full {
		t.Error(reply)
	}
	if reply := alice("a@x.example", "staff@home.example", "a@x.example", "out@elsewhere.example"); reply[:3] != "250" {
		t.Error(reply)
	}
	begin := func() *client {
		c := f.client(t, "alice@home.example")
		for _, line := range []string{"MAIL FROM:<alice@home.example>", "RCPT TO:<a@y.example>", "RCPT TO:<b@y.example>", "RCPT TO:<bob@home.example>", "DATA"} {
			if reply := c.say(line); reply[0] > '3' {
				t.Fatalf("%s: %s", line, reply)
			}
		}
		return c
	}
	before := len(f.inbox(t, f.bob))
	var mu sync.Mutex
	var wg sync.WaitGroup
	replies := map[string]int{}
	for _, c := range []*client{begin(), begin(), begin()} {
		wg.Go(func() {
			defer c.Close() //nolint:errcheck // over
			reply := c.say(letter + "\r\n.")
			mu.Lock()
			defer mu.Unlock()
			replies[reply[:3]]++
			if reply[:3] != "250" && reply != full {
				t.Error(reply)
			}
		})
	}
	wg.Wait()
	if replies["250"] != 1 || replies["452"] != 2 {
		t.Errorf("replies: %v", replies)
	}
	if n := len(f.inbox(t, f.bob)); n != before+1 {
		t.Errorf("bob got %d messages of which one was accepted", n-before)
	}
	if n, err := f.db.SentToday(ctx, f.alice); n != 4 || err != nil {
		t.Errorf("%d are counted (%v)", n, err)
	}
	if reply := alice("bob@home.example"); reply[:3] != "250" {
		t.Errorf("to bob: %s", reply)
	}
}

// submitFunc is a Submitter that does what the test wants.
type submitFunc func() error

func (f submitFunc) Submit(context.Context, *Message) ([]string, error) { return nil, f() }

// TestFaults: what goes wrong here is temporary, and told without its details.
func TestFaults(t *testing.T) {
	for name, c := range map[string]struct {
		fault func() error
		reply string
	}{
		"unknown":      {func() error { return errors.New("sql: secret/path is broken") }, "S: 451 4.3.0 local error, try again later"},
		"disk full":    {func() error { return fmt.Errorf("x: %w", storage.ErrNoSpace) }, "S: 452 4.3.1 insufficient system storage"},
		"queue full":   {func() error { return fmt.Errorf("x: %w", storage.ErrQueueFull) }, "S: 452 4.3.1 insufficient system storage"},
		"user removed": {func() error { return storage.ErrNotFound }, "S: 550 5.1.1 *"},
		"refused":      {func() error { return smtpd.Reply(550, "5.7.1", "not wanted") }, "S: 550 5.7.1 not wanted"},
		"panic":        {func() error { panic("on purpose") }, "S: 421 4.3.0 internal error\nclosed"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, nil)
			f.server.Submit = submitFunc(c.fault)
			for _, data := range []string{"C: DATA\nS: 354 *\nC: From: alice@home.example\\r\\n\\r\\n.\n", "C| BDAT 28 LAST\\r\\nFrom: alice@home.example\\r\\n\\r\\n\n"} {
				f.play(t, loggedIn("ALICE")+"C: MAIL FROM:<alice@home.example>\nS: 250 *\nC: RCPT TO:<bob@home.example>\nS: 250 *\n"+data+c.reply)
			}
			if got := f.server.Stats(); got.Accepted != 0 || got.Rejected != 2 && name != "panic" {
				t.Errorf("counted %+v", got)
			}
		})
	}
}

// TestCutOff: a message that is cut off is not filed.
func TestCutOff(t *testing.T) {
	f := newFixture(t, nil)
	for _, data := range []string{
		"C: DATA\nS: 354 *\nC| From: alice@home.example\\r\\n\\r\\nhalf",
		"C| BDAT 24 LAST\\r\\nFrom: alice@home.ex",
		"C| BDAT 28\\r\\nFrom: alice@home.example\\r\\n\\r\\n\nS: 250 *\nC: RSET\nS: 250 *\n",
		"C| BDAT 27 LAST\\r\\nFrom: alice@home.example\\n\\r\\n\nS: 554 5.6.0 *",
	} {
		f.play(t, loggedIn("ALICE")+"C: MAIL FROM:<alice@home.example>\nS: 250 *\nC: RCPT TO:<bob@home.example>\nS: 250 *\n"+data)
	}
	if reply := f.submit(t, "alice@home.example", "", []string{"bob@home.example"}, letter); reply[:3] != "250" {
		t.Fatal(reply)
	}
	if texts := f.inbox(t, f.bob); len(texts) != 1 {
		t.Errorf("bob got %q", texts)
	}
}

// TestLoop: a message with a hundred Received fields goes nowhere.
func TestLoop(t *testing.T) {
	f := newFixture(t, nil)
	loop := strings.Repeat("Received: from x\r\n", maxHops) + letter
	if reply := f.submit(t, "alice@home.example", "", []string{"bob@home.example"}, loop); !strings.HasPrefix(reply, "554 5.4.6 ") {
		t.Error(reply)
	}
	if reply := f.submit(t, "alice@home.example", "", []string{"bob@home.example"}, loop[len("Received: from x\r\n"):]); !strings.HasPrefix(reply, "250 ") {
		t.Error(reply)
	}
}
