package mailauth

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"mailbox/internal/dns/dnstest"
)

// TestRFC7208 runs the suite of those who wrote the RFC.
func TestRFC7208(t *testing.T) {
	text, err := os.ReadFile("testdata/spf/rfc7208.txt")
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, suite := range strings.Split(string(text), "\n== ")[1:] {
		name, rest, _ := strings.Cut(suite, "\n")
		zone, tests, ok := strings.Cut(rest, "-- tests\n")
		if !ok {
			t.Fatalf("suite %q has no tests", name)
		}
		c, server := newChecker(t, zone)
		for line := range strings.Lines(zone) {
			if failing, ok := strings.CutPrefix(strings.TrimSpace(line), ";fails "); ok {
				server.Fail(failing, dnstest.ServFail)
			}
		}
		for line := range strings.SplitSeq(strings.TrimSpace(tests), "\n") {
			f := append(strings.Split(line, "\t"), "")
			ran++
			t.Run(name+"/"+f[0], func(t *testing.T) {
				if f[6] != "" {
					t.Skipf("section %s: not as the suite has it: %s", f[1], f[6])
				}
				sender := f[4]
				if sender == "" {
					sender = f[3]
				}
				got := c.checkSPF(ctx, netip.MustParseAddr(f[2]), f[3], sender)
				if !slices.Contains(strings.Fields(f[5]), string(got.Result)) {
					t.Errorf("section %s: HELO %s, MAIL FROM %s, from %s: got %s (%s), want %s", f[1], f[3], f[4], f[2], got.Result, got.Reason, f[5])
				}
			})
		}
	}
	if ran < 200 {
		t.Errorf("ran %d tests, the suite has 203", ran)
	}
}

func TestSPFIdentities(t *testing.T) {
	c, _ := newChecker(t, `
a.example.        TXT "v=spf1 ip4:192.0.2.1 -all"
helo.example.     TXT "v=spf1 a -all"
helo.example.     A   192.0.2.1
xn--bcher-kva.example. TXT "v=spf1 ip4:192.0.2.1 -all"
`)
	addr := netip.MustParseAddr("192.0.2.1")
	for _, test := range []struct {
		peer           Peer
		helo, mailFrom SPF
	}{
		{Peer{addr, "helo.example", "x@a.example"}, SPF{Pass, "", "helo.example"}, SPF{Pass, "", "a.example"}},
		{Peer{addr, "helo.example.", "x@A.example."}, SPF{Pass, "", "helo.example"}, SPF{Pass, "", "a.example"}},
		{Peer{addr, "helo.example", ""}, SPF{Pass, "", "helo.example"}, SPF{Pass, "", "helo.example"}}, // RFC 7208 section 2.4
		{Peer{addr, "[192.0.2.1]", "x@a.example"}, SPF{None, "no domain name", ""}, SPF{Pass, "", "a.example"}},
		{Peer{addr, "localhost", ""}, SPF{None, "no domain name", ""}, SPF{None, "no domain name", ""}},
		{Peer{addr, "helo.example", "x@bücher.example"}, SPF{Pass, "", "helo.example"}, SPF{Pass, "", "xn--bcher-kva.example"}}, // RFC 8616
		{Peer{addr, "helo.example", `"x@nowhere.example"@a.example`}, SPF{Pass, "", "helo.example"}, SPF{Pass, "", "a.example"}},
		{Peer{netip.MustParseAddr("::ffff:192.0.2.1"), "helo.example", "x@a.example"}, SPF{Pass, "", "helo.example"}, SPF{Pass, "", "a.example"}},
		{Peer{netip.MustParseAddr("192.0.2.2"), "helo.example", "x@a.example"}, SPF{Fail, "", "helo.example"}, SPF{Fail, "", "a.example"}},
	} {
		r := check(t, c, test.peer, "From: x@a.example\n\n")
		if r.Helo != test.helo || r.MailFrom != test.mailFrom {
			t.Errorf("%+v: got HELO %+v, MAIL FROM %+v", test.peer, r.Helo, r.MailFrom)
		}
	}
}

