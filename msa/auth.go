package msa

import (
	"context"
	"errors"

	"mailbox/internal/login"
	"mailbox/internal/smtpd"
	"mailbox/storage"
)

// Mechanisms implements smtpd.Login.
func (t *session) Mechanisms() []string {
	return login.Mechanisms(t.conn.TLS(), t.cfg.PlaintextLogin)
}

// Auth implements smtpd.Login.
func (t *session) Auth(mechanism string) (smtpd.Exchange, error) {
	if len(t.Mechanisms()) == 0 {
		return nil, smtpd.Reply(538, "5.7.11", "encryption required for authentication: use STARTTLS first")
	}
	x, err := t.s.Auth.Start(mechanism, t.conn.Addr(), t.conn.TLS())
	if err != nil {
		return nil, t.loginFailed(mechanism, err)
	}
	return &exchange{t: t, ctx: t.s.ctx, x: x, mechanism: mechanism}, nil
}

// An exchange is a login in progress.
type exchange struct {
	t         *session
	ctx       context.Context //nolint:containedctx // smtpd hands none down
	x         *login.Exchange
	mechanism string
}

// Next implements smtpd.Exchange.
func (e *exchange) Next(message []byte) (challenge []byte, done bool, err error) {
	challenge, id, err := e.x.Next(e.ctx, message)
	if err != nil {
		return nil, false, e.t.loginFailed(e.mechanism, err)
	}
	if id == nil {
		return challenge, false, nil
	}
	e.t.loggedIn(*id, e.mechanism)
	return nil, true, nil
}

func (t *session) loggedIn(id login.Identity, mechanism string) {
	t.account = storage.AccountID(id.AccountID)
	t.log = t.conn.Log().With("account", id.Name)
	t.s.stats.logins.Add(1)
	t.log.Info("login", "mechanism", mechanism, "tls", t.conn.TLS() != nil, "credential", id.CredentialName)
}

// loginFailed counts, logs and answers a login that came to nothing. The name
// that was tried is not logged: people type their password there.
func (t *session) loginFailed(mechanism string, err error) error {
	s := loginStatus(err)
	t.s.stats.failedLogins.Add(1)
	if s.Code == 504 {
		mechanism = "" // what else the client may have sent in its place
	}
	t.log.Info("login failed", "mechanism", mechanism, "tls", t.conn.TLS() != nil, "reply", smtpd.ReplyCode(s))
	return s
}

// loginStatus is the reply to a failed login (RFC 4954 section 6).
func loginStatus(err error) *smtpd.Status {
	switch {
	case errors.Is(err, login.ErrFailed):
		return smtpd.Reply(535, "5.7.8", "name or password is wrong")
	case errors.Is(err, login.ErrThrottled):
		return smtpd.Reply(454, "4.7.0", "too many failed logins, try again later")
	case errors.Is(err, login.ErrBusy):
		return smtpd.Reply(454, "4.7.0", "too many logins at a time, try again later")
	case errors.Is(err, login.ErrSyntax):
		return smtpd.Reply(501, "5.5.2", "malformed authentication message")
	case errors.Is(err, login.ErrMechanism):
		return smtpd.Reply(504, "5.5.4", "mechanism is not available")
	}
	return &smtpd.Status{Code: 454, Enhanced: "4.7.0", Text: "login is not possible now, try again later", Err: err}
}
