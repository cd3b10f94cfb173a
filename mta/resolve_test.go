package mta

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"mailbox/internal/dns/dnstest"
)

// tried returns the addresses that would be tried for a domain, or why none.
func tried(t testing.TB, r *Remote, d Destination) (addrs []string, fail *Failure) {
	t.Helper()
	hops, fail := r.hops(context.Background(), d)
	for _, h := range hops {
		addrs = append(addrs, h.addr.Addr().String())
	}
	if (len(addrs) == 0) == (fail == nil) {
		t.Fatalf("addresses %v and failure %v", addrs, fail)
	}
	return addrs, fail
}

const publicZone = `
$ORIGIN example.
a A 192.0.2.1
b A 192.0.2.2
c A 192.0.2.3
both A 192.0.2.4
both A 192.0.2.5
both AAAA 2001:db8::4
six AAAA 2001:db8::6
mx.home A 192.0.2.99
alias CNAME mx.home
private A 10.0.0.1
loop A 127.0.0.1
loop AAAA ::1
link AAAA fe80::1
mapped AAAA ::ffff:127.0.0.1
nat AAAA 64:ff9b::7f00:1
good-nat AAAA 64:ff9b::c000:201
six-to-four AAAA 2002:a00:1::1
zero A 0.0.0.0
multicast A 224.0.0.1
text TXT "x"
fails A 192.0.2.7

order MX 30 c
order MX 10 a
order MX 20 b
two-families MX 10 both
two-families MX 20 six
implicit A 192.0.2.1
implicit AAAA 2001:db8::6
cname CNAME order
null MX 0 .
two-nulls MX 0 .
two-nulls MX 5 .
null-and-more MX 0 .
null-and-more MX 10 a
no-address MX 10 text
no-host MX 10 nothing
some-without MX 10 nothing
some-without MX 20 a
last MX 10 a
last MX 20 mx.home
last MX 20 b
last MX 30 c
best MX 10 MX.Home
best MX 20 a
equal MX 10 a
equal MX 10 mx.home
last-by-address MX 10 a
last-by-address MX 20 alias
last-by-address MX 20 b
last-by-address MX 30 c
best-by-address MX 10 alias
best-by-address MX 20 a
ours A 192.0.2.99
to-private MX 10 private
to-loop MX 10 loop
to-link MX 10 link
to-mapped MX 10 mapped
to-nat MX 10 nat
to-good-nat MX 10 good-nat
to-six-to-four MX 10 six-to-four
to-zero MX 10 zero
to-multicast MX 10 multicast
to-both MX 10 loop
to-both MX 20 a
one-fails MX 10 fails
one-fails MX 20 a
one-fails-one-private MX 10 fails
one-fails-one-private MX 20 private
one-fails-then-us MX 10 fails
one-fails-then-us MX 20 alias
all-fail MX 10 fails
fails-itself MX 10 a
`

// TestDestinations: which addresses mail for a domain goes to, and where to
// none, why (RFC 5321 section 5.1, RFC 7505).
func TestDestinations(t *testing.T) {
	r, names := newRemote(t, 25, publicZone, func(c *Config) { c.PrivateDestinations = false })
	r.Self = func(a netip.AddrPort) bool { return a == netip.MustParseAddrPort("192.0.2.99:25") }
	names.Fail("fails.example", dnstest.ServFail)
	names.Fail("fails-itself.example", dnstest.ServFail)
	for domain, want := range map[string]string{
		"order":                 "192.0.2.1 192.0.2.2 192.0.2.3",
		"cname":                 "192.0.2.1 192.0.2.2 192.0.2.3",
		"two-families":          "2001:db8::4 192.0.2.4 192.0.2.5 2001:db8::6",
		"implicit":              "2001:db8::6 192.0.2.1",
		"null":                  "dns 5.1.10",
		"two-nulls":             "dns 5.1.10",
		"null-and-more":         "192.0.2.1",
		"nonexistent":           "dns 5.1.2",
		"text":                  "dns 5.1.2",
		"no-address":            "dns 5.4.4",
		"no-host":               "dns 5.4.4",
		"some-without":          "192.0.2.1",
		"last":                  "192.0.2.1",
		"best":                  "dns 5.4.6",
		"equal":                 "dns 5.4.6",
		"mx.home":               "dns 5.4.6",
		"last-by-address":       "192.0.2.1",
		"best-by-address":       "dns 5.4.6",
		"ours":                  "dns 5.4.6",
		"to-private":            "dns 5.4.4",
		"to-loop":               "dns 5.4.4",
		"to-link":               "dns 5.4.4",
		"to-mapped":             "dns 5.4.4",
		"to-nat":                "dns 5.4.4",
		"to-good-nat":           "64:ff9b::c000:201",
		"to-six-to-four":        "dns 5.4.4",
		"to-zero":               "dns 5.4.4",
		"to-multicast":          "dns 5.4.4",
		"to-both":               "192.0.2.1",
		"one-fails":             "192.0.2.1",
		"one-fails-one-private": "dns 4.4.3",
		"one-fails-then-us":     "dns 4.4.3",
		"all-fail":              "dns 4.4.3",
		"fails-itself":          "dns 4.4.3",
	} {
		t.Run(domain, func(t *testing.T) {
			addrs, fail := tried(t, r, Destination{Domain: domain + ".example"})
			got := strings.Join(addrs, " ")
			if fail != nil {
				got = fail.Stage + " " + fail.Status
			}
			if got != want {
				t.Errorf("got %q, want %q (%v)", got, want, fail)
			}
		})
	}
	for _, domain := range []string{"", "a..b", "with space.example", strings.Repeat("x", 64) + ".example", "[foo]", "[", "[]"} {
		if _, fail := tried(t, r, Destination{Domain: domain}); fail == nil || fail.Status != "5.1.2" {
			t.Errorf("%q: %v", domain, fail)
		}
	}
}

