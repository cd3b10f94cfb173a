package main

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
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"mailbox/internal/dns/dnstest"
)

// An internet is what a test has in the place of the real one: a DNS, hosts on
// loopback addresses, each with a port 25 of its own, and an authority that
// signs their certificates.
type internet struct {
	t   *testing.T
	dns *dnstest.Server
	ca  tls.Certificate

	mu    sync.Mutex
	zone  string
	hosts int
}

// newInternet needs root, for port 25. A test without it is skipped, except in CI.
func newInternet(t *testing.T) *internet {
	t.Helper()
	for _, address := range []string{"127.0.0.21:25", "127.0.0.22:25", "127.0.0.23:25"} {
		l, err := net.Listen("tcp", address)
		if errors.Is(err, fs.ErrPermission) && os.Getenv("MAILBOX_REQUIRE_PROGRAMS") == "" {
			t.Skipf("SKIPPED: %v", err)
		}
		if err != nil { // another one would get this test's mail
			t.Fatal(err)
		}
		l.Close() //nolint:errcheck // nobody used it
	}
	n := &internet{t: t, dns: dnstest.New(t, "127.0.0.1:0", "")}
	n.ca = n.certificate("authority.example")
	return n
}

// add adds records to the DNS.
func (n *internet) add(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.zone += fmt.Sprintf(format, args...) + "\n"
	n.dns.Set(n.zone) //nolint:errcheck // it ends the test itself
}

// name makes an address the one host of a domain.
func (n *internet) name(domain, host, address string) {
	n.add("%s. MX 10 %s.\n%s. A %s", domain, host, host, address)
}

// address is one that nobody has.
func (n *internet) address() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts++
	return fmt.Sprintf("127.0.1.%d", n.hosts)
}

// site configures a server for a domain at an address, which tries again after
// a second. mta are further keys.
func (n *internet) site(domain, address, mta string) *site {
	n.t.Helper()
	s := (&site{t: n.t, domain: domain, smtp: address + ":25", dns: n.dns.Addr}).configure()
	s.set("mta", "private_destinations = true\nretry = [\"1s\"]\n"+mta)
	ca := filepath.Join(s.dir, "internet-ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: n.ca.Certificate[0]}), 0o600); err != nil {
		n.t.Fatal(err)
	}
	s.env = append(s.env, "SSL_CERT_FILE="+ca)
	n.name(domain, "mail."+domain, address)
	return s
}

// certificate makes one for a host, signed by the authority, the first one by
// itself.
func (n *internet) certificate(name string) tls.Certificate {
	n.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		n.t.Fatal(err)
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{name}, BasicConstraintsValid: true,
	}
	parent, signer := cert, any(key)
	if n.ca.Leaf == nil {
		cert.IsCA = true
	} else {
		parent, signer = n.ca.Leaf, n.ca.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, key.Public(), signer)
	if err != nil {
		n.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		n.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}
