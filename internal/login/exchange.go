package login

import (
	"bytes"
	"context"
	"crypto/tls"
	"net/netip"
	"strings"
	"unicode/utf8"
)

// The names of the SASL mechanisms, as they are announced.
const (
	Plain             = "PLAIN"              // RFC 4616
	Login             = "LOGIN"              // draft-murchison-sasl-login-00, for old programs
	ScramSHA256       = "SCRAM-SHA-256"      // RFC 7677
	ScramSHA256Plus   = "SCRAM-SHA-256-PLUS" // with the binding tls-exporter of RFC 9266
	maxSASL           = 4096                 // octets of one decoded message; longer ones are malformed
	exporterLabel     = "EXPORTER-Channel-Binding"
	exporterSize      = 32
	exporterType      = "tls-exporter"
	loginUserPrompt   = "Username:"
	loginSecretPrompt = "Password:"
)

// Mechanisms returns what can be offered on a connection, the best first; state
// is nil without TLS. None without TLS, unless plaintext (plaintext_login).
// SCRAM-SHA-256-PLUS is for TLS 1.3 only, where the binding is sound whatever
// else was negotiated (RFC 9266 section 4.2).
func Mechanisms(state *tls.ConnectionState, plaintext bool) []string {
	switch {
	case canBind(state):
		return []string{ScramSHA256Plus, ScramSHA256, Plain, Login}
	case state != nil || plaintext:
		return []string{ScramSHA256, Plain, Login}
	}
	return nil
}

func canBind(state *tls.ConnectionState) bool {
	return state != nil && state.HandshakeComplete && state.Version >= tls.VersionTLS13
}

// An Exchange is the server's side of one SASL exchange (RFC 4422). It is used
// by one goroutine. The protocol around it does the base64 and the client's "*".
type Exchange struct {
	next step
	over bool
}

// A step takes a message and returns the challenge and the step that takes the
// answer to it, or who logged in. nil: the client gave no initial response.
type step func(ctx context.Context, message []byte) (challenge []byte, next step, id *Identity, err error)

// Start begins an exchange with the client at addr. mechanism is in any case;
// state is nil without TLS. The caller has made sure that AUTH is allowed at
// all here: see Mechanisms. Error: ErrMechanism.
func (a *Authenticator) Start(mechanism string, addr netip.Addr, state *tls.ConnectionState) (*Exchange, error) {
	a.start()
	switch strings.ToUpper(mechanism) {
	case Plain:
		return &Exchange{next: a.plain(addr)}, nil
	case Login:
		return &Exchange{next: a.login(addr)}, nil
	case ScramSHA256:
		return newScram(a, addr, state, false)
	case ScramSHA256Plus:
		return newScram(a, addr, state, true)
	}
	return nil, ErrMechanism
}

// Next takes a decoded message of the client. The first is the initial
// response, nil where there was none; an empty one ("=" on the wire) is not nil.
// It returns who logged in, or the next challenge to send, which may be empty.
// There is no challenge together with an identity: neither SMTP nor IMAP can
// carry data with success.
//
// Errors: those of Password, and ErrSyntax. After an error the exchange is over,
// and every further call is ErrSyntax.
func (x *Exchange) Next(ctx context.Context, message []byte) (challenge []byte, id *Identity, err error) {
	if x.over || len(message) > maxSASL {
		x.over = true
		return nil, nil, ErrSyntax
	}
	challenge, x.next, id, err = x.next(ctx, message)
	x.over = x.next == nil
	return challenge, id, err
}

// initially asks for the client's first message where it came without one.
func initially(first step) step {
	return func(ctx context.Context, message []byte) ([]byte, step, *Identity, error) {
		if message == nil {
			return []byte{}, first, nil, nil
		}
		return first(ctx, message)
	}
}

// plain is RFC 4616: [authzid] NUL authcid NUL passwd.
func (a *Authenticator) plain(addr netip.Addr) step {
	return initially(func(ctx context.Context, message []byte) ([]byte, step, *Identity, error) {
		parts := bytes.Split(message, []byte{0})
		if len(parts) != 3 || len(parts[1]) == 0 || len(parts[2]) == 0 || !utf8.Valid(message) {
			return nil, nil, nil, ErrSyntax
		}
		id, err := a.password(ctx, string(parts[0]), string(parts[1]), string(parts[2]), addr)
		return finish(id, err)
	})
}

// login asks for the name, unless it came first, and for the password.
func (a *Authenticator) login(addr netip.Addr) step {
	var name string
	password := func(ctx context.Context, message []byte) ([]byte, step, *Identity, error) {
		id, err := a.password(ctx, "", name, string(message), addr)
		return finish(id, err)
	}
	user := func(_ context.Context, message []byte) ([]byte, step, *Identity, error) {
		name = string(message)
		return []byte(loginSecretPrompt), password, nil, nil
	}
	return func(ctx context.Context, message []byte) ([]byte, step, *Identity, error) {
		if len(message) == 0 {
			return []byte(loginUserPrompt), user, nil, nil
		}
		return user(ctx, message)
	}
}

func finish(id Identity, err error) ([]byte, step, *Identity, error) {
	if err != nil {
		return nil, nil, nil, err
	}
	return nil, nil, &id, nil
}