// TestLiterals: an address literal is where it says, within the same bounds.
func TestLiterals(t *testing.T) {
	r, _ := newRemote(t, 25, "", func(c *Config) { c.PrivateDestinations = false })
	for literal, want := range map[string]string{
		"[192.0.2.1]": "192.0.2.1", "[IPv6:2001:db8::1]": "2001:db8::1", "[ipv6:2001:DB8::1]": "2001:db8::1",
		"[127.0.0.1]": "", "[IPv6:::1]": "", "[10.1.2.3]": "", "[172.16.0.1]": "", "[192.168.0.1]": "", "[169.254.169.254]": "",
		"[100.64.0.1]": "", "[0.0.0.0]": "", "[IPv6:::]": "", "[255.255.255.255]": "", "[IPv6:fe80::1]": "", "[IPv6:fe80::1%lo]": "",
		"[IPv6:fc00::1]": "", "[IPv6:::ffff:127.0.0.1]": "", "[IPv6:::127.0.0.1]": "", "[IPv6:fec0::1]": "", "[IPv6:64:ff9b::a00:1]": "",
	} {
		addrs, fail := tried(t, r, Destination{Domain: literal})
		if got := strings.Join(addrs, " "); got != want {
			t.Errorf("%s leads to %q, want %q", literal, got, want)
		}
		if fail != nil && fail.Status != "5.4.4" {
			t.Errorf("%s: %v", literal, fail)
		}
	}
}

// TestPrivateDestinations: the operator may allow what is not on the internet,
// but never what is no address of a host.
func TestPrivateDestinations(t *testing.T) {
	r, _ := newRemote(t, 25, publicZone, nil)
	for domain, want := range map[string]string{
		"to-loop.example": "::1 127.0.0.1", "to-private.example": "10.0.0.1", "[127.0.0.1]": "127.0.0.1", "to-zero.example": "", "to-multicast.example": "",
	} {
		addrs, _ := tried(t, r, Destination{Domain: domain})
		if got := strings.Join(addrs, " "); got != want {
			t.Errorf("%s leads to %q, want %q", domain, got, want)
		}
	}
}

// TestRandomOrder: equals share the load.
func TestRandomOrder(t *testing.T) {
	r, _ := newRemote(t, 25, publicZone+"equals MX 10 a\nequals MX 10 b\nequals MX 10 c\nequals MX 20 six\n", nil)
	first := map[string]bool{}
	for range 200 { // one of three is never first once in 10^34
		addrs, _ := tried(t, r, Destination{Domain: "equals.example"})
		if len(addrs) != 4 || addrs[3] != "2001:db8::6" {
			t.Fatalf("order is %v", addrs)
		}
		first[addrs[0]] = true
	}
	if len(first) != 3 {
		t.Errorf("first were only %v", first)
	}
}

// TestManyHosts: a domain with very many hosts costs us a bounded number of
// lookups and connections, and addresses that are refused are not counted.
func TestManyHosts(t *testing.T) {
	zone := "$ORIGIN example.\n"
	for i := range 50 {
		zone += fmt.Sprintf("many MX %d h%d\n", i, i)
		for j := range 5 {
			zone += fmt.Sprintf("h%d A 192.0.2.%d\n", i, 5*i+j)
		}
	}
	for i := range 30 {
		zone += fmt.Sprintf("x A 10.0.0.%d\n", i)
	}
	zone += "hidden MX 10 x\nhidden MX 20 y\ny A 192.0.2.1\n"
	r, names := newRemote(t, 25, zone, func(c *Config) { c.PrivateDestinations = false })
	addrs, _ := tried(t, r, Destination{Domain: "many.example"})
	if len(addrs) != maxAddresses {
		t.Errorf("%d addresses: %v", len(addrs), addrs)
	}
	if names.Queries("h49.example") > 0 || names.Queries("h9.example") == 0 {
		t.Error("looked up other than the first ten hosts")
	}
	if addrs, _ := tried(t, r, Destination{Domain: "hidden.example"}); !slices.Equal(addrs, []string{"192.0.2.1"}) {
		t.Errorf("behind private addresses: %v", addrs)
	}
}