// TestSPFLimits has the attacks of those who want us to ask and compute without
// end (RFC 7208 section 4.6.4).
func TestSPFLimits(t *testing.T) {
	var zone strings.Builder
	chain := func(name string, links int, last string) {
		for i := range links {
			zone.WriteString(zoneTXT(fmt.Sprintf("%s%d.example", name, i), fmt.Sprintf("v=spf1 include:%s%d.example -all", name, i+1)))
		}
		zone.WriteString(zoneTXT(fmt.Sprintf("%s%d.example", name, links), last))
	}
	chain("ten", 10, "v=spf1 +all")
	chain("eleven", 11, "v=spf1 +all")
	zone.WriteString(zoneTXT("self.example", "v=spf1 include:self.example -all"))
	zone.WriteString(zoneTXT("tree.example", "v=spf1"+strings.Repeat(" include:tree.example", 50)+" -all"))
	zone.WriteString(zoneTXT("redirect.example", "v=spf1 redirect=redirect.example"))
	zone.WriteString(zoneTXT("void2.example", "v=spf1 a:no1.example a:no2.example +all"))
	zone.WriteString(zoneTXT("void3.example", "v=spf1 a:no1.example a:no2.example a:no3.example +all"))
	zone.WriteString(zoneTXT("mx11.example", "v=spf1 mx +all"))
	for i := range 11 {
		fmt.Fprintf(&zone, "mx11.example. MX %d host%d.mx11.example.\nhost%d.mx11.example. A 192.0.2.7\n", i, i, i)
	}
	zone.WriteString(zoneTXT("macro.example", "v=spf1 exists:%{"+strings.Repeat("d", 4000)+"}.example +all"))
	zone.WriteString(zoneTXT("long.example", "v=spf1 exists:"+strings.Repeat("%{s}.", 100)+"example +all"))
	zone.WriteString(zoneTXT("huge.example", "v=spf1"+strings.Repeat(" ip4:192.0.2.77", 4000)+" +all"))
	zone.WriteString(zoneTXT("ptr.example", "v=spf1 ptr:ptr.example -all"))
	for i := range 60 {
		fmt.Fprintf(&zone, "99.2.0.192.in-addr.arpa. PTR n%d.ptr.example.\n", i)
	}
	c, server := newChecker(t, zone.String())
	for domain, want := range map[string]Result{
		"ten0.example":     Pass,
		"eleven0.example":  PermError,
		"self.example":     PermError,
		"tree.example":     PermError,
		"redirect.example": PermError,
		"void2.example":    Pass,
		"void3.example":    PermError,
		"mx11.example":     PermError,
		"macro.example":    PermError,
		"long.example":     Pass, // the name is cut to what there may be, and does not exist
		"huge.example":     PermError,
		"ptr.example":      Fail,
	} {
		if got := c.checkSPF(ctx, stranger.Addr, "stranger.example", "x@"+domain); got.Result != want {
			t.Errorf("%s: got %s (%s), want %s", domain, got.Result, got.Reason, want)
		}
	}
	asked := 0
	for i := range 60 {
		if server.Queries(fmt.Sprintf("n%d.ptr.example", i)) > 0 {
			asked++
		}
	}
	if asked != 10 {
		t.Errorf("asked for %d of the 60 names that the address claims, want 10", asked)
	}
}

func TestIPRev(t *testing.T) {
	c, server := newChecker(t, `
1.2.0.192.in-addr.arpa. PTR good.example.
good.example. A 192.0.2.1
2.2.0.192.in-addr.arpa. PTR liar.example.
liar.example. A 192.0.2.1
3.2.0.192.in-addr.arpa. PTR nowhere.example.
3.2.0.192.in-addr.arpa. PTR second.example.
second.example. A 192.0.2.3
5.2.0.192.in-addr.arpa. PTR broken.example.
1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. PTR six.example.
six.example. AAAA 2001:db8::1
`)
	server.Fail("6.2.0.192.in-addr.arpa", dnstest.ServFail)
	server.Fail("broken.example", dnstest.ServFail)
	for addr, want := range map[string]IPRev{
		"192.0.2.1":   {Result: Pass, Name: "good.example"},
		"192.0.2.2":   {Result: Fail, Reason: "name does not lead back"},
		"192.0.2.3":   {Result: Pass, Name: "second.example"},
		"192.0.2.4":   {Result: PermError, Reason: "address has no name"},
		"192.0.2.5":   {Result: TempError, Reason: "DNS trouble"},
		"192.0.2.6":   {Result: TempError, Reason: "DNS trouble"},
		"2001:db8::1": {Result: Pass, Name: "six.example"},
	} {
		want.Addr = netip.MustParseAddr(addr)
		if got := c.checkIPRev(ctx, want.Addr); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

// TestIPRevStorm has an address with more names than anybody needs.
func TestIPRevStorm(t *testing.T) {
	var zone strings.Builder
	for i := range 60 {
		fmt.Fprintf(&zone, "99.2.0.192.in-addr.arpa. PTR n%d.example.\n", i)
	}
	c, server := newChecker(t, zone.String())
	if got := c.checkIPRev(ctx, stranger.Addr); got.Result != Fail {
		t.Errorf("got %+v", got)
	}
	asked := 0
	for i := range 60 {
		if server.Queries(fmt.Sprintf("n%d.example", i)) > 0 {
			asked++
		}
	}
	if asked != maxNames {
		t.Errorf("asked for %d names", asked)
	}
}

func TestShorten(t *testing.T) {
	for name, want := range map[string]string{
		"a.example":                            "a.example",
		"a.example.":                           "a.example",
		strings.Repeat("abc.", 70) + "example": strings.Repeat("abc.", 61) + "example", // RFC 7208 section 7.3
		strings.Repeat("a", 300):               strings.Repeat("a", 300),
	} {
		if got := shorten(name); got != want {
			t.Errorf("%q: got %q", name, got)
		}
	}
}
