package loadtest

import (
	"context"
	"errors"
	"net"
	"testing"
)

// TestServeDNS: whatever is asked about does not exist, and that is no failure.
func TestServeDNS(t *testing.T) {
	address, err := ServeDNS(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", address)
	}}
	for range 2 {
		names, err := resolver.LookupTXT(t.Context(), "_dmarc.sender.test.")
		var failure *net.DNSError
		if !errors.As(err, &failure) || !failure.IsNotFound || failure.IsTemporary {
			t.Errorf("the answer is %q, %v", names, err)
		}
	}
}

func FuzzNoSuchName(f *testing.F) {
	f.Add([]byte("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04name\x04test\x00\x00\x10\x00\x01"))
	f.Add([]byte("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x0c\x00\x10\x00\x01"))
	f.Fuzz(func(t *testing.T, question []byte) {
		if answer := noSuchName(question); len(answer) > len(question)+33 {
			t.Errorf("%d octets are answered by %d", len(question), len(answer))
		}
	})
}
