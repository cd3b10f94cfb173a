package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"mailbox/admin"
	"mailbox/internal/dns"
	"mailbox/internal/mailauth"
	"mailbox/internal/message"
	"mailbox/storage"
)

// signers sign mail with the keys in the store (DKIM). While they run they keep
// in step with it: they make keys for a new domain of ours that has none, and
// let a key that waits sign once its record is in the DNS.
type signers struct {
	db  *storage.DB
	dns *dns.Resolver
	log *slog.Logger

	loading sync.Mutex                                  // one load at a time, so that the last one is the newest
	signing atomic.Pointer[map[string]*mailauth.Signer] // by domain, in A-labels
	domains atomic.Pointer[[]string]                    // that may lack keys; nil: none does
	wake    chan struct{}                               // something changed
	panics  atomic.Int64
}

// keysEvery is how often the DNS is asked for the records of keys that wait.
const keysEvery = time.Minute

// newSigners reads the keys: Sign may be called.
func newSigners(ctx context.Context, db *storage.DB, resolver *dns.Resolver, domains []string, log *slog.Logger) (*signers, error) {
	s := &signers{db: db, dns: resolver, log: log, wake: make(chan struct{}, 1)}
	s.domains.Store(&domains)
	_, err := s.load(ctx)
	return s, err
}

// Configure says which domains are ours.
func (s *signers) Configure(domains []string) {
	s.domains.Store(&domains)
	s.hurry()
}

// Refresh implements admin.Signers.
func (s *signers) Refresh(ctx context.Context) error {
	_, err := s.load(ctx)
	s.hurry()
	return err
}

// hurry lets the next round begin now.
func (s *signers) hurry() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Sign implements msa.Signer and mta.Signer. The domain may be given as the
// configuration has it.
func (s *signers) Sign(domain string, header message.Header, body io.Reader) (fields []byte, err error) {
	if clean, err := storage.ParseAddress("x@" + domain); err == nil {
		domain = strings.TrimPrefix(clean, "x@")
	}
	if signer := (*s.signing.Load())[domain]; signer != nil {
		fields, err = signer.Sign(header, body)
	}
	if _, rest := io.Copy(io.Discard, body); err == nil {
		err = rest
	}
	return fields, err
}

// run keeps in step until ctx is done. keys makes keys.
func (s *signers) run(ctx context.Context, keys *admin.API) {
	for {
		s.round(ctx, keys)
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-time.After(keysEvery):
		}
	}
}

// round does once all that is to be done about keys.
func (s *signers) round(ctx context.Context, keys *admin.API) {
	defer func() {
		if p := recover(); p != nil {
			s.panics.Add(1)
			s.log.Error("panic over DKIM keys", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	if domains := s.domains.Swap(nil); domains != nil && !s.makeMissing(ctx, keys, *domains) {
		s.domains.CompareAndSwap(nil, domains)
	}
	waiting, err := s.load(ctx)
	if err != nil && ctx.Err() == nil {
		s.log.Error("DKIM keys cannot be read", "err", err)
	}
	for _, k := range waiting {
		if err := s.activate(ctx, k); err != nil && ctx.Err() == nil {
			s.log.Error("DKIM key is published and does not sign", "domain", k.key.Domain, "selector", k.key.Selector, "err", err)
		}
	}
}

// makeMissing tells whether all went well.
func (s *signers) makeMissing(ctx context.Context, keys *admin.API, domains []string) bool {
	good := true
	for _, domain := range domains {
		made, err := keys.MakeMissingKeys(ctx, domain)
		s.say(made)
		if err != nil && ctx.Err() == nil {
			s.log.Error("DKIM keys were not made", "domain", domain, "err", err)
		}
		good = good && err == nil
	}
	return good
}

// say tells the operator what to publish of new keys, which are of one domain.
func (s *signers) say(made []admin.DKIMKey) {
	if len(made) == 0 {
		return
	}
	names := make([]string, len(made))
	for i, k := range made {
		names[i] = k.Name
	}
	s.log.Info("DKIM keys were made; publish their TXT records", "domain", made[0].Domain, "names", names,
		"print", fmt.Sprintf("mailbox admin dkim list %s --records", made[0].Domain))
}

// A waitingKey signs once it is published.
type waitingKey struct {
	id  int64
	key mailauth.Key
}

// load takes the keys of the store for all that is signed from now on, and
// returns those that wait. One that cannot be read is left out.
func (s *signers) load(ctx context.Context) (waiting []waitingKey, err error) {
	s.loading.Lock()
	defer s.loading.Unlock()
	stored, err := s.db.DKIMKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("DKIM keys: %w", err)
	}
	signing := map[string]*mailauth.Signer{}
	for _, k := range stored {
		if !k.Retired.IsZero() {
			continue
		}
		private, err := mailauth.ParseKey(k.Private)
		if err != nil {
			s.log.Error("DKIM key cannot be read", "domain", k.Domain, "selector", k.Selector, "err", err)
			continue
		}
		key := mailauth.Key{Domain: k.Domain, Selector: k.Selector, Private: private}
		if k.Signs.IsZero() {
			waiting = append(waiting, waitingKey{k.ID, key})
			continue
		}
		if signing[k.Domain] == nil {
			signing[k.Domain] = &mailauth.Signer{}
		}
		signing[k.Domain].Keys = append(signing[k.Domain].Keys, key)
	}
	s.signing.Store(&signing)
	return waiting, nil
}

// activate lets a key sign, in the place of its predecessor, if it is published.
func (s *signers) activate(ctx context.Context, k waitingKey) error {
	published, err := k.key.Published(ctx, s.dns)
	if err != nil {
		s.log.Debug("DKIM key waits on", "err", err)
	}
	if !published {
		return nil
	}
	err = s.db.StartDKIMKey(ctx, k.id)
	if errors.Is(err, storage.ErrNotFound) { // it was retired meanwhile
		return nil
	}
	if err != nil {
		return err
	}
	s.log.Info("DKIM key is published and signs from now on", "domain", k.key.Domain, "selector", k.key.Selector)
	_, err = s.load(ctx)
	return err
}
