package login

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"
)

// An attempt is one try to log in, from the name to the outcome.
type attempt struct {
	*Authenticator
	addr     netip.Addr
	network  netip.Prefix
	name     string  // the one form of all its spellings; as typed where it cannot be an account's
	account  Account // where there is none, one that nobody can enter
	real     bool    // there is such an account
	appOnly  bool    // the account is locked out for this network, save for passwords that cannot be guessed
	hopeless bool    // nothing opens the account in this attempt
}

// begin finds the account. ErrThrottled: the network is locked out.
func (a *Authenticator) begin(ctx context.Context, name string, addr netip.Addr) (*attempt, error) {
	t := &attempt{Authenticator: a, addr: addr, network: networkOf(addr), name: name}
	if a.networks.locked(t.network, time.Now()) {
		return nil, ErrThrottled
	}
	err := ErrUnknown
	if folded, ok := foldName(name); ok {
		t.name = folded
		t.account, err = a.Accounts.Account(ctx, folded)
		if t.account.Name != "" {
			t.name = t.account.Name
		}
	}
	switch {
	case errors.Is(err, ErrUnknown):
		t.account = a.nobody(t.name)
	case err != nil:
		return nil, fmt.Errorf("look up account: %w", err)
	default:
		t.real = true
	}
	return t, t.checkAccountLock(ctx)
}

// nobody is what an unknown name is answered with: a salt that is always the
// same for it, and keys that fit no password.
func (a *Authenticator) nobody(name string) Account {
	return Account{
		Salt:       mac(a.Secret, "salt\x00", name)[:16],
		Iterations: orDefault(a.Iterations, defaultIterations),
		Credentials: []Credential{{
			StoredKey: mac(a.process, "stored\x00", name),
			ServerKey: mac(a.process, "server\x00", name),
		}},
	}
}

// actAs makes the attempt hopeless unless authzid is who logs in: nobody acts
// for others (RFC 4616 section 2, RFC 5802 section 5.1).
func (t *attempt) actAs(authzid string) {
	if authzid == "" {
		return
	}
	folded, ok := foldName(authzid)
	t.hopeless = t.hopeless || !ok || folded != t.name
}

// checkAccountLock sets appOnly where the account is locked out for this network.
func (t *attempt) checkAccountLock(ctx context.Context) error {
	if t.appOnly || !t.accountLocked() {
		return nil
	}
	known, err := t.knownNetwork(ctx)
	t.appOnly = !known
	return err
}

func (t *attempt) stranger() [sha256.Size]byte { return sha256.Sum256([]byte(t.name)) }

func (t *attempt) accountLocked() bool {
	if t.real {
		return t.accounts.locked(t.account.ID, time.Now())
	}
	return t.strangers.locked(t.stranger(), time.Now())
}

func (t *attempt) accountFailures() int {
	if t.real {
		return t.accounts.count(t.account.ID, time.Now())
	}
	return t.strangers.count(t.stranger(), time.Now())
}

// knownNetwork says whether somebody logged in to the account from this network
// within 30 days. IPv6 hosts change their address daily within a /64.
func (t *attempt) knownNetwork(ctx context.Context) (bool, error) {
	addrs, err := t.Accounts.LoginAddresses(ctx, t.account.ID)
	if err != nil {
		return false, fmt.Errorf("look up login addresses: %w", err)
	}
	for _, a := range addrs {
		if t.real && networkOf(a) == t.network && t.network.IsValid() {
			return true, nil
		}
	}
	return false, nil
}

// mayUse says whether a credential counts in this attempt.
func (t *attempt) mayUse(c Credential) bool {
	return t.real && !t.hopeless && (c.App || !t.appOnly)
}

