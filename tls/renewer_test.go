package tls

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mholt/acmez/v3/acme"
)

// A fakeCA gives certificates of a life of its own, or fails.
type fakeCA struct {
	t    *testing.T
	root authority

	mu       sync.Mutex
	life     time.Duration // from now; negative: they have expired before they come
	fail     error
	early    time.Duration // how long from now it wants certificates renewed; 0: it does not say
	certs    map[string]*tls.Certificate
	attempts []time.Time
	dies     func() // called while it is asked; may be nil
}

func newFakeCA(t *testing.T) *fakeCA {
	return &fakeCA{t: t, root: authority{t.TempDir()}, life: 90 * 24 * time.Hour, certs: map[string]*tls.Certificate{}}
}

func (f *fakeCA) obtain(_ context.Context, name string, key crypto.Signer) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.attempts = append(f.attempts, time.Now())
	if f.dies != nil {
		f.dies()
	}
	if f.fail != nil {
		return f.fail
	}
	cert, err := f.root.certify(key, []string{name}, time.Now().Add(f.life-leafLife))
	if err != nil {
		f.t.Error(err)
	}
	f.certs[name] = cert
	return nil
}

func (f *fakeCA) load(_ context.Context, name string) (*tls.Certificate, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.certs[name] == nil {
		return nil, false, fs.ErrNotExist
	}
	return f.certs[name], true, nil
}

func (f *fakeCA) renewalInfo(context.Context, *x509.Certificate) (at, again time.Time, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.early == 0 {
		return at, again, errors.New("it does not say")
	}
	return time.Now().Add(f.early), again, nil
}

func (f *fakeCA) close() {}

// set changes what it does.
func (f *fakeCA) set(change func(*fakeCA)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

// asked is when it was asked for certificates.
func (f *fakeCA) asked() []time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.attempts)
}

// within counts the attempts of the worst window of a length.
func (f *fakeCA) within(d time.Duration) int {
	worst, all := 0, f.asked()
	for i, from := range all {
		n := 0
		for _, a := range all[i:] {
			if a.Sub(from) < d {
				n++
			}
		}
		worst = max(worst, n)
	}
	return worst
}

// A run is a renewer with a CA that a test made up.
type run struct {
	*renewer
	shown atomic.Pointer[set]
}

// startRenewer runs a renewer on a directory, as a start of the server does.
func startRenewer(t *testing.T, dir string, f ca) *run {
	t.Helper()
	keys, err := openKeyring(acmeDir(dir))
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeDir(acmeDir(dir)); err == nil {
			keys, err = openKeyring(acmeDir(dir))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	r := &run{}
	r.renewer = &renewer{dir: dir, names: []string{"mail.home.example"}, terms: true, ca: f, keys: keys, log: slog.New(slog.DiscardHandler), publish: r.shown.Store, panics: new(atomic.Int64)}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	if err := r.open("config"); err != nil {
		t.Fatal(err)
	}
	r.show()
	r.start()
	return r
}

var (
	errDown    = errors.New("dial tcp: connection refused")
	errRefused = fmt.Errorf("solving challenge: %w", acme.Problem{Type: acme.ProblemTypeUnauthorized, Status: http.StatusForbidden})
)

// TestCADownForADay: the stopgap serves, the CA is asked ever less often, and
// when it is back it gives what it owes.
func TestCADownForADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeCA(t)
		f.fail = errDown
		r := startRenewer(t, t.TempDir(), f)
		defer r.stop()
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if n, hour := len(f.asked()), f.within(time.Hour); n < 8 || n > 12 || hour > 5 {
			t.Errorf("%d attempts in a day, %d in an hour: %v", n, hour, f.asked())
		}
		if c := r.list()[0]; c.Source != "self-signed" || r.shown.Load().first != r.stopgap {
			t.Errorf("%+v serves", c)
		}
		f.set(func(f *fakeCA) { f.fail = nil })
		time.Sleep(12*time.Hour + 2*time.Hour)
		synctest.Wait()
		if c := r.list()[0]; c.Source != "acme" || c.Problem != "" || r.shown.Load().first.Leaf.SerialNumber.Text(16) != c.Serial {
			t.Errorf("half a day after it is back: %+v", c)
		}
	})
}

// TestRefusalsDoNotHammer: a CA that refuses is never asked more than twice in
// an hour, also by a server that is restarted all the time.
func TestRefusalsDoNotHammer(t *testing.T) {
	for _, restarts := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			f := newFakeCA(t)
			f.fail = errRefused
			dir := t.TempDir()
			r := startRenewer(t, dir, f)
			for range 24 * 60 / 7 {
				time.Sleep(7 * time.Minute)
				if restarts {
					r.stop()
					r = startRenewer(t, dir, f)
				}
			}
			r.stop()
			if hour := f.within(time.Hour); hour > 2 || !restarts && len(f.asked()) > 7 {
				t.Errorf("restarts %v: %d attempts in a day, %d in an hour", restarts, len(f.asked()), hour)
			}
		})
	}
}

