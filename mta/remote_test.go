package mta

import (
	"context"
	"crypto/tls"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mailbox/storage"
)

// TestGreeting: how hosts begin, and what is made of it.
func TestGreeting(t *testing.T) {
	for name, c := range map[string]struct{ stage, answer, want string }{
		"many lines":              {"greeting", strings.Repeat("220-no spam\n", 200) + "220 host.example", "ok"},
		"code only":               {"greeting", "220", "ok"},
		"long line":               {"greeting", "220 " + strings.Repeat("x", 10_000), "ok"},
		"endless":                 {"greeting", strings.Repeat("220-no spam\n", 100_000), "greeting 4.4.2"},
		"no service":              {"greeting", "554 5.7.1 go away", "greeting 5.7.1"},
		"takes no mail":           {"greeting", "521 never", "greeting 5.0.0"},
		"busy":                    {"greeting", "421 4.3.2 busy" + hangUp, "greeting 4.3.2"},
		"another 2xx":             {"greeting", "250 what", "greeting 4.0.0"},
		"another protocol":        {"greeting", "SSH-2.0-OpenSSH_9.9" + hangUp, "greeting 4.4.2"},
		"closes":                  {"greeting", hangUp, "greeting 4.4.2"},
		"answers ahead":           {"greeting", "220 hi\n250 ok\n250 ok\n250 ok\n354 go\n250 ok", "ehlo 4.4.2"},
		"EHLO unknown":            {"EHLO", "500 what", "ok"},
		"EHLO not implemented":    {"EHLO", "502 5.5.1 what", "ok"},
		"EHLO refused by name":    {"EHLO", "501 mx.home.example is no name", "ok"},
		"EHLO refused":            {"EHLO", "550-5.7.1 no\n550 5.7.1 STARTTLS", "ok"},
		"EHLO later":              {"EHLO", "451 4.7.1 not now", "ehlo 4.7.1"},
		"EHLO busy":               {"EHLO", "421 4.7.1 not now", "ehlo 4.7.1"},
		"EHLO with another 2xx":   {"EHLO", "220 what", "ehlo 4.0.0"},
		"EHLO closes":             {"EHLO", hangUp, "ehlo 4.4.2"},
		"EHLO answered twice":     {"EHLO", "250 a\n250 b", "mail 4.4.2"},
		"EHLO is ourselves":       {"EHLO", "250-MX.home.Example hello\n250 SIZE 100", "ehlo 5.4.6"},
		"EHLO odd keywords":       {"EHLO", "250-x\n250-\n250- \n250-SIZE -1\n250-SIZE x\n250-size 99999999999999999999\n250 \x00\xff", "ok"},
		"EHLO with 500 keywords":  {"EHLO", "250-x\n" + strings.Repeat("250-X-"+strings.Repeat("y", 80)+"\n", 500) + "250 SIZE", "ok"},
		"EHLO with 5000 keywords": {"EHLO", "250-x\n" + strings.Repeat("250-X-YYYYYYYYYYYYYYYYY\n", 5000) + "250 SIZE", "ehlo 4.4.2"},
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
			res := deliver(t, r, d, newMail(shortMail, "bob@there.example"))
			wantOutcome(t, res[0], c.want)
			if f := res[0].Failure; f != nil && (!f.HostDown || f.Host != "host.example" || f.Address != h.addr.String()) {
				t.Errorf("failure is %+v", f)
			}
			if res[0].Failure != nil && len(h.received()) > 0 {
				t.Error("a message arrived")
			}
		})
	}
}

// TestHelo: a host that does not take EHLO offers nothing, whatever it says.
func TestHelo(t *testing.T) {
	h := newHost(t)
	h.answers(func(stage, line string) string {
		switch stage {
		case "EHLO":
			return "550 no"
		case "HELO":
			return "250-hi\n250-8BITMIME\n250 DSN"
		}
		return ""
	})
	r, d := toHost(t, h, nil)
	wantOutcome(t, deliver(t, r, d, newMail("\xfc\r\n", "bob@there.example"))[0], "ehlo 5.6.3")
	wantOutcome(t, deliver(t, r, d, newMail("u\r\n", "bob@there.example"))[0], "ok")
	if got := h.received(); len(got) != 1 || got[0].mail != "MAIL FROM:<alice@home.example>" {
		t.Errorf("the host took %+v", got)
	}
	h.answers(func(stage, line string) string {
		return map[string]string{"EHLO": "502 no", "HELO": "550 5.7.1 no"}[stage]
	})
	wantOutcome(t, deliver(t, r, d, newMail("u\r\n", "bob@there.example"))[0], "ehlo 5.7.1")
}

