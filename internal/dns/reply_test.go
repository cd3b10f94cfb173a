package dns

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

var asked = question{"home.example.", 0}

// pack makes a message that answers asked.
func pack(t testing.TB, typ uint16, change func(*dns.Msg), records ...string) []byte {
	t.Helper()
	m := new(dns.Msg).SetQuestion(asked.name, typ)
	m.Id, m.Response, m.RecursionAvailable, m.Compress = 1, true, true, true
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		m.Answer = append(m.Answer, rr)
	}
	if change != nil {
		change(m)
	}
	msg, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

// TestOthersRecords: records of names that are not on the way, of other types,
// or of other classes do not count.
func TestOthersRecords(t *testing.T) {
	msg := pack(t, dns.TypeA, nil,
		"evil.example. 60 A 192.0.2.66",
		"home.example. 60 CH A 192.0.2.67",
		"home.example. 60 TXT x",
		"real.example. 60 A 192.0.2.1",
		"Home.Example. 60 CNAME REAL.example.",
		"evil.example. 60 CNAME home.example.",
	)
	r, err := parse(msg, 1, question{asked.name, dns.TypeA})
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.follow(question{asked.name, dns.TypeA}, maxChain)
	if err != nil || p.end != "real.example." || p.hops != 1 || len(p.data) != 1 || p.data[0] != "\xc0\x00\x02\x01" {
		t.Errorf("%+v %v", p, err)
	}
}

// TestExtendedRcode: BADVERS is no success (RFC 6891 section 6.1.3).
func TestExtendedRcode(t *testing.T) {
	msg := pack(t, dns.TypeA, func(m *dns.Msg) {
		m.SetEdns0(1232, false)
		m.Rcode = dns.RcodeBadVers
	})
	r, err := parse(msg, 1, question{asked.name, dns.TypeA})
	if err != nil || r.rcode != dns.RcodeBadVers {
		t.Errorf("rcode %d %v", r.rcode, err)
	}
}

// TestForeignSOA: a SOA record of some other zone has no say.
func TestForeignSOA(t *testing.T) {
	for soa, want := range map[string]bool{"example.": true, "home.example.": true, ".": true, "other.example.": false, "xhome.example.": false} {
		msg := pack(t, dns.TypeA, func(m *dns.Msg) {
			rr, _ := dns.NewRR(soa + " 60 SOA ns. hostmaster. 1 2 3 4 30")
			m.Ns = append(m.Ns, rr)
		})
		r, err := parse(msg, 1, question{asked.name, dns.TypeA})
		if err != nil || r.denies(asked.name) != want {
			t.Errorf("%s: %v %v", soa, r.denies(asked.name), err)
		}
		if ttl := r.negativeTTL(asked.name).Seconds(); ttl != map[bool]float64{true: 30}[want] {
			t.Errorf("%s: TTL %v", soa, ttl)
		}
	}
}

// FuzzAnswer: no octets whatsoever panic, or get past the bounds.
func FuzzAnswer(f *testing.F) {
	types := []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeMX, dns.TypeTXT, dns.TypeTLSA, dns.TypePTR, dns.TypeCNAME}
	index := func(typ uint16) byte { return byte(slices.Index(types, typ)) }
	for typ, records := range map[uint16][]string{
		dns.TypeA:     {"home.example. 60 CNAME mx.home.example.", "mx.home.example. 60 A 192.0.2.1"},
		dns.TypeAAAA:  {"home.example. 60 AAAA 2001:db8::1"},
		dns.TypeMX:    {"home.example. 60 MX 10 mx.home.example.", "home.example. 60 MX 0 ."},
		dns.TypeTXT:   {`home.example. 60 TXT "v=spf1" " -all"`, `home.example. 60 TXT ""`},
		dns.TypeTLSA:  {"home.example. 60 TLSA 3 1 1 0123"},
		dns.TypePTR:   {"home.example. 60 PTR mx.home.example."},
		dns.TypeCNAME: {"home.example. 60 CNAME home.example."},
	} {
		f.Add(index(typ), pack(f, typ, nil, records...))
	}
	f.Add(index(dns.TypeA), pack(f, dns.TypeA, func(m *dns.Msg) {
		m.Rcode = dns.RcodeNameError
		m.SetEdns0(udpSize, false)
		rr, _ := dns.NewRR("example. 60 SOA ns.example. hostmaster.example. 1 2 3 4 5")
		m.Ns = append(m.Ns, rr)
	}))
	f.Fuzz(func(t *testing.T, which byte, msg []byte) {
		q := question{asked.name, types[int(which)%len(types)]}
		before := string(msg)
		r, err := parse(msg, 1, q)
		if string(msg) != before {
			t.Error("the message was changed")
		}
		if err != nil {
			return
		}
		p, err := r.follow(q, maxChain)
		if err != nil {
			return
		}
		if len(p.data) > maxRecords || p.hops > maxChain || p.ttl < 0 || p.ttl > maxTTL || r.negativeTTL(p.end) < 0 {
			t.Errorf("%+v", p)
		}
		convert(t, q.typ, result{data: p.data})
	})
}

// convert makes of a result what callers see.
func convert(t *testing.T, typ uint16, res result) {
	r := resolverOf(question{asked.name, typ}, res)
	switch typ {
	case dns.TypeMX:
		a, _ := r.MX(ctx, asked.name)
		for _, mx := range a.Records {
			if mx.Host != strings.ToLower(mx.Host) {
				t.Errorf("MX %q", mx.Host)
			}
		}
	case dns.TypeTXT:
		a, _ := r.TXT(ctx, asked.name)
		if n := len(strings.Join(a.Records, "")); n > 64<<10 {
			t.Errorf("TXT of %d octets", n)
		}
	case dns.TypeTLSA:
		r.TLSA(ctx, asked.name)
	case dns.TypeCNAME:
		r.CNAME(ctx, asked.name)
	case dns.TypeA, dns.TypeAAAA:
		a, _ := r.Addrs(ctx, asked.name)
		for _, addr := range a.Records {
			if !addr.IsValid() || addr.Is4In6() {
				t.Errorf("address %v", addr)
			}
		}
	}
}

// resolverOf returns a Resolver that knows this result, and that the name has
// no addresses otherwise.
func resolverOf(q question, res result) *Resolver {
	g := newGeneration(nil, new(atomic.Int64))
	res.expires = time.Now().Add(time.Hour)
	for _, typ := range []uint16{dns.TypeA, dns.TypeAAAA} {
		g.cache.put(question{q.name, typ}, result{err: ErrNoRecords, expires: res.expires})
	}
	g.cache.put(q, res)
	r := new(Resolver)
	r.current.Store(g)
	return r
}
