package tls

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	passTime = time.Minute    // how often is looked whether something is due
	ariPoll  = 6 * time.Hour  // how often a CA is asked whether it wants a certificate renewed earlier
	ariMax   = 24 * time.Hour // the longest that it may tell us not to ask

	urgentTime = 7 * 24 * time.Hour // before the end of a certificate, when failures are errors
)

// errTerms says why no CA is asked.
var errTerms = errors.New("the CA's terms of service are not accepted; read them, then set tls.accept_terms = true")

// A ca gives certificates, and keeps what it gave (client, or a test's own).
type ca interface {
	obtain(ctx context.Context, name string, key crypto.Signer) error
	load(ctx context.Context, name string) (cert *tls.Certificate, ours bool, err error)
	renewalInfo(ctx context.Context, leaf *x509.Certificate) (at, again time.Time, err error)
	close()
}

// A renewer keeps a certificate of a CA for every name: it decides when the CA
// is asked. A name whose attempts fail does not keep the others from theirs.
// What there is, publish hands out: until the CA has given the first one, and
// where it gives none, a certificate that we sign ourselves, for the same key.
type renewer struct {
	dir     string // data directory
	names   []string
	terms   bool
	ca      ca
	keys    *keyring
	log     *slog.Logger
	publish func(*set)
	panics  *atomic.Int64

	ctx     context.Context // ends with stop
	cancel  context.CancelFunc
	done    sync.WaitGroup
	working sync.Mutex // one attempt at a time
	warned  string     // what pass warned of last

	mu      sync.Mutex // guards what follows
	certs   map[string]*held
	record  record
	stopgap *tls.Certificate
	gapKey  crypto.Signer // of stopgap
}

// A held certificate is one that a CA gave.
type held struct {
	cert *tls.Certificate
	ours bool      // of the CA that is configured now
	at   time.Time // when the CA wants it renewed; zero: it has not said
	ask  time.Time // when to ask it that
}

// due tells whether a certificate must be replaced. A CA may say that it wants
// that early (RFC 9773), or late, but not so late that nothing may go wrong.
func (h *held) due(now time.Time) bool {
	if h == nil || !h.ours {
		return true
	}
	leaf := h.cert.Leaf
	at := renewAt(leaf)
	if !h.at.IsZero() {
		at = minTime(h.at, leaf.NotAfter.Add(-leaf.NotAfter.Sub(leaf.NotBefore)/6))
	}
	return !now.Before(at)
}

// early tells whether a certificate is due only because the CA says so.
func (h *held) early(now time.Time) bool {
	return h != nil && h.ours && now.Before(renewAt(h.cert.Leaf))
}

// newRenewer loads what there is on the disk.
func newRenewer(cfg Config, o Options, publish func(*set), panics *atomic.Int64) (*renewer, error) {
	client, err := newClient(cfg, acmeDir(o.Dir), o.Resolvers, o.Log)
	if err != nil {
		return nil, err
	}
	r := &renewer{dir: o.Dir, names: o.Names, terms: cfg.AcceptTerms, ca: client, keys: client.keys, log: o.Log, publish: publish, panics: panics}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	if err := r.open(fingerprint(cfg)); err != nil {
		client.close()
		return nil, err
	}
	return r, nil
}

// fingerprint tells configurations apart.
func fingerprint(cfg Config) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%+v", cfg))
	return hex.EncodeToString(sum[:])
}

func (r *renewer) recordFile() string { return filepath.Join(acmeDir(r.dir), "failures.json") }

func (r *renewer) open(config string) error {
	var err error
	if r.record, err = readRecord(r.recordFile(), config); err != nil {
		r.log.Warn("what failed earlier is not known", "err", err)
	}
	r.certs = map[string]*held{}
	for _, name := range r.names {
		r.reload(context.Background(), name)
	}
	if h := r.certs[r.names[0]]; h != nil && spki(h.cert.Leaf.PublicKey) == spki(r.keys.next().Public()) { // a crash cut Renew short
		if err := r.keys.rotate(); err != nil {
			return err
		}
	}
	r.gapKey = r.keys.current()
	r.stopgap, err = authority{r.dir}.certify(r.gapKey, r.names, time.Now())
	return err
}

