package mta

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"mailbox/internal/message"
	"mailbox/storage"
)

var update = flag.Bool("update", false, "write the golden files anew")

var wednesday = time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)

const lunch = "Received: from client.example by mx.home.example; Wed, 25 Nov 2026 10:00:00 +0000\r\n" +
	"From: alice@home.example\r\nTo: bob@x.example\r\nSubject: Lunch\r\n =?utf-8?Q?_caf=C3=A9=3F?=\r\nMessage-ID: <1@home.example>\r\n\r\n" +
	"Noon?\r\n--\r\nAlice\r\n"

// about is a report of alice's message.
func about(content string, fates ...Fate) *Report {
	return &Report{
		Hostname: "mx.home.example", Author: "postmaster@home.example", At: wednesday.Add(5 * 24 * time.Hour),
		Message: &storage.QueuedMessage{
			ID: 1, Size: int64(len(content)), Sender: "alice@home.example", MessageID: "<1@home.example>", Queued: wednesday,
		},
		Content: strings.NewReader(content), Fates: fates,
	}
}

func to(address string, a Action) Fate {
	return Fate{Action: a, QueuedRecipient: storage.QueuedRecipient{Address: address}}
}

var atX = storage.Attempt{At: wednesday.Add(time.Minute), Host: "mx.x.example", Address: "192.0.2.1:25"}

// failure is one of mx.x.example.
func failure(stage, status, reply string, remote bool) *Failure {
	f := &Failure{Attempt: atX, Status: status, Remote: remote}
	f.Stage, f.Reply = stage, reply
	return f
}

func refusedBy(f Fate, stage, status, reply string) Fate {
	f.Failure = failure(stage, status, reply, true)
	return f
}

func write(t testing.TB, r *Report) string {
	t.Helper()
	var b bytes.Buffer
	n, err := r.WriteTo(&b)
	if err != nil || n != int64(b.Len()) {
		t.Fatalf("%d of %d octets: %v", n, b.Len(), err)
	}
	return b.String()
}

func noUser() Fate {
	f := refusedBy(to("bob@x.example", ActionFailed), "rcpt", "5.1.1", "550 5.1.1 <bob@x.example>: no such user")
	f.ORCPT = "rfc822;bob@x.example"
	return f
}

func late() Fate {
	f := to("carol@y.example", ActionDelayed)
	f.Failure = &Failure{Status: "4.4.1", Attempt: storage.Attempt{
		At: wednesday.Add(4 * time.Hour), Host: "mx.y.example", Address: "[2001:db8::1]:25", Stage: "connect", Reply: "dial: no answer in time",
	}}
	f.Retry = wednesday.Add(5 * 24 * time.Hour)
	return f
}

func relayed() Fate {
	f := to("dan@x.example", ActionRelayed)
	f.Last, f.Reply = atX, "250 2.0.0 queued as 77"
	return f
}

