package admin

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"mailbox/storage"
)

// An Alias is an address that stands for others, here and elsewhere.
type Alias struct {
	Address string   `json:"address"`
	Targets []string `json:"targets"`
}

func (a *API) aliasAdd(ctx context.Context, in Alias) (None, error) {
	address, err := storage.ParseAddress(in.Address)
	if err != nil {
		return None{}, err
	}
	if err := a.ours(address); err != nil {
		return None{}, err
	}
	return None{}, a.DB.AddAlias(ctx, storage.Alias(in))
}

func (a *API) aliasList(ctx context.Context, _ None) ([]Alias, error) {
	aliases, err := a.DB.Aliases(ctx)
	all := make([]Alias, 0, len(aliases))
	for _, s := range aliases {
		all = append(all, Alias(s))
	}
	return all, err
}

func (a *API) aliasRemove(ctx context.Context, in Alias) (None, error) {
	return None{}, a.DB.RemoveAddress(ctx, in.Address)
}

// A Mailbox is a folder of a user with its counts.
type Mailbox struct {
	Name       string `json:"name"`
	Messages   int64  `json:"messages"`
	Unseen     int64  `json:"unseen"`
	Size       int64  `json:"size"` // bytes
	SpecialUse string `json:"special_use,omitempty"`
	Subscribed bool   `json:"subscribed"`
}

func (a *API) mailboxList(ctx context.Context, in UserRef) ([]Mailbox, error) {
	account, _, err := a.account(ctx, in.Address)
	if err != nil {
		return nil, err
	}
	boxes, err := a.DB.Mailboxes(ctx, account.ID)
	all := make([]Mailbox, 0, len(boxes))
	for _, m := range boxes {
		if m.Exists {
			all = append(all, Mailbox{m.Name, m.Messages, m.Unseen, m.Size, m.SpecialUse, m.Subscribed})
		}
	}
	return all, err
}

// A Session is an open IMAP connection.
type Session struct {
	ID      string    `json:"id"`
	Account string    `json:"account,omitempty"` // "" before login
	Remote  string    `json:"remote"`
	TLS     bool      `json:"tls"`
	Mailbox string    `json:"mailbox,omitempty"`
	Since   time.Time `json:"since"`
}

func (a *API) sessionList(context.Context, None) ([]Session, error) {
	if a.Sessions == nil {
		return nil, errNeedsServer
	}
	return append([]Session{}, a.Sessions.Sessions()...), nil
}

// A SessionRef names a session.
type SessionRef struct {
	ID string `json:"id"`
}

func (a *API) sessionKill(_ context.Context, in SessionRef) (None, error) {
	if a.Sessions == nil {
		return None{}, errNeedsServer
	}
	if !a.Sessions.Kill(in.ID) {
		return None{}, fmt.Errorf("session %s: %w", in.ID, storage.ErrNotFound)
	}
	return None{}, nil
}

// A LogLevel is "debug", "info", "warn" or "error"; "" in a request asks what it is.
type LogLevel struct {
	Level string `json:"level"`
}

func (a *API) logLevel(_ context.Context, in LogLevel) (LogLevel, error) {
	if a.Level == nil {
		return LogLevel{}, errNeedsServer
	}
	if in.Level != "" {
		var l slog.Level
		if err := l.UnmarshalText([]byte(in.Level)); err != nil {
			return LogLevel{}, fmt.Errorf("log level %q is not debug, info, warn or error: %w", in.Level, storage.ErrInvalid)
		}
		a.Level.Set(l)
	}
	return LogLevel{strings.ToLower(a.Level.Level().String())}, nil
}

// A Verification is what `mailbox verify` found.
type Verification struct {
	Accounts  int64    `json:"accounts"`
	Mailboxes int64    `json:"mailboxes"`
	Messages  int64    `json:"messages"`
	Blobs     int64    `json:"blobs"`
	Bytes     int64    `json:"bytes"`
	Problems  []string `json:"problems"`
	Omitted   int      `json:"omitted,omitempty"` // problems beyond the first 10,000
}

func (a *API) verify(ctx context.Context, _ None) (Verification, error) {
	v := Verification{Problems: []string{}}
	seen, err := a.DB.Verify(ctx, func(p storage.Problem) {
		if len(v.Problems) >= 10_000 {
			v.Omitted++
			return
		}
		v.Problems = append(v.Problems, p.String())
	})
	v.Accounts, v.Mailboxes, v.Messages, v.Blobs, v.Bytes = seen.Accounts, seen.Mailboxes, seen.Messages, seen.Blobs, seen.Bytes
	return v, err
}
