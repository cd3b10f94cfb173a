// Package tls holds the certificates of all services.
package tls

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// pollTime is how often certificates are looked at: whether their files have
// changed, and whether ours must be renewed.
const pollTime = 5 * time.Second

// Options say where keys are kept and for whom certificates are. Dir and Names
// must be set.
type Options struct {
	Dir   string       // data directory; our keys are in its subdirectory tls
	Names []string     // DNS names and IP addresses of our certificates
	Log   *slog.Logger // nil means slog.Default()
}

// A Manager hands out the certificate of the server to all services, and keeps
// it current. It is safe for concurrent use.
type Manager struct {
	dir  string
	log  *slog.Logger
	cert atomic.Pointer[tls.Certificate]

	mu     sync.Mutex // guards what follows, and one refresh at a time
	cfg    Config
	names  []string
	seen   [2]fileState // of cert and key, when they were last looked at
	cancel chan struct{}
	done   sync.WaitGroup
}

// New loads or makes the certificate. Close must be called.
func New(c Config, o Options) (*Manager, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	m := &Manager{dir: o.Dir, log: o.Log, cancel: make(chan struct{})}
	if err := m.Reload(c, o.Names); err != nil {
		return nil, err
	}
	m.done.Go(m.poll)
	return m, nil
}

// Reload goes over to another configuration. After an error the old
// certificate stays.
func (m *Manager) Reload(c Config, names []string) error {
	if err := c.Validate(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	seen := statFiles(c)
	cert, err := m.load(c, names, time.Now())
	if err != nil {
		return err
	}
	m.cfg, m.names, m.seen = c, names, seen
	m.use(cert)
	return nil
}

// Close ends the watch over files and dates.
func (m *Manager) Close() {
	close(m.cancel)
	m.done.Wait()
}

// Server returns the configuration of one service: TLS 1.2 at least. Session
// tickets of one service are worth nothing at another, because each
// configuration makes the keys of its tickets itself.
func (m *Manager) Server(service string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return m.cert.Load(), nil
		},
	}
}

// CAFile is the certificate that clients must trust in mode self-signed.
func (m *Manager) CAFile() string { return authority{m.dir}.certFile() }

func (m *Manager) use(cert *tls.Certificate) {
	m.cert.Store(cert)
	m.log.Info("certificate in use", "mode", m.cfg.Mode, "names", cert.Leaf.DNSNames, "until", cert.Leaf.NotAfter)
}

// poll refreshes the certificate until Close.
func (m *Manager) poll() {
	tick := time.NewTicker(pollTime)
	defer tick.Stop()
	for {
		select {
		case <-m.cancel:
			return
		case now := <-tick.C:
			m.refresh(now)
		}
	}
}

// refresh takes a changed pair of files into use, or renews ours. What fails
// is logged once: the files must change before it is tried again.
func (m *Manager) refresh(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	leaf := m.cert.Load().Leaf
	if m.cfg.Mode == "files" {
		seen := statFiles(m.cfg)
		if seen == m.seen {
			return
		}
		m.seen = seen
	} else if now.Before(renewAt(leaf)) {
		return
	}
	cert, err := m.load(m.cfg, m.names, now)
	if err != nil {
		m.log.Error("new certificate not taken; the old one stays in use", "until", leaf.NotAfter, "err", err)
		return
	}
	m.use(cert)
}

func (m *Manager) load(c Config, names []string, now time.Time) (*tls.Certificate, error) {
	if c.Mode == "self-signed" {
		return authority{m.dir}.certificate(names, now)
	}
	cert, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", c.Cert, c.Key, err)
	}
	for _, name := range names {
		if err := cert.Leaf.VerifyHostname(name); err != nil {
			m.log.Warn("clients will not trust the certificate", "file", c.Cert, "err", err)
		}
	}
	if now.After(cert.Leaf.NotAfter) {
		return nil, fmt.Errorf("certificate %s: %w", c.Cert, x509.CertificateInvalidError{Cert: cert.Leaf, Reason: x509.Expired})
	}
	return &cert, nil
}

// A fileState tells whether a file is still the same.
type fileState struct {
	size int64
	time time.Time
	err  string
}

func statFiles(c Config) [2]fileState {
	if c.Mode != "files" {
		return [2]fileState{}
	}
	return [2]fileState{statFile(c.Cert), statFile(c.Key)}
}

func statFile(name string) fileState {
	st, err := os.Stat(name)
	if err != nil {
		return fileState{err: errors.Unwrap(err).Error()}
	}
	return fileState{size: st.Size(), time: st.ModTime()}
}
