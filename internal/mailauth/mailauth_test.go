package mailauth

import (
	"bytes"
	"context"
	"net/netip"
	"strings"
	"testing"

	"mailbox/internal/dns"
	"mailbox/internal/dns/dnstest"
	"mailbox/internal/message"
)

var ctx = context.Background()

const ours = "mx.home.example"

// newChecker returns a Checker that asks a server with the given zone.
func newChecker(tb testing.TB, zone string) (*Checker, *dnstest.Server) {
	tb.Helper()
	server := dnstest.New(tb, "127.0.0.1:0", zone)
	resolver, err := dns.New(dns.Config{Servers: []string{server.Addr}})
	if err != nil {
		tb.Fatal(err)
	}
	return &Checker{DNS: resolver, Hostname: ours}, server
}

// split parts a message, whose lines may end in LF alone, into header and body.
func split(text string) (message.Header, string) {
	head, body, _ := strings.Cut(crlf(text), "\r\n\r\n")
	return message.ParseHeader([]byte(strings.TrimSuffix(head, "\r\n") + "\r\n")), body
}

func crlf(text string) string {
	return strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\n", "\r\n")
}

var stranger = Peer{Addr: netip.MustParseAddr("192.0.2.99"), Helo: "stranger.example", MailFrom: "x@stranger.example"}

// check checks a message from a peer.
func check(tb testing.TB, c *Checker, p Peer, text string) *Results {
	tb.Helper()
	header, body := split(text)
	r, err := c.Begin(ctx, p).Check(header, strings.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// sign returns the message with our signatures on top.
func sign(tb testing.TB, text string, keys ...Key) string {
	tb.Helper()
	header, body := split(text)
	signer := Signer{Keys: keys}
	fields, err := signer.Sign(header, strings.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	return string(fields) + crlf(text)
}

// published returns the zone that has the public halves of keys.
func published(tb testing.TB, keys ...Key) string {
	tb.Helper()
	var zone strings.Builder
	for _, k := range keys {
		record, err := k.Record()
		if err != nil {
			tb.Fatal(err)
		}
		zone.WriteString(k.Name() + ". TXT " + ZoneText(record) + "\n")
	}
	return zone.String()
}

func newKey(tb testing.TB, a Algorithm, domain, selector string) Key {
	tb.Helper()
	private, err := GenerateKey(a)
	if err != nil {
		tb.Fatal(err)
	}
	return Key{Domain: domain, Selector: selector, Private: private}
}

// zoneTXT is the line of a zone with one TXT record.
func zoneTXT(name, text string) string { return name + ". TXT " + ZoneText(text) + "\n" }

// remove takes fields out of a header, as those who deliver do.
func remove(h message.Header, fields []message.Field) message.Header {
	var kept message.Header
	for _, f := range h {
		gone := false
		for _, g := range fields {
			gone = gone || g.Offset == f.Offset && bytes.Equal(g.Raw, f.Raw)
		}
		if !gone {
			kept = append(kept, f)
		}
	}
	return kept
}
