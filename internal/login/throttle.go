package login

import (
	"container/list"
	"net/netip"
	"sync"
	"time"
)

const (
	forgetAfter  = 24 * time.Hour // without a failure, all earlier ones are forgotten
	firstLockout = time.Minute    // doubled with every further failure
	firstDelay   = 500 * time.Millisecond
	longestDelay = 8 * time.Second
	maxFailing   = 1 << 16 // entries of one throttle, of about 300 octets

	networkLockout = time.Hour // the longest
	accountLockout = 15 * time.Minute
)

// A guess stands for a name and a password, under the key of the process. The
// zero value is a guess of which that cannot be told.
type guess [8]byte

// A throttle counts failures by K, and locks out those with too many. A program
// that repeats one outdated password is counted once: it guesses nothing.
type throttle[K comparable] struct {
	free    int           // failures before the first lockout
	longest time.Duration // of a lockout

	mu      sync.Mutex
	entries map[K]*list.Element
	order   *list.List // of *failures[K], the latest failure first
}

type failures[K comparable] struct {
	key     K
	count   int
	last    time.Time
	until   time.Time // end of the lockout
	guesses [8]guess  // the latest different ones
	next    int       // place of the next in guesses
}

func (t *throttle[K]) init(free int, longest time.Duration) {
	t.free, t.longest = free, longest
	t.entries = make(map[K]*list.Element)
	t.order = list.New()
}

// locked says whether key is locked out.
func (t *throttle[K]) locked(key K, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ok := t.entries[key]
	return ok && now.Before(e.Value.(*failures[K]).until)
}

// count returns the failures of key that are not forgotten.
func (t *throttle[K]) count(key K, now time.Time) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ok := t.entries[key]
	if !ok {
		return 0
	}
	f := e.Value.(*failures[K])
	if now.Sub(f.last) > forgetAfter {
		return 0
	}
	return f.count
}

// fail counts a failure. It returns the length of the lockout that it caused, or 0.
func (t *throttle[K]) fail(key K, g guess, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire(now)
	f := t.entry(key)
	f.last = now
	if f.knows(g) {
		return 0
	}
	f.count++
	if f.count < t.free {
		return 0
	}
	lockout := t.longest
	if over := f.count - t.free; over < 16 {
		lockout = min(firstLockout<<over, t.longest)
	}
	f.until = now.Add(lockout)
	return lockout
}

// entry returns the entry of key, now the latest.
func (t *throttle[K]) entry(key K) *failures[K] {
	if e, ok := t.entries[key]; ok {
		t.order.MoveToFront(e)
		return e.Value.(*failures[K])
	}
	if len(t.entries) >= maxFailing {
		t.drop(t.order.Back())
	}
	f := &failures[K]{key: key}
	t.entries[key] = t.order.PushFront(f)
	return f
}

// expire drops what is forgotten.
func (t *throttle[K]) expire(now time.Time) {
	for e := t.order.Back(); e != nil && now.Sub(e.Value.(*failures[K]).last) > forgetAfter; e = t.order.Back() {
		t.drop(e)
	}
}

func (t *throttle[K]) drop(e *list.Element) {
	t.order.Remove(e)
	delete(t.entries, e.Value.(*failures[K]).key)
}

// knows says whether a guess was made before, and notes it.
func (f *failures[K]) knows(g guess) bool {
	if g == (guess{}) {
		return false
	}
	for _, old := range f.guesses {
		if old == g {
			return true
		}
	}
	f.guesses[f.next] = g
	f.next = (f.next + 1) % len(f.guesses)
	return false
}

// delay is how long the answer to the nth failure is held back.
func delay(n int) time.Duration {
	if n < 1 {
		return 0
	}
	if n > 10 {
		return longestDelay
	}
	return min(firstDelay<<(n-1), longestDelay)
}

// networkOf returns what one person has at least: an IPv4 address, or an IPv6 /64.
func networkOf(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{} // no address: all of those are one network
	}
	return p
}