// TestReports compares reports with what was found good before.
func TestReports(t *testing.T) {
	expired := late()
	expired.Action, expired.Expired = ActionFailed, true
	noDomain := to("erin@nowhere.example", ActionFailed)
	noDomain.Failure = &Failure{Status: "5.1.2", Attempt: storage.Attempt{At: wednesday, Host: "nowhere.example", Stage: "dns", Reply: "the domain nowhere.example does not exist"}}
	blocked := refusedBy(to("bob@x.example", ActionFailed), "mail", "5.7.1",
		"550 5.7.1 Unfortunately, messages from [192.0.2.99] weren't sent. Please contact your Internet service provider since part of their network is on our block list (S3140). You can also refer your provider to http://mail.live.example/mail/troubleshooting.aspx#errors.")
	greek := refusedBy(to("δοκιμή@παράδειγμα.example", ActionFailed), "rcpt", "5.1.1", "550 5.1.1 άγνωστος χρήστης")
	greek.ORCPT = "utf-8;δοκιμή@παράδειγμα.example"
	alias := noUser()
	alias.Address, alias.ORCPT = "bob@behind.example", `rfc822;"bob smith"+tag@x.example`

	for name, r := range map[string]*Report{
		"failed":    about(lunch, noUser()),
		"expired":   about(lunch, expired),
		"no_domain": about(lunch, noDomain),
		"blocked":   about(lunch, blocked),
		"delayed":   about(lunch, late()),
		"relayed":   about(lunch, relayed()),
		"delivered": about(lunch, to("frank@home.example", ActionDelivered)),
		"mixed":     about(lunch, to("frank@home.example", ActionDelivered), relayed(), late(), noDomain, noUser(), refusedBy(to("zoe@x.example", ActionFailed), "rcpt", "5.1.1", noUser().Failure.Reply)),
		"full":      about(lunch+"\r\n--boundary--\r\nÄ\r\n", noUser()),
		"utf8":      about(strings.Replace(lunch, "bob@x", "δοκιμή@παράδειγμα", 1), greek),
		"alias":     about(lunch, alias),
	} {
		t.Run(name, func(t *testing.T) {
			switch name {
			case "full":
				r.Message.Ret = "FULL"
			case "utf8":
				r.Message.Sender, r.Message.UTF8 = "αλίκη@home.example", true
			case "alias":
				r.Message.EnvID = "QQ+3=1 4"
			}
			text := write(t, r)
			structure(t, r, text)
			file := filepath.Join("testdata", "reports", name+".golden")
			got := steady(text)
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil || got != string(want) {
				t.Errorf("%v\ngot\n%s\nwant\n%s", err, got, want)
			}
		})
	}
}

var (
	boundaryParam = regexp.MustCompile(`boundary="([A-Z2-7]{26})"`)
	ownID         = regexp.MustCompile(`Message-ID: <[A-Z2-7]{26}@`)
)

// steady is a report without what is random in it, in lines that end in LF.
func steady(text string) string {
	text = strings.ReplaceAll(text, boundaryParam.FindStringSubmatch(text)[1], "BOUNDARY")
	return strings.ReplaceAll(ownID.ReplaceAllString(text, "Message-ID: <RANDOM@"), "\r\n", "\n")
}

// parse finds the parts of a report as a mail program does.
func parse(text string) *message.Message {
	b := message.NewBuilder()
	io.WriteString(b, text) //nolint:errcheck // it never fails
	return b.Finish(nil)
}

// body is what a part holds.
func body(t testing.TB, text string, p *message.Part) string {
	t.Helper()
	got, err := io.ReadAll(p.Content(strings.NewReader(text)))
	if err != nil {
		t.Fatal(err)
	}
	return string(got)
}

// structure fails where a report is not what RFC 3464 asks for, or says more
// than is to be said. It returns the parts.
func structure(t testing.TB, r *Report, text string) []*message.Part {
	t.Helper()
	m := parse(text)
	parts := m.Root.Children
	if m.Root.Type+"/"+m.Root.Subtype != "multipart/report" || len(parts) != 3 {
		t.Fatalf("%s/%s with %d parts:\n%s", m.Root.Type, m.Root.Subtype, len(parts), text)
	}
	var names []string
	for _, f := range m.Header() {
		names = append(names, f.Name)
	}
	const header = "From To Subject Date Message-ID In-Reply-To References Auto-Submitted MIME-Version Content-Type Content-Transfer-Encoding"
	if got := strings.Replace(strings.Join(names, " "), " In-Reply-To References", "", 1); got != strings.Replace(header, " In-Reply-To References", "", 1) {
		t.Errorf("fields of the header: %s", names)
	}
	if m.Header().UTF8() && !r.UTF8() {
		t.Errorf("header needs SMTPUTF8:\n%s", text[:m.Root.BodyOffset])
	}
	ours := text[:parts[2].BodyOffset]
	if bare := strings.ReplaceAll(ours, "\r\n", ""); strings.ContainsAny(bare, "\r\n\x00") {
		t.Errorf("bare CR, LF or NUL in %q", ours)
	}
	for line := range strings.SplitSeq(ours, "\r\n") {
		if len(line) > 998 {
			t.Errorf("a line of %d octets", len(line))
		}
	}
	for _, p := range append(parts, m.Root) {
		if text := text[p.Offset:p.End]; p.Encoding != "8bit" && !sevenBit(strings.NewReader(text)) {
			t.Errorf("%s/%s is %q, but has 8-bit octets:\n%s", p.Type, p.Subtype, p.Encoding, text)
		}
	}
	status(t, r, body(t, text, parts[1]))
	return parts
}

