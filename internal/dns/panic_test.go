package dns

import (
	"context"
	"errors"
	"testing"

	"mailbox/internal/dns/dnstest"
)

// TestLookupPanics: a lookup that panics fails for now for all who wait for it,
// is counted, and keeps no other from its answer.
func TestLookupPanics(t *testing.T) {
	ctx := context.Background()
	fake := dnstest.New(t, "127.0.0.1:0", "good.example. A 192.0.2.1\n")
	r, err := New(Config{Servers: []string{fake.Addr}})
	if err != nil {
		t.Fatal(err)
	}
	sound := r.current.Load()
	r.current.Store(newGeneration([]*server{nil}, &r.panics)) // to make it panic
	if _, err := r.Addrs(ctx, "good.example"); !errors.Is(err, ErrTemporary) {
		t.Errorf("a lookup that panicked: %v", err)
	}
	if n := r.Panics(); n != 2 { // for A and AAAA
		t.Errorf("%d panics were counted", n)
	}
	if n := len(r.current.Load().flights); n > 0 {
		t.Errorf("%d lookups are still waited for", n)
	}
	r.current.Store(sound)
	if a, err := r.Addrs(ctx, "good.example"); err != nil || len(a.Records) != 1 {
		t.Errorf("%v, %v", a, err)
	}
}
