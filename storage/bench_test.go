package storage

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"
)

// benchText is a mail of 4 KiB.
var benchText = "From: a@client.example\r\nTo: alice@home.example\r\nSubject: benchmark\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\n" +
	"Message-ID: <1@client.example>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" +
	strings.Repeat("All work and no play makes Jack a dull boy, says the proverb.\r\n", 60)

// BenchmarkDeliver is a delivery from spool to fsync, with that many senders.
func BenchmarkDeliver(b *testing.B) {
	for _, senders := range []int{1, 10, 50} {
		b.Run(fmt.Sprint(senders), func(b *testing.B) {
			db := openAt(b, b.TempDir())
			defer db.Close()
			a := account(b, db, "alice")
			work := make(chan struct{})
			var all sync.WaitGroup
			for range senders {
				all.Go(func() {
					for range work {
						benchDeliver(b, db, a)
					}
				})
			}
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				work <- struct{}{}
			}
			close(work)
			all.Wait()
		})
	}
}

func benchDeliver(b *testing.B, db *DB, a AccountID) {
	s := db.NewSpool()
	io.WriteString(s, benchText)
	m, err := s.Finish([]byte("Return-Path: <a@client.example>\r\nReceived: from a by b; Tue, 24 Nov 2026 10:00:00 +0000\r\n"))
	if err == nil {
		err = db.Deliver(ctx, &Delivery{Message: m, Received: time.Now(), To: []Target{{Account: a, Mailbox: "INBOX"}}})
	}
	if err != nil {
		b.Error(err)
	}
}

// BenchmarkIndexLoad is the first SELECT of a mailbox with 20,000 messages.
func BenchmarkIndexLoad(b *testing.B) {
	db := openAt(b, b.TempDir())
	defer db.Close()
	a := account(b, db, "alice")
	inbox := named(b, db, a, "INBOX").ID
	deliver(b, db, benchText, "INBOX", a)
	for n := 1; n < 20_000; {
		var list []UID
		for u := range min(n, 500) {
			list = append(list, UID(u+1))
		}
		if _, err := db.Copy(ctx, a, inbox, list, inbox); err != nil {
			b.Fatal(err)
		}
		n += len(list)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := db.loadIndex(ctx, a, inbox); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkQueued reads a queued message and its bytes for one of its recipients.
func BenchmarkQueued(b *testing.B) {
	for _, recipients := range []int{1, 1000} {
		b.Run(fmt.Sprint(recipients), func(b *testing.B) {
			db := openAt(b, b.TempDir())
			defer db.Close()
			s := db.NewSpool()
			io.WriteString(s, benchText)
			m, err := s.Finish(nil)
			o := &Outgoing{Sender: "alice@home.example"}
			for n := range recipients {
				o.To = append(o.To, OutgoingRecipient{Address: fmt.Sprintf("r@d%d.example", n)})
			}
			if err == nil {
				err = db.Deliver(ctx, &Delivery{Message: m, Received: time.Now(), Queue: o})
			}
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				benchQueued(b, db)
			}
		})
	}
}

func benchQueued(b *testing.B, db *DB) {
	m, err := db.QueuedPart(ctx, 1, 1, 1)
	if err != nil {
		b.Fatal(err)
	}
	blob, err := db.OpenBlob(ctx, m.Blob)
	if err != nil {
		b.Fatal(err)
	}
	blob.Close()
}
