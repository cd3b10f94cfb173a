package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"mailbox/admin"
	"mailbox/internal/dns"
	"mailbox/internal/dns/dnstest"
	"mailbox/internal/mailauth"
	"mailbox/internal/message"
	"mailbox/msa"
	"mailbox/mta"
	"mailbox/storage"
)

// signing is signers that run, with what they work on.
type signing struct {
	*signers
	t        *testing.T
	operator *admin.Client
	server   *dnstest.Server
	resolver *dns.Resolver
}

func newSigning(t *testing.T) *signing {
	t.Helper()
	ctx, quiet := context.Background(), slog.New(slog.DiscardHandler)
	db, err := storage.Open(ctx, storage.Options{Dir: t.TempDir(), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := db.SetDomains([]string{"home.example"}, ""); err != nil {
		t.Fatal(err)
	}
	s := &signing{t: t, server: dnstest.New(t, "127.0.0.1:0", "")}
	if s.resolver, err = dns.New(dns.Config{Servers: []string{s.server.Addr}}); err != nil {
		t.Fatal(err)
	}
	if s.signers, err = newSigners(ctx, db, s.resolver, []string{"home.example"}, quiet); err != nil {
		t.Fatal(err)
	}
	api := &admin.API{DB: db, Signers: s.signers, Log: quiet}
	s.operator = admin.InProcess(api.Handler())
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		s.run(ctx, api)
		close(ended)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return s
}

const signedText = "From: alice@home.example\r\nSubject: hello\r\n\r\nhello\r\n"

var selectorTag = regexp.MustCompile(`\ss=([^;]+);`)

// selectors says with which keys a message of a domain is signed.
func (s *signing) selectors(domain string) string {
	s.t.Helper()
	_, fields := s.sign(domain)
	var all []string
	for _, match := range selectorTag.FindAllStringSubmatch(fields, -1) {
		all = append(all, match[1])
	}
	return strings.Join(all, " ")
}

// sign signs a message, and returns it whole and what was put on top.
func (s *signing) sign(domain string) (whole, fields string) {
	s.t.Helper()
	head, text, _ := strings.Cut(signedText, "\r\n\r\n")
	body := strings.NewReader(text)
	var signer interface { // it is what both want
		mta.Signer
		msa.Signer
	} = s.signers
	signed, err := signer.Sign(domain, message.ParseHeader([]byte(head+"\r\n\r\n")), body)
	if err != nil {
		s.t.Fatal(err)
	}
	if body.Len() > 0 {
		s.t.Errorf("%d octets of the body were not read", body.Len())
	}
	return string(signed) + signedText, string(signed)
}

// eventually waits until messages are signed with these keys.
func (s *signing) eventually(want string) {
	s.t.Helper()
	var got string
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until); time.Sleep(2 * time.Millisecond) {
		if got = s.selectors("home.example"); got == want {
			return
		}
	}
	s.t.Fatalf("signed with %q, want %q", got, want)
}

func (s *signing) call(command string, in any) (keys []admin.DKIMKey) {
	s.t.Helper()
	var out any = &keys
	if command == "dkim/retire" {
		out = &admin.DKIMKey{}
	}
	if err := s.operator.Call(context.Background(), command, in, out); err != nil {
		s.t.Fatal(err)
	}
	return keys
}

// publish replaces the zone, and what is remembered of it.
func (s *signing) publish(keys ...admin.DKIMKey) {
	s.t.Helper()
	var zone strings.Builder
	for _, k := range keys {
		fmt.Fprintf(&zone, "%s. IN TXT ( %s )\n", k.Name, k.Zone)
	}
	s.server.Set(zone.String()) //nolint:errcheck // it ends the test
	if err := s.resolver.Configure(dns.Config{Servers: []string{s.server.Addr}}); err != nil {
		s.t.Fatal(err)
	}
	if err := s.Refresh(context.Background()); err != nil {
		s.t.Fatal(err)
	}
}

// asked waits until the DNS was asked so often for the record of a key.
func (s *signing) asked(k admin.DKIMKey, times int) {
	s.t.Helper()
	for until := time.Now().Add(20 * time.Second); s.server.Queries(k.Name) < times; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(until) {
			s.t.Fatalf("nobody asked for %s", k.Name)
		}
	}
}

