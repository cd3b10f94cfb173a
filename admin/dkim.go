package admin

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"mailbox/internal/mailauth"
	"mailbox/storage"
)

// A DKIMKey is a key that signs mail of one of our domains, or will, or did,
// with the TXT record to publish of it.
type DKIMKey struct {
	Domain    string    `json:"domain"`
	Selector  string    `json:"selector"`
	Algorithm string    `json:"algorithm"` // "rsa" or "ed25519"
	State     string    `json:"state"`     // "signs", "waits" for its record, "retired"
	Created   time.Time `json:"created"`
	Signs     time.Time `json:"signs,omitzero"`   // since when
	Retired   time.Time `json:"retired,omitzero"` // since when
	Needed    time.Time `json:"needed,omitzero"`  // until when the record of a retired key must stay
	Name      string    `json:"name"`             // of the record
	Value     string    `json:"value"`            // its text, as one string
	Zone      string    `json:"zone"`             // the same as a zone file has it
}

// recordLife is for how long the record of a retired key is needed: what it
// signed last may be in other servers' queues for days.
const recordLife = 7 * 24 * time.Hour

// A DKIMDomain names a domain of ours; "" in a list is all.
type DKIMDomain struct {
	Domain string `json:"domain"`
}

// A DKIMKeyRef names a key.
type DKIMKeyRef struct {
	Domain   string `json:"domain"`
	Selector string `json:"selector"`
}

// NewDKIMKeys says which keys to make.
type NewDKIMKeys struct {
	Domain     string   `json:"domain"`
	Selector   string   `json:"selector,omitempty"`   // of two keys, what theirs begin with; "" is one made of the date
	Algorithms []string `json:"algorithms,omitempty"` // none: both
}

// both are all algorithms. A selector that we choose ends in their first letter.
var both = []string{string(mailauth.RSA), string(mailauth.Ed25519)}

