package tls

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path"
	"path/filepath"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/libdns/cloudflare"
	"github.com/libdns/rfc2136"
	"github.com/mholt/acmez/v3/acme"
)

const (
	obtainTime  = 90 * time.Second // for a CA to validate and to sign
	attemptTime = 5 * time.Minute  // for one attempt as a whole
	ariTime     = time.Minute      // to ask when a certificate should be renewed
)

// A client gets certificates from a CA by ACME (RFC 8555) and keeps them below
// a directory. certmagic speaks the protocol; when to ask is decided by who
// calls, because every question counts against the CA's limits.
type client struct {
	keys   *keyring
	store  *store
	config *certmagic.Config
	issuer *certmagic.ACMEIssuer
	cache  *certmagic.Cache
	door   net.Listener
	done   sync.WaitGroup
	key    crypto.Signer // of the certificate that is asked for
}

// GenerateKey implements certmagic.KeyGenerator.
func (c *client) GenerateKey() (crypto.PrivateKey, error) { return c.key, nil }

// newClient reads the secrets that cfg names. resolvers are asked for the
// zones of DNS-01, those of the system where there are none. close must be called.
func newClient(cfg Config, dir string, resolvers []string, log *slog.Logger) (*client, error) {
	if err := makeDir(dir); err != nil {
		return nil, err
	}
	keys, err := openKeyring(dir)
	if err != nil {
		return nil, err
	}
	zap := newZap(log)
	template := certmagic.ACMEIssuer{
		CA: cfg.Directory, Email: cfg.Email, Agreed: cfg.AcceptTerms,
		DisableHTTPChallenge: !cfg.has(http01), DisableTLSALPNChallenge: !cfg.has(tlsALPN01), DisableDistributedSolvers: true,
		CertObtainTimeout: obtainTime, Logger: zap,
	}
	if cfg.CAFile != "" {
		if template.TrustedRoots, err = readRoots(cfg.CAFile); err != nil {
			return nil, err
		}
	}
	if cfg.EABKid != "" {
		key, err := readSecret(cfg.EABKeyFile)
		if err != nil {
			return nil, err
		}
		template.ExternalAccount = &acme.EAB{KeyID: cfg.EABKid, MACKey: key}
	}
	if cfg.has(dns01) {
		provider, err := newProvider(cfg)
		if err != nil {
			return nil, err
		}
		template.DNS01Solver = &certmagic.DNS01Solver{DNSManager: certmagic.DNSManager{DNSProvider: provider, Resolvers: resolvers, TTL: time.Minute, Logger: zap}}
	}
	c := &client{keys: keys, store: &store{dir: dir}}
	if err := c.openDoor(&template); err != nil {
		return nil, err
	}
	c.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return c.config, nil }, Logger: zap,
	})
	c.config = certmagic.New(c.cache, certmagic.Config{
		Storage: c.store, KeySource: c, OCSP: certmagic.OCSPConfig{DisableStapling: true}, Issuers: []certmagic.Issuer{}, Logger: zap,
	})
	c.issuer = certmagic.NewACMEIssuer(c.config, template)
	c.config.Issuers = []certmagic.Issuer{quiet{c.issuer}}
	return c, nil
}

// openDoor takes a port on loopback. certmagic opens the port of a challenge
// itself unless somebody listens there already. In this house that is web's
// part, at addresses that may change: so certmagic is shown a port that is
// always taken, and opens none.
func (c *client) openDoor(template *certmagic.ACMEIssuer) error {
	for _, host := range []string{"127.0.0.1", "::1"} {
		l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			continue
		}
		c.door = l
		template.ListenHost, template.AltHTTPPort = host, l.Addr().(*net.TCPAddr).Port
		template.AltTLSALPNPort = template.AltHTTPPort
		c.done.Go(func() {
			for {
				nc, err := l.Accept()
				if err != nil {
					return
				}
				nc.Close() //nolint:errcheck // it only knocked
			}
		})
		return nil
	}
	return errors.New("no port on loopback is free")
}