// TestDeathInAnAttempt: a process that dies whenever it asks is no flood.
func TestDeathInAnAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeCA(t)
		dir := t.TempDir()
		file := filepath.Join(acmeDir(dir), "failures.json")
		var atDeath []byte
		f.dies = func() {
			var err error
			if atDeath, err = os.ReadFile(file); err != nil {
				t.Error(err)
			}
		}
		f.fail = errDown
		for range 6 * 60 {
			r := startRenewer(t, dir, f)
			synctest.Wait()
			r.stop()
			if atDeath != nil {
				put(t, file, atDeath)
			}
			time.Sleep(time.Minute)
		}
		if n, hour := len(f.asked()), f.within(time.Hour); n > 12 || hour > 5 {
			t.Errorf("%d attempts in six hours, %d in one", n, hour)
		}
	})
}

// TestWrongClock: certificates that have expired before they come, by a clock
// that is ahead, are not asked for again and again; a clock that is set right
// is believed at once.
func TestWrongClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeCA(t)
		f.life = -24 * time.Hour
		dir := t.TempDir()
		r := startRenewer(t, dir, f)
		time.Sleep(14 * 24 * time.Hour)
		r.stop()
		if n := f.within(7 * 24 * time.Hour); n > 4 {
			t.Errorf("%d certificates in a week", n)
		}
		if c := r.list()[0]; c.Source != "acme" || c.Problem == "" {
			t.Errorf("%+v", c)
		}
		// The clock was a year ahead: the record says so, and the certificate is good now.
		file := filepath.Join(acmeDir(dir), "failures.json")
		rec, err := readRecord(file, "config")
		if err != nil || rec.Names["mail.home.example"] == nil {
			t.Fatal(rec, err)
		}
		rec.Names["mail.home.example"].Last = time.Now().Add(365 * 24 * time.Hour)
		rec.Names["mail.home.example"].Next = time.Now().Add(367 * 24 * time.Hour)
		if err := rec.write(file); err != nil {
			t.Fatal(err)
		}
		f.set(func(f *fakeCA) { f.life = 90 * 24 * time.Hour })
		r = startRenewer(t, dir, f)
		synctest.Wait()
		if c := r.list()[0]; c.Problem != "" || !c.NotAfter.After(time.Now()) {
			t.Errorf("after the clock was set right: %+v", c)
		}
		r.stop()
	})
}

// TestRenewalTimes: after two thirds of its life, or when the CA wants it,
// but never too late.
func TestRenewalTimes(t *testing.T) {
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		early    time.Duration
		from, to time.Duration
	}{
		"the CA does not say":  {0, 60*day - 2*time.Hour, 60 * day},
		"the CA wants it soon": {10 * day, 10*day - 2*time.Hour, 11 * day},
		"the CA wants it late": {89 * day, 74 * day, 76 * day},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeCA(t)
				r := startRenewer(t, t.TempDir(), f)
				defer r.stop()
				synctest.Wait()
				begin := time.Now()
				want := begin.Add(c.early)
				for len(f.asked()) < 2 && time.Since(begin) < 100*day {
					if c.early != 0 {
						f.set(func(f *fakeCA) { f.early = max(time.Until(want), time.Second) })
					}
					time.Sleep(time.Hour)
				}
				if n := len(f.asked()); n != 2 {
					t.Fatalf("%d attempts", n)
				}
				if after := f.asked()[1].Sub(begin); after < c.from || after > c.to {
					t.Errorf("renewed after %s", after)
				}
			})
		})
	}
}

// TestCAWantsAllReplaced: a CA that wants every certificate replaced at once
// gets that every other day, and no more often.
func TestCAWantsAllReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeCA(t)
		f.early = time.Second
		r := startRenewer(t, t.TempDir(), f)
		defer r.stop()
		time.Sleep(20 * 24 * time.Hour)
		if n := f.within(7 * 24 * time.Hour); n > 5 || len(f.asked()) < 3 {
			t.Errorf("%d certificates in a week, %d in all", n, len(f.asked()))
		}
	})
}

// TestStopgapIsRenewed: a CA that gives nothing for months leaves a server
// whose certificate is good, always for the same key.
func TestStopgapIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeCA(t)
		f.fail = errDown
		r := startRenewer(t, t.TempDir(), f)
		defer r.stop()
		key := r.list()[0].Key
		for range 3 {
			time.Sleep(31 * 24 * time.Hour)
			synctest.Wait()
			if leaf := r.shown.Load().first.Leaf; time.Now().After(leaf.NotAfter) || spki(leaf.PublicKey) != key {
				t.Fatalf("good until %s, key %s", leaf.NotAfter, spki(leaf.PublicKey))
			}
		}
	})
}

// TestUnreadableRecord: what cannot be read costs nothing but what it said.
func TestUnreadableRecord(t *testing.T) {
	dir := t.TempDir()
	for _, text := range []string{"", "{", `{"config":"config","names":{"mail.home.example":null}}`, `{"config":"other","names":{"mail.home.example":{"next":"2999-01-01T00:00:00Z","last":"2998-01-01T00:00:00Z","told":true}}}`} {
		file := filepath.Join(dir, "failures.json")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if r, _ := readRecord(file, "config"); !r.Names["mail.home.example"].mayTry(time.Now()) {
			t.Errorf("%q keeps us from asking", text)
		}
	}
}
