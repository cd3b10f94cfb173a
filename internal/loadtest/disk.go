package loadtest

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// disk measures how often threads, each with a file of its own, can append
// 4 KiB and have that on the disk: what a message costs that shares its fsync
// with no other.
func disk(threads int) func(*run) ([]Figure, error) {
	return func(r *run) ([]Figure, error) {
		var n atomic.Int64
		errs := make([]error, threads)
		var all sync.WaitGroup
		began := time.Now()
		for i := range threads {
			all.Go(func() {
				errs[i] = appendAndSync(r.Dir, func() bool {
					return r.ctx.Err() == nil && time.Since(began) < time.Second && n.Add(1) <= int64(r.Messages)
				})
			})
		}
		all.Wait()
		took := time.Since(began)
		r.syncs[threads] = float64(min(n.Load(), int64(r.Messages))) / took.Seconds()
		return []Figure{{"rate", r.syncs[threads], "/s"}}, errors.Join(errs...)
	}
}

// appendAndSync goes on while more says so.
func appendAndSync(dir string, more func() bool) error {
	f, err := os.CreateTemp(dir, "disk-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // the directory goes as a whole
	defer f.Close()           //nolint:errcheck // nobody reads it
	block := make([]byte, small)
	for more() {
		if _, err := f.Write(block); err != nil {
			return err
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return err
		}
	}
	return nil
}
