package mta

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"mailbox/internal/dns"
)

// A Listing is what a DNS blocklist says of an address (RFC 5782).
type Listing struct {
	Zone string
	Text string // why, in its own words
}

// Blocklists asks DNS blocklists about peers. A list is believed only while it
// passes its test: it lists 127.0.0.2, does not list 127.0.0.1, and does not
// say that it refuses to answer (127.255.255.x), which many do to those who ask
// through a public resolver.
type Blocklists struct {
	DNS     *dns.Resolver
	Log     *slog.Logger
	OnPanic func(value any, stack []byte) // counts panics; called from several goroutines; may be nil

	mu     sync.Mutex
	tested map[string]tested
}

// tested is what the last test of a list said.
type tested struct {
	at time.Time
	ok bool
}

// refusals are what lists answer to those whom they do not serve.
var refusals = netip.MustParsePrefix("127.255.255.0/24")

const (
	retestGood = time.Hour
	retestBad  = 10 * time.Minute
	listTime   = 5 * time.Second // for all lists together
	maxText    = 200
)

// Begin asks the lists about an address. answer waits for them, until ctx ends
// at the latest, and returns those that have it. Lists that do not answer, or
// do not work, have none.
func (b *Blocklists) Begin(ctx context.Context, zones []string, addr netip.Addr) (answer func() []Listing) {
	if len(zones) == 0 || private(addr) {
		return func() []Listing { return nil }
	}
	ctx, cancel := context.WithTimeout(ctx, listTime)
	found := make([]*Listing, len(zones))
	var asking sync.WaitGroup
	for i, zone := range zones {
		asking.Go(func() {
			defer b.recovered(zone)
			if b.works(ctx, zone) {
				found[i] = b.ask(ctx, zone, addr)
			}
		})
	}
	return func() []Listing {
		asking.Wait()
		cancel()
		var all []Listing
		for _, l := range found {
			if l != nil {
				all = append(all, *l)
			}
		}
		return all
	}
}

func (b *Blocklists) recovered(zone string) {
	if p := recover(); p != nil {
		stack := debug.Stack()
		b.Log.Error("panic while asking a blocklist", "list", zone, "panic", p, "stack", string(stack))
		if b.OnPanic != nil {
			b.OnPanic(p, stack)
		}
	}
}

// works tests a list, or remembers the last test.
func (b *Blocklists) works(ctx context.Context, zone string) bool {
	b.mu.Lock()
	last, known := b.tested[zone]
	b.mu.Unlock()
	every := retestBad
	if last.ok {
		every = retestGood
	}
	if known && time.Since(last.at) < every {
		return last.ok
	}
	err := b.test(ctx, zone)
	if errors.Is(ctx.Err(), context.Canceled) { // the peer has hung up, which says nothing of the list
		return false
	}
	if err != nil && (last.ok || !known) {
		b.Log.Warn("blocklist does not work and is left out; look at dns.servers: many lists refuse public resolvers", "list", zone, "err", err)
	}
	if err == nil && known && !last.ok {
		b.Log.Info("blocklist works again", "list", zone)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tested == nil {
		b.tested = map[string]tested{}
	}
	b.tested[zone] = tested{time.Now(), err == nil}
	return err == nil
}

func (b *Blocklists) test(ctx context.Context, zone string) error {
	bad, err := b.lookup(ctx, zone, netip.AddrFrom4([4]byte{127, 0, 0, 2}))
	if err != nil {
		return fmt.Errorf("127.0.0.2: %w", err)
	}
	if !bad {
		return errors.New("it does not list 127.0.0.2")
	}
	good, err := b.lookup(ctx, zone, netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	if err == nil && good {
		err = errors.New("it lists 127.0.0.1")
	}
	return err
}

// lookup tells whether a list has an address. An error says that it does not
// want to tell.
func (b *Blocklists) lookup(ctx context.Context, zone string, addr netip.Addr) (bool, error) {
	answer, err := b.DNS.Addrs(ctx, reversed(addr)+zone)
	if errors.Is(err, dns.ErrNotFound) || errors.Is(err, dns.ErrNoRecords) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	listed := false
	for _, a := range answer.Records {
		switch {
		case !a.Is4() || !a.IsLoopback():
			return false, fmt.Errorf("it answers %s", a)
		case refusals.Contains(a):
			return false, fmt.Errorf("it refuses to answer (%s)", a)
		}
		listed = true
	}
	return listed, nil
}

func (b *Blocklists) ask(ctx context.Context, zone string, addr netip.Addr) *Listing {
	listed, err := b.lookup(ctx, zone, addr)
	if err != nil || !listed {
		return nil
	}
	l := &Listing{Zone: zone, Text: "listed"}
	if text, err := b.DNS.TXT(ctx, reversed(addr)+zone); err == nil && len(text.Records) > 0 {
		l.Text = oneLine(text.Records[0])
		if len(l.Text) > maxText {
			l.Text = strings.ToValidUTF8(l.Text[:maxText], "")
		}
	}
	return l
}

// reversed is the part of a list's name that stands for an address (RFC 5782
// sections 2.1 and 2.4), with a dot at the end.
func reversed(addr netip.Addr) string {
	addr = addr.Unmap()
	var b strings.Builder
	raw := addr.AsSlice()
	for i := len(raw) - 1; i >= 0; i-- {
		if addr.Is4() {
			fmt.Fprintf(&b, "%d.", raw[i])
		} else {
			fmt.Fprintf(&b, "%x.%x.", raw[i]&15, raw[i]>>4)
		}
	}
	return b.String()
}
