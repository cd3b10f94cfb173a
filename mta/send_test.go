package mta

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"mailbox/storage"
)

// TestContentUnchanged: what arrives is what was queued, octet by octet.
func TestContentUnchanged(t *testing.T) {
	for name, content := range map[string]string{
		"short":      shortMail,
		"dots":       ".\r\n..\r\n.x\r\n\r\n.\r\n",
		"dot first":  ".",
		"8-bit":      "Subject: x\r\n\r\ngr\xfc\xdfe \xff\xfe\r\n",
		"NUL":        "Subject: x\r\n\r\n\x00\x01\x1a\r\n",
		"long lines": "X: " + strings.Repeat("a", 100_000) + "\r\n\r\n" + strings.Repeat(".", 5000) + "\r\n",
		"empty":      "",
		"large":      strings.Repeat("0123456789.\r\n.abc\r\n", 60_000),
		"EHLO":       "EHLO x\r\nRSET\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			r, d := toHost(t, h, nil)
			res := deliver(t, r, d, newMail(content, "bob@there.example"))
			wantOutcome(t, res[0], "ok")
			if res[0].Reply != "250 2.0.0 taken" {
				t.Errorf("reply is %q", res[0].Reply)
			}
			want := content
			if content == "." || content == "" { // the last line gets its end
				want += "\r\n"
			}
			if got := h.received(); len(got) != 1 || got[0].body != want {
				t.Errorf("%d messages arrived, changed", len(got))
			}
		})
	}
}

// TestNeverSmuggles: a bare CR or LF never goes out, and no dot follows what
// went out before it. A message that cannot be read whole does not arrive.
func TestNeverSmuggles(t *testing.T) {
	for name, c := range map[string]struct{ content, want string }{
		"LF dot LF":     {"a\r\n\n.\nb\r\n", "data 5.6.0"},
		"CR dot CR":     {"a\r.\rb\r\n", "data 5.6.0"},
		"CRLF dot LF":   {"a\r\n.\nMAIL FROM:<>\r\n", "data 5.6.0"},
		"LF dot CRLF":   {"a\n.\r\nMAIL FROM:<>\r\n", "data 5.6.0"},
		"CR CRLF":       {"a\r\r\n.\r\n", "data 5.6.0"},
		"CR at the end": {"a\r", "data 5.6.0"},
		"late":          {strings.Repeat("0123456789\r\n", 10_000) + "\n.\n", "data 5.6.0"},
		"cut short":     {strings.Repeat("0123456789\r\n", 10_000), "data 4.3.0"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			r, d := toHost(t, h, nil)
			m := newMail(c.content, "bob@there.example")
			if name == "cut short" {
				m.Size += 10
			}
			conn, err := r.Connect(context.Background(), d)
			if err != nil {
				t.Fatal(err)
			}
			res, again := conn.Send(context.Background(), m)
			conn.Close()
			wantOutcome(t, res[0], c.want)
			if again || res[0].Failure.HostDown {
				t.Errorf("again %v, the host is blamed: %v", again, res[0].Failure.HostDown)
			}
			if got := h.received(); len(got) != 0 {
				t.Errorf("%d messages arrived", len(got))
			}
		})
	}
}

// brokenDisk fails after a while.
type brokenDisk struct{ io.ReaderAt }

func (b brokenDisk) ReadAt(p []byte, off int64) (int, error) {
	if off > 50_000 {
		return 0, errors.New("read /secret/path: input/output error")
	}
	return b.ReaderAt.ReadAt(p, off)
}

// TestUnreadable: a fault of ours is not the host's, and its words are not for
// the sender.
func TestUnreadable(t *testing.T) {
	h := newHost(t)
	r, d := toHost(t, h, nil)
	m := newMail(strings.Repeat("0123456789\r\n", 10_000), "bob@there.example")
	m.Content = brokenDisk{m.Content}
	res := deliver(t, r, d, m)
	wantOutcome(t, res[0], "data 4.3.0")
	if f := res[0].Failure; f.HostDown || f.Remote || strings.Contains(f.Reply, "secret") {
		t.Errorf("failure is %+v", f)
	}
	if len(h.received()) != 0 {
		t.Error("half a message arrived")
	}
}

