package login

import (
	"context"
	"errors"
	"net/netip"
)

// ErrUnknown is what Accounts returns for a name that is no account's.
var ErrUnknown = errors.New("unknown account")

// An Account is someone who can log in. All its credentials share one salt,
// because SCRAM sends it before it is known which of them is meant.
type Account struct {
	ID          int64
	Name        string
	Salt        []byte
	Iterations  int // of PBKDF2
	Credentials []Credential
}

// A Credential is one password of an account, as the keys of SCRAM-SHA-256.
type Credential struct {
	ID        int64  // another one after every change
	Name      string // "" for the main password
	App       bool   // made by GenerateAppPassword: it cannot be guessed
	StoredKey []byte // RFC 5802 section 3
	ServerKey []byte
}

// Accounts holds what the Authenticator must know. Its functions are called by
// many goroutines at once.
type Accounts interface {
	// Account returns the account that logs in by name, which is in lower case
	// and NFC, as it is at this moment: a removed credential is never among
	// its Credentials again. The error is ErrUnknown where there is none; Name
	// is then the one form of all spellings that the store takes for the same
	// name (quotes, A-labels), or empty where it knows no other. Without it, a
	// peer could tell unknown names by a salt that differs between spellings.
	Account(ctx context.Context, name string) (Account, error)
	// UseCredential records that a login succeeded now, and from where.
	UseCredential(ctx context.Context, account, credential int64, from netip.Addr) error
	// LoginAddresses returns the addresses that UseCredential was given for an
	// account within the last 30 days; none, without an error, for an account
	// that does not exist.
	LoginAddresses(ctx context.Context, account int64) ([]netip.Addr, error)
}