// status looks at the fields of the second part: each known, each at most once,
// and one group for each recipient.
func status(t testing.TB, r *Report, text string) {
	t.Helper()
	groups := strings.Split(text, "\r\n\r\n")
	if len(groups) != 1+len(r.Fates) {
		t.Fatalf("%d groups of fields for %d recipients:\n%s", len(groups), len(r.Fates), text)
	}
	allowed := "|Reporting-MTA|Original-Envelope-Id|Arrival-Date|"
	must := []string{"Reporting-MTA"}
	for i, g := range groups {
		seen := map[string]string{}
		for _, f := range message.ParseHeader([]byte(g)) {
			if seen[f.Name] != "" || f.Name == "" || !strings.Contains(allowed, "|"+f.Name+"|") {
				t.Errorf("group %d: field %q", i, f.Raw)
			}
			seen[f.Name] = f.Value()
		}
		for _, name := range must {
			if seen[name] == "" {
				t.Errorf("group %d has no %s:\n%s", i, name, g)
			}
		}
		if i > 0 && seen["Action"] != string(r.Fates[i-1].Action) {
			t.Errorf("group %d: action is %s", i, seen["Action"])
		}
		allowed = "|Original-Recipient|Final-Recipient|Action|Status|Remote-MTA|Diagnostic-Code|Last-Attempt-Date|Will-Retry-Until|"
		must = []string{"Final-Recipient", "Action", "Status"}
	}
}

// TestReturned: what is returned is as it was, to the octet, and the whole
// message only where it failed, RET asked for it, and it was not secret.
func TestReturned(t *testing.T) {
	long := "Subject: x\r\nX: " + strings.Repeat("a", 2000) + "\r\n"
	many := strings.Repeat("X: y\r\n", 20_000)
	for name, c := range map[string]struct {
		content, want, kind string
		change              func(*Report)
	}{
		"header":            {content: lunch, want: lunch[:strings.Index(lunch, "\r\n\r\n")+2]},
		"no end of line":    {content: long, want: long},
		"no header":         {content: "\r\nhello\r\n", want: ""},
		"nothing":           {content: "", want: ""},
		"latin-1":           {content: "Subject: caf\xe9\r\n\r\n", want: "Subject: caf\xe9\r\n"},
		"too long":          {content: many + "\r\n", want: many[:maxReturned/6*6]},
		"UTF-8":             {content: "Subject: é\r\n\r\n", want: "Subject: é\r\n", kind: "message/global-headers", change: func(r *Report) { r.Message.UTF8 = true }},
		"FULL":              {content: long + "\r\n\xff\r\n", want: long + "\r\n\xff\r\n", kind: "message/rfc822", change: func(r *Report) { r.Message.Ret = "FULL" }},
		"FULL and UTF-8":    {content: "Subject: é\r\n\r\n1\r\n", want: "Subject: é\r\n\r\n1\r\n", kind: "message/global", change: func(r *Report) { r.Message.Ret, r.Message.UTF8 = "FULL", true }},
		"FULL, but secret":  {content: "A: b\r\n\r\n1\r\n", want: "A: b\r\n", change: func(r *Report) { r.Message.Ret, r.Message.RequireTLS = "FULL", true }},
		"FULL, but relayed": {content: "A: b\r\n\r\n1\r\n", want: "A: b\r\n", change: func(r *Report) { r.Message.Ret, r.Fates[0].Action = "FULL", ActionRelayed }},
		"FULL and both":     {content: "A: b\r\n\r\n1\r\n", want: "A: b\r\n\r\n1\r\n", kind: "message/rfc822", change: func(r *Report) { r.Message.Ret, r.Fates = "FULL", append(r.Fates, relayed()) }},
	} {
		t.Run(name, func(t *testing.T) {
			r := about(c.content, noUser())
			if c.change != nil {
				c.change(r)
			}
			text := write(t, r)
			p := structure(t, r, text)[2]
			if kind := p.Type + "/" + p.Subtype; c.kind != "" && kind != c.kind || c.kind == "" && kind != "text/rfc822-headers" {
				t.Errorf("it is a %s", kind)
			}
			if got := text[p.BodyOffset:p.End]; got != c.want {
				t.Errorf("got %d octets %.100q, want %d %.100q", len(got), got, len(c.want), c.want)
			}
		})
	}
}