// TestEnvelope: what MAIL and RCPT say, with the extensions that a host offers
// and without.
func TestEnvelope(t *testing.T) {
	all := []string{"8BITMIME", "SIZE", "SMTPUTF8", "DSN"}
	ascii := storage.QueuedRecipient{Address: "bob@there.example"}
	for name, c := range map[string]struct {
		extensions []string
		sender     string
		change     func(*Outbound)
		to         storage.QueuedRecipient
		mail, rcpt string
	}{
		"plain":    {nil, "a@home.example", nil, ascii, "MAIL FROM:<a@home.example>", "RCPT TO:<bob@there.example>"},
		"null":     {nil, "", nil, ascii, "MAIL FROM:<>", "RCPT TO:<bob@there.example>"},
		"size":     {[]string{"SIZE 100"}, "", nil, ascii, "MAIL FROM:<> SIZE=22", "RCPT TO:<bob@there.example>"},
		"in lower": {[]string{"8bitmime", "Size 100"}, "", nil, ascii, "MAIL FROM:<> BODY=8BITMIME SIZE=22", "RCPT TO:<bob@there.example>"},
		"quoted": {
			nil, `a,b@home.example`, nil,
			storage.QueuedRecipient{Address: `..x"\y@there.example`},
			`MAIL FROM:<"a,b"@home.example>`, `RCPT TO:<"..x\"\\y"@there.example>`,
		},
		"two ats": {nil, "", nil, storage.QueuedRecipient{Address: "a@b@there.example"}, "MAIL FROM:<>", `RCPT TO:<"a@b"@there.example>`},
		"reports, not offered": {
			nil, "", func(m *Outbound) { m.Ret, m.EnvID = "HDRS", "id" },
			storage.QueuedRecipient{Address: "bob@there.example", Notify: "NEVER", ORCPT: "rfc822;x@y"},
			"MAIL FROM:<>", "RCPT TO:<bob@there.example>",
		},
		"reports": {
			all, "", func(m *Outbound) { m.Ret, m.EnvID = "HDRS", "a+b=c d" },
			storage.QueuedRecipient{Address: "bob@there.example", Notify: "SUCCESS,FAILURE", ORCPT: "rfc822;bob+tag=1@x.example"},
			"MAIL FROM:<> BODY=8BITMIME SIZE=22 RET=HDRS ENVID=a+2Bb+3Dc+20d", "RCPT TO:<bob@there.example> NOTIFY=SUCCESS,FAILURE ORCPT=RFC822;bob+2Btag+3D1@x.example",
		},
		"original address in UTF-8": {
			all, "", nil,
			storage.QueuedRecipient{Address: "bob@there.example", ORCPT: "utf-8;bøb+x@there.example"},
			"MAIL FROM:<> BODY=8BITMIME SIZE=22 SMTPUTF8", `RCPT TO:<bob@there.example> ORCPT=UTF-8;bøb\x{2B}x@there.example`,
		},
		"original address in UTF-8, not offered": {
			[]string{"DSN"},
			"", nil,
			storage.QueuedRecipient{Address: "bob@there.example", ORCPT: "utf-8;bøb@there.example"},
			"MAIL FROM:<>", `RCPT TO:<bob@there.example> ORCPT=UTF-8;b\x{F8}b@there.example`,
		},
		"original address that cannot be written": {
			all, "", func(m *Outbound) { m.EnvID = "a\r\nb" },
			storage.QueuedRecipient{Address: "bob@there.example", ORCPT: "x400;c=no"},
			"MAIL FROM:<> BODY=8BITMIME SIZE=22", "RCPT TO:<bob@there.example>",
		},
		"original address with a backslash": {
			all, "", nil,
			storage.QueuedRecipient{Address: "bob@there.example", ORCPT: `utf-8;"\x{d}"@there.example`},
			"MAIL FROM:<> BODY=8BITMIME SIZE=22", "RCPT TO:<bob@there.example>",
		},
		"header in UTF-8": {all, "", func(m *Outbound) { m.UTF8 = true }, ascii, "MAIL FROM:<> BODY=8BITMIME SIZE=22 SMTPUTF8", "RCPT TO:<bob@there.example>"},
		"address in UTF-8": {
			all, "", nil,
			storage.QueuedRecipient{Address: "bøb@there.example"},
			"MAIL FROM:<> BODY=8BITMIME SIZE=22 SMTPUTF8", "RCPT TO:<bøb@there.example>",
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.offers(c.extensions...)
			r, d := toHost(t, h, nil)
			m := newMail(shortMail, "")
			m.Sender, m.To[0] = c.sender, c.to
			if c.change != nil {
				c.change(m)
			}
			res := deliver(t, r, d, m)
			wantOutcome(t, res[0], "ok")
			if want := slices.Contains(c.extensions, "DSN"); res[0].Reports != want {
				t.Errorf("reports: %v, want %v", res[0].Reports, want)
			}
			got := h.received()
			if len(got) != 1 || got[0].mail != c.mail || got[0].rcpt[0] != c.rcpt {
				t.Errorf("got %q\nwant %q, %q", h.commands(), c.mail, c.rcpt)
			}
		})
	}
}

