package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"mailbox/admin"
	"mailbox/internal/dns"
	"mailbox/internal/dns/dnstest"
	"mailbox/internal/mailauth"
	"mailbox/internal/message"
)

// TestSigned: what a user sends, and what we report to them, bears signatures
// that others verify with the records that the operator is told to publish.
func TestSigned(t *testing.T) {
	zone := dnstest.New(t, "127.0.0.1:0", "")
	s := (&site{t: t, domain: "home.example", dns: zone.Addr}).configure()
	s.start()
	var keys []admin.DKIMKey
	for until := time.Now().Add(30 * time.Second); len(keys) < 2 && time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		if err := json.Unmarshal([]byte(s.run("", "admin", "dkim", "list", "--json")), &keys); err != nil {
			t.Fatal(err)
		}
	}
	records := ""
	for _, k := range keys {
		records += k.Name + ". TXT " + k.Zone + "\n"
	}
	if err := zone.Set(records); err != nil {
		t.Fatal(err)
	}
	text := "From: alice@home.example\r\nSubject: lunch \r\n\r\n.dot\r\n" + strings.Repeat("a long line ", 100) + "\r\n\r\n\r\n"
	s.send(t, order{from: "alice@home.example", to: []string{"bob@home.example", "carol@nowhere.example"}}, text)
	for user, want := range map[string]string{"bob": "Subject: lunch", "alice": "Subject: Mail not delivered to"} {
		read := s.inbox(t, user)
		for until := time.Now().Add(30 * time.Second); len(read()) == 0 && time.Now().Before(until); {
			time.Sleep(50 * time.Millisecond)
		}
		got := read()
		if len(got) != 1 || !strings.Contains(got[0], want) {
			t.Fatalf("%s has %q", user, got)
		}
		verifySignatures(t, zone, got[0], len(keys))
	}
}

func verifySignatures(t *testing.T, zone *dnstest.Server, text string, want int) {
	t.Helper()
	resolver, err := dns.New(dns.Config{Servers: []string{zone.Addr}})
	if err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(strings.NewReader(text))
	head, err := message.ReadHead(in, len(text))
	if err != nil {
		t.Fatal(err)
	}
	c := mailauth.Checker{DNS: resolver, Hostname: "other.example"}
	results, err := c.Begin(context.Background(), mailauth.Peer{Addr: netip.MustParseAddr("192.0.2.1")}).Check(head.Fields, io.Reader(in))
	if err != nil {
		t.Fatal(err)
	}
	if len(results.DKIM) != want {
		t.Errorf("%d signatures on %q", len(results.DKIM), text)
	}
	for _, r := range results.DKIM {
		if r.Result != mailauth.Pass || r.Domain != "home.example" {
			t.Errorf("signature %+v on %q", r, text)
		}
	}
}
