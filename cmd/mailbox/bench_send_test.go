package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"mailbox/internal/dns/dnstest"
	"mailbox/storage"
)

// BenchmarkSend empties a queue of messages of 4 KiB to 500 destinations, of
// which 50 accept connections and say nothing, and 50 take five seconds over
// each answer; and what is in it for the good ones alone. It reports the rate
// of the good ones, the time of the processor that each of them took, the most
// memory that the process had, and the time from its start to the first
// greeting. Run it with -benchtime 1x.
func BenchmarkSend(b *testing.B) {
	const good, bad, each = 400, 50, 40
	b.Run("alone", func(b *testing.B) {
		for range b.N {
			benchSend(b, []crowd{{"good", good, each}})
		}
	})
	b.Run("among", func(b *testing.B) {
		for range b.N {
			benchSend(b, []crowd{{"good", good, each}, {"dead", bad, each}, {"slow", bad, each}})
		}
	})
}

// A crowd is destinations of one kind, and how many messages go to each.
type crowd struct {
	kind  string
	hosts int
	each  int
}

func benchSend(b *testing.B, crowds []crowd) {
	if os.Geteuid() != 0 {
		b.Skip("SKIPPED: hosts on port 25 need root")
	}
	sinks := map[string]*sink{"good": newSink(b, "127.77.0.1:25"), "dead": newSink(b, "127.77.0.2:25"), "slow": newSink(b, "127.77.0.3:25")}
	sinks["dead"].temper = func(string) (mood, time.Duration) { return mute, 0 }
	sinks["slow"].temper = func(string) (mood, time.Duration) { return fine, 5 * time.Second }
	zone := ""
	for n, kind := range []string{"good", "dead", "slow"} {
		sinks[kind].run(b)
		zone += fmt.Sprintf("*.%s.example. MX 10 mx.%[1]s.example.\nmx.%[1]s.example. A 127.77.0.%d\n", kind, n+1)
	}
	s := (&site{t: b, domain: "home.example", dns: dnstest.New(b, "127.0.0.1:0", zone).Addr}).configure()
	s.set("mta", "private_destinations = true")
	s.fill(crowds)

	began := time.Now()
	s.launch()
	greeted := s.greeted()
	want := crowds[0].hosts * crowds[0].each
	n, last := sinks["good"].taken()
	for until := began.Add(5 * time.Minute); n < want && time.Now().Before(until); n, last = sinks["good"].taken() {
		time.Sleep(10 * time.Millisecond)
	}
	if n != want {
		b.Errorf("%d messages of %d arrived", n, want)
	}
	memory, process := s.memory(), s.cmd
	s.kill()
	used := process.ProcessState.UserTime() + process.ProcessState.SystemTime()
	b.ReportMetric(float64(n)/last.Sub(greeted).Seconds(), "msg/s")
	b.ReportMetric(float64(used.Microseconds())/float64(n), "cpu-µs/msg")
	b.ReportMetric(float64(greeted.Sub(began).Milliseconds()), "ms-to-greeting")
	b.ReportMetric(memory, "MiB-peak")
	b.ReportMetric(0, "ns/op")
}

// fill puts messages into the queue, in turn for each destination.
func (s *site) fill(crowds []crowd) {
	s.t.Helper()
	text := "From: alice@home.example\r\nSubject: benchmark\r\n\r\n" + strings.Repeat("All work and no play makes Jack a dull boy, says the proverb.\r\n", 65)
	s.store(func(db *storage.DB) {
		addresses := make(chan string)
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				for a := range addresses {
					if err := enqueue(db, text, a); err != nil {
						s.t.Error(err)
					}
				}
			})
		}
		for n := range crowds[0].each {
			for _, c := range crowds {
				for host := range c.hosts {
					addresses <- fmt.Sprintf("r%d@h%d.%s.example", n, host, c.kind)
				}
			}
		}
		close(addresses)
		all.Wait()
	})
}

func enqueue(db *storage.DB, text, to string) error {
	spool := db.NewSpool()
	_, err := io.WriteString(spool, text)
	if err != nil {
		return err
	}
	m, err := spool.Finish(nil)
	if err != nil {
		return err
	}
	return db.Deliver(context.Background(), &storage.Delivery{
		Message: m, Received: time.Now(), Queue: &storage.Outgoing{Sender: "alice@home.example", To: []storage.OutgoingRecipient{{Address: to}}},
	})
}

// greeted returns when the server that was launched said its first word.
func (s *site) greeted() time.Time {
	s.t.Helper()
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until); time.Sleep(time.Millisecond) {
		nc, err := net.Dial("tcp", s.smtp)
		if err != nil {
			continue
		}
		_, err = io.ReadFull(nc, make([]byte, 3))
		if err = errors.Join(err, nc.Close()); err == nil {
			return time.Now()
		}
	}
	s.t.Fatalf("the server says nothing:\n%s", s.logged())
	return time.Time{}
}

// memory is the most that the server had in memory so far, in MiB.
func (s *site) memory() float64 {
	s.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	_, peak, _ := strings.Cut(string(text), "VmHWM:")
	var kib float64
	if _, err := fmt.Sscan(peak, &kib); err != nil {
		s.t.Fatal(err)
	}
	return kib / 1024
}
