package mailauth

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"mailbox/internal/dns"
)

// Algorithm is what a key of ours signs with.
type Algorithm string

// The algorithms of RFC 8301 and RFC 8463. Whoever signs with Ed25519 signs
// with RSA too: many verifiers know nothing else.
const (
	RSA     Algorithm = "rsa" // 2,048 bits
	Ed25519 Algorithm = "ed25519"
)

// A Key signs for a domain. Its public half is published under Name.
type Key struct {
	Domain   string
	Selector string
	Private  crypto.Signer // of GenerateKey or ParseKey
}

// GenerateKey makes a private key.
func GenerateKey(a Algorithm) (crypto.Signer, error) {
	switch a {
	case RSA:
		return rsa.GenerateKey(rand.Reader, 2048)
	case Ed25519:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	return nil, fmt.Errorf("no algorithm for keys: %q", a)
}

// MarshalKey returns a private key as PKCS #8 in PEM (RFC 5958, RFC 7468).
func MarshalKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// ParseKey reads what MarshalKey or another mail server wrote: PKCS #8, or
// PKCS #1 for RSA, in PEM. It refuses RSA keys that verifiers refuse.
func ParseKey(text []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("private key: not in PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if block.Type == "RSA PRIVATE KEY" {
		parsed, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	}
	if err != nil {
		return nil, fmt.Errorf("private key: %w", err)
	}
	switch key := parsed.(type) {
	case ed25519.PrivateKey:
		return key, nil
	case *rsa.PrivateKey:
		if bits := key.N.BitLen(); bits < minRSA || bits > maxRSA {
			return nil, fmt.Errorf("private key: RSA with %d bits: verifiers want %d to %d", bits, minRSA, maxRSA)
		}
		return key, nil
	}
	return nil, fmt.Errorf("private key: %T does not sign mail", parsed)
}

// Name is where the public half of the key is published.
func (k Key) Name() string { return k.Selector + "._domainkey." + k.Domain }

// Record is the text that is published there, in a TXT record (RFC 6376 section
// 3.6.1).
func (k Key) Record() (string, error) {
	public := k.Private.Public()
	der, ok := public.(ed25519.PublicKey)
	if !ok {
		var err error
		if der, err = x509.MarshalPKIXPublicKey(public); err != nil {
			return "", err
		}
	}
	algorithm, err := k.algorithm()
	return fmt.Sprintf("v=DKIM1; k=%s; p=%s", algorithm, base64.StdEncoding.EncodeToString(der)), err
}

func (k Key) algorithm() (Algorithm, error) {
	switch k.Private.Public().(type) {
	case *rsa.PublicKey:
		return RSA, nil
	case ed25519.PublicKey:
		return Ed25519, nil
	}
	return "", fmt.Errorf("%T does not sign mail", k.Private.Public())
}

// Published looks the public half of the key up, and tells whether those who
// verify what it signs find it. An error is trouble with the DNS.
func (k Key) Published(ctx context.Context, r *dns.Resolver) (bool, error) {
	domain, goodDomain := asciiDomain(k.Domain)
	selector, goodSelector := asciiDomain(k.Selector)
	if !goodDomain || !goodSelector {
		return false, nil
	}
	c := Checker{DNS: r}
	found, err := c.publicKey(ctx, &signature{domain: domain, selector: selector})
	if result, _ := verdict(err); result == TempError {
		return false, fmt.Errorf("look up %s: %w", k.Name(), err)
	}
	return err == nil && found.fits(k.Private.Public()), nil
}

// fits tells whether a key that was looked up verifies what the private half
// of ours signs.
func (k *publicKey) fits(ours crypto.PublicKey) bool {
	if k.hashes != nil && !slices.Contains(k.hashes, "sha256") {
		return false
	}
	if k.algorithm == string(Ed25519) {
		return k.ed25519.Equal(ours)
	}
	return k.rsa.Equal(ours)
}

// ZoneText returns the text of a TXT record as a zone file has it: in quotes,
// as several strings where it is longer than one may be (RFC 1035 sections 3.3
// and 5.1). Those who read it put them together again.
func ZoneText(txt string) string {
	var parts []string
	for len(txt) > 255 {
		parts, txt = append(parts, txt[:255]), txt[255:]
	}
	parts = append(parts, txt)
	for i, part := range parts {
		var b strings.Builder
		for _, c := range []byte(part) {
			switch {
			case c == '"' || c == '\\':
				b.WriteByte('\\')
				b.WriteByte(c)
			case c < ' ' || c >= 0x7f:
				fmt.Fprintf(&b, `\%03d`, c)
			default:
				b.WriteByte(c)
			}
		}
		parts[i] = `"` + b.String() + `"`
	}
	return strings.Join(parts, " ")
}