// TestUnfit: what a host cannot take is refused before a word of it is said,
// and the connection goes on.
func TestUnfit(t *testing.T) {
	for name, c := range map[string]struct {
		extensions []string
		change     func(*Outbound)
		want       string
	}{
		"8-bit":                {nil, func(m *Outbound) { *m = *newMail("\r\n\xfc\r\n", "bob@there.example") }, "ehlo 5.6.3"},
		"header in UTF-8":      {[]string{"8BITMIME"}, func(m *Outbound) { m.UTF8 = true }, "ehlo 5.6.7"},
		"sender in UTF-8":      {[]string{"8BITMIME"}, func(m *Outbound) { m.Sender = "älice@home.example" }, "ehlo 5.6.7"},
		"recipient in UTF-8":   {[]string{"8BITMIME"}, func(m *Outbound) { m.To[0].Address = "bøb@there.example" }, "rcpt 5.6.7"},
		"too large":            {[]string{"SIZE 10"}, func(*Outbound) {}, "ehlo 5.3.4"},
		"REQUIRETLS":           {[]string{"REQUIRETLS"}, func(m *Outbound) { m.RequireTLS = true }, "ehlo 5.7.30"},
		"sender with CRLF":     {nil, func(m *Outbound) { m.Sender = "a@b>\r\nRCPT TO:<x@y" }, "ehlo 5.1.7"},
		"sender with LF":       {nil, func(m *Outbound) { m.Sender = "a\n@b" }, "ehlo 5.1.7"},
		"sender with NUL":      {nil, func(m *Outbound) { m.Sender = "a\x00@b" }, "ehlo 5.1.7"},
		"sender with bracket":  {nil, func(m *Outbound) { m.Sender = "x> AUTH=<@b" }, "ehlo 5.1.7"},
		"parameter":            {[]string{"DSN"}, func(m *Outbound) { m.To[0].Address = `"x> NOTIFY=NEVER"@there.example` }, "rcpt 5.1.3"},
		"recipient with CR":    {nil, func(m *Outbound) { m.To[0].Address = "x\r@there.example" }, "rcpt 5.1.3"},
		"recipient with space": {nil, func(m *Outbound) { m.To[0].Address = "x y@there.example" }, "rcpt 5.1.3"},
		"recipient not UTF-8":  {[]string{"SMTPUTF8"}, func(m *Outbound) { m.To[0].Address = "\xff@there.example" }, "rcpt 5.1.3"},
		"no recipient":         {nil, func(m *Outbound) { m.To[0].Address = "" }, "rcpt 5.1.3"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.offers(c.extensions...)
			r, d := toHost(t, h, nil)
			conn, err := r.Connect(context.Background(), d)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			m := newMail(shortMail, "bob@there.example")
			c.change(m)
			res, again := conn.Send(context.Background(), m)
			wantOutcome(t, res[0], c.want)
			if f := res[0].Failure; !again || f == nil || f.HostDown || f.Remote || !f.Permanent() {
				t.Errorf("again %v, failure %+v", again, f)
			}
			next := newMail("\r\n", "bob@there.example")
			next.Sender = ""
			res, _ = conn.Send(context.Background(), next)
			wantOutcome(t, res[0], "ok")
			if got := h.received(); len(got) != 1 || got[0].body != "\r\n" {
				t.Errorf("the host got %q", h.commands())
			}
		})
	}
}