// TestNextHost: where the better host does not work, the next one gets the
// mail, and the failure that is told is one that may pass.
func TestNextHost(t *testing.T) {
	zone := `
$ORIGIN example.
there MX 10 first
there MX 20 second
first A 127.0.0.2
second A 127.0.0.3
one-name MX 10 twice
twice A 127.0.0.9
twice A 127.0.0.2
`
	for name, c := range map[string]struct{ first, second, want string }{
		"first":           {"", "", "first.example"},
		"first refuses":   {"554 5.7.1 no", "", "second.example"},
		"first is busy":   {"421 4.3.2 busy" + hangUp, "", "second.example"},
		"both refuse":     {"554 5.7.1 no", "550 5.7.1 no", "greeting 5.7.1"},
		"one of two busy": {"554 5.7.1 no", "451 4.3.2 no", "greeting 4.3.2"},
	} {
		t.Run(name, func(t *testing.T) {
			hosts := newHosts(t, "127.0.0.2", "127.0.0.3")
			for i, answer := range []string{c.first, c.second} {
				hosts[i].answers(func(stage, line string) string {
					if stage == "greeting" {
						return answer
					}
					return ""
				})
			}
			r, _ := newRemote(t, hosts[0].addr.Port(), zone, nil)
			conn, err := r.Connect(context.Background(), Destination{Domain: "there.example"})
			if err != nil {
				wantOutcome(t, Result{Failure: err.(*Failure)}, c.want)
				return
			}
			defer conn.Close()
			if got := conn.Attempt().Host; got != c.want {
				t.Errorf("%s has the connection, want %s", got, c.want)
			}
		})
	}
	hosts := newHosts(t, "127.0.0.2")
	r, _ := newRemote(t, hosts[0].addr.Port(), zone, nil)
	wantOutcome(t, deliver(t, r, Destination{Domain: "one-name.example"}, newMail(shortMail, "x@one-name.example"))[0], "ok")
}

// TestOtherFamily: a host whose IPv6 does not work gets its mail over IPv4.
func TestOtherFamily(t *testing.T) {
	h := newHost(t)
	r, _ := newRemote(t, h.addr.Port(), "$ORIGIN example.\nthere MX 1 host\nhost A 127.0.0.1\nhost AAAA ::1\n", nil)
	addrs, _ := tried(t, r, Destination{Domain: "there.example"})
	if !slices.Equal(addrs, []string{"::1", "127.0.0.1"}) {
		t.Errorf("order is %v", addrs)
	}
	wantOutcome(t, deliver(t, r, Destination{Domain: "there.example"}, newMail(shortMail, "bob@there.example"))[0], "ok")
}

// TestOurselvesByName: a host that turns out to be us ends the search, since
// those behind it would send the mail here.
func TestOurselvesByName(t *testing.T) {
	hosts := newHosts(t, "127.0.0.2", "127.0.0.3")
	hosts[0].answers(func(stage, line string) string {
		if stage == "EHLO" {
			return "250 mx.home.example"
		}
		return ""
	})
	r, _ := newRemote(t, hosts[0].addr.Port(), "$ORIGIN example.\nthere MX 1 first\nthere MX 2 second\nfirst A 127.0.0.2\nsecond A 127.0.0.3\n", nil)
	wantOutcome(t, deliver(t, r, Destination{Domain: "there.example"}, newMail(shortMail, "bob@there.example"))[0], "ehlo 5.4.6")
	if n := hosts[1].connections(); n != 0 {
		t.Errorf("the host behind us got %d connections", n)
	}
}

// TestNoHost: a failure names what was tried.
func TestNoHost(t *testing.T) {
	r, names := newRemote(t, 1, "$ORIGIN example.\nthere MX 1 host\nhost A 127.0.0.1\n", nil)
	res := deliver(t, r, Destination{Domain: "there.example"}, newMail(shortMail, "bob@there.example"))
	wantOutcome(t, res[0], "connect 4.4.1")
	if f := res[0].Failure; f.Host != "host.example" || f.Address != "127.0.0.1:1" || f.At.IsZero() || !f.HostDown || !strings.Contains(f.Reply, "refused") {
		t.Errorf("failure is %+v", f)
	}
	names.Fail("host.example", dnstest.ServFail)
	r, _ = newRemote(t, 1, "", nil)
	res = deliver(t, r, Destination{Domain: "nowhere.example"}, newMail(shortMail, "bob@nowhere.example"))
	if f := res[0].Failure; f.Host != "nowhere.example" || f.Address != "" || f.Status != "5.1.2" {
		t.Errorf("failure is %+v", f)
	}
	res = deliver(t, r, Destination{Host: "nowhere.example:25"}, newMail(shortMail, "bob@nowhere.example"))
	wantOutcome(t, res[0], "dns 4.4.3") // an operator's typing error loses no mail
}