// TestReportWithoutContent: a message that cannot be read any more is reported,
// and is not returned.
func TestReportWithoutContent(t *testing.T) {
	r := about(lunch, noUser())
	r.Content = io.NewSectionReader(failing{}, 0, r.Message.Size)
	if _, err := r.WriteTo(io.Discard); err == nil {
		t.Error("no error where the message cannot be read")
	}
	r.Content, r.Message.Ret = nil, "FULL"
	text := write(t, r)
	m := parse(text)
	if len(m.Root.Children) != 2 || strings.Contains(text, "attached") {
		t.Errorf("got\n%s", text)
	}
	status(t, r, body(t, text, m.Root.Children[1]))
}

type failing struct{}

func (failing) ReadAt([]byte, int64) (int, error) { return 0, storage.ErrNoSpace }

// TestReportWords: what a person reads, for what hosts say.
func TestReportWords(t *testing.T) {
	for reply, want := range map[string]string{
		"rcpt 550 5.1.1 no such user":                                  "no mailbox with this address",
		"rcpt 550 no such user here":                                   "no mailbox with this address",
		"rcpt 550 Requested action not taken: mailbox unavailable":     "no mailbox with this address",
		"rcpt 550 go away":                                             "does not take mail for this address",
		"rcpt 452 4.2.2 over quota":                                    "mailbox is full",
		"rcpt 552 Quota exceeded":                                      "mailbox is full",
		"rcpt 451 4.7.1 Greylisting in action, please come back later": "lets mail from senders that it does not know wait",
		"rcpt 554 5.7.1 <alice@x>: Relay access denied":                "does not know the domain",
		"rcpt 554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.example": "blocklist",
		"mail 550 5.7.606 Access denied, banned sending IP [192.0.2.1]":                                  "blocklist",
		"greeting 554 mx.x.example: your IP has a poor reputation":                                       "blocklist",
		"greeting 554 no SMTP service here":                                                              "takes no mail from this server",
		"data 552 5.3.4 too big":                                                                         "larger than",
		"data 550 5.7.1 This message looks like spam":                                                    "takes your message for spam",
		"data 550 5.7.26 This mail has been blocked because the sender is unauthenticated":               "SPF, DKIM or DMARC",
		"data 550 5.7.1 rejected by DMARC policy of home.example":                                        "SPF, DKIM or DMARC",
		"data 550 5.7.1 no":                    "The rules of the recipient's server",
		"data 554 no":                          "did not take the message",
		"data 552 5.6.1 no macros please":      "what the message holds",
		"mail 450 4.7.25 Client host rejected": "the name of this server",
		"mail 421 4.7.0 unusual rate of mail":  "only so much mail at a time",
		"mail 550 5.1.8 who?":                  "from your address",
		"auth 535 5.7.8 bad password":          "not set up right",
	} {
		stage, reply, _ := strings.Cut(reply, " ")
		status := reply[:1] + ".0.0"
		if words := strings.Fields(reply); statusCode.MatchString(words[1]) {
			status = words[1]
		}
		expectWords(t, refusedBy(to("bob@x.example", ActionFailed), stage, status, reply), want)
	}
	for status, want := range map[string]string{
		"5.1.2": "does not exist or takes no mail", "5.1.10": "takes no mail at all", "5.1.3": "cannot be sent to an address",
		"4.4.1": "cannot be reached", "4.4.2": "broke off", "4.4.3": "DNS", "5.4.4": "names no mail server", "5.4.6": "in circles",
		"5.6.3": "8BITMIME", "5.6.7": "SMTPUTF8", "5.7.30": "REQUIRETLS", "4.7.5": "No encrypted connection", "4.3.5": "not set up right",
		"5.9.9": "did not take",
	} {
		f := to("bob@x.example", ActionFailed)
		f.Failure = failure("data", status, "reputation of our own words", false)
		expectWords(t, f, want)
	}
	expectWords(t, to("bob@x.example", ActionFailed), "It could not be sent.")
}