// TestRecipients: each recipient has an answer of its own.
func TestRecipients(t *testing.T) {
	h := newHost(t)
	h.offers("8BITMIME")
	h.answers(func(stage, line string) string {
		switch {
		case strings.Contains(line, "gone"):
			return "550 5.1.1 no such user"
		case strings.Contains(line, "full"):
			return "452-4.2.2 mailbox\n452 4.2.2 full"
		case strings.Contains(line, "moved"):
			return "251 2.1.5 will forward"
		}
		return ""
	})
	r, d := toHost(t, h, nil)
	res := deliver(t, r, d, newMail(shortMail, "gone@there.example", "a@there.example", "full@there.example", "bøb@there.example", "moved@there.example"))
	for i, want := range []string{"rcpt 5.1.1", "ok", "rcpt 4.2.2", "rcpt 5.6.7", "ok"} {
		wantOutcome(t, res[i], want)
	}
	if got := res[2].Failure.Reply; got != "452 4.2.2 mailbox full" {
		t.Errorf("reply is %q", got)
	}
	if f := res[0].Failure; !f.Remote || f.HostDown || f.Host != "host.example" || f.Address != h.addr.String() {
		t.Errorf("failure is %+v", f)
	}
	if got := h.received(); len(got) != 1 || len(got[0].rcpt) != 2 {
		t.Errorf("the host took %+v", got)
	}
}

// TestTooManyRecipients: those for whom a transaction has no room wait for the
// next one, also where the host means to say never.
func TestTooManyRecipients(t *testing.T) {
	h := newHost(t)
	h.answers(func(stage, line string) string {
		if stage == "RCPT" && !strings.Contains(line, "first") {
			return "552 5.5.3 too many recipients"
		}
		return ""
	})
	r, d := toHost(t, h, nil)
	res := deliver(t, r, d, newMail(shortMail, "first@there.example", "second@there.example"))
	wantOutcome(t, res[0], "ok")
	wantOutcome(t, res[1], "rcpt 4.5.3")
	wantOutcome(t, deliver(t, r, d, newMail(shortMail, "second@there.example"))[0], "rcpt 5.5.3")
}

// TestKeptConnection: whatever became of a message, the next one has the
// connection for itself.
func TestKeptConnection(t *testing.T) {
	h := newHost(t)
	var refuse string
	h.answers(func(stage, line string) string {
		if stage == refuse {
			return "550 5.7.1 not that one"
		}
		return ""
	})
	r, d := toHost(t, h, nil)
	conn, err := r.Connect(context.Background(), d)
	if err != nil {
		t.Fatal(err)
	}
	for _, stage := range []string{"MAIL", "RCPT", "DATA", ".", ""} {
		refuse = stage
		res, again := conn.Send(context.Background(), newMail("X: "+stage+"\r\n\r\n\xe4\r\n", "bob@there.example"))
		if !again {
			t.Fatalf("the connection ended after a refused %s", stage)
		}
		want := map[string]string{"MAIL": "mail", "RCPT": "rcpt", "DATA": "data", ".": "data"}[stage] + " 5.7.1"
		if stage == "" {
			want = "ok"
		}
		wantOutcome(t, res[0], want)
	}
	conn.Close()
	if got := h.received(); len(got) != 1 || got[0].body != "X: \r\n\r\n\xe4\r\n" || len(got[0].rcpt) != 1 {
		t.Errorf("the host took %+v", got)
	}
	if h.connections() != 1 {
		t.Errorf("%d connections were made", h.connections())
	}
	resets, hellos := 0, 0
	for _, l := range h.commands() {
		if l == "RSET" {
			resets++
		}
		if strings.HasPrefix(l, "EHLO") {
			hellos++
		}
	}
	if resets != 4 || hellos != 1 {
		t.Errorf("%d RSET, %d EHLO in %q", resets, hellos, h.commands())
	}
}

// TestKeptConnectionGone: a host that went away meanwhile is told of at MAIL;
// nothing is held against the message.
func TestKeptConnectionGone(t *testing.T) {
	h := newHost(t)
	h.answers(func(stage, line string) string {
		if stage == "RCPT" {
			return "550 5.1.1 no"
		}
		if stage == "RSET" {
			return "250 ok" + hangUp
		}
		return ""
	})
	r, d := toHost(t, h, nil)
	conn, err := r.Connect(context.Background(), d)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if res, again := conn.Send(context.Background(), newMail(shortMail, "bob@there.example")); !again {
		t.Fatal(outcome(res[0]))
	}
	m := newMail("Subject: \xc3\xa4\r\n\r\n\xff\r\n", "bob@there.example")
	m.UTF8 = true
	res, again := conn.Send(context.Background(), m)
	wantOutcome(t, res[0], "mail 4.4.2")
	if again || !res[0].Failure.HostDown {
		t.Errorf("again %v, %+v", again, res[0].Failure)
	}
}

