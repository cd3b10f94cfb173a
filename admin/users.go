package admin

import (
	"context"
	"fmt"
	"time"

	"mailbox/internal/login"
	"mailbox/storage"
)

// None is the answer, or the request, that holds nothing.
type None struct{}

// A User is an account as the operator sees it.
type User struct {
	Address      string        `json:"address"`
	Addresses    []string      `json:"addresses,omitempty"` // further ones
	Quota        int64         `json:"quota"`               // bytes; 0 means no limit
	Used         int64         `json:"used"`                // bytes
	Messages     int64         `json:"messages"`
	TagFolders   bool          `json:"tag_folders"`
	Created      time.Time     `json:"created"`
	AppPasswords []AppPassword `json:"app_passwords,omitempty"`
	LastLogin    *time.Time    `json:"last_login,omitempty"`
}

// An AppPassword is a password made for one program.
type AppPassword struct {
	Name     string     `json:"name"`
	Password string     `json:"password,omitempty"` // only in the answer that made it
	Created  time.Time  `json:"created"`
	LastUsed *time.Time `json:"last_used,omitempty"`
	LastFrom string     `json:"last_from,omitempty"`
}

// A NewUser is what a user starts with.
type NewUser struct {
	Address  string `json:"address"`
	Password string `json:"password"`
	Quota    int64  `json:"quota,omitempty"` // bytes; 0 means no limit
}

// A UserRef names a user by an address that leads directly to it.
type UserRef struct {
	Address string `json:"address"`
}

// A UserChange changes what is not nil.
type UserChange struct {
	Address    string `json:"address"`
	Quota      *int64 `json:"quota,omitempty"` // bytes; 0 means no limit
	TagFolders *bool  `json:"tag_folders,omitempty"`
}

// An AppPasswordRef names an app password of a user.
type AppPasswordRef struct {
	Address string `json:"address"`
	Name    string `json:"name"`
}

func (a *API) userAdd(ctx context.Context, in NewUser) (User, error) {
	address, err := storage.ParseAddress(in.Address)
	if err != nil {
		return User{}, err
	}
	if err := a.ours(address); err != nil {
		return User{}, err
	}
	if in.Quota < 0 {
		return User{}, fmt.Errorf("quota %d is negative: %w", in.Quota, storage.ErrInvalid)
	}
	account := storage.Account{Name: address, Quota: in.Quota}
	account.Salt, account.Iterations = storage.NewSalt()
	c, err := credential("", in.Password, account)
	if err != nil {
		return User{}, err
	}
	if _, err := a.DB.CreateAccount(ctx, account, c); err != nil {
		return User{}, err
	}
	return a.userShow(ctx, UserRef{address})
}

// ours refuses an address that could never get mail.
func (a *API) ours(address string) error {
	if err := a.localDomain(address[lastAt(address)+1:]); err != nil {
		return fmt.Errorf("%s: %w", address, err)
	}
	return nil
}

// localDomain refuses a domain that is not ours.
func (a *API) localDomain(domain string) error {
	if !a.DB.LocalDomain(domain) {
		return fmt.Errorf("%s is not among the domains of the configuration; add it to `domains` and reload the server: %w", domain, storage.ErrForeign)
	}
	return nil
}

func lastAt(s string) int {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] == '@' {
			return i
		}
	}
	return -1
}

func credential(name, password string, account storage.Account) (storage.Credential, error) {
	if err := login.CheckPassword(password); err != nil {
		return storage.Credential{}, fmt.Errorf("%w: %w", err, storage.ErrInvalid)
	}
	stored, server := login.NewCredential(password, account.Salt, account.Iterations)
	return storage.Credential{Name: name, StoredKey: stored, ServerKey: server}, nil
}

func (a *API) account(ctx context.Context, address string) (storage.Account, []storage.Credential, error) {
	account, credentials, err := a.DB.AccountByLogin(ctx, address)
	if err != nil {
		return account, nil, fmt.Errorf("user %s: %w", address, err)
	}
	return account, credentials, nil
}

func (a *API) userList(ctx context.Context, _ None) ([]User, error) {
	accounts, err := a.DB.Accounts(ctx)
	users := make([]User, 0, len(accounts))
	for _, account := range accounts {
		users = append(users, userOf(account))
	}
	return users, err
}

func userOf(a storage.Account) User {
	return User{Address: a.Name, Quota: a.Quota, Used: a.Used, Messages: a.Messages, TagFolders: a.TagFolders, Created: a.Created}
}