// reload takes what is on the disk for a name.
func (r *renewer) reload(ctx context.Context, name string) {
	cert, ours, err := r.ca.load(ctx, name)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			r.log.Warn("certificate on the disk is of no use", "name", name, "err", err)
		}
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.certs[name] = &held{cert: cert, ours: ours}
}

// start looks after the certificates until stop.
func (r *renewer) start() {
	r.done.Go(func() {
		tick := time.NewTicker(passTime)
		defer tick.Stop()
		for {
			r.pass(r.ctx)
			select {
			case <-r.ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
}

func (r *renewer) stop() {
	r.cancel()
	r.done.Wait()
	r.working.Lock() // an operator's attempt ends with ctx too
	defer r.working.Unlock()
	r.ca.close()
}

// show hands out the certificates that there are.
func (r *renewer) show() {
	r.mu.Lock()
	s := &set{first: r.stopgap, byName: map[string]*tls.Certificate{}}
	for name, h := range r.certs {
		s.byName[name] = h.cert
	}
	r.mu.Unlock()
	if c := s.byName[r.names[0]]; c != nil {
		s.first = c
	}
	r.publish(s)
}

// pass does what is due. A panic in it ends this pass only.
func (r *renewer) pass(ctx context.Context) {
	defer recovered(r.log, r.panics)
	r.renewStopgap()
	if !r.terms {
		r.warn(errTerms)
		return
	}
	for _, name := range r.names {
		if ctx.Err() != nil {
			return
		}
		r.ask(ctx, name)
		if now := time.Now(); r.isDue(name, now) && r.mayTry(name, now) {
			r.attempt(ctx, name, r.keys.current()) //nolint:errcheck // it is logged and recorded
		}
	}
}

// warn logs what keeps certificates from being asked for, once.
func (r *renewer) warn(err error) {
	if r.warned != err.Error() {
		r.warned = err.Error()
		r.log.Warn("no certificate is asked for; a self-signed one serves where there is none", "err", err)
	}
}

func (r *renewer) renewStopgap() {
	now, key := time.Now(), r.keys.current()
	if now.Before(renewAt(r.stopgap.Leaf)) && now.After(r.stopgap.Leaf.NotBefore) && key == r.gapKey {
		return
	}
	cert, err := authority{r.dir}.certify(key, r.names, now)
	if err != nil {
		r.warn(err)
		return
	}
	r.mu.Lock()
	r.stopgap, r.gapKey = cert, key
	r.mu.Unlock()
	r.show()
}

func (r *renewer) isDue(name string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.certs[name]
	if since := now.Sub(r.record.Early[name]); h.early(now) && since >= 0 && since < uselessWait {
		return false // a CA that wants every new certificate replaced at once is mistaken
	}
	return h.due(now)
}

func (r *renewer) mayTry(name string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.record.Names[name].mayTry(now)
}

// ask asks the CA when it wants a certificate to be renewed. A CA that does
// not answer, or does not know, is asked again later: there is no hurry.
func (r *renewer) ask(ctx context.Context, name string) {
	r.mu.Lock()
	h := r.certs[name]
	r.mu.Unlock()
	now := time.Now()
	tooEarly := h != nil && now.Before(h.ask) && h.ask.Before(now.Add(2*ariMax)) // beyond that the clock was set back
	if h == nil || !h.ours || tooEarly {
		return
	}
	at, again, err := r.ca.renewalInfo(ctx, h.cert.Leaf)
	if err != nil {
		r.log.Debug("the CA does not say when to renew", "name", name, "err", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	h.at = at
	h.ask = maxTime(now.Add(time.Hour), minTime(again, now.Add(ariMax)))
	if again.IsZero() {
		h.ask = now.Add(ariPoll)
	}
}

// attempt asks the CA once, takes what it gives into use, and records what it
// does not give. The attempt is recorded before it begins: a process that dies
// of it must not begin another as soon as it is started again.
func (r *renewer) attempt(ctx context.Context, name string, key crypto.Signer) error {
	r.working.Lock()
	defer r.working.Unlock()
	before := r.begin(name)
	err := r.ca.obtain(ctx, name, key)
	if err == nil {
		r.reload(ctx, name)
		err = r.check(name, before)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx) // we were stopped: that is nobody's failure
	} else {
		r.settle(name, before, err)
	}
	r.write(r.record)
	return err
}

// begin records an attempt, and returns what there is before it.
func (r *renewer) begin(name string) *held {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.write(r.record.begun(name, time.Now()))
	return r.certs[name]
}

// settle records the outcome of an attempt. r.mu is held.
func (r *renewer) settle(name string, before *held, err error) {
	now, h, f := time.Now(), r.certs[name], r.record.Names[name]
	if err == nil {
		if before.early(now) {
			r.record.Early[name] = now
		}
		delete(r.record.Names, name)
		r.log.Info("certificate obtained", "name", name, "issuer", h.cert.Leaf.Issuer.String(), "until", h.cert.Leaf.NotAfter)
		return
	}
	if f == nil {
		f = &failures{}
		r.record.Names[name] = f
	}
	f.add(now, err)
	attrs := []any{"name", name, "err", err, "failures", f.Count, "next", f.Next}
	level := slog.LevelWarn
	if h != nil {
		attrs = append(attrs, "until", h.cert.Leaf.NotAfter)
		if now.After(h.cert.Leaf.NotAfter.Add(-urgentTime)) {
			level = slog.LevelError
		}
	}
	r.log.Log(context.Background(), level, "no certificate was obtained; what there is stays in use", attrs...)
}

func (r *renewer) write(record record) {
	if err := record.write(r.recordFile()); err != nil {
		r.log.Warn("attempts are not recorded", "err", err)
	}
}

// check takes the new certificate of a name into use. One that is due again at
// once is a failure: by our clock it has expired, and to ask for another would
// change nothing.
func (r *renewer) check(name string, before *held) error {
	r.show()
	r.mu.Lock()
	h := r.certs[name]
	r.mu.Unlock()
	if h == before || h == nil {
		return errUseless
	}
	if now := time.Now(); h.due(now) {
		return fmt.Errorf("%w: it is good from %s until %s, and the clock says %s; is the clock right?",
			errUseless, h.cert.Leaf.NotBefore.Format(time.RFC3339), h.cert.Leaf.NotAfter.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	return nil
}

// renew asks the CA now for every name, whether it is due or not. newKey makes
// the next key the one in use. A CA that said when it may be asked again is
// not asked before.
func (r *renewer) renew(ctx context.Context, newKey bool) error {
	if !r.terms {
		return errTerms
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.ctx, cancel)()
	var errs []error
	for i, name := range r.names {
		if err := r.toldToWait(name); err != nil {
			errs = append(errs, err)
			continue
		}
		key := r.keys.current()
		if newKey && i == 0 {
			key = r.keys.next()
		}
		err := r.attempt(ctx, name, key)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		} else if newKey && i == 0 {
			err = r.keys.rotate()
		}
		if err != nil && newKey && i == 0 {
			return errors.Join(append(errs, err)...)
		}
	}
	return errors.Join(errs...)
}

// toldToWait says why a name may not be asked for now.
func (r *renewer) toldToWait(name string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.record.Names[name]; f != nil && f.Told && !f.mayTry(time.Now()) {
		return fmt.Errorf("%s: the CA may not be asked before %s: %s", name, f.Next.Format(time.RFC3339), f.Error)
	}
	return nil
}

// list describes the certificate of every name.
func (r *renewer) list() []Certificate {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []Certificate
	for _, name := range r.names {
		c := describe(r.stopgap, "self-signed")
		if h := r.certs[name]; h != nil {
			c = describe(h.cert, "acme")
		}
		c.Names = []string{name}
		if name == r.names[0] {
			c.NextKey = spki(r.keys.next().Public())
		}
		if f := r.record.Names[name]; f != nil {
			c.Problem, c.NextAttempt = f.Error, f.Next
		} else if !r.terms {
			c.Problem = errTerms.Error()
		}
		all = append(all, c)
	}
	return slices.Clip(all)
}
