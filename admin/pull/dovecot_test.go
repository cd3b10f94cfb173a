package pull

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"mailbox/internal/dovecottest"
)

var ctx = context.Background()

// long says whether tests may take their time.
var long = os.Getenv("MAILBOX_LONG") != ""

func dial(t testing.TB, s *dovecottest.Server, user string) *imapclient.Client {
	t.Helper()
	c, err := imapclient.DialInsecure(s.IMAP, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	must(t, c.Login(user, dovecottest.Password).Wait())
	return c
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func appendTo(t testing.TB, c *imapclient.Client, mailbox, text string, options *imap.AppendOptions) {
	t.Helper()
	cmd := c.Append(mailbox, int64(len(text)), options)
	_, err := io.WriteString(cmd, text)
	must(t, err)
	must(t, cmd.Close())
	_, err = cmd.Wait()
	must(t, err)
}

// letter makes a message that no other equals.
func letter(r *rand.Rand, n int) (string, *imap.AppendOptions) {
	size := 50 + r.IntN(3000)
	if r.IntN(50) == 0 {
		size = r.IntN(300 << 10)
	}
	var body strings.Builder
	for body.Len() < size {
		fmt.Fprintf(&body, "%x the quick brown fox %d\r\n", r.Uint64(), n)
	}
	options := &imap.AppendOptions{
		Time: time.Unix(1_500_000_000+int64(r.IntN(200_000_000)), 0).In(time.FixedZone("", 3600*(r.IntN(20)-10))),
	}
	for _, f := range []imap.Flag{`\Seen`, `\Answered`, `\Flagged`, `\Draft`, `\Deleted`, "$Forwarded", "work", "NonJunk"} {
		if r.IntN(3) == 0 {
			options.Flags = append(options.Flags, f)
		}
	}
	return fmt.Sprintf("From: ann@example.org\r\nSubject: letter %d\r\nMessage-ID: <%d@example.org>\r\n\r\n%s", n, n, body.String()), options
}

// fill puts messages into as many mailboxes.
func fill(t testing.TB, c *imapclient.Client, r *rand.Rand, mailboxes, messages int) {
	t.Helper()
	names := []string{"INBOX"}
	for i := 1; i < mailboxes; i++ {
		name := fmt.Sprintf("Folder %d", i)
		switch i % 5 {
		case 1:
			name = fmt.Sprintf("Déjà vu %d", i)
		case 2:
			name = names[i-1] + "/below & beside"
		case 3:
			name = fmt.Sprintf(`a "quoted\\" one %d`, i)
		}
		must(t, c.Create(name, nil).Wait())
		if i%3 == 0 {
			must(t, c.Subscribe(name).Wait())
		}
		names = append(names, name)
	}
	for n := range messages {
		text, options := letter(r, n)
		appendTo(t, c, names[min(r.IntN(len(names)), r.IntN(len(names)))], text, options)
	}
}

// source describes all that is at the source, as account.everything does.
func source(t testing.TB, c *imapclient.Client) []string {
	t.Helper()
	boxes, err := c.List("", "*", &imap.ListOptions{ReturnSubscribed: true, ReturnSpecialUse: true}).Collect()
	must(t, err)
	var out []string
	for _, b := range boxes {
		if slices.Contains(b.Attrs, imap.MailboxAttrNoSelect) || slices.Contains(b.Attrs, imap.MailboxAttrNonExistent) {
			continue
		}
		use := ""
		for _, a := range b.Attrs {
			if slices.Contains(specialUses, string(a)) {
				use = string(a)
			}
		}
		out = append(out, fmt.Sprintf("%s %s %v", b.Mailbox, use, slices.Contains(b.Attrs, imap.MailboxAttrSubscribed)))
		data, err := c.Select(b.Mailbox, &imap.SelectOptions{ReadOnly: true}).Wait()
		must(t, err)
		if data.NumMessages == 0 {
			continue
		}
		section := &imap.FetchItemBodySection{Peek: true}
		all := imap.SeqSet{}
		all.AddRange(1, 0)
		messages, err := c.Fetch(all, &imap.FetchOptions{Flags: true, InternalDate: true, BodySection: []*imap.FetchItemBodySection{section}}).Collect()
		must(t, err)
		for i, m := range messages {
			var flags []string
			for _, f := range m.Flags {
				if f != `\Recent` {
					flags = append(flags, string(f))
				}
			}
			out = append(out, fmt.Sprintf("%s %d: %s", b.Mailbox, i, describe(string(m.FindBodySection(section)), m.InternalDate, flags)))
		}
	}
	sort.Strings(out)
	return out
}

func puller(t testing.TB, address, user string, a *account) *Puller {
	return &Puller{
		Address: address, Security: Plaintext, User: user, Password: dovecottest.Password,
		Destination: a, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
}

// A cutter stands between and cuts connections after a random number of octets.
type cutter struct {
	address string
	to      string
	mu      sync.Mutex
	random  *rand.Rand
	left    int // how often it will yet cut
	within  int // octets
}

func newCutter(t testing.TB, to string, seed uint64, cuts, within int) *cutter {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	c := &cutter{address: l.Addr().String(), to: to, random: rand.New(rand.NewPCG(seed, 2)), left: cuts, within: within}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { c.carry(nc) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return c
}

func (c *cutter) carry(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", c.to)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		_, _ = io.Copy(server, client)
		server.Close()
	}()
	for c.mayCut() {
		_, err := io.CopyN(client, server, c.octets())
		if err != nil {
			return // the end of the connection, before it would have been cut
		}
		if c.cut() {
			return
		}
	}
	_, _ = io.Copy(client, server)
}

func (c *cutter) mayCut() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.left > 0
}

func (c *cutter) octets() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return int64(c.random.IntN(c.within))
}

func (c *cutter) cut() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left == 0 {
		return false
	}
	c.left--
	return true
}

