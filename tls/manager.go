// Package tls holds the certificates of all services.
package tls

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
	"golang.org/x/net/idna"
)

// pollTime is how often certificates are looked at: whether their files have
// changed, and whether ours must be renewed.
const pollTime = 5 * time.Second

// Options say where keys are kept and for whom certificates are. Dir and Names
// must be set.
type Options struct {
	Dir       string       // data directory; our keys are in its subdirectory tls
	Names     []string     // DNS names and IP addresses of our certificates; the first is that of clients that name none
	Resolvers []string     // addresses, with or without a port, for DNS-01; none means those of the system
	Log       *slog.Logger // nil means slog.Default()
}

// A Manager hands out the certificates of the server to all services, and
// keeps them current. It is safe for concurrent use.
type Manager struct {
	dir     string
	log     *slog.Logger
	current atomic.Pointer[set]

	mu      sync.Mutex // guards what follows, and one refresh at a time
	cfg     Config
	opts    Options
	seen    []fileState // of the files of mode "files", when they were last looked at
	renewer *renewer    // in mode "acme"
	ready   bool        // renewer runs
	cancel  chan struct{}
	done    sync.WaitGroup

	panics atomic.Int64
}

// Panics returns how many times a look at the certificates ended in a panic.
func (m *Manager) Panics() int64 { return m.panics.Load() }

// A set is the certificates that are in use.
type set struct {
	first  *tls.Certificate // for clients that name nobody, or somebody unknown
	byName map[string]*tls.Certificate
}

func (s *set) of(name string) *tls.Certificate {
	if c := s.byName[strings.ToLower(strings.TrimSuffix(name, "."))]; c != nil {
		return c
	}
	return s.first
}

// New loads or makes the certificates. Those that a CA gives come after Ready:
// where it cannot be reached, the server runs all the same. Close must be called.
func New(c Config, o Options) (*Manager, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	m := &Manager{dir: o.Dir, log: o.Log, opts: o, cancel: make(chan struct{})}
	if err := m.Reload(c, o.Names, o.Resolvers); err != nil {
		return nil, err
	}
	m.done.Go(m.poll)
	return m, nil
}

// Reload goes over to another configuration. After an error the old
// certificates stay. Ready must be called again.
func (m *Manager) Reload(c Config, names, resolvers []string) error {
	if err := c.Validate(); err != nil {
		return err
	}
	ascii, err := asciiNames(names)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	o := Options{Dir: m.dir, Names: ascii, Resolvers: resolvers, Log: m.log}
	if m.renewer != nil && reflect.DeepEqual(c, m.cfg) && reflect.DeepEqual(o, m.opts) {
		return nil
	}
	if c.Mode != "acme" {
		seen := c.seen()
		s, err := m.load(c, ascii, time.Now())
		if err != nil {
			return err
		}
		m.stopRenewer()
		m.cfg, m.opts, m.seen = c, o, seen
		m.use(s)
		return nil
	}
	m.stopRenewer() // two would not know of each other's attempts
	r, err := newRenewer(c, o, m.current.Store, &m.panics)
	if err != nil {
		return errors.Join(err, m.resume())
	}
	m.cfg, m.opts, m.seen = c, o, nil
	m.take(r)
	return nil
}

// resume goes back to what was before a Reload that failed.
func (m *Manager) resume() error {
	if m.cfg.Mode != "acme" {
		return nil
	}
	r, err := newRenewer(m.cfg, m.opts, m.current.Store, &m.panics)
	if err == nil {
		m.take(r)
	}
	return err
}

func (m *Manager) take(r *renewer) {
	m.renewer, m.ready = r, false
	r.show()
}

// Ready says that web listens, so that a CA's challenges are answered. Until
// then none is asked.
func (m *Manager) Ready() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.renewer != nil && !m.ready {
		m.ready = true
		m.renewer.start()
	}
}

// asciiNames are names as they stand in certificates (RFC 5280 section 7.2),
// each once.
func asciiNames(names []string) ([]string, error) {
	var all []string
	for _, n := range names {
		ascii, err := idna.ToASCII(strings.ToLower(n))
		if err != nil {
			return nil, fmt.Errorf("name %q: %w", n, err)
		}
		if !slices.Contains(all, ascii) {
			all = append(all, ascii)
		}
	}
	return all, nil
}

func (m *Manager) stopRenewer() {
	if m.renewer != nil {
		m.renewer.stop()
		m.renewer = nil
	}
}

// Close ends the watch over files and dates, and what is asked of a CA.
func (m *Manager) Close() {
	close(m.cancel)
	m.done.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stopRenewer()
}

// Server returns the configuration of one service: TLS 1.2 at least. Session
// tickets of one service are worth nothing at another, because each
// configuration makes the keys of its tickets itself.
func (m *Manager) Server(service string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			return m.current.Load().of(hello.ServerName), nil
		},
	}
}

// Web returns the configuration of HTTPS, which also answers the challenge
// TLS-ALPN-01 (RFC 8737).
func (m *Manager) Web() *tls.Config {
	c := m.Server("web")
	c.NextProtos = []string{"h2", "http/1.1", acmez.ACMETLS1Protocol}
	usual := c.GetCertificate
	c.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if len(hello.SupportedProtos) != 1 || hello.SupportedProtos[0] != acmez.ACMETLS1Protocol {
			return usual(hello)
		}
		challenge, ok := certmagic.GetACMEChallenge(strings.ToLower(hello.ServerName))
		if !ok || challenge.Type != acme.ChallengeTypeTLSALPN01 {
			return nil, errors.New("no challenge of this name is open")
		}
		return acmez.TLSALPN01ChallengeCert(challenge.Challenge)
	}
	return c
}

