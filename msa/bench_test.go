package msa

import (
	"strings"
	"syscall"
	"testing"
)

// BenchmarkSubmit is a message of 4 KiB to one local mailbox, over a connection
// that is logged in, durable when it is answered. cpu-ns/op is what the process
// spends on it, the client included, however long the disk takes.
func BenchmarkSubmit(b *testing.B) {
	f := newFixture(b, func(c *Config) { c.MaxCommands = 1 << 30 })
	c := f.client(b, "alice@home.example")
	defer c.Close() //nolint:errcheck // over
	text := "From: Alice <alice@home.example>\r\nTo: Bob <bob@home.example>\r\nSubject: hello\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: text/plain; charset=utf-8\r\n\r\n" + strings.Repeat("All work and no play makes Jack a dull boy.\r\n", 90) + ".\r\n"
	const envelope = "MAIL FROM:<alice@home.example>\r\nRCPT TO:<bob@home.example>\r\nDATA"
	b.ReportAllocs()
	before := cpu(b)
	for b.Loop() {
		for reply := c.say(envelope); !strings.HasPrefix(reply, "354"); {
			reply = c.reply()
		}
		if reply := c.say(strings.TrimSuffix(text, "\r\n")); !strings.HasPrefix(reply, "250") {
			b.Fatal(reply)
		}
	}
	b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op")
}

// BenchmarkHead is what the checks and the completion of a header cost alone.
func BenchmarkHead(b *testing.B) {
	text := "From: =?utf-8?q?=C3=84lice?= <alice@home.example>\r\nTo: bob@home.example\r\nBcc: carol@home.example\r\nSubject: hello\r\n" +
		strings.Repeat("X-Client: something that clients write\r\n", 10) + "\r\nbody"
	b.ReportAllocs()
	for b.Loop() {
		h, _, err := readAll(text)
		if err != nil {
			b.Fatal(err)
		}
		if _, _, err := readOrigin(named(h.fields, "From")[0]); err != nil {
			b.Fatal(err)
		}
	}
}

// cpu is the time that the process has spent, in nanoseconds.
func cpu(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
