package main

import (
	"context"
	"errors"
	"net/netip"
	"strconv"
	"time"

	"mailbox/admin"
	"mailbox/imapd"
	"mailbox/internal/login"
	"mailbox/internal/smtpd"
	"mailbox/mda"
	"mailbox/msa"
	"mailbox/mta"
	"mailbox/storage"
	"mailbox/tls"
)

// accounts shows the store's accounts to login.
type accounts struct{ db *storage.DB }

// Account implements login.Accounts.
func (a accounts) Account(ctx context.Context, name string) (login.Account, error) {
	acc, creds, err := a.db.AccountByLogin(ctx, name)
	if errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrInvalid) {
		clean, perr := storage.ParseAddress(name)
		if perr != nil {
			clean = ""
		}
		return login.Account{Name: clean}, login.ErrUnknown
	}
	out := login.Account{ID: int64(acc.ID), Name: acc.Name, Salt: acc.Salt, Iterations: acc.Iterations}
	for _, c := range creds {
		out.Credentials = append(out.Credentials, login.Credential{ID: c.ID, Name: c.Name, App: c.Name != "", StoredKey: c.StoredKey, ServerKey: c.ServerKey})
	}
	return out, err
}

// UseCredential implements login.Accounts.
func (a accounts) UseCredential(ctx context.Context, account, credential int64, from netip.Addr) error {
	return a.db.UseCredential(ctx, storage.AccountID(account), credential, from.String())
}

// LoginAddresses implements login.Accounts.
func (a accounts) LoginAddresses(ctx context.Context, account int64) ([]netip.Addr, error) {
	list, err := a.db.LoginAddresses(ctx, storage.AccountID(account))
	addrs := make([]netip.Addr, 0, len(list))
	for _, s := range list {
		if addr, perr := netip.ParseAddr(s); perr == nil {
			addrs = append(addrs, addr)
		}
	}
	return addrs, err
}

// deliverer hands what the MTA accepted to the MDA.
type deliverer struct{ agent *mda.Agent }

// Deliver implements mta.Deliverer.
func (d deliverer) Deliver(ctx context.Context, m *mta.Message) ([]string, error) {
	return file(ctx, d.agent, d.message(m))
}

func (d deliverer) message(m *mta.Message) *mda.Message {
	out := &mda.Message{
		Spooled: m.Spooled, From: m.From, Received: time.Now(), To: m.To, Queue: m.Queue, Settle: m.Settle,
		Suspect: m.Suspect, Met: m.Met,
	}
	if m.Report != nil {
		out.Report = d.message(m.Report)
	}
	return out
}

// submitter hands what our users submitted to the MDA.
type submitter struct{ agent *mda.Agent }

// Submit implements msa.Submitter.
func (s submitter) Submit(ctx context.Context, m *msa.Message) ([]string, error) {
	return file(ctx, s.agent, &mda.Message{Spooled: m.Spooled, From: m.From, Received: time.Now(), To: m.To, Queue: m.Queue})
}

// file says in SMTP's words what the MDA made of a message.
func file(ctx context.Context, agent *mda.Agent, m *mda.Message) (filed []string, err error) {
	outcomes, err := agent.Deliver(ctx, m)
	var refusal *mda.Refusal
	if errors.As(err, &refusal) {
		return nil, smtpd.Reply(550, "5.7.1", refusal.Text)
	}
	if errors.Is(err, storage.ErrNotFound) { // the accounts were removed since RCPT
		return nil, smtpd.Reply(550, "5.1.1", "no such user here")
	}
	for _, o := range outcomes {
		for _, mailbox := range o.Filed {
			filed = append(filed, o.Address+"/"+mailbox)
		}
	}
	return filed, err
}

// sessions shows the IMAP connections to the operator.
type sessions struct{ server *imapd.Server }

// Sessions implements admin.Sessions.
func (s sessions) Sessions() []admin.Session {
	var all []admin.Session
	for _, c := range s.server.Sessions() {
		all = append(all, admin.Session{
			ID: strconv.FormatUint(c.ID, 10), Account: c.Account, Remote: c.Addr, TLS: c.TLS, Mailbox: c.Mailbox, Since: c.Since,
		})
	}
	return all
}

// Kill implements admin.Sessions.
func (s sessions) Kill(id string) bool {
	n, err := strconv.ParseUint(id, 10, 64)
	return err == nil && s.server.Kill(n)
}

// certificates shows the certificates to the operator.
type certificates struct{ manager *tls.Manager }

// Certificates implements admin.Certificates.
func (c certificates) Certificates() []admin.Certificate {
	var all []admin.Certificate
	for _, t := range c.manager.Certificates() {
		a := admin.Certificate{
			Names: t.Names, Source: t.Source, Issuer: t.Issuer, Serial: t.Serial, From: t.NotBefore, Until: t.NotAfter,
			TLSA: "3 1 1 " + t.Key, Problem: t.Problem,
		}
		if t.NextKey != "" {
			a.NextTLSA = "3 1 1 " + t.NextKey
		}
		if !t.NextAttempt.IsZero() {
			a.NextAttempt = &t.NextAttempt
		}
		all = append(all, a)
	}
	return all
}

// Renew implements admin.Certificates.
func (c certificates) Renew(ctx context.Context, newKey bool) error {
	return c.manager.Renew(ctx, newKey)
}
