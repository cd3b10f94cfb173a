// Package login finds out who a client is: it checks passwords given by the
// SASL mechanisms PLAIN, LOGIN, SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, and slows
// down those who guess.
//
// Nothing that this package logs or returns holds a password, a key, or a byte
// of an exchange.
package login

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
)

// The outcomes of a login that did not succeed. Any other error means that the
// accounts could not be read, or that ctx ended: it is ours, temporary, and not
// for the peer (RFC 4954: 454 4.7.0; RFC 5530: UNAVAILABLE).
var (
	// ErrFailed is returned for a wrong password and for an unknown account
	// alike (RFC 4954: 535 5.7.8; RFC 5530: AUTHENTICATIONFAILED).
	ErrFailed = errors.New("authentication failed")
	// ErrThrottled is returned after too many failures, whether the password is
	// right or wrong (RFC 4954: 454 4.7.0; RFC 5530: UNAVAILABLE).
	ErrThrottled = errors.New("too many failed logins, try again later")
	// ErrBusy is returned when too many logins wait for their turn
	// (RFC 4954: 454 4.7.0; RFC 5530: UNAVAILABLE).
	ErrBusy = errors.New("too many logins at a time, try again later")
	// ErrSyntax is returned for a message that its mechanism does not allow
	// (RFC 4954: 501 5.5.2; IMAP: BAD).
	ErrSyntax = errors.New("malformed authentication message")
	// ErrMechanism is returned for a mechanism that is unknown, or that is not
	// offered on this connection (RFC 4954: 504 5.5.4; IMAP: NO).
	ErrMechanism = errors.New("authentication mechanism not available")
)

// An Identity is who logged in.
type Identity struct {
	AccountID      int64
	Name           string // the account's own name, whatever address was typed
	CredentialName string // which password it was; "" is the main one
}

// An Authenticator decides who may log in. Accounts and Secret must be set, the
// other fields may be left zero; none may change after the first call. It is
// safe for concurrent use, and all services should share one: what is guessed
// over IMAP then counts at submission too.
//
// It does not know whether a service allows passwords without TLS: the service
// asks Mechanisms, and refuses everything where that is empty.
type Authenticator struct {
	Accounts   Accounts
	Secret     []byte       // known to the server only, the same after a restart; 16 octets at least
	Iterations int          // what unknown accounts claim to use; 0 means 65,536, the count of all known ones
	Queue      int          // logins that may wait for one of the two derivations; 0 means 64
	Log        *slog.Logger // nil means slog.Default()

	once      sync.Once
	process   []byte // key of everything that is remembered; new at every start
	slots     slots
	recent    recent
	networks  throttle[netip.Prefix]
	accounts  throttle[int64]
	strangers throttle[[sha256.Size]byte] // names that are no account's; apart, so that they push no account out

	// Set by tests only.
	derive func(prepared string, salt []byte, iterations int) (storedKey, serverKey []byte)
	nonce  func() string // the server's part of SCRAM's nonce
}

// The throttle's measures. A network has 10 different guesses, then waits; an
// account is given more, because people far apart may mistype it, and a shorter
// longest lockout, because its owner may be among those who wait.
const (
	networkGuesses = 10
	accountGuesses = 20
)

func (a *Authenticator) start() {
	a.once.Do(func() {
		a.process = make([]byte, sha256.Size)
		rand.Read(a.process)
		a.slots = newSlots(derivations, orDefault(a.Queue, 64))
		a.networks.init(networkGuesses, networkLockout)
		a.accounts.init(accountGuesses, accountLockout)
		a.strangers.init(accountGuesses, accountLockout)
		if a.derive == nil {
			a.derive = deriveKeys
		}
		if a.nonce == nil {
			a.nonce = rand.Text
		}
	})
}

func (a *Authenticator) log() *slog.Logger {
	if a.Log == nil {
		return slog.Default()
	}
	return a.Log
}

func orDefault(n, def int) int {
	if n == 0 {
		return def
	}
	return n
}

// Password checks the name and password of a command that carries both, such
// as IMAP's LOGIN. It costs the same for an account that exists and for one
// that does not, and a failure is answered the later, the more there were (8
// seconds at most). Failures are counted by the network of addr: the address,
// or its /64. The caller has made sure that the connection may carry a
// password: see Mechanisms. Errors: ErrFailed, ErrThrottled, ErrBusy, that of
// ctx, or that of Accounts.
func (a *Authenticator) Password(ctx context.Context, name, password string, addr netip.Addr) (Identity, error) {
	return a.password(ctx, "", name, password, addr)
}

// password is Password for someone who asks to act as authzid; empty means as
// who it is.
func (a *Authenticator) password(ctx context.Context, authzid, name, password string, addr netip.Addr) (Identity, error) {
	a.start()
	t, err := a.begin(ctx, name, addr)
	if err != nil {
		return Identity{}, err
	}
	t.actAs(authzid)
	prepared, err := preparePassword(password)
	if err != nil {
		prepared, t.hopeless = "", true // no stored password is like that; the work stays the same
	}
	if c, ok := t.recall(prepared); ok {
		return t.succeed(ctx, c), nil
	}
	c, ok, err := t.verify(ctx, prepared)
	if err != nil {
		return Identity{}, err
	}
	if !ok {
		return Identity{}, t.fail(ctx, a.guess(t.name, password))
	}
	t.remember(c, prepared)
	return t.succeed(ctx, c), nil
}
