package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// maxNesting is how many aliases may stand one behind the other.
const maxNesting = 10

// maxRecipients bounds what the aliases of one address may come to.
const maxRecipients = 1000

// ErrForeign says that an address is of a domain that is not ours.
var ErrForeign = errors.New("domain is not ours")

// domains are those that mail is taken for.
type domains struct {
	ours       map[string]bool
	postmaster string // the address that gets postmaster@ and abuse@; "": the oldest account
}

// SetDomains says whose mail is ours and who gets the mail for postmaster and
// abuse; "" is the oldest account. It takes effect at once.
func (db *DB) SetDomains(names []string, postmaster string) error {
	d := &domains{ours: map[string]bool{}, postmaster: postmaster}
	for _, n := range names {
		ascii, err := cleanDomain(n)
		if err != nil {
			return err
		}
		d.ours[ascii] = true
	}
	db.domains.Store(d)
	return nil
}

// LocalDomain tells whether mail for a domain is ours.
func (db *DB) LocalDomain(domain string) bool {
	d, err := cleanDomain(domain)
	return err == nil && db.domains.Load().ours[d]
}

// ParseAddress brings an address to the form in which it is kept: the local
// part in NFC and lower case, because ours are case-insensitive, and the domain
// in lower-case ASCII (RFC 5890 A-labels). "@domain" is a catch-all. Quotes
// around a local part are taken off. ErrInvalid: it is no address.
func ParseAddress(s string) (string, error) {
	if !utf8.ValidString(s) {
		return "", fmt.Errorf("address %q is not UTF-8: %w", s, ErrInvalid)
	}
	at := strings.LastIndexByte(s, '@')
	if at < 0 {
		return "", fmt.Errorf("address %q has no domain: %w", s, ErrInvalid)
	}
	domain, err := cleanDomain(s[at+1:])
	if err != nil {
		return "", fmt.Errorf("address %q: %w", s, err)
	}
	local, err := cleanLocal(s[:at])
	if err != nil {
		return "", fmt.Errorf("address %q: %w", s, err)
	}
	return local + "@" + domain, nil
}

func cleanLocal(local string) (string, error) {
	if len(local) >= 2 && local[0] == '"' && local[len(local)-1] == '"' {
		var b strings.Builder
		for i := 1; i < len(local)-1; i++ {
			if local[i] == '\\' && i < len(local)-2 {
				i++
			}
			b.WriteByte(local[i])
		}
		local = b.String()
	}
	if len(local) > 64 {
		return "", fmt.Errorf("local part is longer than 64 octets (RFC 5321 section 4.5.3.1.1): %w", ErrInvalid)
	}
	for _, r := range local {
		if r <= ' ' || r == 0x7f || r == '\ufffd' || r == '"' || r == '\\' {
			return "", fmt.Errorf("local part holds %q: %w", r, ErrInvalid)
		}
	}
	return strings.ToLower(norm.NFC.String(local)), nil
}

// cleanDomain maps a domain to its A-labels. It is lenient about underscores,
// which real domains have.
func cleanDomain(domain string) (string, error) {
	ascii, err := idna.New(idna.MapForLookup(), idna.StrictDomainName(false)).ToASCII(strings.TrimSuffix(domain, "."))
	if err == nil && len(ascii) <= 253 && isHostname(strings.ToLower(ascii)) {
		return strings.ToLower(ascii), nil
	}
	return "", fmt.Errorf("%q is no domain: %w", domain, ErrInvalid)
}

// isHostname tells whether s is labels of letters, digits, hyphens and
// underscores (which some have, whatever RFC 1123 says).
func isHostname(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for _, r := range label {
			if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' {
				return false
			}
		}
	}
	return true
}

// A Recipient is an account that an address leads to.
type Recipient struct {
	Account    AccountID
	Address    string // the account's address at which the mail arrives, or the catch-all
	Tag        string // of user+tag, else ""
	TagFolders bool   // the account wants the mail in the mailbox named Tag
	Postmaster bool   // for the postmaster, whom no quota keeps mail from
}

// Resolved is where mail for an address goes.
type Resolved struct {
	Local  []Recipient // each account once
	Remote []string    // addresses of other domains, behind an alias
}

// Resolve follows an address to accounts and remote targets: the exact
// address, the address without +tag, then the catch-all of its domain;
// aliases may lead to aliases, up to ten deep, and a loop leads nowhere twice.
// postmaster and abuse of our domains always lead to somebody. ErrForeign: the
// domain is not ours; ErrNotFound: nobody has that address.
func (db *DB) Resolve(ctx context.Context, address string) (Resolved, error) {
	d := db.domains.Load()
	clean, err := ParseAddress(address)
	if err != nil {
		if at := strings.LastIndexByte(address, '@'); at >= 0 && !db.LocalDomain(address[at+1:]) {
			return Resolved{}, ErrForeign
		}
		return Resolved{}, ErrNotFound
	}
	if _, domain, _ := cutAddress(clean); !d.ours[domain] {
		return Resolved{}, ErrForeign
	}
	r := resolver{db: db, ctx: ctx, domains: d, seen: map[string]bool{}}
	if err := r.follow(clean, "", 0); err != nil {
		return Resolved{}, err
	}
	if len(r.out.Local)+len(r.out.Remote) == 0 {
		return Resolved{}, ErrNotFound
	}
	return r.out, nil
}

