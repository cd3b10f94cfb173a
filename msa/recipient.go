package msa

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"mailbox/internal/smtpd"
	"mailbox/storage"
)

// A target is where mail for one recipient goes.
type target struct {
	storage.Resolved
	here []string // addresses under which the queue finds the local accounts later
}

// resolve finds who gets mail for an address, and whether they have room.
func (t *session) resolve(ctx context.Context, m smtpd.Mail, to string) (target, error) {
	r, err := t.s.Store.Resolve(ctx, to)
	switch {
	case errors.Is(err, storage.ErrForeign):
		address, err := foreign(to, m.UTF8)
		return target{Resolved: storage.Resolved{Remote: []string{address}}}, err
	case errors.Is(err, storage.ErrNotFound):
		return target{}, smtpd.Reply(550, "5.1.1", "no such user here")
	case err != nil:
		return target{}, fmt.Errorf("resolve %s: %w", to, err)
	}
	for _, one := range r.Local {
		if one.Postmaster {
			continue
		}
		over, err := t.s.Store.OverQuota(ctx, one.Account, max(m.Size, 1))
		if err != nil {
			return target{}, fmt.Errorf("quota of %s: %w", one.Address, err)
		}
		if over {
			return target{}, smtpd.Reply(452, "4.2.2", "mailbox is full")
		}
	}
	here, err := t.here(ctx, to, r)
	return target{r, here}, err
}

// here returns addresses that lead to the local accounts of a recipient, one
// to each, and to nobody else. Where there is but one account that is the
// recipient's own, with its tag; behind an alias it is the account's.
func (t *session) here(ctx context.Context, to string, r storage.Resolved) ([]string, error) {
	if len(r.Local) == 1 && len(r.Remote) == 0 {
		clean, err := storage.ParseAddress(to)
		return []string{clean}, err
	}
	var list []string
	for _, one := range r.Local {
		address := one.Address
		if strings.HasPrefix(address, "@") { // a catch-all
			a, err := t.s.Store.Account(ctx, one.Account)
			if err != nil {
				return nil, fmt.Errorf("account behind %s: %w", address, err)
			}
			address = a.Name
		}
		list = append(list, address)
	}
	return list, nil
}

// foreign brings a recipient of another domain to the form in which it is
// queued: as written, with a domain of lower-case A-labels. Such that could end
// a command or a path, or are too long (RFC 5321 section 4.5.3.1), are refused.
func foreign(address string, allowUTF8 bool) (string, error) {
	bad := func(text string) (string, error) { return "", smtpd.Reply(553, "5.1.3", text) }
	at := strings.LastIndexByte(address, '@')
	if at <= 0 || !utf8.ValidString(address) {
		return bad("that is no address")
	}
	if strings.Contains(address[:at], "@") { // go-smtp does not tell a quoted one from two addresses
		return bad("that is no address, or one with an @ in its local part")
	}
	if at > 64 {
		return bad("local part is longer than 64 octets")
	}
	if strings.ContainsFunc(address, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) || r == '<' || r == '>' }) {
		return bad("an address may hold no space, control character or angle bracket")
	}
	if !allowUTF8 && !isASCII(address) {
		return "", smtpd.Reply(553, "5.6.7", "an address that is not ASCII needs SMTPUTF8")
	}
	if domain := address[at+1:]; !isLiteral(domain) {
		clean, err := storage.ParseAddress("x@" + domain)
		if err != nil {
			return bad("domain of the address is none")
		}
		address = address[:at] + clean[1:]
	}
	if len(address) > 254 {
		return bad("address is longer than 254 octets")
	}
	return address, nil
}

// isLiteral tells whether a domain is an address literal (RFC 5321 section 4.1.3).
func isLiteral(domain string) bool {
	inner, ok := strings.CutPrefix(domain, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	if !ok || !closed {
		return false
	}
	const tag = "IPv6:"
	if len(inner) > len(tag) && strings.EqualFold(inner[:len(tag)], tag) {
		ip, err := netip.ParseAddr(inner[len(tag):])
		return err == nil && ip.Is6() && ip.Zone() == ""
	}
	ip, err := netip.ParseAddr(inner)
	return err == nil && ip.Is4()
}

// original is an address as the parameter ORCPT has it (RFC 3461 section 4.2,
// RFC 6533 section 3).
func original(address string) string {
	if isASCII(address) {
		return "rfc822;" + smtpd.Path(address)
	}
	return "utf-8;" + smtpd.Path(address)
}

// foldDomain brings the domain of an address to lower-case A-labels.
func foldDomain(address string) string {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return address
	}
	clean, err := storage.ParseAddress("x" + address[at:])
	if err != nil {
		return address
	}
	return address[:at] + clean[1:]
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf })
}