func (a *API) userShow(ctx context.Context, in UserRef) (User, error) {
	account, credentials, err := a.account(ctx, in.Address)
	if err != nil {
		return User{}, err
	}
	u := userOf(account)
	addresses, err := a.DB.Addresses(ctx, account.ID)
	for _, s := range addresses {
		if s != account.Name {
			u.Addresses = append(u.Addresses, s)
		}
	}
	for _, c := range credentials {
		if p := appPasswordOf(c); p.LastUsed != nil && (u.LastLogin == nil || p.LastUsed.After(*u.LastLogin)) {
			u.LastLogin = p.LastUsed
		}
	}
	u.AppPasswords = appPasswords(credentials)
	return u, err
}

func (a *API) userPasswd(ctx context.Context, in NewUser) (None, error) {
	account, _, err := a.account(ctx, in.Address)
	if err != nil {
		return None{}, err
	}
	c, err := credential("", in.Password, account)
	if err != nil {
		return None{}, err
	}
	return None{}, a.DB.PutCredential(ctx, account.ID, c)
}

func (a *API) userSet(ctx context.Context, in UserChange) (User, error) {
	account, _, err := a.account(ctx, in.Address)
	if err != nil {
		return User{}, err
	}
	if in.Quota != nil {
		if *in.Quota < 0 {
			return User{}, fmt.Errorf("quota %d is negative: %w", *in.Quota, storage.ErrInvalid)
		}
		if err := a.DB.SetQuota(ctx, account.ID, *in.Quota); err != nil {
			return User{}, err
		}
	}
	if in.TagFolders != nil {
		if err := a.DB.SetTagFolders(ctx, account.ID, *in.TagFolders); err != nil {
			return User{}, err
		}
	}
	return a.userShow(ctx, UserRef{in.Address})
}

// userRemove ends the user's sessions too: what they hold open is gone.
func (a *API) userRemove(ctx context.Context, in UserRef) (None, error) {
	account, _, err := a.account(ctx, in.Address)
	if err != nil {
		return None{}, err
	}
	if err := a.DB.RemoveAccount(ctx, account.ID); err != nil {
		return None{}, err
	}
	if a.Sessions != nil {
		for _, s := range a.Sessions.Sessions() {
			if s.Account == account.Name {
				a.Sessions.Kill(s.ID)
			}
		}
	}
	return None{}, nil
}

func (a *API) appPasswordAdd(ctx context.Context, in AppPasswordRef) (AppPassword, error) {
	account, credentials, err := a.account(ctx, in.Address)
	if err != nil {
		return AppPassword{}, err
	}
	if in.Name == "" || len(in.Name) > 100 {
		return AppPassword{}, fmt.Errorf("an app password needs a name of 1 to 100 octets: %w", storage.ErrInvalid)
	}
	for _, c := range credentials {
		if c.Name == in.Name {
			return AppPassword{}, fmt.Errorf("app password %q: %w", in.Name, storage.ErrExists)
		}
	}
	password := login.GenerateAppPassword()
	c, err := credential(in.Name, password, account)
	if err != nil {
		return AppPassword{}, err
	}
	if err := a.DB.PutCredential(ctx, account.ID, c); err != nil {
		return AppPassword{}, err
	}
	return AppPassword{Name: in.Name, Password: password, Created: time.Now().UTC()}, nil
}

func (a *API) appPasswordList(ctx context.Context, in UserRef) ([]AppPassword, error) {
	_, credentials, err := a.account(ctx, in.Address)
	return appPasswords(credentials), err
}

func (a *API) appPasswordRemove(ctx context.Context, in AppPasswordRef) (None, error) {
	account, _, err := a.account(ctx, in.Address)
	if err != nil {
		return None{}, err
	}
	if in.Name == "" {
		return None{}, fmt.Errorf("the main password can be changed, not removed: %w", storage.ErrInvalid)
	}
	if err := a.DB.RemoveCredential(ctx, account.ID, in.Name); err != nil {
		return None{}, fmt.Errorf("app password %q: %w", in.Name, err)
	}
	return None{}, nil
}

func appPasswords(credentials []storage.Credential) []AppPassword {
	all := []AppPassword{}
	for _, c := range credentials {
		if c.Name != "" {
			all = append(all, appPasswordOf(c))
		}
	}
	return all
}

func appPasswordOf(c storage.Credential) AppPassword {
	p := AppPassword{Name: c.Name, Created: c.Created, LastFrom: c.LastFrom}
	if !c.LastUsed.IsZero() {
		p.LastUsed = &c.LastUsed
	}
	return p
}
