package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mailbox/internal/dns/dnstest"
)

const zone = `
$ORIGIN home.example.
@        SOA   ns hostmaster 1 3600 600 86400 60
@        MX    20 Backup
@        MX    10 mx.Home.Example.
@        TXT   "v=spf1 " "mx -all"
@        TXT   "a \"quoted\" \\ \200 octet"
mx       A     192.0.2.1
mx       A     192.0.2.2
mx       AAAA  2001:db8::1
backup   A     192.0.2.3
six      AAAA  ::ffff:192.0.2.6
www      CNAME mx
far      CNAME mx.elsewhere.example.
bare     CNAME backup
loop1    CNAME loop2
loop2    CNAME loop1
c1       CNAME c2
c2       CNAME c3
c3       CNAME c4
c4       CNAME c5
c5       CNAME c6
c6       CNAME c7
c7       CNAME c8
c8       CNAME mx
c0       CNAME c1
gone     CNAME nothing
_25._tcp.mx TLSA 3 1 1 0123456789abcdef
o'brien+tag@mail TXT "odd"
*.wild   TXT   "wild"
$ORIGIN elsewhere.example.
@        MX    0 .
mx       A     192.0.2.7
$ORIGIN 2.0.192.in-addr.arpa.
1        PTR   MX.home.example.
2        CNAME 2.0/25
2.0/25   PTR   mx.home.example.
`

var ctx = context.Background()