// challengePath is where HTTP-01 is answered (RFC 8555 section 8.3).
const challengePath = "/.well-known/acme-challenge/"

// HTTPChallenge answers the challenge HTTP-01 where one is open for the host
// and the token; next answers all other requests.
func (m *Manager) HTTPChallenge(next http.Handler) http.Handler {
	zap := newZap(m.log)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, challengePath) {
			challenge, ok := certmagic.GetACMEChallenge(strings.ToLower(r.Host))
			if ok && challenge.Type == acme.ChallengeTypeHTTP01 && certmagic.SolveHTTPChallenge(zap, w, r, challenge.Challenge) {
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// CAFile is the certificate that clients must trust in mode self-signed.
func (m *Manager) CAFile() string { return authority{m.dir}.certFile() }

// A Certificate describes one that is in use.
type Certificate struct {
	Names       []string // for which it is in use
	Source      string   // "acme", "files" or "self-signed"
	Issuer      string
	Serial      string // hexadecimal
	NotBefore   time.Time
	NotAfter    time.Time
	Key         string    // SHA-256 of its public key, hexadecimal, as in TLSA records of type 3 1 1 (RFC 6698)
	NextKey     string    // the same of the key that is used next; "" where that is not known
	Problem     string    // why a CA gives none
	NextAttempt time.Time // when it is asked again
}

func describe(c *tls.Certificate, source string) Certificate {
	leaf := c.Leaf
	return Certificate{
		Names: namesOf(leaf), Source: source, Issuer: leaf.Issuer.String(), Serial: leaf.SerialNumber.Text(16),
		NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter, Key: spki(leaf.PublicKey),
	}
}

// Certificates lists what is in use: that of the first name is the first.
func (m *Manager) Certificates() []Certificate {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.renewer != nil {
		return m.renewer.list()
	}
	s := m.current.Load()
	all := []Certificate{describe(s.first, m.cfg.Mode)}
	listed := []*tls.Certificate{s.first}
	for _, name := range m.opts.Names {
		if c := s.byName[name]; c != nil && !slices.Contains(listed, c) {
			listed = append(listed, c)
			all = append(all, describe(c, m.cfg.Mode))
		}
	}
	return all
}

// Renew gets new certificates now, due or not; newKey makes the next key the
// one in use. Only mode "acme" knows how. What comes is in use when it returns.
func (m *Manager) Renew(ctx context.Context, newKey bool) error {
	m.mu.Lock()
	r, mode := m.renewer, m.cfg.Mode
	m.mu.Unlock()
	if r == nil {
		return fmt.Errorf("tls.mode is %q: only \"acme\" asks for certificates", mode)
	}
	return r.renew(ctx, newKey)
}

func (m *Manager) use(s *set) {
	m.current.Store(s)
	m.log.Info("certificate in use", "mode", m.cfg.Mode, "names", s.first.Leaf.DNSNames, "until", s.first.Leaf.NotAfter)
}

// poll refreshes the certificates until Close.
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

// refresh takes changed files into use, or renews our own certificate. What
// fails is logged once: the files must change before it is tried again. A panic
// ends this look only.
func (m *Manager) refresh(now time.Time) {
	defer recovered(m.log, &m.panics)
	m.mu.Lock()
	defer m.mu.Unlock()
	leaf := m.current.Load().first.Leaf
	switch m.cfg.Mode {
	case "acme":
		return
	case "files":
		seen := m.cfg.seen()
		if slices.Equal(seen, m.seen) {
			return
		}
		m.seen = seen
	default:
		if now.Before(renewAt(leaf)) {
			return
		}
	}
	s, err := m.load(m.cfg, m.opts.Names, now)
	if err != nil {
		m.log.Error("new certificate not taken; the old one stays in use", "until", leaf.NotAfter, "err", err)
		return
	}
	m.use(s)
}

// recovered is deferred where a panic is to end no more than what is being done.
func recovered(log *slog.Logger, panics *atomic.Int64) {
	if p := recover(); p != nil {
		panics.Add(1)
		log.Error("panic over certificates", "panic", p, "stack", string(debug.Stack()))
	}
}

// load returns the certificates of the modes other than "acme".
func (m *Manager) load(c Config, names []string, now time.Time) (*set, error) {
	if c.Mode == "self-signed" {
		cert, err := authority{m.dir}.certificate(names, now)
		if err != nil {
			return nil, err
		}
		return &set{first: cert}, nil
	}
	s, err := c.choose(names, now)
	if err != nil {
		return nil, err
	}
	for i, name := range names {
		if err := s.of(name).Leaf.VerifyHostname(name); err != nil {
			level := slog.LevelInfo // those of web may do without
			if i == 0 {
				level = slog.LevelWarn
			}
			m.log.Log(context.Background(), level, "clients will not trust the certificate", "file", c.Cert, "err", err)
		}
	}
	return s, nil
}