// TestOpportunisticTLS: TLS where it works, plain text where it does not.
func TestOpportunisticTLS(t *testing.T) {
	ca := newAuthority(t)
	good := ca.config(t, "host.example")
	for name, c := range map[string]struct {
		config *tls.Config
		answer string // to STARTTLS
		tls    string // "" is plain text
		calls  int
	}{
		"valid":                     {good, "", "TLS 1.3, certificate valid", 1},
		"wrong name":                {ca.config(t, "other.example"), "", "TLS 1.3, certificate not trusted", 1},
		"unknown authority":         {newAuthority(t).config(t, "host.example"), "", "TLS 1.3, certificate not trusted", 1},
		"refused":                   {good, "454 4.7.0 not now", "", 2},
		"refused for good":          {good, "554 no", "", 2},
		"garbage":                   {good, "220 go\nhello", "", 2},
		"closes":                    {good, hangUp, "", 2},
		"agrees and closes":         {good, "220 go" + hangUp, "", 2},
		"agrees and hangs":          {good, "220 go" + hang, "", 2},
		"hangs":                     {good, hang, "", 2},
		"cannot agree on a version": {&tls.Config{Certificates: good.Certificates, MaxVersion: tls.VersionTLS11}, "", "", 2},
		"no certificate":            {&tls.Config{}, "", "", 2},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.secures(c.config, false)
			h.answers(func(stage, line string) string {
				if stage == "STARTTLS" {
					return c.answer
				}
				return ""
			})
			r, d := toHost(t, h, func(cfg *Config) {
				if strings.HasSuffix(c.answer, hang) {
					cfg.Timeout = 500 * time.Millisecond
				}
			})
			r.Roots = ca.roots
			conn, err := r.Connect(context.Background(), d)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			res, _ := conn.Send(context.Background(), newMail(shortMail, "bob@there.example"))
			wantOutcome(t, res[0], "ok")
			if a := conn.Attempt(); a.TLS != c.tls || a.Host != "host.example" || a.Address != h.addr.String() {
				t.Errorf("attempt is %+v", a)
			}
			if got := h.received(); len(got) != 1 || got[0].tls != (c.tls != "") {
				t.Errorf("the host took %+v", got)
			}
			if h.connections() != c.calls {
				t.Errorf("%d connections were made", h.connections())
			}
		})
	}
}

// TestForgetsBeforeTLS: what was offered in plain text counts for nothing.
func TestForgetsBeforeTLS(t *testing.T) {
	h := newHost(t)
	h.secures(newAuthority(t).config(t, "host.example"), false)
	ehlo := 0
	h.answers(func(stage, line string) string {
		if stage != "EHLO" {
			return ""
		}
		if ehlo++; ehlo == 1 {
			return "250-x\n250-8BITMIME\n250 STARTTLS"
		}
		return "250 x"
	})
	r, d := toHost(t, h, nil)
	wantOutcome(t, deliver(t, r, d, newMail("\xfc\r\n", "bob@there.example"))[0], "ehlo 5.6.3")
}

// TestRequireTLS: such mail goes over trusted TLS to hosts that promise the
// same (RFC 8689), or not at all.
func TestRequireTLS(t *testing.T) {
	ca := newAuthority(t)
	for name, c := range map[string]struct {
		names  []string // of the certificate; nil: no TLS
		offer  bool
		answer string // to STARTTLS
		want   string
	}{
		"works":           {[]string{"host.example"}, true, "", "ok"},
		"no TLS":          {nil, true, "", "tls 5.7.30"},
		"not offered":     {[]string{"host.example"}, false, "", "ehlo 5.7.30"},
		"wrong name":      {[]string{"evil.example"}, true, "", "tls 4.7.5"},
		"refuses":         {[]string{"host.example"}, true, "454 4.7.0 not now", "tls 4.7.0"},
		"injects":         {[]string{"host.example"}, true, "220 go\n250 REQUIRETLS", "tls 4.7.5"},
		"speaks to logs":  {[]string{"a\r\nb", "x\x1b[2J"}, true, "", "tls 4.7.5"},
		"agrees, is gone": {[]string{"host.example"}, true, "220 go" + hangUp, "tls 4.7.5"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.offers()
			if c.offer {
				h.offers("REQUIRETLS")
			}
			if c.names != nil {
				h.secures(ca.config(t, c.names...), false)
			}
			h.answers(func(stage, line string) string {
				if stage == "STARTTLS" {
					return c.answer
				}
				return ""
			})
			r, d := toHost(t, h, nil)
			r.Roots, d.RequireTLS = ca.roots, true
			m := newMail(shortMail, "bob@there.example")
			m.RequireTLS = true
			res := deliver(t, r, d, m)
			wantOutcome(t, res[0], c.want)
			if f := res[0].Failure; f != nil {
				if strings.ContainsAny(f.Reply, "\r\n\x1b") {
					t.Errorf("reply is %q", f.Reply)
				}
				if slices.ContainsFunc(h.commands(), func(l string) bool { return strings.HasPrefix(l, "MAIL") }) {
					t.Errorf("the host was told of the mail: %q", h.commands())
				}
				return
			}
			if got := h.received()[0]; !got.tls || got.mail != "MAIL FROM:<alice@home.example> REQUIRETLS" {
				t.Errorf("the host took %+v", got)
			}
		})
	}
}

