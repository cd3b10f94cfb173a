package mailauth

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"slices"
)

// Bounds of RSA keys, in bits: RFC 8301 section 3.2 sets the lower one, and
// beyond the upper one (twice what every verifier must take) a signature
// costs more than it says.
const (
	minRSA = 1024
	maxRSA = 8192
)

// A flaw is why a signature does not count.
type flaw struct {
	result Result
	reason string
}

func (f flaw) Error() string { return string(f.result) + ": " + f.reason }

// A publicKey is what a signer's domain publishes (RFC 6376 section 3.6.1).
type publicKey struct {
	algorithm string // "rsa" or "ed25519"
	rsa       *rsa.PublicKey
	ed25519   ed25519.PublicKey
	hashes    []string // nil means any
	exact     bool     // the identity must be of the very domain that signed
}

// publicKey looks the key of a signature up. Of several records the first one
// that is a key is taken (RFC 6376 section 3.6.2.2 leaves it open).
func (c *Checker) publicKey(ctx context.Context, s *signature) (*publicKey, error) {
	answer, err := c.DNS.TXT(ctx, s.selector+"._domainkey."+s.domain)
	switch {
	case absent(err):
		return nil, flaw{PermError, "no key"}
	case err != nil:
		return nil, flaw{TempError, "DNS trouble"}
	}
	var first error
	for _, txt := range answer.Records {
		key, err := parsePublicKey(txt)
		if err == nil {
			return key, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// parsePublicKey reads a key record. That a key is being tested (t=y) changes
// nothing: a signature that fails is never held against anybody here.
func parsePublicKey(txt string) (*publicKey, error) {
	list, ok := parseTags(txt)
	if v, found := list.get("v"); !ok || found && (v != "DKIM1" || list[0].name != "v") {
		return nil, flaw{PermError, "key record is malformed"}
	}
	p, ok := list.get("p")
	if !ok {
		return nil, flaw{PermError, "key record is malformed"}
	}
	if p == "" {
		return nil, flaw{PermError, "key is revoked"}
	}
	der, err := base64.StdEncoding.DecodeString(dropSpace(p))
	if err != nil {
		return nil, flaw{PermError, "key is malformed"}
	}
	if services := list.words("s"); services != nil && !slices.Contains(services, "*") && !slices.Contains(services, "email") {
		return nil, flaw{PermError, "key is not for mail"}
	}
	key := &publicKey{hashes: list.words("h"), exact: slices.Contains(list.words("t"), "s")}
	algorithm, _ := list.get("k")
	switch algorithm {
	case "", "rsa":
		key.algorithm = "rsa"
		key.rsa, err = parseRSA(der)
	case "ed25519":
		key.algorithm, key.ed25519 = "ed25519", der
		if len(der) != ed25519.PublicKeySize { // RFC 8463 section 4.2
			err = flaw{PermError, "key is malformed"}
		}
	default:
		err = flaw{PermError, "unknown kind of key"}
	}
	if err != nil {
		return nil, err
	}
	return key, nil
}

// parseRSA reads a SubjectPublicKeyInfo, or an RSAPublicKey as the RFC's text
// has it and nobody publishes (erratum 3017).
func parseRSA(der []byte) (*rsa.PublicKey, error) {
	if len(der) > maxRSA { // far more octets than such a key takes
		return nil, flaw{Policy, "key is too long"}
	}
	pkix, err := x509.ParsePKIXPublicKey(der)
	key, ok := pkix.(*rsa.PublicKey)
	if err != nil {
		key, err = x509.ParsePKCS1PublicKey(der)
		ok = err == nil
	}
	switch {
	case !ok:
		return nil, flaw{PermError, "key is malformed"}
	case key.N.BitLen() < minRSA:
		return nil, flaw{Policy, "key is too short"}
	case key.N.BitLen() > maxRSA:
		return nil, flaw{Policy, "key is too long"}
	}
	return key, nil
}

// verify tells whether signature is one of the digest of SHA-256.
func (k *publicKey) verify(digest, signature []byte) bool {
	if k.algorithm == "ed25519" {
		return ed25519.Verify(k.ed25519, digest, signature)
	}
	return rsa.VerifyPKCS1v15(k.rsa, crypto.SHA256, digest, signature) == nil
}
