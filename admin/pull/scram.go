package pull

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// maxIterations bounds the work that a server can ask for: some seconds.
const maxIterations = 10_000_000

// A scram is the client's side of SCRAM (RFC 5802), without channel binding. It
// does not go on with a server that does not know the password itself.
type scram struct {
	hash           func() hash.Hash
	user, password string

	nonce     string
	first     string // client-first-message-bare
	signature []byte // that the server must give
	proved    bool
	steps     int
}

// newScram begins an exchange. The nonce must be one that nobody can guess.
func newScram(name, user, password, nonce string) mechanism {
	s := &scram{hash: sha256.New, user: user, password: norm.NFKC.String(password), nonce: nonce}
	if name == "SCRAM-SHA-1" {
		s.hash = sha1.New
	}
	return mechanism{name: name, step: s.step, done: s.done}
}

func (s *scram) done() error {
	if !s.proved {
		return errors.New("the server has not proved that it knows the password")
	}
	return nil
}

func (s *scram) step(challenge []byte) ([]byte, error) {
	s.steps++
	switch s.steps {
	case 1:
		name := strings.NewReplacer("=", "=3D", ",", "=2C").Replace(norm.NFKC.String(s.user))
		s.first = "n=" + name + ",r=" + s.nonce
		return []byte("n,," + s.first), nil
	case 2:
		return s.final(string(challenge))
	case 3:
		want := "v=" + base64.StdEncoding.EncodeToString(s.signature)
		if !hmac.Equal(challenge, []byte(want)) {
			return nil, errors.New("the server does not know the password")
		}
		s.proved = true
		return nil, nil
	}
	return nil, errors.New("the server asks for more than there is")
}

// final answers the server-first-message (RFC 5802 section 3).
func (s *scram) final(challenge string) ([]byte, error) {
	attrs := strings.SplitN(challenge, ",", 4)
	if len(attrs) < 3 {
		return nil, errors.New("the server's challenge is malformed")
	}
	nonce, ok1 := strings.CutPrefix(attrs[0], "r=")
	salt64, ok2 := strings.CutPrefix(attrs[1], "s=")
	count, ok3 := strings.CutPrefix(attrs[2], "i=")
	salt, err := base64.StdEncoding.DecodeString(salt64)
	iterations, err2 := strconv.Atoi(count)
	if !ok1 || !ok2 || !ok3 || err != nil || err2 != nil || !strings.HasPrefix(nonce, s.nonce) {
		return nil, errors.New("the server's challenge is malformed")
	}
	if iterations < 1 || iterations > maxIterations {
		return nil, fmt.Errorf("the server asks for %d iterations", iterations)
	}
	size := s.hash().Size()
	salted, err := pbkdf2.Key(s.hash, s.password, salt, iterations, size)
	if err != nil {
		return nil, err
	}
	clientKey := s.mac(salted, "Client Key")
	stored := s.hash()
	stored.Write(clientKey)
	final := "c=biws,r=" + nonce
	all := s.first + "," + challenge + "," + final
	proof := s.mac(stored.Sum(nil), all)
	for i := range proof {
		proof[i] ^= clientKey[i]
	}
	s.signature = s.mac(s.mac(salted, "Server Key"), all)
	return []byte(final + ",p=" + base64.StdEncoding.EncodeToString(proof)), nil
}

func (s *scram) mac(key []byte, text string) []byte {
	h := hmac.New(s.hash, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