type resolver struct {
	db      *DB
	ctx     context.Context
	domains *domains
	seen    map[string]bool
	out     Resolved
}

// follow adds what an address of ours leads to. tag is the one that a +tag
// address on the way here had.
func (r *resolver) follow(address, tag string, depth int) error {
	if r.seen[address] {
		return nil
	}
	r.seen[address] = true
	if depth > maxNesting {
		return fmt.Errorf("alias %s is nested deeper than %d: %w", address, maxNesting, ErrLimit)
	}
	local, domain, ok := cutAddress(address)
	if !ok {
		return nil
	}
	if !r.domains.ours[domain] {
		return r.remote(address)
	}
	found, err := r.lookup(address, tag, depth)
	if found || err != nil {
		return err
	}
	if plus := strings.IndexByte(local, '+'); plus > 0 {
		found, err = r.lookup(local[:plus]+"@"+domain, local[plus+1:], depth)
		if found || err != nil {
			return err
		}
	}
	if local == "postmaster" || local == "abuse" {
		if found, err = r.postmaster(depth); found || err != nil {
			return err
		}
	}
	_, err = r.lookup("@"+domain, tag, depth)
	return err
}

const selectAddress = `SELECT d.account, c.tag_folders, t.target FROM address d
	LEFT JOIN account c ON c.id = d.account LEFT JOIN alias_target t ON t.address = d.address
	WHERE d.address = ? ORDER BY t.target`

// lookup adds what one row of the address table leads to.
func (r *resolver) lookup(address, tag string, depth int) (found bool, err error) {
	rows, err := r.db.reads.address.QueryContext(r.ctx, address)
	type hit struct {
		account *AccountID
		folders *bool
		target  *string
	}
	hits, err := collect(rows, err, func(scan func(...any) error) (h hit, err error) {
		return h, scan(&h.account, &h.folders, &h.target)
	})
	for _, h := range hits {
		switch {
		case h.account != nil:
			r.local(Recipient{Account: *h.account, Address: address, Tag: tag, TagFolders: *h.folders})
		case h.target != nil:
			if err := r.follow(*h.target, tag, depth+1); err != nil {
				return true, err
			}
		}
	}
	return len(hits) > 0, err
}

// postmaster adds whoever reads the mail for the server's operator (RFC 5321 section 4.5.1).
func (r *resolver) postmaster(depth int) (bool, error) {
	before := len(r.out.Local)
	if r.domains.postmaster != "" {
		address, err := ParseAddress(r.domains.postmaster)
		if err == nil {
			err = r.follow(address, "", depth+1)
		}
		if err != nil {
			return false, err
		}
	} else {
		var c Recipient
		err := r.db.readDB.QueryRowContext(r.ctx, `SELECT id, name FROM account WHERE removed = 0 ORDER BY id LIMIT 1`).Scan(&c.Account, &c.Address)
		if err = classify(err); errors.Is(err, ErrNotFound) {
			return false, nil
		} else if err != nil {
			return false, err
		}
		r.local(c)
	}
	for i := before; i < len(r.out.Local); i++ {
		r.out.Local[i].Postmaster = true
	}
	return len(r.out.Local) > before || len(r.out.Remote) > 0, nil
}

func (r *resolver) local(c Recipient) {
	for _, have := range r.out.Local {
		if have.Account == c.Account {
			return
		}
	}
	r.out.Local = append(r.out.Local, c)
}

func (r *resolver) remote(address string) error {
	if len(r.out.Remote) >= maxRecipients {
		return fmt.Errorf("aliases lead to more than %d addresses: %w", maxRecipients, ErrLimit)
	}
	r.out.Remote = append(r.out.Remote, address)
	return nil
}

func cutAddress(address string) (local, domain string, ok bool) {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return "", "", false
	}
	return address[:at], address[at+1:], true
}

// AddAddress gives an account a further address of its own.
func (db *DB) AddAddress(ctx context.Context, account AccountID, address string) error {
	address, err := ParseAddress(address)
	if err != nil {
		return err
	}
	return db.writer.do(ctx, func(t *tx) error {
		n, err := t.affected(`INSERT INTO address (address, account) SELECT ?, id FROM account WHERE id = ? AND removed = 0
			ON CONFLICT DO NOTHING`, address, account)
		if err == nil && n == 0 {
			err = fmt.Errorf("address %s: %w", address, ErrExists)
		}
		return err
	})
}

// Addresses returns the addresses that lead directly to an account.
func (db *DB) Addresses(ctx context.Context, account AccountID) ([]string, error) {
	rows, err := db.readDB.QueryContext(ctx, `SELECT address FROM address WHERE account = ? ORDER BY address`, account)
	return collect(rows, err, func(scan func(...any) error) (s string, err error) { return s, scan(&s) })
}

