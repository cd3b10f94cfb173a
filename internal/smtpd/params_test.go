package smtpd

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// asked is a Session that tells what it was asked for.
type asked struct {
	nobody
	said chan<- string
}

func (a asked) Mail(_ context.Context, m Mail) error {
	hold := time.Duration(0)
	if !m.Release.IsZero() {
		hold = time.Until(m.Release).Round(time.Minute)
	}
	a.said <- fmt.Sprintf("%s %d %s %s %v", m.From, m.Size, m.Ret, m.EnvID, hold)
	return nil
}

func (a asked) Rcpt(_ context.Context, r Rcpt) error {
	a.said <- fmt.Sprintf("%s %s %s", r.Address, r.Notify, r.ORCPT)
	return nil
}

// TestParameters: what MAIL and RCPT ask for reaches the session as it was
// meant, or is refused with the code that says why.
func TestParameters(t *testing.T) {
	until := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }
	const month = 30 * 24 * time.Hour
	said := make(chan string, 100)
	s := &Server{NewSession: func(*Conn) Session { return asked{said: said} }, Log: slog.New(slog.DiscardHandler)}
	cfg := testConfig()
	cfg.DSN, cfg.RequireTLS, cfg.MaxRelease = true, true, month
	s.Configure(cfg)
	addr := listenOn(t, s)
	const path, rcpt = "MAIL FROM:<a@b.example>", "MAIL FROM:<>\r\nRCPT TO:<c@d.example>"
	for command, want := range map[string]string{
		path:                                                       "250 a@b.example 0   0s",
		path + " ":                                                 "250 a@b.example 0   0s",
		path + " SIZE=5 HOLDFOR=3600":                              "250 a@b.example 5   1h0m0s",
		path + "  holdfor=3600   RET=hdrs":                         "250 a@b.example 0 HDRS  1h0m0s",
		"mail from: <a@b.example> HOLDFOR=60":                      "250 a@b.example 0   1m0s",
		"MAIL FROM:a@b.example HOLDFOR=60":                         "250 a@b.example 0   1m0s",
		path + " HOLDUNTIL=" + until(time.Hour):                    "250 a@b.example 0   1h0m0s",
		path + " HOLDFOR=2592000":                                  "250 a@b.example 0   720h0m0s",
		path + " HOLDFOR=2592001":                                  "554 5.6.0",
		path + " HOLDFOR=999999999":                                "554 5.6.0",
		path + " HOLDFOR=99999999999999999999":                     "501 5.5.4",
		path + " HOLDFOR=0":                                        "501 5.5.4",
		path + " HOLDFOR=-1":                                       "501 5.5.4",
		path + " HOLDFOR=+1":                                       "501 5.5.4",
		path + " HOLDFOR=1h":                                       "501 5.5.4",
		path + " HOLDFOR=":                                         "501 5.5.4",
		path + " HOLDFOR":                                          "501 5.5.4",
		path + " HOLDUNTIL=" + until(month+time.Hour):              "554 5.6.0",
		path + " HOLDUNTIL=" + until(-time.Minute):                 "501 5.5.4",
		path + " HOLDUNTIL=2300-02-30T00:00:00Z":                   "501 5.5.4",
		path + " HOLDUNTIL=tomorrow":                               "501 5.5.4",
		path + " HOLDFOR=60 HOLDUNTIL=" + until(time.Hour):         "501 5.5.4",
		path + " HOLDFOR=60 HOLDFOR=60":                            "501 5.5.4",
		`MAIL FROM:<"a HOLDFOR=60 "@b.example>`:                    "250 a HOLDFOR=60 @b.example 0   0s",
		`MAIL FROM:<"a\" HOLDFOR=x > SIZE=1"@b.example> SIZE=2`:    `250 a" HOLDFOR=x > SIZE=1@b.example 2   0s`,
		path + " SIZE=99999999999999999999":                        "552 5.3.4",
		path + " SIZE=1 SIZE=2":                                    "501 5.5.4",
		path + " SIZE=x":                                           "501 5.5.4",
		path + " RET=FULL ENVID=a+2Bb":                             "250 a@b.example 0 FULL a+b 0s",
		path + " RET=NONE":                                         "501 5.5.4",
		path + " RET=FULL ret=HDRS":                                "501 5.5.4",
		path + " ENVID=":                                           "501 5.5.4",
		path + " ENVID=a+0Ab":                                      "501 5.5.4",
		path + " ENVID=" + strings.Repeat("x", 101):                "501 5.5.4",
		path + " REQUIRETLS":                                       "530 5.7.0",
		path + " RequireTLS=":                                      "530 5.7.0",
		path + " BY=120;R":                                         "555 5.5.4",
		path + " NOTIFY=NEVER":                                     "555 5.5.4",
		rcpt + " NOTIFY=success,DELAY ORCPT=rfc822;x+2By@z":        "250 c@d.example SUCCESS,DELAY rfc822;x+y@z",
		rcpt + ` ORCPT=utf-8;j\x{F6}rg@z`:                          "250 c@d.example  utf-8;jörg@z",
		rcpt + ` ORCPT=utf-8;j\x{07}rg@z`:                          "501 5.5.4",
		rcpt + ` ORCPT=utf-8;j\x{85}rg@z`:                          "501 5.5.4",
		rcpt + " ORCPT=utf-8;\xff@z":                               "501 5.5.4",
		rcpt + " ORCPT=rfc822;x+0D+0Ay@z":                          "501 5.5.4",
		rcpt + " ORCPT=rfc822;" + strings.Repeat("x", 500):         "501 5.5.4",
		rcpt + " ORCPT=rfc822":                                     "501 5.5.4",
		rcpt + " NOTIFY=NEVER,SUCCESS":                             "501 5.5.4",
		rcpt + " NOTIFY=":                                          "501 5.5.4",
		rcpt + " NOTIFY=NEVER NOTIFY=NEVER":                        "501 5.5.4",
		rcpt + " HOLDFOR=60":                                       "555 5.5.4",
		"MAIL FROM:<>\r\nRCPT TO:<postmaster> ORCPT=a;b ORCPT=a;b": "501 5.5.4",
	} {
		replies := strings.Split(strings.TrimSpace(conversation(t, addr, "EHLO client.example\r\n"+command+"\r\nQUIT\r\n")), "\r\n")
		reply := replies[len(replies)-2] // before that to QUIT
		code, what, ok := strings.Cut(want, " ")
		got := ""
		for len(said) > 0 {
			got = <-said
		}
		switch {
		case code == "250" && (!strings.HasPrefix(reply, "250 ") || got != what):
			t.Errorf("%q: %s, heard %q", command, reply, got)
		case code != "250" && (!ok || !strings.HasPrefix(reply, want)):
			t.Errorf("%q: %s, not %s", command, reply, want)
		}
	}
}