// verify derives the keys of a prepared password, once, whoever asks, and
// returns the credential that has them.
func (t *attempt) verify(ctx context.Context, prepared string) (Credential, bool, error) {
	if err := t.slots.acquire(ctx); err != nil {
		return Credential{}, false, err
	}
	defer t.slots.release()
	// Much may have happened in the queue: the others of a burst of guesses
	// failed, or those of a burst of connections succeeded.
	if t.networks.locked(t.network, time.Now()) {
		return Credential{}, false, ErrThrottled
	}
	if err := t.checkAccountLock(ctx); err != nil {
		return Credential{}, false, err
	}
	if c, ok := t.recall(prepared); ok {
		return c, true, nil
	}
	storedKey, _ := t.derive(prepared, t.account.Salt, t.account.Iterations)
	c, ok := t.match(func(c Credential) bool { return subtle.ConstantTimeCompare(c.StoredKey, storedKey) == 1 })
	return c, ok, nil
}

// match tries every credential, also after one fitted.
func (t *attempt) match(fits func(Credential) bool) (found Credential, ok bool) {
	for _, c := range t.account.Credentials {
		if fits(c) && t.mayUse(c) {
			found, ok = c, true
		}
	}
	return found, ok
}

// recall finds the credential that the same password opened a moment ago.
func (t *attempt) recall(prepared string) (Credential, bool) {
	now := time.Now()
	return t.match(func(c Credential) bool { return t.recent.holds(t.remembered(c, prepared), now) })
}

// remember spares the same password its derivation for a while.
func (t *attempt) remember(c Credential, prepared string) {
	now := time.Now()
	t.recent.add(t.remembered(c, prepared), now, now.Add(rememberFor))
}

// remembered names a password that opened a credential. Whatever is changed
// about the credential changes the name.
func (t *attempt) remembered(c Credential, prepared string) [sha256.Size]byte {
	return [sha256.Size]byte(mac(t.process, "password\x00", t.ids(c), string(c.StoredKey), prepared))
}

func (t *attempt) ids(c Credential) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(t.account.ID))
	binary.BigEndian.PutUint64(b[8:], uint64(c.ID))
	return string(b[:])
}

// guess names what was tried, to know it again.
func (a *Authenticator) guess(name, password string) guess {
	sum := sha256.Sum256([]byte(name))
	return guess(mac(a.process, "guess\x00", string(sum[:]), password)[:8])
}

// succeed returns who it is, and has it recorded. That it could not be recorded
// keeps nobody out: with a full disk, one must log in to delete something.
func (t *attempt) succeed(ctx context.Context, c Credential) Identity {
	now := time.Now()
	record := [sha256.Size]byte(mac(t.process, "record\x00", t.ids(c), t.addr.String()))
	if !t.recent.holds(record, now) {
		if err := t.Accounts.UseCredential(ctx, t.account.ID, c.ID, t.addr); err != nil {
			t.log().Warn("login not recorded", "account", t.account.Name, "error", err)
		} else {
			t.recent.add(record, now, now.Add(recordEvery))
		}
	}
	return Identity{AccountID: t.account.ID, Name: t.account.Name, CredentialName: c.Name}
}

// fail counts a failure, waits, and returns the error to answer with.
func (t *attempt) fail(ctx context.Context, g guess) error {
	now := time.Now()
	if lockout := t.networks.fail(t.network, g, now); lockout > 0 {
		t.log().Warn("network locked out after failed logins", "network", t.network.String(), "for", lockout)
	}
	n := t.networks.count(t.network, now)
	result := ErrFailed
	if t.appOnly {
		result = ErrThrottled // right or wrong: a locked account tells nothing about a guess
	} else {
		known, err := t.knownNetwork(ctx)
		if err != nil {
			return err
		}
		if !known {
			t.failAccount(g, now)
			n = max(n, t.accountFailures())
		}
	}
	wait := time.NewTimer(delay(n))
	defer wait.Stop()
	select {
	case <-wait.C:
		return result
	case <-ctx.Done():
		return ctx.Err()
	}
}

// failAccount counts a failure by account. The name of a stranger is not
// logged: people type their password there.
func (t *attempt) failAccount(g guess, now time.Time) {
	if !t.real {
		t.strangers.fail(t.stranger(), g, now)
		return
	}
	if lockout := t.accounts.fail(t.account.ID, g, now); lockout > 0 {
		t.log().Warn("account locked out for unknown networks after failed logins",
			slog.String("account", t.account.Name), slog.Duration("for", lockout))
	}
}
