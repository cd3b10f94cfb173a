package tls

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

// TestRenewalPanics: a CA over which we panic is asked again later, like one
// that fails.
func TestRenewalPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeCA(t)
		f.dies = func() {
			if len(f.attempts) <= 2 {
				panic("on purpose")
			}
		}
		r := startRenewer(t, t.TempDir(), f)
		defer r.stop()
		time.Sleep(24 * time.Hour)
		if list := r.list(); list[0].Source != "acme" {
			t.Errorf("after a day: %+v", list)
		}
		if got := r.panics.Load(); got != 2 {
			t.Errorf("%d panics were counted, after %d attempts", got, len(f.asked()))
		}
	})
}

// TestWatchPanics: a panic over the files of certificates ends one look at them.
func TestWatchPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := New(Config{Mode: "self-signed"}, Options{Dir: t.TempDir(), Names: []string{"mail.home.example"}, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		sound := m.current.Swap(nil) // to make it panic
		time.Sleep(2*pollTime + time.Second)
		m.current.Store(sound)
		if got := m.Panics(); got != 2 {
			t.Errorf("%d panics were counted", got)
		}
		time.Sleep(leafLife)
		if leaf := m.Certificates()[0]; leaf.NotAfter.Before(time.Now()) {
			t.Errorf("the certificate was not renewed: it ended on %s", leaf.NotAfter)
		}
	})
}
