package login

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net/netip"
	"strconv"
)

// A scram is an exchange of SCRAM-SHA-256 (RFC 5802, RFC 7677).
type scram struct {
	*Authenticator
	addr    netip.Addr
	plus    bool   // the mechanism is SCRAM-SHA-256-PLUS
	binding []byte // what tls-exporter gives; nil where -PLUS was not offered

	first       clientFirst
	serverFirst string
	nonce       string // both parts
	salt        []byte // what the client was told
	iterations  int
}

func newScram(a *Authenticator, addr netip.Addr, state *tls.ConnectionState, plus bool) (*Exchange, error) {
	s := &scram{Authenticator: a, addr: addr, plus: plus}
	if canBind(state) {
		binding, err := state.ExportKeyingMaterial(exporterLabel, nil, exporterSize)
		if err != nil {
			return nil, fmt.Errorf("channel binding: %w", err)
		}
		s.binding = binding
	}
	if plus && s.binding == nil {
		return nil, ErrMechanism
	}
	return &Exchange{next: initially(s.clientFirst)}, nil
}

// clientFirst answers with the salt. Someone who stands between us and a client
// that can bind, and hides from it that we can too, is found out here: the
// client then says "y" (RFC 5802 section 6).
func (s *scram) clientFirst(ctx context.Context, message []byte) ([]byte, step, *Identity, error) {
	var err error
	if s.first, err = parseClientFirst(message); err != nil {
		return nil, nil, nil, err
	}
	switch {
	case s.plus != (s.first.flag == 'p'):
		return nil, nil, nil, ErrSyntax
	case s.plus && s.first.bindingType != exporterType,
		s.first.flag == 'y' && s.binding != nil:
		return nil, nil, nil, ErrFailed
	}
	t, err := s.begin(ctx, s.first.name, s.addr)
	if err != nil {
		return nil, nil, nil, err
	}
	s.nonce = s.first.nonce + s.Authenticator.nonce()
	s.salt, s.iterations = t.account.Salt, t.account.Iterations
	s.serverFirst = "r=" + s.nonce +
		",s=" + base64.StdEncoding.EncodeToString(s.salt) +
		",i=" + strconv.Itoa(s.iterations)
	return []byte(s.serverFirst), s.clientFinal, nil, nil
}

// clientFinal tries the proof against each credential. The account is looked up
// again, because the client may have taken its time: what was changed or locked
// out since counts.
func (s *scram) clientFinal(ctx context.Context, message []byte) ([]byte, step, *Identity, error) {
	final, err := parseClientFinal(message)
	if err != nil {
		return nil, nil, nil, err
	}
	if final.nonce != s.nonce {
		return nil, nil, nil, ErrSyntax
	}
	t, err := s.begin(ctx, s.first.name, s.addr)
	if err != nil {
		return nil, nil, nil, err
	}
	t.actAs(s.first.authzid)
	if !s.bound(final.binding) || !bytes.Equal(t.account.Salt, s.salt) || t.account.Iterations != s.iterations {
		t.hopeless = true
	}
	text := s.first.bare + "," + s.serverFirst + "," + final.withoutProof
	c, ok := t.match(func(c Credential) bool { return proves(c.StoredKey, text, final.proof) })
	if !ok {
		return nil, nil, nil, t.fail(ctx, guess{})
	}
	signature := mac(c.ServerKey, text)
	return []byte("v=" + base64.StdEncoding.EncodeToString(signature)), s.acknowledge(t, c), nil, nil
}

// acknowledge takes the client's empty answer to our signature: it was satisfied.
func (s *scram) acknowledge(t *attempt, c Credential) step {
	return func(ctx context.Context, message []byte) ([]byte, step, *Identity, error) {
		if len(message) != 0 {
			return nil, nil, nil, ErrSyntax
		}
		id := t.succeed(ctx, c)
		return nil, nil, &id, nil
	}
}

// bound says whether the client saw the channel that we see: the GS2 header as
// it came, and with -PLUS what tls-exporter gives (RFC 5802 section 7, cbind-input).
func (s *scram) bound(binding []byte) bool {
	want := []byte(s.first.gs2)
	if s.plus {
		want = append(want, s.binding...)
	}
	return hmac.Equal(binding, want)
}

// proves says whether a proof was made with the ClientKey of storedKey:
// H(proof XOR HMAC(StoredKey, AuthMessage)) is StoredKey (RFC 5802 section 3).
func proves(storedKey []byte, text string, proof [sha256.Size]byte) bool {
	var clientKey [sha256.Size]byte
	subtle.XORBytes(clientKey[:], proof[:], mac(storedKey, text))
	sum := sha256.Sum256(clientKey[:])
	return subtle.ConstantTimeCompare(sum[:], storedKey) == 1
}
