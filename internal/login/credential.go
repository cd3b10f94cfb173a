package login

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"strings"
	"unicode/utf8"
)

// defaultIterations is the count of PBKDF2 that all accounts have. RFC 7677
// section 4 asks for at least 4,096.
const defaultIterations = 65_536

const (
	minPassword = 10   // characters of a password that a person chose
	minVariety  = 5    // different characters in it
	maxPassword = 1024 // octets, before and after preparation
)

// NewCredential derives the keys of a password for SCRAM-SHA-256 (RFC 5802
// section 3, RFC 7677), after preparing it as Login does. It is deliberately
// slow: about 15 ms for 65,536 iterations. CheckPassword tells beforehand
// whether the password can be used; the keys of one that cannot match nothing.
func NewCredential(password string, salt []byte, iterations int) (storedKey, serverKey []byte) {
	prepared, err := preparePassword(password)
	if err != nil {
		nothing := make([]byte, 2*sha256.Size)
		rand.Read(nothing)
		return nothing[:sha256.Size], nothing[sha256.Size:]
	}
	return deriveKeys(prepared, salt, iterations)
}

// deriveKeys is NewCredential for a prepared password.
func deriveKeys(prepared string, salt []byte, iterations int) (storedKey, serverKey []byte) {
	salted, err := pbkdf2.Key(sha256.New, prepared, salt, max(iterations, 1), sha256.Size)
	if err != nil {
		panic(fmt.Sprintf("login: pbkdf2: %v", err)) // only for key lengths that are not ours
	}
	clientKey := mac(salted, "Client Key")
	stored := sha256.Sum256(clientKey)
	return stored[:], mac(salted, "Server Key")
}

func mac(key []byte, parts ...string) []byte {
	h := hmac.New(sha256.New, key)
	for _, p := range parts {
		h.Write([]byte(p))
	}
	return h.Sum(nil)
}

// GenerateAppPassword returns a random password of 140 bits for one program:
// seven groups of four small letters and digits, parted by hyphens, which belong
// to it. It needs no protection against guessing.
func GenerateAppPassword() string {
	text := strings.ToLower(rand.Text() + rand.Text()) // base32, 26 characters each
	groups := make([]string, 7)
	for i := range groups {
		groups[i] = text[4*i : 4*i+4]
	}
	return strings.Join(groups, "-")
}

// CheckPassword says, in words for the person who chose it, why a password
// cannot be set; nil means that it can. Length is the only strength asked for
// (NIST SP 800-63B section 5.1.1), beside a little variety.
func CheckPassword(password string) error {
	prepared, err := preparePassword(password)
	if err != nil {
		return err
	}
	if n := utf8.RuneCountInString(prepared); n < minPassword {
		return fmt.Errorf("the password has %d characters, it needs at least %d: a few words in a row are easy to remember", n, minPassword)
	}
	different := make(map[rune]bool)
	for _, r := range prepared {
		different[r] = true
	}
	if len(different) < minVariety {
		return fmt.Errorf("the password has only %d different characters, it needs at least %d", len(different), minVariety)
	}
	return nil
}