// TestLiteralTLS: the certificate of an address literal names the address.
func TestLiteralTLS(t *testing.T) {
	ca := newAuthority(t)
	h := newHost(t)
	h.offers("REQUIRETLS")
	h.secures(ca.config(t, "127.0.0.1"), false)
	r, _ := toHost(t, h, nil)
	r.Roots = ca.roots
	m := newMail(shortMail, "bob@[127.0.0.1]")
	m.RequireTLS = true
	wantOutcome(t, deliver(t, r, Destination{Domain: "[127.0.0.1]", RequireTLS: true}, m)[0], "ok")
}

func passwordFile(t testing.TB, password string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(name, []byte(password+"\r\nnot this\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestSmarthost: TLS and login as the route wants them. What fails there is the
// operator's to mend: no mail is given up for it.
func TestSmarthost(t *testing.T) {
	ca := newAuthority(t)
	right, wrong := passwordFile(t, "sesame"), passwordFile(t, "guess")
	auth := []string{"AUTH PLAIN LOGIN"}
	for name, c := range map[string]struct {
		route      Route
		extensions []string
		names      []string // of the certificate; nil: no TLS
		implicit   bool
		want, user string
	}{
		"starttls":             {Route{}, nil, []string{"smart.example"}, false, "ok", ""},
		"tls":                  {Route{TLS: "tls"}, nil, []string{"smart.example"}, true, "ok", ""},
		"none":                 {Route{TLS: "none"}, nil, []string{"smart.example"}, false, "ok", ""},
		"optional":             {Route{TLS: "optional"}, nil, nil, false, "ok", ""},
		"optional, broken":     {Route{TLS: "optional"}, nil, []string{"other.example"}, false, "ok", ""},
		"not offered":          {Route{}, nil, nil, false, "tls 4.7.30", ""},
		"wrong certificate":    {Route{}, nil, []string{"other.example"}, false, "tls 4.7.5", ""},
		"tls, wrong name":      {Route{TLS: "tls"}, nil, []string{"other.example"}, true, "tls 4.7.5", ""},
		"tls, plain host":      {Route{TLS: "tls"}, nil, nil, false, "tls 4.7.5", ""},
		"PLAIN":                {Route{User: "alice", PasswordFile: right}, auth, []string{"smart.example"}, false, "ok", "alice:sesame"},
		"PLAIN over tls":       {Route{TLS: "tls", User: "alice", PasswordFile: right}, []string{"auth plain"}, []string{"smart.example"}, true, "ok", "alice:sesame"},
		"LOGIN":                {Route{User: "alice", PasswordFile: right}, []string{"AUTH LOGIN"}, []string{"smart.example"}, false, "ok", "alice:sesame"},
		"wrong password":       {Route{User: "alice", PasswordFile: wrong}, auth, []string{"smart.example"}, false, "auth 4.7.8", ""},
		"wrong password LOGIN": {Route{User: "alice", PasswordFile: wrong}, []string{"AUTH LOGIN"}, []string{"smart.example"}, false, "auth 4.7.8", ""},
		"no password":          {Route{User: "alice", PasswordFile: "/nonexistent"}, auth, []string{"smart.example"}, false, "auth 4.7.0", ""},
		"no mechanism":         {Route{User: "alice", PasswordFile: right}, []string{"AUTH GSSAPI"}, []string{"smart.example"}, false, "auth 4.7.0", ""},
		"no login":             {Route{User: "alice", PasswordFile: right}, nil, []string{"smart.example"}, false, "auth 4.7.0", ""},
		"login, TLS stripped":  {Route{User: "alice", PasswordFile: right}, auth, nil, false, "tls 4.7.30", ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.offers(c.extensions...)
			if c.names != nil {
				h.secures(ca.config(t, c.names...), c.implicit)
			}
			host, err := ParseHost("smart.example:" + h.addr.String()[len("127.0.0.1:"):])
			if err != nil {
				t.Fatal(err)
			}
			c.route.Host = host
			r, _ := newRemote(t, 25, "smart.example. A 127.0.0.1", func(cfg *Config) { cfg.Routes = []Route{c.route} })
			r.Roots = ca.roots
			res := deliver(t, r, Destination{Host: host, User: c.route.User}, newMail(shortMail, "bob@there.example"))
			wantOutcome(t, res[0], c.want)
			for _, l := range h.commands() {
				if strings.HasPrefix(l, "AUTH") && c.names == nil {
					t.Error("a password went out in plain text")
				}
			}
			if res[0].Failure != nil {
				return
			}
			got := h.received()[0]
			if got.user != c.user || got.tls == (c.route.TLS == "none" || c.names == nil) {
				t.Errorf("the host took %+v", got)
			}
		})
	}
}

// TestHostileLogin: a smarthost that asks on and on does not get more than name
// and password.
func TestHostileLogin(t *testing.T) {
	ca := newAuthority(t)
	for _, answer := range []string{"334 ", "334 ***", "334 VXNlcjo=\n334 VXNlcjo=", "250 ok", "999 what"} {
		h := newHost(t)
		h.offers("AUTH LOGIN")
		h.secures(ca.config(t, "127.0.0.1"), false)
		h.answers(func(stage, line string) string {
			if stage == "AUTH" || stage == "response" {
				return answer
			}
			return ""
		})
		host := h.addr.String()
		r, _ := newRemote(t, 25, "", func(cfg *Config) {
			cfg.Routes = []Route{{Host: host, User: "bob", PasswordFile: passwordFile(t, "x")}}
		})
		r.Roots = ca.roots
		res := deliver(t, r, Destination{Host: host, User: "bob"}, newMail(shortMail, "bob@there.example"))
		if f := res[0].Failure; f == nil || f.Stage != "auth" || f.Permanent() {
			t.Errorf("after %q: %v", answer, outcome(res[0]))
		}
		if len(h.received()) > 0 {
			t.Errorf("after %q a message went out", answer)
		}
	}
}

// TestTwoLogins: two senders have a login each at the same smarthost.
func TestTwoLogins(t *testing.T) {
	ca := newAuthority(t)
	h := newHost(t)
	h.offers("AUTH PLAIN")
	h.secures(ca.config(t, "127.0.0.1"), false)
	host := h.addr.String()
	r, _ := newRemote(t, 25, "", func(cfg *Config) {
		cfg.Routes = []Route{
			{Host: host, Senders: []string{"bob@home.example"}, User: "bob", PasswordFile: passwordFile(t, "x")},
			{Host: host, Senders: []string{"alice@home.example"}, User: "alice", PasswordFile: passwordFile(t, "sesame")},
		}
	})
	r.Roots = ca.roots
	d := r.settings().destination(storage.QueueEntry{Sender: "alice@home.example", Domain: "there.example"}, func(string) bool { return false })
	wantOutcome(t, deliver(t, r, d, newMail(shortMail, "bob@there.example"))[0], "ok")
	if got := h.received(); len(got) != 1 || got[0].user != "alice:sesame" {
		t.Errorf("the host took %+v", got)
	}
}

// TestSmarthostOurselves: a route that leads back to us sends nothing.
func TestSmarthostOurselves(t *testing.T) {
	h := newHost(t)
	r, _ := newRemote(t, 25, "", nil)
	r.Self = func(a netip.AddrPort) bool { return a == h.addr }
	wantOutcome(t, deliver(t, r, Destination{Host: h.addr.String()}, newMail(shortMail, "bob@there.example"))[0], "route 4.4.6")
	r.Self = nil
	h.answers(func(stage, line string) string {
		if stage == "EHLO" {
			return "250 mx.home.example"
		}
		return ""
	})
	wantOutcome(t, deliver(t, r, Destination{Host: h.addr.String()}, newMail(shortMail, "bob@there.example"))[0], "ehlo 4.4.6")
	if h.connections() != 1 {
		t.Errorf("%d connections were made", h.connections())
	}
}
