package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// vitals are what a running server holds.
type vitals struct {
	goroutines, sockets, files int // files are the other descriptors
	heap, resident             int64
}

func (v vitals) String() string {
	return fmt.Sprintf("%d goroutines, %d sockets, %d files, %.1f MiB of live heap, %.1f MiB resident",
		v.goroutines, v.sockets, v.files, float64(v.heap)/(1<<20), float64(v.resident)/(1<<20))
}

// like tells whether there is nothing in v that was not in base but for what
// the store keeps open once it was needed: eight connections to a database,
// with a file and its log each, and their goroutines.
func (v vitals) like(base vitals) bool {
	return v.sockets <= base.sockets && v.files <= base.files+16 && v.goroutines <= base.goroutines+2
}

// vitalsLike waits until the server has let go of what it did not have before.
func (s *site) vitalsLike(base vitals) vitals {
	s.t.Helper()
	for until := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if v := s.vitals(0); v.like(base) || time.Now().After(until) {
			return v
		}
	}
}

// vitals asks the server, until it has collected its garbage: of an idle server
// that is the garbage of the asking. It rests between two questions.
func (s *site) vitals(rest time.Duration) vitals {
	s.t.Helper()
	m := s.metrics()
	for collected := m["go_gc_duration_seconds_count"] + 3; m["go_gc_duration_seconds_count"] < collected; {
		time.Sleep(rest)
		m = s.metrics()
	}
	v := vitals{goroutines: int(m["go_goroutines"]), heap: int64(m["go_memstats_next_gc_bytes"]) / 2, resident: int64(m["process_resident_memory_bytes"])}
	dir := fmt.Sprintf("/proc/%d/fd", s.cmd.Process.Pid)
	open, err := os.ReadDir(dir)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, fd := range open {
		to, err := os.Readlink(filepath.Join(dir, fd.Name()))
		switch {
		case err != nil: // it was closed meanwhile
		case strings.HasPrefix(to, "socket:"):
			v.sockets++
		default:
			v.files++
		}
	}
	return v
}

// metrics are the numbers that the server shows to Prometheus, by name and labels.
func (s *site) metrics() map[string]float64 {
	s.t.Helper()
	client := http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(s.dir, "admin.sock"))
		},
	}}
	res, err := client.Get("http://mailbox/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	all := map[string]float64{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.ParseFloat(value, 64); err == nil {
			all[name] = n
		}
	}
	return all
}