// AddAlias lets an address stand for targets, added to those that it has.
// ErrExists: the address is an account's own; ErrInvalid: one of the targets
// is no address or the alias itself.
func (db *DB) AddAlias(ctx context.Context, a Alias) error {
	address, err := ParseAddress(a.Address)
	if err != nil {
		return err
	}
	if len(a.Targets) == 0 || len(a.Targets) > maxRecipients {
		return fmt.Errorf("alias %s needs 1 to %d targets: %w", address, maxRecipients, ErrInvalid)
	}
	targets := make([]string, len(a.Targets))
	for i, s := range a.Targets {
		if targets[i], err = ParseAddress(s); err != nil {
			return err
		}
		if targets[i] == address || strings.HasPrefix(targets[i], "@") {
			return fmt.Errorf("alias %s cannot lead to %s: %w", address, targets[i], ErrInvalid)
		}
	}
	return db.writer.do(ctx, func(t *tx) error {
		if err := t.exec(`INSERT INTO address (address) VALUES (?) ON CONFLICT DO NOTHING`, address); err != nil {
			return err
		}
		var owner *AccountID
		if err := t.queryRow(`SELECT account FROM address WHERE address = ?`, address).Scan(&owner); err != nil {
			return err
		}
		if owner != nil {
			return fmt.Errorf("address %s belongs to an account: %w", address, ErrExists)
		}
		for _, target := range targets {
			if err := t.exec(`INSERT INTO alias_target (address, target) VALUES (?, ?) ON CONFLICT DO NOTHING`, address, target); err != nil {
				return err
			}
		}
		return nil
	})
}

// RemoveAddress takes away an alias with its targets, or a further address of
// an account; the one that the account is named by stays (ErrInvalid).
func (db *DB) RemoveAddress(ctx context.Context, address string) error {
	address, err := ParseAddress(address)
	if err != nil {
		return err
	}
	return db.writer.do(ctx, func(t *tx) error {
		var n int
		if err := t.queryRow(`SELECT count(*) FROM account WHERE name = ?`, address).Scan(&n); err != nil {
			return err
		}
		if n > 0 {
			return fmt.Errorf("%s is an account, not an alias: %w", address, ErrInvalid)
		}
		gone, err := t.affected(`DELETE FROM address WHERE address = ?`, address)
		if err == nil && gone == 0 {
			err = fmt.Errorf("address %s: %w", address, ErrNotFound)
		}
		return err
	})
}

// Aliases returns every address that is not the name of an account: aliases
// with their targets, and further addresses with the account that they lead to.
func (db *DB) Aliases(ctx context.Context) ([]Alias, error) {
	rows, err := db.readDB.QueryContext(ctx, `SELECT d.address, coalesce(t.target, c.name, '') FROM address d
		LEFT JOIN account c ON c.id = d.account LEFT JOIN alias_target t ON t.address = d.address
		WHERE c.name IS NULL OR c.name <> d.address ORDER BY d.address, t.target`)
	pairs, err := collect(rows, err, func(scan func(...any) error) (p [2]string, err error) { return p, scan(&p[0], &p[1]) })
	var all []Alias
	for _, p := range pairs {
		if n := len(all); n == 0 || all[n-1].Address != p[0] {
			all = append(all, Alias{Address: p[0]})
		}
		last := &all[len(all)-1]
		last.Targets = append(last.Targets, p[1])
	}
	return all, err
}

// MaySendAs tells whether an address is an account's to write from: one of its
// own with any tag, an alias that names the account as a target, postmaster and
// abuse for who gets their mail, or, for who has the catch-all of its domain,
// one that nobody else has.
func (db *DB) MaySendAs(ctx context.Context, account AccountID, address string) (bool, error) {
	address, err := ParseAddress(address)
	if err != nil {
		return false, nil
	}
	local, domain, _ := cutAddress(address)
	if local == "" || !db.LocalDomain(domain) {
		return false, nil
	}
	candidates := []string{address}
	if plus := strings.IndexByte(local, '+'); plus > 0 {
		local = local[:plus]
		candidates = append(candidates, local+"@"+domain)
	}
	for _, a := range candidates {
		if taken, own, err := db.has(ctx, account, a); err != nil || taken {
			return own, err
		}
	}
	if local == "postmaster" || local == "abuse" {
		r := resolver{db: db, ctx: ctx, domains: db.domains.Load(), seen: map[string]bool{}}
		if taken, err := r.postmaster(0); err != nil || taken {
			return slices.ContainsFunc(r.out.Local, func(c Recipient) bool { return c.Account == account }), err
		}
	}
	_, own, err := db.has(ctx, account, "@"+domain)
	return own, err
}

// has tells whether anybody has an address, and whether the account does:
// itself, or as a target of the alias.
func (db *DB) has(ctx context.Context, account AccountID, address string) (taken, own bool, err error) {
	err = db.reads.owner.QueryRowContext(ctx, account, address).Scan(&taken, &own)
	return taken, own, err
}

const selectOwner = `SELECT count(*) > 0, coalesce(max(d.account = ?1 OR t.target IN (SELECT address FROM address WHERE account = ?1)), 0)
	FROM address d LEFT JOIN alias_target t ON t.address = d.address WHERE d.address = ?2`