// TestAnswers: what hosts answer, and what is made of it.
func TestAnswers(t *testing.T) {
	many := strings.Repeat("250-line\n", 10_000) + "250 done"
	for name, c := range map[string]struct {
		stage, answer, want string
		again               bool
	}{
		"421 at MAIL":                 {"MAIL", "421 4.3.2 closing", "mail 4.3.2", false},
		"421 at RCPT":                 {"RCPT", "421 4.3.2 closing", "rcpt 4.3.2", false},
		"421 at DATA":                 {"DATA", "421 closing", "data 4.0.0", false},
		"421 at the end":              {".", "421 4.3.2 closing" + hangUp, "data 4.3.2", false},
		"refused, then gone":          {".", "554 5.7.1 spam" + hangUp, "data 5.7.1", false},
		"taken, then gone":            {".", "250 2.0.0 ok" + hangUp, "ok", true},
		"gone at MAIL":                {"MAIL", hangUp, "mail 4.4.2", false},
		"gone at RCPT":                {"RCPT", hangUp, "rcpt 4.4.2", false},
		"gone at DATA":                {"DATA", hangUp, "data 4.4.2", false},
		"gone in the message":         {"DATA", "354 go on" + hangUp, "data 4.4.2", false},
		"gone at the end":             {".", hangUp, "data 4.4.2", false},
		"cut off":                     {".", "250-2.0.0 ok" + hangUp, "data 4.4.2", false},
		"no text":                     {".", "250", "ok", true},
		"no text, refused":            {".", "550", "data 5.0.0", true},
		"long":                        {".", "250 " + strings.Repeat("x", 50_000), "ok", true},
		"200 lines":                   {".", strings.Repeat("250-line\n", 200) + "250 done", "ok", true},
		"10,000 lines":                {".", many, "data 4.4.2", false},
		"endless line":                {".", "250 " + strings.Repeat("x", 1<<20), "data 4.4.2", false},
		"garbage":                     {".", "\x00\xff garbage", "data 4.4.2", false},
		"no number":                   {".", "OK fine", "data 4.4.2", false},
		"empty":                       {".", "\n", "data 4.4.2", false},
		"another 2xx at MAIL":         {"MAIL", "252 fine", "ok", true},
		"another 2xx at RCPT":         {"RCPT", "220 fine", "ok", true},
		"another 2xx at the end":      {".", "251 2.6.0 fine", "ok", true},
		"2xx for DATA":                {"DATA", "250 fine", "data 4.0.0", false},
		"3xx for MAIL":                {"MAIL", "354 go on", "mail 4.0.0", false},
		"3xx for RCPT":                {"RCPT", "354 go on", "rcpt 4.0.0", false},
		"3xx at the end":              {".", "354 go on", "data 4.0.0", false},
		"1xx":                         {".", "150 wait", "data 4.0.0", false},
		"6xx":                         {".", "650 5.0.0 what", "data 4.0.0", false},
		"two answers for one":         {"RCPT", "250 ok\n250 ok", "data 4.4.2", false},
		"answers ahead":               {"RCPT", "250 ok\n354 go\n250 taken", "data 4.4.2", false},
		"status of another class":     {".", "550 4.1.1 what", "data 5.0.0", true},
		"status out of range":         {".", "550 5.1.1000 what", "data 5.0.0", true},
		"status below zero":           {".", "550 5.-1.1 what", "data 5.0.0", true},
		"no status":                   {".", "451 try later", "data 4.0.0", true},
		"other codes within a reply":  {".", "250-a\n550 b\n250 c", "ok", true},
		"control characters":          {".", "550 5.1.1 \x1b[2J\x07 a\rb \u009b \u202e", "data 5.1.1", true},
		"quit without an answer":      {"QUIT", hangUp, "ok", true},
		"refuses RSET":                {"RSET", "500 what", "ok", true},
		"many lines, different words": {"MAIL", "250-a\n250-b\n250 c", "ok", true},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.answers(func(stage, line string) string {
				if stage == c.stage {
					return c.answer
				}
				return ""
			})
			r, d := toHost(t, h, nil)
			conn, err := r.Connect(context.Background(), d)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			size := 20
			if name == "gone in the message" {
				size = 1 << 18
			}
			res, again := conn.Send(context.Background(), newMail(strings.Repeat("0123456789\r\n", size), "bob@there.example"))
			wantOutcome(t, res[0], c.want)
			if again != c.again {
				t.Errorf("again is %v", again)
			}
			f := res[0].Failure
			if f == nil {
				return
			}
			if f.HostDown == (c.again || f.Permanent()) {
				t.Errorf("host down: %v", f.HostDown)
			}
			if strings.ContainsFunc(f.Reply, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 || r == 0x202e }) {
				t.Errorf("reply %q is not one line", f.Reply)
			}
			if n := len(h.received()); n != 0 && f.Permanent() {
				t.Errorf("%d messages were taken, and given up", n)
			}
		})
	}
}