// TestSigners: a domain has keys from the start, which others can verify. After
// a rotation each new key signs when its record is in the DNS, and not before;
// the one before it is retired then.
func TestSigners(t *testing.T) {
	s := newSigning(t)
	month := time.Now().UTC().Format("mb200601")
	s.eventually(month + "r " + month + "e")
	first := s.call("dkim/list", admin.DKIMDomain{})
	s.publish(first...)
	whole, _ := s.sign("home.example")
	s.verifies(whole)

	second := s.call("dkim/rotate", admin.DKIMDomain{Domain: "home.example"})
	s.asked(second[1], 1)
	wrong := second[0]
	wrong.Zone = first[0].Zone
	s.publish(append(first, wrong)...)
	s.asked(second[1], 2) // after the one of which something is published
	if got := s.selectors("home.example"); got != month+"r "+month+"e" {
		t.Errorf("before the right record was there: signed with %q", got)
	}
	s.publish(append(first, second[0])...)
	s.eventually(month + "e " + month + "r2")
	s.publish(append(first, second...)...)
	s.eventually(month + "r2 " + month + "e2")
	whole, _ = s.sign("home.example")
	s.verifies(whole)
	for _, k := range s.call("dkim/list", admin.DKIMDomain{})[:2] {
		if k.State != "retired" || k.Needed.IsZero() {
			t.Errorf("the old key is %+v", k)
		}
	}
	s.call("dkim/retire", admin.DKIMKeyRef{Domain: "home.example", Selector: month + "r2"})
	if got := s.selectors("home.example"); got != month+"e2" {
		t.Errorf("after the RSA key was retired: signed with %q", got)
	}
	if got := s.selectors("HOME.example."); got != month+"e2" {
		t.Errorf("a domain as the configuration may have it: signed with %q", got)
	}
	if got := s.selectors("far.example"); got != "" {
		t.Errorf("a stranger's message is signed with %q", got)
	}
}

// TestSignersOnce: a domain from which the operator took all keys has none until
// the server starts again; one that a reload adds gets its own.
func TestSignersOnce(t *testing.T) {
	s := newSigning(t)
	month := time.Now().UTC().Format("mb200601")
	s.eventually(month + "r " + month + "e")
	for _, letter := range []string{"r", "e"} {
		s.call("dkim/retire", admin.DKIMKeyRef{Domain: "home.example", Selector: month + letter})
		s.remove(month + letter)
	}
	if err := s.db.SetDomains([]string{"home.example", "new.example"}, ""); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Refresh(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.selectors("home.example"); got != "" {
		t.Errorf("after all keys were removed: signed with %q", got)
	}
	s.Configure([]string{"new.example"})
	for until := time.Now().Add(20 * time.Second); s.selectors("new.example") != month+"r "+month+"e"; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("a new domain got no keys")
		}
	}
	if got := s.selectors("home.example"); got != "" {
		t.Errorf("keys were made again where the operator had removed them: %q", got)
	}
}

// remove forgets a key of home.example.
func (s *signing) remove(selector string) {
	s.t.Helper()
	if err := s.operator.Call(context.Background(), "dkim/remove", admin.DKIMKeyRef{Domain: "home.example", Selector: selector}, &admin.DKIMKey{}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *signing) verifies(whole string) {
	s.t.Helper()
	c := &mailauth.Checker{DNS: s.resolver, Hostname: "mail.far.example", Log: s.log}
	q := c.Begin(context.Background(), mailauth.Peer{Addr: netip.MustParseAddr("192.0.2.1"), Helo: "mail.home.example"})
	head, body, _ := strings.Cut(whole, "\r\n\r\n")
	r, err := q.Check(message.ParseHeader([]byte(head+"\r\n\r\n")), strings.NewReader(body))
	if err != nil || len(r.DKIM) != 2 || r.DKIM[0].Result != mailauth.Pass || r.DKIM[1].Result != mailauth.Pass {
		s.t.Errorf("%+v, %v", r, err)
	}
}

// TestSignersReadAll: the body is read to its end, whatever becomes of the
// signature, and its trouble is told.
func TestSignersReadAll(t *testing.T) {
	s := newSigning(t)
	month := time.Now().UTC().Format("mb200601")
	s.eventually(month + "r " + month + "e")
	body := strings.NewReader("hello\r\n")
	if _, err := s.Sign("home.example", nil, body); err == nil || body.Len() > 0 {
		t.Errorf("without From: %v, %d octets were not read", err, body.Len())
	}
	trouble := iotest.ErrReader(context.DeadlineExceeded)
	for _, domain := range []string{"home.example", "far.example"} {
		if _, err := s.Sign(domain, message.ParseHeader([]byte("From: a@home.example\r\n\r\n")), trouble); err == nil || !strings.Contains(err.Error(), "deadline") {
			t.Errorf("%s: a body that cannot be read: %v", domain, err)
		}
	}
}