func (a *API) dkimList(ctx context.Context, in DKIMDomain) ([]DKIMKey, error) {
	domain := in.Domain
	if domain != "" {
		var err error
		if domain, err = cleanDomain(domain); err != nil {
			return nil, err
		}
	}
	stored, err := a.DB.DKIMKeys(ctx)
	all := make([]DKIMKey, 0, len(stored))
	for _, k := range stored {
		if domain != "" && k.Domain != domain {
			continue
		}
		one, err := show(k)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, err
}

// show leaves the private half of a stored key out.
func show(k storage.DKIMKey) (DKIMKey, error) {
	out := DKIMKey{Domain: k.Domain, Selector: k.Selector, Algorithm: k.Algorithm, State: "signs", Created: k.Created, Signs: k.Signs, Retired: k.Retired}
	switch {
	case !k.Retired.IsZero():
		out.State = "retired"
		if !k.Signs.IsZero() {
			out.Needed = k.Retired.Add(recordLife)
		}
	case k.Signs.IsZero():
		out.State = "waits"
	}
	private, err := mailauth.ParseKey(k.Private)
	key := mailauth.Key{Domain: k.Domain, Selector: k.Selector, Private: private}
	if err == nil {
		out.Value, err = key.Record()
	}
	if err != nil {
		return out, fmt.Errorf("DKIM key %s of %s: %w", k.Selector, k.Domain, err)
	}
	out.Name, out.Zone = key.Name(), mailauth.ZoneText(out.Value)
	return out, nil
}

// cleanDomain brings a domain to the form in which it is kept.
func cleanDomain(domain string) (string, error) {
	address, err := storage.ParseAddress("x@" + domain)
	if err != nil {
		return "", fmt.Errorf("%q is no domain: %w", domain, storage.ErrInvalid)
	}
	return address[lastAt(address)+1:], nil
}

// ourDomain is cleanDomain for one that must be ours.
func (a *API) ourDomain(domain string) (string, error) {
	domain, err := cleanDomain(domain)
	if err != nil {
		return "", err
	}
	return domain, a.localDomain(domain)
}

// dkimAdd makes keys. They sign at once where the domain has none of their
// algorithm that does, else when their records are seen.
func (a *API) dkimAdd(ctx context.Context, in NewDKIMKeys) ([]DKIMKey, error) {
	domain, err := a.ourDomain(in.Domain)
	if err != nil {
		return nil, err
	}
	wanted := in.Algorithms
	if len(wanted) == 0 {
		wanted = both
	}
	a.keys.Lock()
	defer a.keys.Unlock()
	return a.makeKeys(ctx, domain, strings.ToLower(in.Selector), wanted)
}

// dkimRotate makes a successor of each key that signs for a domain.
func (a *API) dkimRotate(ctx context.Context, in DKIMDomain) ([]DKIMKey, error) {
	domain, err := a.ourDomain(in.Domain)
	if err != nil {
		return nil, err
	}
	a.keys.Lock()
	defer a.keys.Unlock()
	old, err := a.dkimList(ctx, DKIMDomain{domain})
	if err != nil {
		return nil, err
	}
	var wanted []string
	for _, k := range old {
		switch k.State {
		case "waits":
			return nil, fmt.Errorf("key %s of %s waits for its DNS record already; publish it, or retire the key: %w", k.Selector, domain, storage.ErrExists)
		case "signs":
			wanted = append(wanted, k.Algorithm)
		}
	}
	if len(wanted) == 0 {
		return nil, fmt.Errorf("%s has no key that signs; add keys: %w", domain, storage.ErrNotFound)
	}
	return a.makeKeys(ctx, domain, "", wanted)
}

// MakeMissingKeys gives a domain of ours that has no key, not even a retired
// one, a key of each algorithm, which signs at once. It returns what it made.
func (a *API) MakeMissingKeys(ctx context.Context, domain string) ([]DKIMKey, error) {
	domain, err := a.ourDomain(domain)
	if err != nil {
		return nil, err
	}
	a.keys.Lock()
	defer a.keys.Unlock()
	if have, err := a.dkimList(ctx, DKIMDomain{domain}); err != nil || len(have) > 0 {
		return nil, err
	}
	return a.makeKeys(ctx, domain, "", both)
}

// makeKeys makes a key of each algorithm that is wanted, and none where it
// refuses one of them. The caller holds a.keys.
func (a *API) makeKeys(ctx context.Context, domain, selector string, wanted []string) ([]DKIMKey, error) {
	old, err := a.dkimList(ctx, DKIMDomain{domain})
	if err != nil {
		return nil, err
	}
	for _, algorithm := range wanted {
		if !slices.Contains(both, algorithm) {
			return nil, fmt.Errorf("algorithm %q is neither rsa nor ed25519: %w", algorithm, storage.ErrInvalid)
		}
	}
	var planned []storage.DKIMKey
	for _, algorithm := range both {
		if !slices.Contains(wanted, algorithm) {
			continue
		}
		k := storage.DKIMKey{Domain: domain, Selector: selector, Algorithm: algorithm}
		switch letter := algorithm[:1]; {
		case selector == "":
			k.Selector = freeSelector(old, time.Now().UTC().Format("mb200601")+letter)
		case len(wanted) > 1:
			k.Selector += letter
		}
		if err := checkSelector(old, domain, k.Selector); err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(old, func(o DKIMKey) bool { return o.Algorithm == algorithm && o.State == "signs" }) {
			k.Signs = time.Now()
		}
		planned = append(planned, k)
	}
	return a.addKeys(ctx, planned)
}

// addKeys generates keys and stores them.
func (a *API) addKeys(ctx context.Context, planned []storage.DKIMKey) ([]DKIMKey, error) {
	var made []DKIMKey
	for _, k := range planned {
		private, err := mailauth.GenerateKey(mailauth.Algorithm(k.Algorithm))
		if err == nil {
			k.Private, err = mailauth.MarshalKey(private)
		}
		if err == nil {
			err = a.DB.AddDKIMKey(ctx, k)
		}
		if err != nil {
			return nil, err
		}
		one, err := a.dkimKey(ctx, DKIMKeyRef{k.Domain, k.Selector})
		if err != nil {
			return nil, err
		}
		made = append(made, one)
	}
	return made, a.refresh(ctx)
}

// freeSelector is name, with a number where the domain has that already.
func freeSelector(old []DKIMKey, name string) string {
	selector := name
	for n := 2; hasSelector(old, selector); n++ {
		selector = name + strconv.Itoa(n)
	}
	return selector
}

func hasSelector(old []DKIMKey, selector string) bool {
	return slices.ContainsFunc(old, func(k DKIMKey) bool { return k.Selector == selector })
}

// goodSelector is labels, in lower case (RFC 6376 section 3.1).
var goodSelector = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`)

func checkSelector(old []DKIMKey, domain, selector string) error {
	if name := (mailauth.Key{Domain: domain, Selector: selector}).Name(); !goodSelector.MatchString(selector) || len(name) > 253 {
		return fmt.Errorf("selector %q is not letters, digits and hyphens, or too long: %w", selector, storage.ErrInvalid)
	}
	if hasSelector(old, selector) {
		return fmt.Errorf("DKIM key %s of %s: %w", selector, domain, storage.ErrExists)
	}
	return nil
}

// dkimRetire lets a key not sign any more.
func (a *API) dkimRetire(ctx context.Context, in DKIMKeyRef) (DKIMKey, error) {
	k, err := a.dkimKey(ctx, in)
	if err != nil {
		return k, err
	}
	if k.State == "retired" {
		return k, fmt.Errorf("DKIM key %s of %s was retired before: %w", k.Selector, k.Domain, storage.ErrInvalid)
	}
	if err := a.DB.RetireDKIMKey(ctx, k.Domain, k.Selector); err != nil {
		return k, err
	}
	if err := a.refresh(ctx); err != nil {
		return k, err
	}
	return a.dkimKey(ctx, in)
}

// dkimRemove forgets a retired key, and returns it.
func (a *API) dkimRemove(ctx context.Context, in DKIMKeyRef) (DKIMKey, error) {
	k, err := a.dkimKey(ctx, in)
	if err != nil {
		return k, err
	}
	if k.State != "retired" {
		return k, fmt.Errorf("DKIM key %s of %s is in use; retire it first: %w", k.Selector, k.Domain, storage.ErrInvalid)
	}
	return k, a.DB.RemoveDKIMKey(ctx, k.Domain, k.Selector)
}

// dkimKey finds a key of a domain, which need not be ours any more.
func (a *API) dkimKey(ctx context.Context, in DKIMKeyRef) (DKIMKey, error) {
	all, err := a.dkimList(ctx, DKIMDomain{in.Domain})
	if err != nil {
		return DKIMKey{}, err
	}
	i := slices.IndexFunc(all, func(k DKIMKey) bool { return k.Selector == strings.ToLower(in.Selector) })
	if in.Domain == "" || i < 0 {
		return DKIMKey{}, fmt.Errorf("DKIM key %s of %s: %w", in.Selector, in.Domain, storage.ErrNotFound)
	}
	return all[i], nil
}

// refresh lets a running server use what was stored.
func (a *API) refresh(ctx context.Context) error {
	if a.Signers == nil {
		return nil
	}
	if err := a.Signers.Refresh(ctx); err != nil {
		return fmt.Errorf("stored, but not yet in use: %w", err)
	}
	return nil
}
