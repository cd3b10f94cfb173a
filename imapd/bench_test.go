package imapd

import (
	"fmt"
	"testing"
)

func benchFetch(b *testing.B, n int, command string) {
	f := newFixture(b, nil)
	c := f.login()
	c.upload("INBOX", "", hello)
	c.ok("SELECT INBOX")
	for have := 1; have < n; have *= 2 { // doubling is quicker than delivering
		c.ok(fmt.Sprintf("COPY 1:%d INBOX", min(have, n-have)))
	}
	b.ResetTimer()
	for b.Loop() {
		c.ok(command)
	}
}

func BenchmarkFetchFlags10000(b *testing.B)   { benchFetch(b, 10_000, "FETCH 1:* FLAGS") }
func BenchmarkFetchEnvelope1000(b *testing.B) { benchFetch(b, 1000, "FETCH 1:* ENVELOPE") }

func BenchmarkAppend(b *testing.B) {
	f := newFixture(b, nil)
	c := f.login()
	b.ResetTimer()
	for b.Loop() {
		c.upload("INBOX", "", hello)
	}
}
