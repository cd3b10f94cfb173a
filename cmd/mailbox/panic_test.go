package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	netsmtp "net/smtp"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailbox/internal/dns"
	"mailbox/storage"
)

// TestServerPanics: a panic in a reload, a service's loop or the metrics leaves
// the server serving, and is counted.
func TestServerPanics(t *testing.T) {
	cfg, err := demoConfig(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	s, err := start(t.Context(), cfg, quiet, &slog.LevelVar{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.shutdown()

	file := filepath.Join(t.TempDir(), "mailbox.toml")
	if err := os.WriteFile(file, []byte("hostname = \"mail.demo.test\"\ndomains = [\"demo.test\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	certs := s.certs
	s.certs = nil // to make it panic
	reloaded := s.survive(func() error { return reload(t.Context(), s, file, &slog.LevelVar{}) })
	s.certs = certs
	if reloaded == nil {
		t.Error("a reload that panicked succeeded")
	}
	s.running.Go(func() { s.run("test", func() error { panic("on purpose") }) })
	web := s.web
	s.web = nil // to make it panic
	func() {
		defer func() {
			if p := recover(); p != http.ErrAbortHandler { //nolint:errorlint // what net/http compares
				t.Errorf("the metrics' handler ended with %v", p)
			}
		}()
		s.metrics.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/metrics", nil))
	}()
	s.web = web

	if err := s.reload(t.Context(), cfg); err != nil {
		t.Errorf("a reload after the panics: %v", err)
	}
	c, err := netsmtp.Dial(s.addresses("mta")[0].String())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Quit(); err != nil {
		t.Error(err)
	}
	page := httptest.NewRecorder()
	s.metrics.ServeHTTP(page, httptest.NewRequest("GET", "/metrics", nil))
	if !strings.Contains(page.Body.String(), `mailbox_panics_total{service="server"} 3`) {
		t.Errorf("the metrics say %s", page.Body)
	}
}

// TestSignersPanic: signers that panic over a round sign what comes, and try
// again.
func TestSignersPanic(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	db, err := storage.Open(t.Context(), storage.Options{Dir: t.TempDir(), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s, err := newSigners(t.Context(), db, new(dns.Resolver), []string{"home.example"}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		s.run(ctx, nil) // without an API, to make it panic
		close(ended)
	}()
	for s.panics.Load() == 0 {
		s.hurry()
	}
	if _, err := s.Sign("home.example", nil, strings.NewReader("hello\r\n")); err != nil && !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	cancel()
	<-ended
}
