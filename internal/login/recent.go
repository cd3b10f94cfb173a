package login

import (
	"crypto/sha256"
	"sync"
	"time"
)

const (
	rememberFor = 10 * time.Minute // how long a login needs no derivation
	recordEvery = 10 * time.Minute // how often the same login is written down
	maxRecent   = 1 << 14          // entries, of about 100 octets
)

// recent holds digests for a while. A digest is an HMAC under the key of the
// process, so that a copy of our memory does not give cheaper guesses than the
// database would to someone who lacks that key.
type recent struct {
	mu  sync.Mutex
	end map[[sha256.Size]byte]time.Time
}

// holds says whether a digest was added and has not ended.
func (r *recent) holds(digest [sha256.Size]byte, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	end, ok := r.end[digest]
	return ok && now.Before(end)
}

// add keeps a digest until end. When there are too many, those that ended go;
// if none had, any one goes: forgetting costs a derivation, nothing else.
func (r *recent) add(digest [sha256.Size]byte, now, end time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.end == nil {
		r.end = make(map[[sha256.Size]byte]time.Time)
	}
	if len(r.end) >= maxRecent {
		r.shrink(now)
	}
	r.end[digest] = end
}

func (r *recent) shrink(now time.Time) {
	for d, end := range r.end {
		if !now.Before(end) {
			delete(r.end, d)
		}
	}
	for d := range r.end {
		if len(r.end) < maxRecent*3/4 { // room for many, so that this is rare
			return
		}
		delete(r.end, d)
	}
}
