package maildir

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"mailbox/admin/archive"
)

// export writes 10,000 messages of 4 KiB.
func export(b *testing.B, dir string) {
	w, err := Create(dir)
	if err != nil {
		b.Fatal(err)
	}
	if err := w.Mailbox(context.Background(), archive.Mailbox{Name: "INBOX"}); err != nil {
		b.Fatal(err)
	}
	text := strings.Repeat(strings.Repeat("x", 62)+"\r\n", 64)
	for i := range 10_000 {
		m := &archive.Message{Received: time.Unix(int64(i), 0), Flags: []string{`\Seen`}, Content: strings.NewReader(fmt.Sprintf("Subject: %d\r\n\r\n%s", i, text))}
		if err := w.Message(context.Background(), m); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkWrite(b *testing.B) {
	for b.Loop() {
		export(b, b.TempDir())
	}
	b.ReportMetric(float64(10_000*b.N)/b.Elapsed().Seconds(), "msg/s")
}

func BenchmarkRead(b *testing.B) {
	dir := b.TempDir()
	export(b, dir)
	for b.Loop() {
		r, err := Open(dir)
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		err = r.Messages(context.Background(), "INBOX", func(m *archive.Message) error {
			n++
			_, err := io.Copy(io.Discard, m.Content)
			return err
		})
		if err != nil || n != 10_000 {
			b.Fatal(n, err)
		}
		r.Close()
	}
	b.ReportMetric(float64(10_000*b.N)/b.Elapsed().Seconds(), "msg/s")
}
