package admin

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"mailbox/admin/archive"
)

// benchMessages is how many messages of 4 KiB a heap has.
const benchMessages = 2000

// A heap is an archive that costs nothing to read or to write.
type heap struct{}

func (heap) Mailboxes(context.Context) ([]archive.Mailbox, error) {
	return []archive.Mailbox{{Name: "INBOX", Messages: benchMessages}}, nil
}

func (heap) Messages(_ context.Context, _ string, yield func(*archive.Message) error) error {
	text := strings.Repeat("the quick brown fox jumps over the lazy dog, and again\r\n", 73)
	for i := range benchMessages {
		m := &archive.Message{Received: time.Unix(int64(i), 0), Flags: []string{`\Seen`}, Content: strings.NewReader(fmt.Sprintf("Subject: %d\r\n\r\n%s", i, text))}
		if err := yield(m); err != nil {
			return err
		}
	}
	return nil
}

func (heap) Mailbox(context.Context, archive.Mailbox) error { return nil }

func (heap) Message(_ context.Context, m *archive.Message) error {
	_, err := io.Copy(io.Discard, m.Content)
	return err
}

func (heap) Close() error { return nil }

func BenchmarkImport(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		in := Import{Client: newcomer(b), Address: "alice@home.example"}
		b.StartTimer()
		if _, err := in.Run(b.Context(), heap{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(benchMessages*b.N)/b.Elapsed().Seconds(), "msg/s")
}

func BenchmarkExport(b *testing.B) {
	b.ReportAllocs()
	c := newcomer(b)
	if _, err := (&Import{Client: c, Address: "alice@home.example"}).Run(b.Context(), heap{}); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := (&Export{Client: c, Address: "alice@home.example"}).Run(b.Context(), heap{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(benchMessages*b.N)/b.Elapsed().Seconds(), "msg/s")
}
