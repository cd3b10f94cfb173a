package tls

import (
	"crypto"
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
	ca, err := a.open(now)
	if err != nil {
		return nil, err
	}
	leafFile := filepath.Join(a.dir(), "self-signed.pem")
	leaf, err := loadPair(leafFile, leafFile)
	if err == nil && leaf.Leaf.CheckSignatureFrom(ca.Leaf) == nil && slices.Equal(namesOf(leaf.Leaf), names) && now.Before(renewAt(leaf.Leaf)) {
		return leaf, nil
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	key, cert, err := issue(ca, private, names, now)
	if err != nil {
		return nil, err
	}
	if err := writeFile(leafFile, slices.Concat(cert, key)); err != nil {
		return nil, err
	}
	return pair(cert, key)
}

// certify returns a certificate for a key that is kept elsewhere.
func (a authority) certify(private crypto.Signer, names []string, now time.Time) (*tls.Certificate, error) {
	ca, err := a.open(now)
	if err != nil {
		return nil, err
	}
	key, cert, err := issue(ca, private, names, now)
	if err != nil {
		return nil, err
	}
	return pair(cert, key)
}

// open returns the authority, and makes it where there is none or an old one.
func (a authority) open(now time.Time) (*tls.Certificate, error) {
	if err := makeDir(a.dir()); err != nil {
		return nil, err
	}
	ca, err := loadPair(a.certFile(), filepath.Join(a.dir(), "ca.key"))
	if errors.Is(err, fs.ErrNotExist) || err == nil && now.After(renewAt(ca.Leaf)) {
		ca, err = a.create(now)
	}
	if err != nil {
		return nil, fmt.Errorf("local certificate authority: %w", err)
	}
	return ca, nil
}

// create makes the authority.
func (a authority) create(now time.Time) (*tls.Certificate, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		Subject:   pkix.Name{CommonName: "Mailbox local authority " + rand.Text()[:8]},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(authorityLife),
		IsCA: true, MaxPathLenZero: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	key, cert, err := sign(t, private, nil)
	if err != nil {
		return nil, err
	}
	// The key comes first: a certificate without its key would be taken for an authority.
	if err := writeFile(filepath.Join(a.dir(), "ca.key"), key); err != nil {
		return nil, err
	}
	if err := writeFile(a.certFile(), cert); err != nil {
		return nil, err
	}
	return pair(cert, key)
}

// issue makes a certificate for the server, as PEM.
func issue(ca *tls.Certificate, private crypto.Signer, names []string, now time.Time) (key, cert []byte, err error) {
	t := &x509.Certificate{
		Subject:   pkix.Name{CommonName: names[0]},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(leafLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	if len(names[0]) > 64 { // RFC 5280 appendix A.1: ub-common-name
		t.Subject.CommonName = "Mailbox"
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, n)
		}
	}
	if key, cert, err = sign(t, private, ca); err != nil {
		return nil, nil, fmt.Errorf("sign certificate: %w", err)
	}
	return key, cert, nil
}

func namesOf(c *x509.Certificate) []string {
	names := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

// sign makes a certificate for a key, both as PEM; without a CA it signs itself.
func sign(t *x509.Certificate, private crypto.Signer, ca *tls.Certificate) (key, cert []byte, err error) {
	parent, signer := t, any(private)
	if ca != nil {
		parent, signer = ca.Leaf, ca.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, t, parent, private.Public(), signer)
	if err != nil {
		return nil, nil, err
	}
	if key, err = encodeKey(private); err != nil {
		return nil, nil, err
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
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