// TestNoRelease: where FUTURERELEASE is not offered, it is not taken.
func TestNoRelease(t *testing.T) {
	_, addr := serve(t, testConfig())
	for _, command := range []string{"HOLDFOR=60", "HOLDUNTIL=2300-01-01T00:00:00Z", "RET=FULL", "ENVID=x", "REQUIRETLS"} {
		all := conversation(t, addr, "EHLO client.example\r\nMAIL FROM:<a@b.example> "+command+"\r\nQUIT\r\n")
		if strings.Contains(all, "FUTURERELEASE") || strings.Contains(all, "DSN") || !strings.Contains(all, "\r\n5") {
			t.Errorf("%s: %q", command, all)
		}
	}
}

// TestTinyChunks: BDAT that brings nothing does not go on for ever.
func TestTinyChunks(t *testing.T) {
	cfg := testConfig()
	cfg.MaxCommands = 20
	_, addr := serve(t, cfg)
	begin := "EHLO client.example\r\nMAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\n"
	if all := conversation(t, addr, begin+strings.Repeat("BDAT 0\r\n", 100)); !strings.HasSuffix(all, "421 4.7.0 too many commands in one connection\r\n") {
		t.Errorf("nothing, a hundred times: %q", all)
	}
	if all := conversation(t, addr, begin+strings.Repeat("BDAT 1\r\nx", 100)+"BDAT 0 LAST\r\nQUIT\r\n"); !strings.Contains(all, "\r\n221 ") {
		t.Errorf("an octet, a hundred times: %q", all)
	}
}

// TestReceived: the field names the one recipient, in ASCII, and no peer that
// is not to be named.
func TestReceived(t *testing.T) {
	at := time.Date(2026, 11, 5, 9, 8, 7, 0, time.FixedZone("", 3600))
	to := func(list ...string) (all []Rcpt) {
		for _, a := range list {
			all = append(all, Rcpt{Address: a})
		}
		return all
	}
	for _, c := range []struct {
		to   []Rcpt
		want string
	}{
		{to("a@b.example"), "Received: by mx.example with ESMTPSA\r\n\tid x\r\n\tfor <a@b.example>; Thu, 5 Nov 2026 09:08:07 +0100\r\n"},
		{to("a b@c.example"), "Received: by mx.example with ESMTPSA\r\n\tid x\r\n\tfor <\"a b\"@c.example>; Thu, 5 Nov 2026 09:08:07 +0100\r\n"},
		{to("a@b.example", "c@b.example"), "Received: by mx.example with ESMTPSA\r\n\tid x; Thu, 5 Nov 2026 09:08:07 +0100\r\n"},
		{to("ä@b.example"), "Received: by mx.example with ESMTPSA\r\n\tid x; Thu, 5 Nov 2026 09:08:07 +0100\r\n"},
	} {
		tr := Trace{Envelope: Envelope{Mail: Mail{Helo: "secret.example", Protocol: "ESMTPSA"}, To: c.to}, Hostname: "mx.example", ID: "x", At: at}
		if got := string(tr.Received()); got != c.want {
			t.Errorf("%q, not %q", got, c.want)
		}
	}
}

// FuzzCutPath: nothing is lost between the path and the parameters, and no
// parameter is read out of a quoted local part.
func FuzzCutPath(f *testing.F) {
	for _, s := range []string{"FROM:<a@b> X=1 Y", `FROM:<"a> X"@b> Y`, "FROM: a@b X", "FROM:<>", "", ":", `FROM:<"\`, "TO:<@x:y@z>  A"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		path, params := cutPath(s)
		rest, ok := strings.CutPrefix(s, path)
		if !ok || strings.Join(strings.Fields(rest), " ") != strings.Join(params, " ") {
			t.Fatalf("%q is %q and %q", s, path, params)
		}
	})
}