// expectWords looks for words in what people read, however the lines are broken.
func expectWords(t *testing.T, f Fate, want string) {
	t.Helper()
	r := about(lunch, f)
	text := write(t, r)
	got := body(t, text, structure(t, r, text)[0])
	if !strings.Contains(strings.Join(strings.Fields(got), " "), want) {
		t.Errorf("%q is not in\n%s", want, got)
	}
}

// TestSubjects: the worst comes first, and others are counted that have it too.
func TestSubjects(t *testing.T) {
	for want, fates := range map[string][]Fate{
		"Mail not delivered to bob@x.example":                              {relayed(), noUser()},
		"Mail not delivered to bob@x.example and 1 other":                  {noUser(), to("c@d.example", ActionFailed)},
		"Mail delayed to carol@y.example and 2 others":                     {relayed(), late(), late(), late()},
		"Mail relayed to dan@x.example":                                    {to("c@d.example", ActionDelivered), relayed()},
		"Mail delivered to c@d.example":                                    {to("c@d.example", ActionDelivered)},
		`Mail not delivered to "a b"@d.example`:                            {to("a b@d.example", ActionFailed)},
		"Mail not delivered to " + strings.Repeat("é", 100) + "@d.example": {to(strings.Repeat("é", 100)+"@d.example", ActionFailed)},
	} {
		m := parse(write(t, about(lunch, fates...)))
		if got := message.DecodeWords(m.Header().Get("Subject")); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestInReplyTo: an identifier that cannot stand in a header is left out.
func TestInReplyTo(t *testing.T) {
	for id, want := range map[string]string{
		"<1@home.example>": "<1@home.example>", "": "", "<é@home.example>": "", "<a b>": "", "<a\r\nb: c>": "", "<" + strings.Repeat("x", 1000) + ">": "",
	} {
		r := about(lunch, noUser())
		r.Message.MessageID = id
		h := parse(write(t, r)).Header()
		if h.Get("In-Reply-To") != want || h.Get("References") != want {
			t.Errorf("%q: got %q and %q", id, h.Get("In-Reply-To"), h.Get("References"))
		}
	}
}

// TestExpired: how long it was tried is counted from when it was to be sent.
func TestExpired(t *testing.T) {
	for want, c := range map[string]struct{ release, at time.Duration }{
		"within 5 days,":   {0, 5 * 24 * time.Hour},
		"within 47 hours,": {0, 47*time.Hour + 59*time.Minute},
		"within 3 hours,":  {48 * time.Hour, 51 * time.Hour},
		"in time,":         {0, time.Hour},
	} {
		f := to("bob@x.example", ActionFailed)
		f.Expired = true
		r := about(lunch, f)
		r.At, r.Message.Release = wednesday.Add(c.at), wednesday.Add(c.release)
		text := write(t, r)
		if !strings.Contains(text, "could not be delivered "+want) || !strings.Contains(text, "\r\nStatus: 4.4.7\r\n") {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}

// TestRemoteMTA: a host without a name is an address literal, and one that was
// not reached is not named.
func TestRemoteMTA(t *testing.T) {
	for host, want := range map[string]string{
		"mx.x.example": "dns; mx.x.example", "192.0.2.1": "dns; [192.0.2.1]", "2001:db8::1": "dns; [IPv6:2001:db8::1]", "": "",
	} {
		f := noUser()
		f.Failure.Host = host
		if host == "" {
			f.Failure.Host, f.Failure.Address = "x.example", ""
		}
		r := about(lunch, f)
		text := write(t, r)
		_, group, _ := strings.Cut(body(t, text, structure(t, r, text)[1]), "\r\n\r\n")
		if got := message.ParseHeader([]byte(group)).Get("Remote-MTA"); got != want {
			t.Errorf("%s: got %q, want %q", host, got, want)
		}
	}
}

// TestPromise: a sender who declined reports of failure is not promised one.
func TestPromise(t *testing.T) {
	for notify, want := range map[string]bool{"": true, "DELAY": false, "FAILURE,DELAY": true} {
		f := late()
		f.Notify = notify
		if got := strings.Contains(write(t, about(lunch, f)), "It will tell you"); got != want {
			t.Errorf("NOTIFY=%s: promised: %v", notify, got)
		}
	}
}

// TestHostileReplies: whatever a host says stays inside its own line.
func TestHostileReplies(t *testing.T) {
	for _, reply := range []string{
		"250\r\nX: y", "550 a\n\nAction: delivered", "550 \r\n\r\n--BOUNDARY--\r\n", "550 \x00\x1b[2J\x7f\u2028\u202etxt.exe",
		strings.Repeat("550 long ", 2000), strings.Repeat("x", 10_000), strings.Repeat("é", 5000), "550 \xff\xfe", " ", "\r\n",
	} {
		r := about(lunch, refusedBy(to("bob@x.example", ActionFailed), "rcpt", "5.1.1", reply), late())
		text := write(t, r)
		for _, p := range structure(t, r, text)[:2] {
			if got := body(t, text, p); strings.ContainsAny(got, "\x1b\x7f\u2028\u202e") {
				t.Errorf("controls in\n%q", got)
			}
		}
		if limit := 12_000; len(text) > limit {
			t.Errorf("%d octets for a reply of %d", len(text), len(reply))
		}
	}
}

// TestStatuses: no host makes us send what is no status.
func TestStatuses(t *testing.T) {
	for status, want := range map[string]string{"5.1.1": "5.1.1", "5.-1.2": "5.0.0", "4.70000.1": "4.0.0", "5.7.606": "5.7.606", "": "5.0.0"} {
		f := refusedBy(to("bob@x.example", ActionFailed), "rcpt", status, "no")
		if status == "" {
			f.Failure = nil
		}
		if text := write(t, about(lunch, f)); !strings.Contains(text, fmt.Sprintf("\r\nStatus: %s\r\n", want)) {
			t.Errorf("%q: got\n%s", status, text)
		}
	}
}

// FuzzReport: nothing that others choose changes what a report is.
func FuzzReport(f *testing.F) {
	f.Add("250\r\nX: y", "bob@x.example", "rfc822;bob@x.example", "QQ1", "mx.x.example", "5.1.1", lunch, "<1@x>")
	f.Add("550 \x00\r\n\r\n--B", "δ@x.example", "utf-8;δ@x.example", "a b\r\n", "::1", "5.-1.1", "Subject: é\r\n\r\n--B--\r\n", "<é>")
	f.Add(strings.Repeat("x", 3000), "a\r\nb: c@d", "x;\n\ny", strings.Repeat(" e", 2000), "h\r\n", "4.7.0", "", "<a\r\nb: c>")
	f.Fuzz(func(t *testing.T, reply, address, orcpt, envid, host, status, content, id string) {
		if !statusShape(status) || strings.TrimSpace(printable(address)) == "" {
			t.Skip()
		}
		failed := refusedBy(to(address, ActionFailed), "rcpt", status, reply)
		failed.ORCPT, failed.Failure.Host = orcpt, host
		taken := relayed()
		taken.Reply, taken.Last.Host = reply, host
		r := about(content, failed, taken, late())
		r.Message.EnvID, r.Message.MessageID, r.Message.Sender = envid, id, address
		text := write(t, r)
		p := structure(t, r, text)[2]
		if got := text[p.BodyOffset:p.End]; !strings.HasPrefix(content, got) {
			t.Errorf("returned %q of %q", got, content)
		}
	})
}

// statusShape tells that a Failure may have the status.
func statusShape(s string) bool { return s != "" && (s[0] == '4' || s[0] == '5') }
