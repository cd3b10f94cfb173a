package tls

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// A keyring has the key of all our certificates of a CA, and the one that
// follows it. The key outlives certificates, CAs and restarts, so that a TLSA
// record of it (RFC 6698, 3 1 1) stays right; and because the next one is
// known long before it is used, its record can be published in time. It is safe
// for concurrent use.
type keyring struct {
	dir string

	mu      sync.Mutex
	inUse   crypto.Signer
	waiting crypto.Signer
}

// current is the key to ask certificates for.
func (k *keyring) current() crypto.Signer {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.inUse
}

// next is the key that rotate takes into use.
func (k *keyring) next() crypto.Signer {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.waiting
}

func (k *keyring) currentFile() string { return filepath.Join(k.dir, "key.pem") }
func (k *keyring) nextFile() string    { return filepath.Join(k.dir, "next-key.pem") }

// openKeyring reads the keys, and makes those that are missing.
func openKeyring(dir string) (*keyring, error) {
	k := &keyring{dir: dir}
	var err error
	if k.inUse, err = readOrMakeKey(k.currentFile()); err != nil {
		return nil, err
	}
	if k.waiting, err = readOrMakeKey(k.nextFile()); err != nil {
		return nil, err
	}
	if spki(k.waiting.Public()) == spki(k.inUse.Public()) { // a crash cut rotate short
		k.waiting, err = makeKey(k.nextFile())
	}
	return k, err
}

// rotate makes the next key the current one.
func (k *keyring) rotate() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := writeKey(k.currentFile(), k.waiting); err != nil {
		return err
	}
	k.inUse = k.waiting
	fresh, err := makeKey(k.nextFile())
	if err != nil {
		return err
	}
	k.waiting = fresh
	return nil
}

func readOrMakeKey(file string) (crypto.Signer, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return makeKey(file)
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s has no key", file)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s: a key of type %T cannot sign", file, key)
	}
	return signer, nil
}

func makeKey(file string) (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return key, writeKey(file, key)
}

func writeKey(file string, key crypto.Signer) error {
	text, err := encodeKey(key)
	if err != nil {
		return err
	}
	return writeFile(file, text)
}

func encodeKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// spki is the SHA-256 of a public key as TLSA records of type 3 1 1 have it,
// or "" for a key of a kind that X.509 does not know.
func spki(public crypto.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}