// TestPull pulls everything from Dovecot while its connections are cut and the
// puller itself is stopped again and again: in the end all is here once, and
// as it is there.
func TestPull(t *testing.T) {
	mailboxes, messages := 12, 600
	if long {
		mailboxes, messages = 40, 5000
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	s := dovecottest.Start(t, "")
	c := dial(t, s, "ann")
	fill(t, c, r, mailboxes, messages)

	a := newAccount()
	cuts := newCutter(t, s.IMAP, seed, 10, messages*600)
	var report *Report
	for stops := 5; ; stops-- {
		run, cancel := context.WithCancel(ctx)
		p := puller(t, cuts.address, "ann", a)
		if after := r.IntN(messages / 4); stops > 0 {
			p.Progress = func(now Progress) {
				if now.Messages > after {
					cancel()
				}
			}
		}
		var err error
		report, err = p.Pull(run)
		cancel()
		if err == nil {
			break
		}
		// A connection that is cut before anything worked is an error of the call.
		var cut *cutError
		if !errors.Is(err, context.Canceled) && !errors.As(err, &cut) {
			t.Fatal(err)
		}
	}
	if cuts.mayCut() {
		t.Logf("%d cuts were not made", cuts.left)
	}
	same(t, a.everything(), source(t, c))
	if !report.Equal() {
		t.Errorf("the report finds differences: %+v", report)
	}

	report, err := puller(t, s.IMAP, "ann", a).Pull(ctx)
	must(t, err)
	// The source has another name now, without the cutter between.
	again, err := puller(t, s.IMAP, "ann", a).Pull(ctx)
	must(t, err)
	for i, m := range again.Mailboxes {
		if m.Added+m.Changed+m.Gone > 0 || m.AtSource != report.Mailboxes[i].AtSource {
			t.Errorf("a second run does something: %+v", m)
		}
	}
	same(t, a.everything(), source(t, c))
}

// TestChanges: what changed between two runs is brought over, and nothing that
// was changed here is undone.
func TestChanges(t *testing.T) {
	s := dovecottest.Start(t, "")
	c := dial(t, s, "ann")
	fill(t, c, rand.New(rand.NewPCG(1, 1)), 3, 30)
	a := newAccount()
	p := puller(t, s.IMAP, "ann", a)
	p.Remove = true
	_, err := p.Pull(ctx)
	must(t, err)

	before := source(t, c)
	_, err = c.Select("INBOX", nil).Wait()
	must(t, err)
	must(t, c.Store(imap.SeqSetNum(1), &imap.StoreFlags{Op: imap.StoreFlagsSet, Flags: []imap.Flag{"new"}}, nil).Close())
	must(t, c.Store(imap.SeqSetNum(2), &imap.StoreFlags{Op: imap.StoreFlagsSet, Flags: []imap.Flag{`\Deleted`}}, nil).Close())
	must(t, c.Expunge().Close())
	must(t, c.Create("Later", nil).Wait())
	text, options := letter(rand.New(rand.NewPCG(2, 2)), 31)
	appendTo(t, c, "Later", text, options)

	preview := newAccount()
	report, err := puller(t, s.IMAP, "ann", preview).Preview(ctx)
	must(t, err)
	if len(preview.mailboxes) > 0 {
		t.Errorf("a preview makes mailboxes: %v", preview.everything())
	}
	sum := 0
	for _, m := range report.Mailboxes {
		sum += m.Added
	}
	if now := source(t, c); sum != len(now)-len(report.Mailboxes) {
		t.Errorf("a preview announces %d messages of %d", sum, len(now)-len(report.Mailboxes))
	}

	report, err = p.Pull(ctx)
	must(t, err)
	same(t, a.everything(), source(t, c))
	if slices.Equal(before, source(t, c)) || !report.Equal() {
		t.Errorf("the report finds differences: %+v", report)
	}

	// Here one is read, and one is deleted.
	inbox := a.mailboxes["INBOX"]
	inbox.messages[0].flags["mine"] = true
	inbox.messages = inbox.messages[:len(inbox.messages)-1]
	_, err = c.Select("INBOX", nil).Wait()
	must(t, err)
	must(t, c.Store(imap.SeqSetNum(1), &imap.StoreFlags{Op: imap.StoreFlagsSet, Flags: []imap.Flag{"newer"}}, nil).Close())
	report, err = p.Pull(ctx)
	must(t, err)
	if f := inbox.messages[0].flags; !f["mine"] || !f["newer"] || f["new"] {
		t.Errorf("flags are %v", f)
	}
	if report.Equal() {
		t.Error("the report does not miss what was deleted here")
	}
}

// TestFollow: what happens at the source while it is followed arrives here.
func TestFollow(t *testing.T) {
	s := dovecottest.Start(t, "")
	c := dial(t, s, "ann")
	r := rand.New(rand.NewPCG(1, 1))
	fill(t, c, r, 4, 40)
	must(t, c.Create("Doomed", nil).Wait())
	text, options := letter(r, 40)
	appendTo(t, c, "Doomed", text, options)

	a := newAccount()
	p := puller(t, s.IMAP, "ann", a)
	p.Poll = 100 * time.Millisecond
	p.Remove = true
	stop, ended := make(chan struct{}), make(chan error, 1)
	var report *Report
	go func() {
		var err error
		report, err = p.Follow(ctx, stop)
		ended <- err
	}()
	until := func(what string, f func() bool) {
		t.Helper()
		for range 400 {
			if a.has(f) {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Fatalf("%s does not arrive", what)
	}
	count := func(mailbox string) int {
		if b := a.mailboxes[mailbox]; b != nil {
			return len(b.messages)
		}
		return 0
	}
	until("what was there", func() bool { return count("Doomed") == 1 && count("INBOX") > 0 })

	inbox := count("INBOX")
	text, options = letter(r, 41)
	appendTo(t, c, "INBOX", text, options)
	until("new mail", func() bool { return count("INBOX") == inbox+1 })

	must(t, c.Create("Nouveau/à côté", nil).Wait())
	text, options = letter(r, 42)
	appendTo(t, c, "Nouveau/à côté", text, options)
	until("a new mailbox", func() bool { return count("Nouveau/à côté") == 1 })

	_, err := c.Select("INBOX", nil).Wait()
	must(t, err)
	must(t, c.Store(imap.SeqSetNum(1), &imap.StoreFlags{Op: imap.StoreFlagsSet, Flags: []imap.Flag{"changed"}}, nil).Close())
	until("a flag", func() bool { return a.mailboxes["INBOX"].messages[0].flags["changed"] })

	_, err = c.Move(imap.SeqSetNum(1), "Nouveau/à côté").Wait()
	must(t, err)
	until("a move", func() bool { return count("INBOX") == inbox && count("Nouveau/à côté") == 2 })

	must(t, c.Delete("Doomed").Wait())
	until("a deletion", func() bool { return count("Doomed") == 0 })

	text, options = letter(r, 43)
	appendTo(t, c, "Nouveau/à côté", text, options)
	close(stop)
	must(t, <-ended)
	if !report.Equal() {
		t.Errorf("the report finds differences: %+v", report)
	}
	delete(a.mailboxes, "Doomed")
	same(t, a.everything(), source(t, c))
}

// TestSecurity: TLS in both ways, and a certificate that nobody vouches for.
func TestSecurity(t *testing.T) {
	s := dovecottest.Start(t, "auth_ssl_require_client_cert = no\n")
	c := dial(t, s, "ann")
	fill(t, c, rand.New(rand.NewPCG(1, 1)), 1, 3)
	for _, test := range []struct {
		security Security
		address  string
		config   *tls.Config
		fails    bool
	}{
		{ImplicitTLS, s.TLS, &tls.Config{RootCAs: s.CA}, false},
		{StartTLS, s.IMAP, &tls.Config{RootCAs: s.CA}, false},
		{ImplicitTLS, s.TLS, nil, true},
		{StartTLS, s.IMAP, nil, true},
	} {
		_, port, _ := net.SplitHostPort(test.address)
		a := newAccount()
		p := puller(t, "localhost:"+port, "ann", a)
		p.Security, p.TLS = test.security, test.config
		_, err := p.Pull(ctx)
		if (err != nil) != test.fails {
			t.Errorf("%v, fails %v: %v", test.security, test.fails, err)
		}
		if got := len(a.messages("INBOX")); err == nil && got != 3 {
			t.Errorf("%v: %d messages", test.security, got)
		}
	}
}

// TestLogin tries each mechanism by itself, with the right password and a wrong
// one.
func TestLogin(t *testing.T) {
	s := dovecottest.Start(t, "auth_failure_delay = 0\n")
	all := []string{"AUTH=PLAIN", "AUTH=LOGIN", "AUTH=SCRAM-SHA-1 ", "AUTH=SCRAM-SHA-256", "no SASL"}
	for i, mechanism := range all {
		t.Run(mechanism, func(t *testing.T) {
			p := puller(t, s.IMAP, "ann", newAccount())
			p.Dial = func(_ context.Context, network, address string) (net.Conn, error) {
				nc, err := net.Dial(network, address)
				return &hidingConn{nc, slices.Delete(slices.Clone(all), i, i+1)}, err
			}
			_, err := p.Pull(ctx)
			must(t, err)
			p.Password = "wrong"
			var login *loginError
			if _, err := p.Pull(ctx); !errors.As(err, &login) {
				t.Errorf("a wrong password: %v", err)
			}
		})
	}
}

// A hidingConn hides what a server offers.
type hidingConn struct {
	net.Conn
	hidden []string
}

func (c *hidingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	for _, h := range c.hidden {
		copy(p, bytes.ReplaceAll(p[:n], []byte(h), bytes.Repeat([]byte("X"), len(h))))
	}
	return n, err
}

// TestHierarchy: a server that keeps all mailboxes below INBOX.
func TestHierarchy(t *testing.T) {
	s := dovecottest.Start(t, `
namespace inbox {
  separator = .
  prefix = INBOX.
  mailbox Sent {
    auto = subscribe
    special_use = \Sent
  }
}
`)
	c := dial(t, s, "ann")
	for _, name := range []string{"INBOX.a.b", "INBOX.Sent.2025"} {
		must(t, c.Create(name, nil).Wait())
	}
	a := newAccount()
	_, err := puller(t, s.IMAP, "ann", a).Pull(ctx)
	must(t, err)
	want := []string{"INBOX  false", "Sent \\Sent true", "Sent/2025  false", "a/b  false"}
	if got := a.everything(); !slices.Equal(got, want) {
		t.Errorf("here are\n%q, not\n%q", got, want)
	}
}
