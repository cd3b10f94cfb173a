package mailauth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"slices"
	"strings"

	"mailbox/internal/message"
)

// ARC says whether the seals of those who handed a message on are whole (RFC
// 8617 section 5.2).
type ARC struct {
	Result  Result
	Reason  string   // in words, or ""
	Sealers []string // the domains, in A-labels, the newest first
	Trusted int      // how many of them, from the newest on, are trusted without a gap

	passed []string // author domains that the trusted ones say passed DMARC
}

// maxSets bounds the seals of a message (RFC 8617 section 4.2.1).
const maxSets = 50

// An arcSet is what one sealer has added.
type arcSet struct {
	results *message.Field // ARC-Authentication-Results
	message *message.Field // ARC-Message-Signature
	seal    *message.Field // ARC-Seal

	parsed *signature // the seal
	key    *publicKey
}

// A chain is the ARC sets of a message, the oldest first.
type chain struct {
	sets    []arcSet
	message *signature // the newest ARC-Message-Signature
	key     *publicKey // of message
	err     error      // why the chain is broken, or nil
}

// readChain collects the sets of a header (RFC 8617 section 5.2, steps 1 to 3).
func readChain(h message.Header) *chain {
	c := &chain{}
	for i := range h {
		if err := c.add(&h[i]); err != nil {
			c.err = err
			return c
		}
	}
	if c.err = c.structure(); c.err == nil && len(c.sets) > 0 {
		c.message, c.err = parseSignature(c.sets[len(c.sets)-1].message)
	}
	return c
}

// add puts a field into its set, if it belongs to one.
func (c *chain) add(f *message.Field) error {
	kind := strings.ToLower(f.Name)
	if kind != "arc-authentication-results" && kind != "arc-message-signature" && kind != "arc-seal" {
		return nil
	}
	n := instance(f)
	if n < 1 || n > maxSets {
		return flaw{Fail, "set has no proper number"}
	}
	for len(c.sets) < n {
		c.sets = append(c.sets, arcSet{})
	}
	set := &c.sets[n-1]
	to := map[string]**message.Field{"arc-authentication-results": &set.results, "arc-message-signature": &set.message, "arc-seal": &set.seal}[kind]
	if *to != nil {
		return flaw{Fail, "set is there twice"}
	}
	*to = f
	return nil
}

// instance returns i= of a field, or 0.
func instance(f *message.Field) int {
	for pair := range strings.SplitSeq(f.Value(), ";") {
		name, value, _ := strings.Cut(pair, "=")
		if trimSpace(name) == "i" {
			n, ok := decimal(trimSpace(value))
			if !ok {
				return 0
			}
			return int(min(n, maxSets+1))
		}
	}
	return 0
}

// structure checks that all sets are whole, and that no sealer has found the
// chain broken.
func (c *chain) structure() error {
	for i := range c.sets {
		set := &c.sets[i]
		if set.results == nil || set.message == nil || set.seal == nil {
			return flaw{Fail, "set is not whole"}
		}
		var err error
		if set.parsed, err = parseSeal(set.seal); err != nil {
			return err
		}
		want := "pass"
		if i == 0 {
			want = "none"
		}
		cv, _ := set.parsed.tags.get("cv")
		if !strings.EqualFold(cv, want) {
			return flaw{Fail, "chain was broken before"}
		}
		if _, ok := set.parsed.tags.get("h"); ok { // RFC 8617 section 4.1.3
			return flaw{Fail, "seal is malformed"}
		}
	}
	return nil
}

// fetch looks the keys up, the newest first, and stops at the first one that
// is not there.
func (c *Checker) fetch(ctx context.Context, a *chain) {
	if a.err != nil || len(a.sets) == 0 {
		return
	}
	if a.key, a.err = c.publicKey(ctx, a.message); a.err != nil {
		return
	}
	for i := len(a.sets) - 1; i >= 0 && a.err == nil; i-- {
		a.sets[i].key, a.err = c.publicKey(ctx, a.sets[i].parsed)
	}
}

// validate verifies the chain, all of whose keys are there (RFC 8617 section
// 5.2, steps 4 to 7).
func (a *chain) validate(d *digest, b *bodies) error {
	if err := a.message.verify(a.key, d, b); err != nil {
		return err
	}
	for i := len(a.sets) - 1; i >= 0; i-- {
		set := &a.sets[i]
		if set.key.algorithm != set.parsed.algorithm || !set.key.verify(a.sealed(i), set.parsed.value) {
			return flaw{Fail, "seal does not match"}
		}
	}
	return nil
}

// sealed returns the hash that the seal of set i signs: all sets so far, in
// their order (RFC 8617 section 5.1.1).
func (a *chain) sealed(i int) []byte {
	var buf []byte
	for n := range i + 1 {
		set := &a.sets[n]
		buf = appendField(buf, set.results.Raw, true)
		buf = appendField(buf, set.message.Raw, true)
		if n < i {
			buf = appendField(buf, set.seal.Raw, true)
		}
	}
	buf = bytes.TrimSuffix(appendField(buf, a.sets[i].parsed.unsigned(), true), []byte("\r\n"))
	sum := sha256.Sum256(buf)
	return sum[:]
}

// checkARC reports on a chain whose keys were fetched.
func (c *Checker) checkARC(a *chain, d *digest, b *bodies) ARC {
	if a.err == nil && len(a.sets) == 0 {
		return ARC{Result: None}
	}
	err := a.err
	if err == nil {
		err = a.validate(d, b)
	}
	var r ARC
	r.Result, r.Reason = verdict(err)
	if r.Result != TempError && r.Result != Pass {
		r.Result = Fail // RFC 8617 section 4.4 knows no other
	}
	if r.Result != Pass {
		return r
	}
	for _, set := range slices.Backward(a.sets) {
		if c.trusts(set.parsed.domain) && r.Trusted == len(r.Sealers) {
			r.Trusted++
			r.passed = append(r.passed, dmarcPasses(set.results)...)
		}
		r.Sealers = append(r.Sealers, set.parsed.domain)
	}
	return r
}

func (c *Checker) trusts(domain string) bool {
	return slices.ContainsFunc(c.TrustedSealers, func(s string) bool {
		name, ok := asciiDomain(s)
		return ok && name == domain
	})
}

// vouches tells whether a trusted sealer saw the message pass DMARC for the
// author domain, and nobody but trusted sealers has touched it since.
func (a ARC) vouches(domain string) bool {
	return slices.Contains(a.passed, domain)
}

// dmarcPasses returns the author domains that an ARC-Authentication-Results
// field says passed DMARC (RFC 8601 section 2.2, RFC 8617 section 4.1.1).
func dmarcPasses(f *message.Field) []string {
	var passed []string
	for _, result := range splitResults(f.Value()) {
		if len(result) == 0 || !strings.EqualFold(result[0], "dmarc=pass") {
			continue
		}
		for _, property := range result[1:] {
			name, value, _ := strings.Cut(property, "=")
			if domain, ok := asciiDomain(value); ok && strings.EqualFold(name, "header.from") {
				passed = append(passed, domain)
			}
		}
	}
	return passed
}
