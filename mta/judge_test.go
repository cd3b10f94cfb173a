package mta

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"mailbox/internal/dns"
	"mailbox/internal/dns/dnstest"
	"mailbox/internal/mailauth"
	"mailbox/internal/message"
	"mailbox/storage"
)

// A judged is what a Deliverer saw of the last message.
type judged struct {
	mu      sync.Mutex
	text    string
	suspect bool
	met     []string
}

func (j *judged) Deliver(ctx context.Context, m *Message) ([]string, error) {
	text, err := io.ReadAll(io.NewSectionReader(m.Spooled, 0, m.Size))
	j.mu.Lock()
	defer j.mu.Unlock()
	j.text, j.met = string(text), m.Met
	for _, to := range m.To {
		j.suspect = m.Suspect[to.Account]
	}
	return []string{"somewhere"}, err
}

// senders are domains of the test: what is said of each is in its name.
const senders = `
$ORIGIN example.
reject    TXT "v=spf1 -all"
_dmarc.reject TXT "v=DMARC1; p=reject"
quarantine TXT "v=spf1 -all"
_dmarc.quarantine TXT "v=DMARC1; p=quarantine"
nothing   TXT "v=spf1 -all"
_dmarc.nothing TXT "v=DMARC1; p=none"
good      TXT "v=spf1 ip4:192.0.2.7 -all"
_dmarc.good TXT "v=DMARC1; p=reject"
list      TXT "v=spf1 ip4:192.0.2.7 -all"
2.0.0.127.bl A 127.0.0.2
7.2.0.192.bl A 127.0.0.4
7.2.0.192.bl TXT "see https://bl.example/192.0.2.7"
2.0.0.127.shy A 127.0.0.2
1.0.0.127.shy A 127.255.255.254
7.2.0.192.shy A 127.0.0.4
2.0.0.127.all A 127.0.0.2
1.0.0.127.all A 127.0.0.2
7.2.0.192.all A 127.0.0.2
7.2.0.192.dead A 127.0.0.2
`

// newJudge returns a server that looks into those who send, and what it delivers.
func newJudge(t *testing.T, change func(*Config)) (*fixture, *judged, *dnstest.Server) {
	t.Helper()
	zone := dnstest.New(t, "127.0.0.1:0", senders)
	resolver, err := dns.New(dns.Config{Servers: []string{zone.Addr}})
	if err != nil {
		t.Fatal(err)
	}
	j := &judged{}
	f := newFixtureOf(t, func(s *Server) { s.DNS, s.Deliver = resolver, j }, func(c *Config) {
		c.Proxies = []string{"127.0.0.1"}
		if change != nil {
			change(c)
		}
	})
	return f, j, zone
}

// bring sends a message to alice from 192.0.2.7, and expects a reply.
func (f *fixture) bring(t *testing.T, from, text, reply string) {
	t.Helper()
	f.play(t, `connect smtp
C: PROXY TCP4 192.0.2.7 127.0.0.1 1000 25
S: 220 *
C: EHLO client.example
S* 250 *
C: MAIL FROM:<`+from+`>
S: 250 *
C: RCPT TO:<alice@home.example>
S: 250 *
C: DATA
S: 354 *
C| `+strings.ReplaceAll(text, "\n", `\r\n`)+`\r\n.\r\n
S: `+reply)
}

