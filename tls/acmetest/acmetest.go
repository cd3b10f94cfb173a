// Package acmetest is a certificate authority for tests: pebble, in the
// process, which validates on the loopback ports that the test names.
package acmetest

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/core"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
)

// The external account that a CA knows: it is needed where Options.EAB says so.
const (
	EABKid = "kid-1"
	EABKey = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
)

// Options say how a CA validates.
type Options struct {
	DNS       string // address of the server that it resolves with
	HTTPPort  int    // for http-01
	HTTPSPort int    // for tls-alpn-01
	EAB       bool   // accounts need an external one
}

// A CA is up until the test ends.
type CA struct {
	Directory string // URL
	RootsFile string // PEM: who signed the CA's own server

	store *db.MemoryStore
	ca    *ca.CAImpl

	requests atomic.Int64
	orders   atomic.Int64
	mu       sync.Mutex
	instead  http.Handler
}

// New starts a CA.
func New(tb testing.TB, o Options) *CA {
	tb.Helper()
	for name, value := range map[string]string{"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0", "PEBBLE_AUTHZREUSE": "0"} {
		tb.Setenv(name, value)
	}
	quiet := log.New(io.Discard, "", 0)
	c := &CA{store: db.NewMemoryStore()}
	c.ca = ca.New(quiet, c.store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {}})
	if err := c.store.AddExternalAccountKeyByID(EABKid, EABKey); err != nil {
		tb.Fatal(err)
	}
	front := wfe.New(quiet, c.store, va.New(quiet, o.HTTPPort, o.HTTPSPort, false, o.DNS, c.store), c.ca, []string{"ca.test"}, false, o.EAB, 0, 0)
	pebble := front.Handler()
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.requests.Add(1)
		if r.URL.Path == "/order-plz" {
			c.orders.Add(1)
		}
		c.mu.Lock()
		h := c.instead
		c.mu.Unlock()
		if h == nil {
			h = pebble
		}
		h.ServeHTTP(w, r)
	}))
	srv.Config.ErrorLog = quiet
	tb.Cleanup(srv.Close)
	c.Directory = srv.URL + wfe.DirectoryPath
	c.RootsFile = filepath.Join(tb.TempDir(), "roots.pem")
	roots := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := os.WriteFile(c.RootsFile, roots, 0o600); err != nil {
		tb.Fatal(err)
	}
	return c
}

// Instead lets h answer in place of the CA; nil is the CA again.
func (c *CA) Instead(h http.Handler) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.instead = h
}

// Requests is how many have come.
func (c *CA) Requests() int64 { return c.requests.Load() }

// Orders is how many certificates were asked for.
func (c *CA) Orders() int64 { return c.orders.Load() }

// Roots are what clients must trust to trust the certificates that it gives.
func (c *CA) Roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(c.ca.GetRootCert(0).Cert)
	return pool
}

// Revoke revokes a certificate that it gave, and says that it should have been
// renewed in the last hour (RFC 9773). Pebble itself would name one second,
// which is too short for clients to take it for a window.
func (c *CA) Revoke(tb testing.TB, cert *x509.Certificate) {
	tb.Helper()
	given := c.store.GetCertificateBySerial(cert.SerialNumber)
	now := time.Now()
	c.store.RevokeCertificate(&core.RevokedCertificate{Certificate: given, RevokedAt: now})
	window := fmt.Sprintf(`{"suggestedWindow":{"start":%q,"end":%q}}`, now.Add(-time.Hour).Format(time.RFC3339), now.Format(time.RFC3339))
	if err := c.store.SetARIResponse(cert.SerialNumber, window); err != nil {
		tb.Fatal(err)
	}
}