func newProvider(cfg Config) (certmagic.DNSProvider, error) {
	if cfg.DNSProvider == "cloudflare" {
		token, err := readSecret(cfg.DNSTokenFile)
		if err != nil {
			return nil, err
		}
		return &cloudflare.Provider{APIToken: token}, nil
	}
	key, err := readSecret(cfg.DNSKeyFile)
	if err != nil {
		return nil, err
	}
	return &rfc2136.Provider{Server: cfg.updateServer(), KeyName: cfg.DNSKeyName, KeyAlg: cfg.DNSKeyAlgorithm, Key: key}, nil
}

func readRoots(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s has no certificate", file)
	}
	return pool, nil
}

func (c *client) close() {
	c.cache.Stop()
	c.door.Close() //nolint:errcheck // nobody uses it
	c.done.Wait()
}

// quiet is an issuer that never asks a person at the terminal for an address:
// certmagic takes a single attempt for one that somebody watches.
type quiet struct{ *certmagic.ACMEIssuer }

// PreCheck implements certmagic.PreChecker.
func (q quiet) PreCheck(ctx context.Context, names []string, _ bool) error {
	return q.ACMEIssuer.PreCheck(ctx, names, false)
}

// obtain asks the CA once for a certificate for a name and a key. It is on the
// disk when obtain returns. Only one may ask at a time.
func (c *client) obtain(ctx context.Context, name string, key crypto.Signer) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	c.key = key
	return c.config.RenewCertSync(ctx, name, true)
}

// load returns the certificate of a name that is on the disk, and whether it is
// of the CA that is configured now: one of another serves, while it is good,
// until that has given one. fs.ErrNotExist: there is none.
func (c *client) load(ctx context.Context, name string) (cert *tls.Certificate, ours bool, err error) {
	own := c.issuer.IssuerKey()
	if cert, err = c.loadOf(ctx, own, name); err == nil {
		return cert, true, nil
	}
	issuers, lerr := c.store.List(ctx, "certificates", false)
	if lerr != nil {
		return nil, false, err
	}
	for _, issuer := range issuers {
		other, oerr := c.loadOf(ctx, path.Base(issuer), name)
		if oerr == nil && time.Now().Before(other.Leaf.NotAfter) && (cert == nil || other.Leaf.NotAfter.After(cert.Leaf.NotAfter)) {
			cert, err = other, nil
		}
	}
	return cert, false, err
}

func (c *client) loadOf(ctx context.Context, issuer, name string) (*tls.Certificate, error) {
	chain, err := c.store.Load(ctx, certmagic.StorageKeys.SiteCert(issuer, name))
	if err != nil {
		return nil, err
	}
	own, err := c.store.Load(ctx, certmagic.StorageKeys.SitePrivateKey(issuer, name))
	if err != nil {
		own = nil // certmagic deletes it when it cannot write the certificate beside it; the keyring has it still
	}
	for _, key := range [][]byte{own, pemOf(c.keys.current()), pemOf(c.keys.next())} {
		if cert, perr := pair(chain, key); perr == nil && cert.Leaf.VerifyHostname(name) == nil {
			return cert, nil
		}
	}
	return nil, fmt.Errorf("certificate of %s: no key of ours fits, or the name does not", name)
}

// pemOf returns nothing for a key that cannot be encoded: no certificate is for it.
func pemOf(key crypto.Signer) []byte {
	text, err := encodeKey(key)
	if err != nil {
		return nil
	}
	return text
}

// renewalInfo asks the CA when a certificate of its should be renewed (RFC
// 9773), and when to ask again.
func (c *client) renewalInfo(ctx context.Context, leaf *x509.Certificate) (at, again time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, ariTime)
	defer cancel()
	info, err := c.issuer.GetRenewalInfo(ctx, certmagic.Certificate{Certificate: tls.Certificate{Leaf: leaf}})
	if err != nil {
		return time.Time{}, time.Time{}, err
	}
	if info.RetryAfter != nil {
		again = *info.RetryAfter
	}
	return info.SelectedTime, again, nil
}

// acmeDir is where what belongs to mode "acme" is kept.
func acmeDir(data string) string { return filepath.Join(data, "tls", "acme") }