// TestJudge: what the owner of the author's domain wants is done, and told.
func TestJudge(t *testing.T) {
	for name, c := range map[string]struct {
		from, text, reply string
		suspect           bool
		result            string // in Authentication-Results
	}{
		"refused":          {"a@reject.example", "From: a@reject.example\n\nx", "550 5.7.26 reject.example says*(DMARC)", false, ""},
		"to Junk":          {"a@quarantine.example", "From: a@quarantine.example\n\nx", "250 *", true, "dmarc=fail header.from=quarantine.example (p=quarantine dis=quarantine)"},
		"no wish":          {"a@nothing.example", "From: a@nothing.example\n\nx", "250 *", false, "dmarc=fail header.from=nothing.example (p=none dis=none)"},
		"passes":           {"a@good.example", "From: a@good.example\n\nx", "250 *", false, "dmarc=pass header.from=good.example"},
		"not aligned":      {"a@good.example", "From: a@reject.example\n\nx", "550 5.7.26 *", false, ""},
		"two From fields":  {"a@good.example", "From: a@quarantine.example\nFrom: b@nothing.example\n\nx", "250 *", true, "dmarc=fail reason="},
		"one refuses":      {"a@good.example", "From: a@nothing.example\nFrom: b@reject.example\n\nx", "550 5.7.26 *", false, ""},
		"group":            {"a@good.example", "From: friends: a@nothing.example;\n\nx", "250 *", true, "dmarc=fail reason="},
		"empty From":       {"a@good.example", "From:\n\nx", "250 *", true, "dmarc=fail reason="},
		"hidden in a body": {"a@good.example", "From: a@good.example\n\nFrom: b@reject.example", "250 *", false, "dmarc=pass"},
	} {
		t.Run(name, func(t *testing.T) {
			f, j, _ := newJudge(t, nil)
			f.bring(t, c.from, c.text, c.reply)
			if j.suspect != c.suspect || !strings.Contains(j.text, c.result) {
				t.Errorf("suspect: %v, delivered %q", j.suspect, j.text)
			}
			if c.result != "" && strings.Count(j.text, "Authentication-Results: mx.home.example;") != 1 {
				t.Errorf("delivered %q", j.text)
			}
		})
	}
}

// TestJudgeWithoutDNS: a dead resolver neither stops mail nor judges it.
func TestJudgeWithoutDNS(t *testing.T) {
	f, j, zone := newJudge(t, func(c *Config) { c.Blocklists = []string{"bl.example"} })
	zone.Close()
	f.bring(t, "a@reject.example", "From: a@reject.example\n\nx", "250 *")
	if j.suspect || !strings.Contains(j.text, "dmarc=temperror") {
		t.Errorf("suspect: %v, delivered %q", j.suspect, j.text)
	}
}

// TestLongHeader: what is longer than we look into is kept, but as junk.
func TestLongHeader(t *testing.T) {
	f, j, _ := newJudge(t, nil)
	f.bring(t, "a@good.example", "From: a@good.example\n"+strings.Repeat("X: "+strings.Repeat("y", 1000)+"\n", 1100)+"From: b@reject.example\n\nx", "250 *")
	if !j.suspect || len(j.text) < 1_100_000 {
		t.Errorf("suspect: %v, %d octets delivered", j.suspect, len(j.text))
	}
}

// TestForgedResults: a field that claims to be ours does not survive; others
// do, and the rest is as it came.
func TestForgedResults(t *testing.T) {
	f, j, _ := newJudge(t, nil)
	const kept = "From: a@good.example\nAuthentication-Results: other.example; dmarc=pass\nSubject: x\n\nAuthentication-Results: mx.home.example; dmarc=pass"
	for _, forged := range []string{
		"Authentication-Results: mx.home.example; dmarc=pass\n", "authentication-results:\n MX.Home.Example. 1; spf=pass\n", "Authentication-Results: (x) mx.home.example (y); none\n",
	} {
		f.bring(t, "a@good.example", forged+kept, "250 *")
		_, rest, _ := strings.Cut(j.text, "\r\nReceived:")
		_, rest, _ = strings.Cut(rest, "+0000\r\n")
		if want := strings.ReplaceAll(kept, "\n", "\r\n") + "\r\n"; rest != want {
			t.Errorf("after %q: %q, not %q", forged, rest, want)
		}
	}
	f.bring(t, "a@good.example", " x\nAuthentication-Results: mx.home.example; dmarc=pass\n\nx", "250 *")
	if strings.Count(j.text, "mx.home.example; ") != 0 {
		t.Errorf("behind a line that continues nothing: %q", j.text)
	}
}