// TestHanging: no host makes us wait for ever, wherever it stops.
func TestHanging(t *testing.T) {
	for _, c := range []struct{ stage, answer, want string }{
		{"greeting", hang, "greeting 4.4.2"},
		{"greeting", "220-wait" + hang, "greeting 4.4.2"},
		{"EHLO", hang, "ehlo 4.4.2"},
		{"MAIL", hang, "mail 4.4.2"},
		{"RCPT", "250-a" + hang, "rcpt 4.4.2"},
		{"DATA", hang, "data 4.4.2"},
		{"DATA", "354 go on" + hang, "data 4.4.2"}, // and reads nothing
		{".", hang, "data 4.4.2"},
		{"QUIT", hang, "ok"},
	} {
		t.Run(c.stage+" "+c.answer, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			h.answers(func(stage, line string) string {
				if stage == c.stage {
					return c.answer
				}
				return ""
			})
			r, d := toHost(t, h, func(c *Config) { c.Timeout = 200 * time.Millisecond })
			m := newMail(shortMail, "bob@there.example")
			if strings.HasPrefix(c.answer, "354") {
				m = newMail(strings.Repeat("0123456789\r\n", 1<<20), "bob@there.example") // more than buffers take
			}
			res := deliver(t, r, d, m)
			wantOutcome(t, res[0], c.want)
			if f := res[0].Failure; f != nil && !f.HostDown {
				t.Error("the host is not blamed")
			}
		})
	}
}

// TestCancelled: whoever waits for a host can be called off.
func TestCancelled(t *testing.T) {
	for _, stage := range []string{"greeting", "MAIL", "."} {
		t.Run(stage, func(t *testing.T) {
			h := newHost(t)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			h.answers(func(at, line string) string {
				if at != stage {
					return ""
				}
				cancel()
				return hang
			})
			r, d := toHost(t, h, func(c *Config) { c.Timeout = 10 * time.Minute })
			conn, err := r.Connect(ctx, d)
			if stage == "greeting" {
				if err == nil {
					t.Error("connected")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			res, again := conn.Send(ctx, newMail(shortMail, "bob@there.example"))
			if res[0].Failure == nil || res[0].Failure.Permanent() || again {
				t.Errorf("again %v, %v", again, outcome(res[0]))
			}
		})
	}
}

// TestConnectContext: what was asked for the connecting does not end the
// connection.
func TestConnectContext(t *testing.T) {
	h := newHost(t)
	r, d := toHost(t, h, nil)
	ctx, cancel := context.WithCancel(context.Background())
	conn, err := r.Connect(ctx, d)
	cancel()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	res, _ := conn.Send(context.Background(), newMail(shortMail, "bob@there.example"))
	wantOutcome(t, res[0], "ok")
}

func TestManyRecipients(t *testing.T) {
	h := newHost(t)
	r, d := toHost(t, h, nil)
	var to []string
	for i := range 500 {
		to = append(to, fmt.Sprintf("user%d@there.example", i))
	}
	for i, res := range deliver(t, r, d, newMail(shortMail, to...)) {
		if res.Failure != nil {
			t.Fatalf("recipient %d: %v", i, res.Failure)
		}
	}
	if got := h.received(); len(got) != 1 || len(got[0].rcpt) != len(to) {
		t.Errorf("%d messages arrived", len(got))
	}
}

// BenchmarkSend sends messages of 4 KiB over one connection.
func BenchmarkSend(b *testing.B) {
	h := newHost(b)
	r, d := toHost(b, h, nil)
	conn, err := r.Connect(context.Background(), d)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	m := newMail("Subject: x\r\n\r\n"+strings.Repeat("0123456789abcdef0123456789abcd\r\n", 128), "bob@there.example")
	b.SetBytes(m.Size)
	for b.Loop() {
		if res, _ := conn.Send(context.Background(), m); res[0].Failure != nil {
			b.Fatal(res[0].Failure)
		}
	}
}
