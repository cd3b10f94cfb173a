package mta

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"mailbox/internal/dns"
	"mailbox/internal/dns/dnstest"
	"mailbox/internal/mailauth"
	"mailbox/internal/message"
)

// BenchmarkInbound takes signed messages of 4 KiB over ten connections and
// files them, without looking into who sent them, and with everything that is
// found out about a sender.
func BenchmarkInbound(b *testing.B) {
	b.Run("unchecked", func(b *testing.B) { benchInbound(b, false) })
	b.Run("checked", func(b *testing.B) { benchInbound(b, true) })
}

func benchInbound(b *testing.B, checked bool) {
	text, zone := signedMail(b)
	server := dnstest.New(b, "127.0.0.1:0", zone)
	f := newFixtureOf(b, func(s *Server) {
		s.Deliver = intoInbox{s.Store}
		if checked {
			var err error
			if s.DNS, err = dns.New(dns.Config{Servers: []string{server.Addr}}); err != nil {
				b.Fatal(err)
			}
		}
	}, func(c *Config) { c.PerAddress = 100 })
	b.ReportAllocs()
	b.SetParallelism(5)
	b.RunParallel(func(pb *testing.PB) {
		nc, err := net.Dial("tcp", f.addr)
		if err != nil {
			b.Error(err)
			return
		}
		defer nc.Close()
		in := bufio.NewReader(nc)
		say := func(text, want string) {
			io.WriteString(nc, text) //nolint:errcheck // the answer tells
			for {
				line, err := in.ReadString('\n')
				if err != nil || !strings.HasPrefix(line, want) {
					b.Errorf("%.30q was answered %q, %v", text, line, err)
					return
				}
				if line[3] == ' ' {
					return
				}
			}
		}
		say("", "220")
		say("EHLO mx.good.example\r\n", "250")
		for pb.Next() {
			say("MAIL FROM:<a@good.example>\r\n", "250")
			say("RCPT TO:<alice@home.example>\r\n", "250")
			say("DATA\r\n", "354")
			say(text, "250")
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

// signedMail is a message with two signatures, ready for the wire, and the zone
// of its sender.
func signedMail(b *testing.B) (text, zone string) {
	b.Helper()
	zone = "good.example. TXT \"v=spf1 ip4:127.0.0.1 -all\"\n_dmarc.good.example. TXT \"v=DMARC1; p=reject\"\n" +
		"1.0.0.127.in-addr.arpa. PTR mx.good.example.\nmx.good.example. A 127.0.0.1\nmx.good.example. TXT \"v=spf1 a -all\"\n"
	var s mailauth.Signer
	for _, algorithm := range []mailauth.Algorithm{mailauth.RSA, mailauth.Ed25519} {
		private, err := mailauth.GenerateKey(algorithm)
		if err != nil {
			b.Fatal(err)
		}
		key := mailauth.Key{Domain: "good.example", Selector: string(algorithm), Private: private}
		record, err := key.Record()
		if err != nil {
			b.Fatal(err)
		}
		zone += fmt.Sprintf("%s. TXT %s\n", key.Name(), mailauth.ZoneText(record))
		s.Keys = append(s.Keys, key)
	}
	header := "From: a@good.example\r\nTo: alice@home.example\r\nSubject: lunch\r\nDate: Wed, 25 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@good.example>\r\n"
	body := strings.Repeat("Shall we meet at noon, at the usual place by the river?\r\n", 70)
	signatures, err := s.Sign(message.ParseHeader([]byte(header)), strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	return string(signatures) + header + "\r\n" + body + ".\r\n", zone
}