// TestOperatorSays: a policy for the author comes before that for the
// reverse-path, and both before what others want.
func TestOperatorSays(t *testing.T) {
	f, j, _ := newJudge(t, func(c *Config) { c.Blocklists = []string{"bl.example"} })
	ctx := context.Background()
	for sender, action := range map[string]string{"reject.example": "accept", "a@good.example": "junk", "bad.example": "reject"} {
		if err := f.db.SetSenderPolicy(ctx, storage.SenderPolicy{Sender: sender, Action: action}); err != nil {
			t.Fatal(err)
		}
	}
	f.bring(t, "a@reject.example", "From: a@reject.example\n\nx", "250 *")
	if j.suspect {
		t.Error("what the operator accepts is suspect")
	}
	f.bring(t, "x@bad.example", "From: a@nothing.example\n\nx", "550 5.7.1 mail from this sender is not wanted here")
	if err := f.db.SetSenderPolicy(ctx, storage.SenderPolicy{Sender: "bad.example", Action: "junk"}); err != nil {
		t.Fatal(err)
	}
	f.bring(t, "x@bad.example", "From: a@reject.example\n\nx", "250 *")
}

// TestKnownList: mail that a list has changed is let through for who knows the
// list, and for nobody else; a stranger cannot become known in a minute.
func TestKnownList(t *testing.T) {
	f, j, zone := newJudge(t, nil)
	private, err := mailauth.GenerateKey(mailauth.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	key := mailauth.Key{Domain: "list.example", Selector: "s", Private: private}
	record, err := key.Record()
	if err != nil {
		t.Fatal(err)
	}
	if err := zone.Set(fmt.Sprintf("%s\n%s. TXT %s\n", senders, key.Name(), mailauth.ZoneText(record))); err != nil {
		t.Fatal(err)
	}
	const header, body = "From: a@reject.example\r\nList-Id: Talk <talk.list.example>\r\n", "x\r\n"
	signature, err := (&mailauth.Signer{Keys: []mailauth.Key{key}}).Sign(message.ParseHeader([]byte(header)), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(signature)+header+"\r\nx", "\r\n", "\n")
	text = strings.ReplaceAll(text, "\t", " ") // as the dialogue writes it
	meet := func(n int) {
		t.Helper()
		for range n {
			spool := f.db.NewSpool()
			m, err := spool.Finish(nil)
			if err == nil {
				err = f.db.Deliver(context.Background(), &storage.Delivery{Message: m, To: []storage.Target{{
					Account: f.alice, Mailbox: "INBOX", Met: []string{"list talk.list.example list.example"},
				}}})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	f.bring(t, "bounces@list.example", text, "550 5.7.26 *")
	meet(5)
	f.bring(t, "bounces@list.example", text, "550 5.7.26 *")
	f.server.trust.age = 0
	f.bring(t, "bounces@list.example", text, "250 *")
	if j.suspect || fmt.Sprint(j.met) != "[list talk.list.example list.example]" {
		t.Errorf("suspect: %v, met %q", j.suspect, j.met)
	}
	f.bring(t, "bounces@list.example", strings.Replace(text, "talk.list", "tale.list", 1), "550 5.7.26 *")
}

// TestBlocklists: a list that works is obeyed, unless the sender is certain and
// known; one that does not pass its test is not.
func TestBlocklists(t *testing.T) {
	f, j, _ := newJudge(t, func(c *Config) { c.Blocklists = []string{"shy.example", "all.example", "dead.example"} })
	f.bring(t, "a@good.example", "From: a@good.example\n\nx", "250 *")
	if fmt.Sprint(j.met) != "[from a@good.example]" {
		t.Errorf("met %q", j.met)
	}
	f, _, _ = newJudge(t, func(c *Config) { c.Blocklists = []string{"shy.example", "bl.example"} })
	f.bring(t, "a@good.example", "From: a@good.example\n\nx", "550 5.7.1 your address 192.0.2.7 is on the blocklist bl.example: see https://bl.example/192.0.2.7")
	spool := f.db.NewSpool()
	m, err := spool.Finish(nil)
	if err == nil {
		err = f.db.Deliver(context.Background(), &storage.Delivery{Message: m, To: []storage.Target{{Account: f.alice, Mailbox: "INBOX", Met: []string{"from a@good.example"}}}})
	}
	if err != nil {
		t.Fatal(err)
	}
	f.bring(t, "a@good.example", "From: a@good.example\n\nx", "250 *")
	f.bring(t, "a@nothing.example", "From: a@nothing.example\n\nx", "550 5.7.1 *")
}

// TestBlocklistNames: addresses are asked for as RFC 5782 says, those that are
// no public ones not at all.
func TestBlocklistNames(t *testing.T) {
	zone := dnstest.New(t, "127.0.0.1:0", `
2.0.0.127.bl.example. A 127.0.0.2
b.a.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bl.example. A 127.0.0.2
7.0.0.10.bl.example. A 127.0.0.2
`)
	resolver, err := dns.New(dns.Config{Servers: []string{zone.Addr}})
	if err != nil {
		t.Fatal(err)
	}
	b := &Blocklists{DNS: resolver, Log: slog.New(slog.DiscardHandler)}
	for address, want := range map[string]int{"2001:db8::ab": 1, "::ffff:10.0.0.7": 0, "10.0.0.7": 0, "127.0.0.2": 0, "192.0.2.1": 0} {
		if got := b.Begin(context.Background(), []string{"bl.example"}, netip.MustParseAddr(address))(); len(got) != want {
			t.Errorf("%s: %v", address, got)
		}
	}
}

// TestExplained: what became of a message can be found, that of a refused one too.
func TestExplained(t *testing.T) {
	f, _, _ := newJudge(t, nil)
	f.bring(t, "a@reject.example", "From: a@reject.example\nMessage-ID: <1@reject.example>\n\nx", "550 5.7.26 *")
	f.bring(t, "b@good.example", "From: b@good.example\n\nx", "250 *")
	if err := f.db.SetQuota(context.Background(), f.alice, 1); err != nil {
		t.Fatal(err)
	}
	f.play(t, `connect smtp
C: PROXY TCP4 192.0.2.7 127.0.0.1 1000 25
S: 220 *
C: EHLO client.example
S* 250 *
C: MAIL FROM:<c@good.example> SIZE=1000
S: 250 *
C: RCPT TO:<alice@home.example>
S: 452 4.2.2 *`)
	for what, outcome := range map[string]string{"c@good.example": "recipient refused: 452 4.2.2", "<1@reject.example>": "550 5.7.26 ", "b@good.example": "filed in somewhere"} {
		list, err := f.db.Explanations(context.Background(), what, 10)
		if err != nil || len(list) != 1 || !strings.HasPrefix(list[0].Outcome, outcome) || list[0].Peer != "192.0.2.7" {
			t.Fatalf("%s: %+v, %v", what, list, err)
		}
		var c Checks
		if what == "c@good.example" { // nothing was checked
			continue
		}
		if err := json.Unmarshal([]byte(list[0].Checks), &c); err != nil || c.Results == nil || c.Results.MailFrom.Domain == "" {
			t.Errorf("%s: checks %s: %v", what, list[0].Checks, err)
		}
	}
}

// A sender that hangs up while a list is being tested must not switch it off.
func TestBlocklistAndHangup(t *testing.T) {
	zone := dnstest.New(t, "127.0.0.1:0", `
2.0.0.127.bl.test. A 127.0.0.2
5.113.0.203.bl.test. A 127.0.0.2
`)
	resolver, err := dns.New(dns.Config{Servers: []string{zone.Addr}})
	if err != nil {
		t.Fatal(err)
	}
	lists := &Blocklists{DNS: resolver, Log: slog.New(slog.DiscardHandler)}
	spammer := netip.MustParseAddr("203.0.113.5")
	ctx, hangUp := context.WithCancel(t.Context())
	hangUp()
	lists.Begin(ctx, []string{"bl.test"}, spammer)()
	if got := lists.Begin(t.Context(), []string{"bl.test"}, spammer)(); len(got) != 1 {
		t.Errorf("after a hang-up: %v", got)
	}
}
