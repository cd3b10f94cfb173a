package mailauth

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"mailbox/internal/dns"
)

// Disposition is what the owner of a domain wants done with a message that is
// not from there, from mild to strict.
type Disposition int

// The dispositions of RFC 9989 section 4.7.
const (
	DispositionNone Disposition = iota
	DispositionQuarantine
	DispositionReject
)

var dispositions = [...]string{"none", "quarantine", "reject"}

func (d Disposition) String() string { return dispositions[d] }

// MarshalText implements encoding.TextMarshaler.
func (d Disposition) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Disposition) UnmarshalText(text []byte) error {
	i := slices.Index(dispositions[:], string(text))
	if i < 0 {
		return fmt.Errorf("no disposition: %q", text)
	}
	*d = Disposition(i)
	return nil
}

// DMARC says whether a message is from where its From field says, and if not,
// what that domain wants done with it (RFC 9989).
type DMARC struct {
	Result Result
	Reason string // in words, or ""
	Domain string // of the author, in A-labels; "" where there is no such single domain

	Organization string // the organizational domain of Domain
	Record       string // the domain that published the policy; "" where none did
	Policy       Disposition
	// Disposition is what Policy comes to for this message: milder where the
	// owner is still testing, none unless Result is Fail, none as well where
	// a trusted ARC chain vouches.
	Disposition Disposition

	SPFAligned  bool   // SPF has passed for a domain that is aligned
	DKIMAligned string // the aligned domain that signed; "" where none did
}

// A policy is what was found out about one author domain.
type policy struct {
	domain       string
	organization string
	record       string
	wants        Disposition
	rules        dmarcRecord
	err          error // nil, errNoPolicy, errBroken, or trouble with the DNS
	walked       error // trouble on the way up: organization is not certain
}

var (
	errNoPolicy = errors.New("no policy")
	errBroken   = errors.New("policy cannot be read")
)

// findPolicy discovers the policy for an author domain (RFC 9989 section
// 4.10.1): its own, or that of its organizational domain, or that of the
// public suffix above it.
func (c *Checker) findPolicy(ctx context.Context, domain string) policy {
	found, err := c.walk(ctx, domain)
	p := policy{domain: domain, organization: organization(domain, found), walked: err}
	own := len(found) > 0 && found[0].domain == domain
	if err != nil && !own {
		p.err = err
		return p
	}
	f, ok := applicable(domain, p.organization, found)
	if !ok {
		p.err = errNoPolicy
		return p
	}
	p.record, p.rules = f.domain, f.record
	if f.record.broken && !f.record.reports {
		p.err = errBroken
		return p
	}
	switch {
	case f.domain == domain:
		p.wants = f.record.policy
	case c.missing(ctx, domain):
		p.wants = f.record.missing
	default:
		p.wants = f.record.subdomains
	}
	return p
}

// applicable selects the record that holds for domain.
func applicable(domain, organization string, found []finding) (finding, bool) {
	for _, at := range []string{domain, organization} {
		for _, f := range found {
			if f.domain == at {
				return f, true
			}
		}
	}
	for _, f := range found {
		if f.record.psd == 'y' {
			return f, true
		}
	}
	return finding{}, false
}

// missing tells whether there is no such domain at all (RFC 8020).
func (c *Checker) missing(ctx context.Context, domain string) bool {
	_, err := c.DNS.MX(ctx, domain)
	return errors.Is(err, dns.ErrNotFound)
}

// aligned tells whether an authenticated domain is aligned with the author's
// (RFC 9989 section 4.4).
func (c *Checker) aligned(ctx context.Context, p *policy, domain string, strict bool) (bool, error) {
	switch {
	case domain == p.domain:
		return true, nil
	case strict:
		return false, nil
	case !isOrUnder(domain, p.organization):
		return false, p.walked
	}
	found, err := c.walk(ctx, domain)
	return err == nil && organization(domain, found) == p.organization, errors.Join(err, p.walked)
}

// judge evaluates DMARC for one author domain (RFC 9989 section 5.3.5), once
// SPF and DKIM are known.
func (c *Checker) judge(ctx context.Context, p *policy, r *Results) DMARC {
	d := DMARC{Domain: p.domain, Organization: p.organization, Record: p.record, Policy: p.wants}
	switch {
	case errors.Is(p.err, errNoPolicy):
		d.Result, d.Reason = None, p.err.Error()
		return d
	case errors.Is(p.err, errBroken):
		d.Result, d.Reason = PermError, p.err.Error()
		return d
	case p.err != nil:
		d.Result, d.Reason = TempError, "DNS trouble"
		return d
	}
	trouble := false
	if s := r.MailFrom; s.Result == Pass || s.Result == TempError {
		ok, err := c.aligned(ctx, p, s.Domain, p.rules.strictSPF)
		d.SPFAligned = ok && s.Result == Pass
		trouble = err != nil && !ok || ok && s.Result == TempError
	}
	for _, s := range r.DKIM {
		if d.DKIMAligned != "" || s.Result != Pass && s.Result != TempError {
			continue
		}
		ok, err := c.aligned(ctx, p, s.Domain, p.rules.strictDKIM)
		if ok && s.Result == Pass {
			d.DKIMAligned = s.Domain
		}
		trouble = trouble || err != nil && !ok || ok && s.Result == TempError
	}
	switch {
	case d.SPFAligned || d.DKIMAligned != "":
		d.Result = Pass
	case trouble: // nothing can be held against it (section 5.3.5)
		d.Result, d.Reason = TempError, "DNS trouble"
	default:
		d.Result = Fail
		d.Disposition = p.rules.milden(p.wants, rand.IntN(100))
	}
	return d
}

// checkDMARC judges a message by what its authors' domains want. One that has
// not exactly one author domain fails. What becomes of it then is the strictest
// that one of its domains wants: where From is sound and names several, of
// those that it failed for; where it is not even sound, of all of them, and at
// least quarantine.
func (c *Checker) checkDMARC(ctx context.Context, a authors, policies []policy, r *Results) DMARC {
	if a.broken != "" {
		d := DMARC{Result: Fail, Reason: a.broken, Disposition: DispositionQuarantine}
		for _, p := range policies {
			d.add(p.record, p.wants, p.rules.milden(p.wants, rand.IntN(100)))
		}
		return d
	}
	if len(policies) == 1 {
		d := c.judge(ctx, &policies[0], r)
		if d.Disposition != DispositionNone && r.ARC.vouches(d.Domain) {
			d.Disposition, d.Reason = DispositionNone, "trusted ARC chain"
		}
		return d
	}
	d := DMARC{Result: Fail, Reason: "From names several domains"}
	for i := range policies {
		if one := c.judge(ctx, &policies[i], r); one.Result == Fail {
			d.add(one.Record, one.Policy, one.Disposition)
		}
	}
	return d
}

// add makes the strictest of what was wanted and of what one more domain wants.
func (d *DMARC) add(record string, wants, disposition Disposition) {
	if wants > d.Policy || d.Record == "" {
		d.Record, d.Policy = record, wants
	}
	d.Disposition = max(d.Disposition, disposition)
}

// describe returns the details of the result as a comment of RFC 8601.
func (d DMARC) describe() string {
	if d.Record == "" && d.Result != Fail {
		return ""
	}
	return fmt.Sprintf("(p=%v dis=%v)", d.Policy, d.Disposition)
}