// resolver returns one that asks these servers, and does not wait for long.
func resolver(t *testing.T, servers ...*dnstest.Server) *Resolver {
	t.Helper()
	var c Config
	for _, s := range servers {
		c.Servers = append(c.Servers, s.Addr)
	}
	r, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// impatient makes r take a server for silent after a moment.
func impatient(r *Resolver) *Resolver {
	r.current.Load().try = 250 * time.Millisecond
	return r
}

func serve(t *testing.T) *dnstest.Server { return dnstest.New(t, "127.0.0.1:0", zone) }

// show writes an answer as a test can name it.
func show[T any](a Answer[T], err error) string {
	for _, e := range []error{ErrInvalidName, ErrNotFound, ErrNoRecords, ErrTemporary} {
		if errors.Is(err, e) {
			return e.Error()
		}
	}
	if err != nil {
		return "unclassified: " + err.Error()
	}
	return fmt.Sprint(a.Records)
}

func TestLookups(t *testing.T) {
	r := resolver(t, serve(t))
	addr := netip.MustParseAddr
	for _, c := range []struct{ what, got, want string }{
		{"MX", show(r.MX(ctx, "home.example")), "[{20 backup.home.example} {10 mx.home.example}]"},
		{"MX in capitals, with a dot", show(r.MX(ctx, "HOME.example.")), "[{20 backup.home.example} {10 mx.home.example}]"},
		{"null MX", show(r.MX(ctx, "elsewhere.example")), "[{0 }]"},
		{"no MX", show(r.MX(ctx, "mx.home.example")), "no records"},
		{"MX of no name", show(r.MX(ctx, "nothing.home.example")), "no such name"},
		{"MX of a name that only has names below", show(r.MX(ctx, "_tcp.mx.home.example")), "no records"},
		{"MX of no zone", show(r.MX(ctx, "example")), "no records"},
		{"a single label", show(r.MX(ctx, "nowhere")), "no such name"},
		{"TXT", show(r.TXT(ctx, "home.example")), "[v=spf1 mx -all a \"quoted\" \\ \xc8 octet]"},
		{"TXT of an odd name", show(r.TXT(ctx, "o'brien+tag@mail.home.example")), "[odd]"},
		{"TXT of a wildcard", show(r.TXT(ctx, "any.wild.home.example")), "[wild]"},
		{"Addrs", show(r.Addrs(ctx, "mx.home.example")), "[192.0.2.1 192.0.2.2 2001:db8::1]"},
		{"Addrs, IPv4 only", show(r.Addrs(ctx, "backup.home.example")), "[192.0.2.3]"},
		{"Addrs, mapped", show(r.Addrs(ctx, "six.home.example")), "[192.0.2.6]"},
		{"Addrs, none", show(r.Addrs(ctx, "home.example")), "no records"},
		{"Addrs of no name", show(r.Addrs(ctx, "nothing.home.example")), "no such name"},
		{"Addrs of an alias", show(r.Addrs(ctx, "www.home.example")), "[192.0.2.1 192.0.2.2 2001:db8::1]"},
		{"Addrs of an alias elsewhere", show(r.Addrs(ctx, "far.home.example")), "[192.0.2.7]"},
		{"MX of an alias", show(r.MX(ctx, "bare.home.example")), "no records"},
		{"MX of a dangling alias", show(r.MX(ctx, "gone.home.example")), "no such name"},
		{"8 aliases", show(r.Addrs(ctx, "c1.home.example")), "[192.0.2.1 192.0.2.2 2001:db8::1]"},
		{"9 aliases", show(r.Addrs(ctx, "c0.home.example")), "temporary DNS failure"},
		{"a loop of aliases", show(r.Addrs(ctx, "loop1.home.example")), "temporary DNS failure"},
		{"CNAME", show(r.CNAME(ctx, "www.home.example")), "[mx.home.example]"},
		{"CNAME in a loop", show(r.CNAME(ctx, "loop1.home.example")), "[loop2.home.example]"},
		{"CNAME of no alias", show(r.CNAME(ctx, "mx.home.example")), "no records"},
		{"TLSA", show(r.TLSA(ctx, "_25._tcp.mx.home.example")), "[{3 1 1 [1 35 69 103 137 171 205 239]}]"},
		{"PTR", show(r.PTR(ctx, addr("192.0.2.1"))), "[mx.home.example]"},
		{"PTR, mapped", show(r.PTR(ctx, addr("::ffff:192.0.2.1"))), "[mx.home.example]"},
		{"PTR, delegated (RFC 2317)", show(r.PTR(ctx, addr("192.0.2.2"))), "[mx.home.example]"},
		{"PTR, none", show(r.PTR(ctx, addr("2001:db8::1%eth0"))), "no such name"},
		{"PTR of no address", show(r.PTR(ctx, netip.Addr{})), "not a domain name"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %s, want %s", c.what, c.got, c.want)
		}
	}
}

func TestNames(t *testing.T) {
	label := strings.Repeat("a", 63)
	longest := strings.Repeat(label+".", 3) + label[:61]
	for _, name := range []string{"a", label, "_a.b", "a/b", "a;b(c)", longest, longest + "."} {
		if _, err := canonical(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"", ".", "a..b", ".a", "a..", "a b", "a\x00", `a\b`, "bücher.example", label + "a", longest + "a"} {
		_, err := canonical(name)
		if !errors.Is(err, ErrInvalidName) || !errors.Is(err, ErrNotFound) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestErrors: they say what was asked, of whom, and what went wrong.
func TestErrors(t *testing.T) {
	s := serve(t)
	s.Fail("broken.example", dnstest.ServFail)
	r := resolver(t, s)
	for _, c := range []struct{ name, want string }{
		{"nothing.Home.example", "MX nothing.home.example: no such name"},
		{"mx.home.example", "MX mx.home.example: no records"},
		{"broken.example", "MX broken.example: temporary DNS failure: " + s.Addr + ": SERVFAIL"},
		{"loop1.home.example", "MX loop1.home.example: temporary DNS failure: more than 8 CNAMEs, or a loop of them"},
		{"a..b", `MX "a..b": not a domain name: empty label`},
	} {
		if _, err := r.MX(ctx, c.name); err == nil || err.Error() != c.want {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestRemembered: what was said is not asked again, denials included; failures
// are; Configure forgets all.
func TestRemembered(t *testing.T) {
	s := serve(t)
	s.Fail("broken.example", dnstest.Refused)
	r := resolver(t, s)
	for range 3 {
		for _, name := range []string{"home.example", "mx.home.example", "nothing.home.example", "broken.example"} {
			r.MX(ctx, name)
		}
	}
	for name, want := range map[string]int{"home.example": 1, "mx.home.example": 1, "nothing.home.example": 1, "broken.example": 3} {
		if got := s.Queries(name); got != want {
			t.Errorf("%s: %d queries", name, got)
		}
	}
	if a, _ := r.MX(ctx, "home.example"); a.TTL > 300*time.Second || a.TTL < 200*time.Second {
		t.Errorf("positive answer holds for %v", a.TTL)
	}
	if a, _ := r.MX(ctx, "mx.home.example"); a.TTL > 60*time.Second || a.TTL < 10*time.Second {
		t.Errorf("denial holds for %v", a.TTL)
	}
	if a, _ := r.MX(ctx, "nowhere"); a.TTL > time.Second {
		t.Errorf("denial without SOA holds for %v", a.TTL)
	}
	s.Mend("broken.example")
	if got := show(r.MX(ctx, "broken.example")); got != "no such name" {
		t.Errorf("after the server was mended: %s", got)
	}
	s.Set("home.example. MX 1 new.example.")
	if err := r.Configure(Config{Servers: []string{s.Addr}}); err != nil {
		t.Fatal(err)
	}
	if got := show(r.MX(ctx, "home.example")); got != "[{1 new.example}]" {
		t.Errorf("after Configure: %s", got)
	}
}

// TestAnswersAreTheCallers: who changes one does not change the cache.
func TestAnswersAreTheCallers(t *testing.T) {
	r := resolver(t, serve(t))
	a, _ := r.TLSA(ctx, "_25._tcp.mx.home.example")
	a.Records[0].Data[0] = 0xff
	if a, _ := r.TLSA(ctx, "_25._tcp.mx.home.example"); a.Records[0].Data[0] != 1 {
		t.Error("the cache was changed")
	}
}

func TestCache(t *testing.T) {
	now := time.Now()
	c := cache{results: make(map[question]result)}
	q := question{"a.", 1}
	c.put(q, result{expires: now.Add(time.Second), data: []string{"1234"}})
	c.put(q, result{expires: now.Add(time.Second), data: []string{"5678"}})
	if r, ok := c.get(q, now); !ok || r.data[0] != "5678" || c.octets != perEntry+4 {
		t.Errorf("%v %v, %d octets", r, ok, c.octets)
	}
	if _, ok := c.get(q, now.Add(time.Second)); ok {
		t.Error("it outlived its TTL")
	}
	for i := range maxEntries + 5 {
		c.put(question{fmt.Sprint(i), 1}, result{})
	}
	if len(c.results) != maxEntries {
		t.Errorf("%d entries", len(c.results))
	}
	c.put(q, result{data: []string{strings.Repeat("x", maxOctets/2)}})
	c.put(question{"b.", 1}, result{data: []string{strings.Repeat("x", maxOctets/2)}})
	if c.octets > maxOctets || c.octets < 0 {
		t.Errorf("%d octets", c.octets)
	}
}

// TestCoalescing: who asks the same at the same time waits for one query, and
// who loses patience harms nobody.
func TestCoalescing(t *testing.T) {
	s := serve(t)
	asked, release := make(chan struct{}), make(chan struct{})
	s.Mangle("home.example", func(reply []byte) [][]byte {
		close(asked)
		<-release
		return [][]byte{reply}
	})
	r := resolver(t, s)
	g := r.current.Load()
	waiters := func() int {
		g.mu.Lock()
		defer g.mu.Unlock()
		n := 0
		for _, f := range g.flights {
			n += f.waiters
		}
		return n
	}
	hasty, leave := context.WithCancel(ctx)
	left := make(chan error)
	go func() {
		_, err := r.MX(hasty, "home.example")
		left <- err
	}()
	<-asked
	var others sync.WaitGroup
	for range 10 {
		others.Go(func() {
			if got := show(r.MX(ctx, "Home.example")); !strings.HasPrefix(got, "[{20 ") {
				t.Errorf("a patient caller got %s", got)
			}
		})
	}
	for waiters() < 11 {
		time.Sleep(time.Millisecond)
	}
	leave()
	if err := <-left; !errors.Is(err, ErrTemporary) || !errors.Is(err, context.Canceled) {
		t.Errorf("the hasty caller got %v", err)
	}
	close(release)
	others.Wait()
	if n := s.Queries("home.example"); n != 1 {
		t.Errorf("%d queries", n)
	}
}

// TestEveryoneLeft: a lookup that nobody waits for ends, and the next caller
// starts another.
func TestEveryoneLeft(t *testing.T) {
	s := serve(t)
	s.Drop("home.example")
	r := resolver(t, s)
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if _, err := r.MX(short, "home.example"); !errors.Is(err, ErrTemporary) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with nobody answering: %v", err)
	}
	s.Mend("home.example")
	if got := show(r.MX(ctx, "home.example")); !strings.HasPrefix(got, "[{20 ") {
		t.Errorf("then: %s", got)
	}
	g := r.current.Load()
	for len(g.slots) > 0 {
		time.Sleep(time.Millisecond)
	}
}

// TestTruncation: what does not fit into a datagram comes over TCP, and no
// more than 100 records of it are kept.
func TestTruncation(t *testing.T) {
	var text strings.Builder
	for i := range 150 {
		fmt.Fprintf(&text, "big.example. TXT %03d%s\n", i, strings.Repeat("x", 200))
	}
	s := dnstest.New(t, "127.0.0.1:0", text.String())
	a, err := resolver(t, s).TXT(ctx, "big.example")
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Records) != 100 || !strings.HasPrefix(a.Records[99], "099x") {
		t.Errorf("%d records", len(a.Records))
	}
	if n := s.Queries("big.example"); n != 2 {
		t.Errorf("%d queries", n)
	}
}

// TestServers: the second server answers when the first is silent, says no, or
// does not listen; and the silent one is spared for a while.
func TestServers(t *testing.T) {
	first, second := serve(t), serve(t)
	first.Fail("home.example", dnstest.ServFail)
	first.Drop("mx.home.example")
	r := impatient(resolver(t, first, second))
	if got := show(r.MX(ctx, "home.example")); !strings.HasPrefix(got, "[{20 ") {
		t.Errorf("SERVFAIL: %s", got)
	}
	if got := show(r.TXT(ctx, "o'brien+tag@mail.home.example")); got != "[odd]" || second.Queries("o'brien+tag@mail.home.example") != 0 {
		t.Errorf("the first server was not asked first: %s", got)
	}
	if got := show(r.Addrs(ctx, "mx.home.example")); got != "[192.0.2.1 192.0.2.2 2001:db8::1]" {
		t.Errorf("silence: %s", got)
	}
	if got := show(r.CNAME(ctx, "www.home.example")); got != "[mx.home.example]" || first.Queries("www.home.example") != 0 {
		t.Errorf("the silent server was asked first: %s", got)
	}
	first.Close()
	if got := show(impatient(resolver(t, first, second)).CNAME(ctx, "www.home.example")); got != "[mx.home.example]" {
		t.Errorf("no server: %s", got)
	}
}

// TestLostPackets: three tries are made; who said no is not asked again.
func TestLostPackets(t *testing.T) {
	s := serve(t)
	var mu sync.Mutex
	lost := 0
	s.Mangle("home.example", func(reply []byte) [][]byte {
		mu.Lock()
		defer mu.Unlock()
		if lost++; lost <= 2 {
			return nil
		}
		return [][]byte{reply}
	})
	s.Drop("mx.home.example")
	s.Fail("www.home.example", dnstest.ServFail)
	r := impatient(resolver(t, s))
	if got := show(r.MX(ctx, "home.example")); !strings.HasPrefix(got, "[{20 ") {
		t.Errorf("two lost: %s", got)
	}
	if got := show(r.MX(ctx, "mx.home.example")); got != "temporary DNS failure" || s.Queries("mx.home.example") != 3 {
		t.Errorf("all lost: %s after %d queries", got, s.Queries("mx.home.example"))
	}
	if got := show(r.MX(ctx, "www.home.example")); got != "temporary DNS failure" || s.Queries("www.home.example") != 1 {
		t.Errorf("SERVFAIL: %s after %d queries", got, s.Queries("www.home.example"))
	}
}

// TestOneOfTwo: half of the addresses are better than none, but are no proof
// that there are none.
func TestOneOfTwo(t *testing.T) {
	s := serve(t)
	failAAAA := func(reply []byte) [][]byte {
		const typeAAAA = 28
		if i := slices.Index(reply[headerSize:], 0); binary.BigEndian.Uint16(reply[headerSize+i+1:]) == typeAAAA {
			reply[3] |= dnstest.ServFail
		}
		return [][]byte{reply}
	}
	s.Mangle("mx.home.example", failAAAA)
	s.Mangle("home.example", failAAAA)
	r := resolver(t, s)
	if got := show(r.Addrs(ctx, "mx.home.example")); got != "[192.0.2.1 192.0.2.2]" {
		t.Errorf("with A records: %s", got)
	}
	if got := show(r.Addrs(ctx, "home.example")); got != "temporary DNS failure" {
		t.Errorf("without: %s", got)
	}
}

// TestStrayAnswers: what answers another question is not believed, nor does it
// keep the true answer from being heard.
func TestStrayAnswers(t *testing.T) {
	s := serve(t)
	s.Mangle("home.example", func(reply []byte) [][]byte {
		change := func(i int, bits byte) []byte {
			forged := slices.Clone(reply)
			forged[i] ^= bits
			forged[len(forged)-1] ^= 0xff
			return forged
		}
		return [][]byte{
			nil,
			{1, 2, 3},
			reply[:headerSize], reply[:headerSize+3],
			change(1, 1),               // ID
			change(2, 0x80),            // no response
			change(2, 0x10),            // opcode
			change(5, 1),               // no question
			change(headerSize+1, 1),    // name
			change(headerSize+14+1, 2), // type
			change(headerSize+14+3, 2), // class
			reply,
		}
	})
	r := resolver(t, s)
	if got := show(r.MX(ctx, "home.example")); got != "[{20 backup.home.example} {10 mx.home.example}]" {
		t.Errorf("got %s", got)
	}
	if n := s.Queries("home.example"); n != 1 {
		t.Errorf("%d queries", n)
	}
}

// TestMalformed: a broken answer to our question is a failure of its server.
func TestMalformed(t *testing.T) {
	bad, good := serve(t), serve(t)
	for name, f := range map[string]func([]byte) []byte{
		"home.example":         func(b []byte) []byte { return b[:len(b)-14] },
		"mx.home.example":      func(b []byte) []byte { b[7]++; return b[:len(b)-11] },
		"www.home.example":     func(b []byte) []byte { b[2] |= 2; return b }, // TC over TCP as well
		"elsewhere.example":    func(b []byte) []byte { return append(b[:3], 5, 0, 0, 0, 0, 0, 0, 0, 0) },
		"nothing.home.example": func(b []byte) []byte { b[2], b[3], b[9] = b[2]&^4, 0, 0; return b }, // a referral
	} {
		bad.Mangle(name, func(reply []byte) [][]byte { return [][]byte{f(reply)} })
	}
	for _, c := range []struct{ name, reason string }{
		{"home.example", "malformed answer"},
		{"mx.home.example", "malformed answer"},
		{"www.home.example", "truncated over TCP"},
		{"elsewhere.example", "REFUSED"},
		{"nothing.home.example", "its own zones"},
	} {
		_, err := resolver(t, bad).MX(ctx, c.name)
		if !errors.Is(err, ErrTemporary) || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%s: %v", c.name, err)
		}
		if _, err := resolver(t, bad, good).MX(ctx, c.name); errors.Is(err, ErrTemporary) {
			t.Errorf("%s, with another server: %v", c.name, err)
		}
	}
}

// TestWithoutEDNS: a server that does not know EDNS is asked without.
func TestWithoutEDNS(t *testing.T) {
	s := serve(t)
	s.Mangle("home.example", func(reply []byte) [][]byte {
		if reply[11] > 0 { // there is an OPT record
			reply[3] |= dnstest.FormErr
		}
		return [][]byte{reply}
	})
	r := resolver(t, s)
	if got := show(r.MX(ctx, "home.example")); !strings.HasPrefix(got, "[{20 ") {
		t.Errorf("got %s", got)
	}
}

// TestPartialChain: a server may leave it to us to follow an alias.
func TestPartialChain(t *testing.T) {
	s := serve(t)
	r := resolver(t, s)
	s.Mangle("far.home.example", func(reply []byte) [][]byte {
		reply[7] = 1  // of two answers
		reply[11] = 0 // which makes the other one surplus
		return [][]byte{reply}
	})
	if got := show(r.Addrs(ctx, "far.home.example")); got != "[192.0.2.7]" {
		t.Errorf("got %s", got)
	}
}

// TestAuthenticated: the AD bit counts from a server on loopback, or one that
// is trusted; for denials too; and for addresses only if all have it.
func TestAuthenticated(t *testing.T) {
	s := serve(t)
	check := func(what string, r *Resolver, want bool) {
		t.Helper()
		mx, err := r.MX(ctx, "home.example")
		if err != nil || mx.Authenticated != want {
			t.Errorf("%s: MX: %v %v", what, mx.Authenticated, err)
		}
		none, err := r.MX(ctx, "nothing.home.example")
		if !errors.Is(err, ErrNotFound) || none.Authenticated != want {
			t.Errorf("%s: NXDOMAIN: %v %v", what, none.Authenticated, err)
		}
		addrs, err := r.Addrs(ctx, "mx.home.example")
		if err != nil || addrs.Authenticated != want {
			t.Errorf("%s: addresses: %v %v", what, addrs.Authenticated, err)
		}
		nodata, err := r.Addrs(ctx, "home.example")
		if !errors.Is(err, ErrNoRecords) || nodata.Authenticated != want {
			t.Errorf("%s: NODATA: %v %v", what, nodata.Authenticated, err)
		}
	}
	check("no AD", resolver(t, s), false)
	s.Authenticated(true)
	check("loopback", resolver(t, s), true)
	far := resolver(t, s)
	far.current.Load().servers[0].trusted = false
	check("from elsewhere", far, false)

	s.Mangle("mx.home.example", func(reply []byte) [][]byte {
		if slices.Contains(reply[headerSize+15:headerSize+20], 28) {
			reply[3] &^= 0x20
		}
		return [][]byte{reply}
	})
	if a, err := resolver(t, s).Addrs(ctx, "mx.home.example"); a.Authenticated || err != nil {
		t.Errorf("one half without AD: %v %v", a.Authenticated, err)
	}
}

// TestTrust: which servers' AD bits count.
func TestTrust(t *testing.T) {
	for _, c := range []struct {
		server  string
		trusted bool
		addr    string
		want    bool
	}{
		{"127.0.0.1", false, "127.0.0.1:53", true},
		{"127.9.9.9:5353", false, "127.9.9.9:5353", true},
		{"::1", false, "[::1]:53", true},
		{"[::1]:5353", false, "[::1]:5353", true},
		{"192.0.2.53", false, "192.0.2.53:53", false},
		{"192.0.2.53", true, "192.0.2.53:53", true},
		{"fe80::1%eth0", false, "[fe80::1%eth0]:53", false},
	} {
		servers, err := Config{Servers: []string{c.server}, Trusted: c.trusted}.servers("")
		if err != nil {
			t.Fatal(err)
		}
		if s := servers[0]; s.trusted != c.want || s.addr.String() != c.addr {
			t.Errorf("%s: %v, trusted %v", c.server, s.addr, s.trusted)
		}
	}
}

func TestValidate(t *testing.T) {
	err := Config{Servers: []string{"127.0.0.1", "dns.example", "1.2.3.4:0", "[::1]:53", ""}}.Validate()
	if err == nil {
		t.Fatal("mistakes were not found")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[0], `dns.servers: "dns.example" is not`) {
		t.Errorf("%q", lines)
	}
	if _, err := New(Config{Servers: []string{"x"}}); err == nil {
		t.Error("New took it")
	}
	if err := (Config{}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestSystemServers(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string]string{
		"nameserver 192.0.2.1\n# nameserver 192.0.2.2\nnameserver fe80::1%eth0\n": "[192.0.2.1:53 [fe80::1%eth0]:53]",
		"search example\n":    "[127.0.0.1:53]",
		"nameserver router\n": "[127.0.0.1:53]",
	} {
		path := filepath.Join(dir, "resolv.conf")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := systemServers(path); err != nil || fmt.Sprint(got) != want {
			t.Errorf("%q: %v %v", text, got, err)
		}
	}
	if got, err := systemServers(filepath.Join(dir, "none")); err != nil || fmt.Sprint(got) != "[127.0.0.1:53]" {
		t.Errorf("without a file: %v %v", got, err)
	}
	if _, err := systemServers(dir); err == nil {
		t.Error("a directory was read")
	}
}

// TestFreshIDs: no two queries have an ID and a port in common.
func TestFreshIDs(t *testing.T) {
	seen := map[uint16]int{}
	for range 100 {
		id, _, err := query(question{"a.", 1}, true)
		if err != nil {
			t.Fatal(err)
		}
		seen[id]++
	}
	if len(seen) < 90 {
		t.Errorf("%d different IDs of 100", len(seen))
	}
}

// TestTTL: bounds, and the highest bit (RFC 2181 section 8).
func TestTTL(t *testing.T) {
	s := dnstest.New(t, "127.0.0.1:0", "a.example. 0 A 192.0.2.1\nb.example. 4294967295 TXT b\nc.example. 2000000 TXT c\nd.example. 90 CNAME c.example.\n")
	r := resolver(t, s)
	var got []time.Duration
	for _, name := range []string{"b.example", "c.example", "d.example"} {
		a, err := r.TXT(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, a.TTL)
	}
	if want := []time.Duration{time.Second, 24 * time.Hour, 90 * time.Second}; !reflect.DeepEqual(got, want) {
		t.Errorf("TTLs %v", got)
	}
}
