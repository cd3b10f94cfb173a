package tls

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	authorityLife = 10 * 365 * 24 * time.Hour
	leafLife      = 90 * 24 * time.Hour
)

// renewAt is when two thirds of the life of a certificate are over.
func renewAt(c *x509.Certificate) time.Time {
	return c.NotAfter.Add(-c.NotAfter.Sub(c.NotBefore) / 3)
}

// An authority is a local CA that signs the server's own certificate. Its
// files outlive restarts, so that clients need to trust it only once.
type authority struct{ data string }

func (a authority) dir() string      { return filepath.Join(a.data, "tls") }
func (a authority) certFile() string { return filepath.Join(a.dir(), "ca.pem") }

// certificate returns one for the names that is good for a while: the one on
// the disk, or a new one.
func (a authority) certificate(names []string, now time.Time) (*tls.Certificate, error) {
	if err := os.MkdirAll(a.dir(), 0o700); err != nil {
		return nil, err
	}
	leafFile := filepath.Join(a.dir(), "self-signed.pem")
	ca, err := loadPair(a.certFile(), filepath.Join(a.dir(), "ca.key"))
	if errors.Is(err, fs.ErrNotExist) || err == nil && now.After(renewAt(ca.Leaf)) {
		ca, err = a.create(now)
	}
	if err != nil {
		return nil, fmt.Errorf("local certificate authority: %w", err)
	}
	leaf, err := loadPair(leafFile, leafFile)
	if err == nil && leaf.Leaf.CheckSignatureFrom(ca.Leaf) == nil && slices.Equal(namesOf(leaf.Leaf), names) && now.Before(renewAt(leaf.Leaf)) {
		return leaf, nil
	}
	return a.issue(ca, leafFile, names, now)
}

// create makes the authority.
func (a authority) create(now time.Time) (*tls.Certificate, error) {
	t := &x509.Certificate{
		Subject:   pkix.Name{CommonName: "Mailbox local authority " + rand.Text()[:8]},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(authorityLife),
		IsCA: true, MaxPathLenZero: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	key, cert, err := sign(t, nil)
	if err != nil {
		return nil, err
	}
	// The key comes first: a certificate without its key would be taken for an authority.
	if err := writeFile(filepath.Join(a.dir(), "ca.key"), 0o600, key); err != nil {
		return nil, err
	}
	if err := writeFile(a.certFile(), 0o600, cert); err != nil {
		return nil, err
	}
	return pair(pem.EncodeToMemory(cert), pem.EncodeToMemory(key))
}

// issue makes a certificate for the server.
func (a authority) issue(ca *tls.Certificate, file string, names []string, now time.Time) (*tls.Certificate, error) {
	t := &x509.Certificate{
		Subject:   pkix.Name{CommonName: names[0]},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(leafLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, n)
		}
	}
	key, cert, err := sign(t, ca)
	if err != nil {
		return nil, fmt.Errorf("sign certificate: %w", err)
	}
	if err := writeFile(file, 0o600, cert, key); err != nil {
		return nil, err
	}
	return pair(pem.EncodeToMemory(cert), pem.EncodeToMemory(key))
}

func namesOf(c *x509.Certificate) []string {
	names := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

// sign makes a key and a certificate for it; without a CA it signs itself.
func sign(t *x509.Certificate, ca *tls.Certificate) (key, cert *pem.Block, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	parent, signer := t, any(private)
	if ca != nil {
		parent, signer = ca.Leaf, ca.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, t, parent, private.Public(), signer)
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return &pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}, &pem.Block{Type: "CERTIFICATE", Bytes: der}, nil
}

func loadPair(certFile, keyFile string) (*tls.Certificate, error) {
	cert, err := os.ReadFile(certFile)
	if err != nil {
		return nil, err
	}
	key, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, err
	}
	return pair(cert, key)
}

func pair(cert, key []byte) (*tls.Certificate, error) {
	c, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	return &c, nil
}

// writeFile replaces a file with PEM blocks, durably: it has the old content
// or the new one, whatever happens.
func writeFile(name string, mode fs.FileMode, blocks ...*pem.Block) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // it was renamed, if all went well
	for _, b := range blocks {
		if err = pem.Encode(f, b); err != nil {
			break
		}
	}
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer d.Close() //nolint:errcheck // it was only synced
	return d.Sync()
}
