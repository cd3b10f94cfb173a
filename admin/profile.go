package admin

import (
	"bytes"
	"context"
	"fmt"
	"runtime/pprof"
	"time"

	"mailbox/storage"
)

// maxProfile bounds how long a server's CPU is watched.
const maxProfile = 10 * time.Minute

// A ProfileRef asks for a profile of the running server: "cpu" over so many
// seconds (1 to 600), or "heap", "goroutine", "allocs" and the others that
// runtime/pprof knows, as of now.
type ProfileRef struct {
	Kind    string `json:"kind"`
	Seconds int    `json:"seconds,omitempty"`
}

// A Profile is in the form that `go tool pprof` reads. It names functions and
// figures, and holds nothing of anyone's mail.
type Profile struct {
	Profile []byte `json:"profile"`
}

func (a *API) profile(ctx context.Context, in ProfileRef) (Profile, error) {
	if a.Level == nil {
		return Profile{}, errNeedsServer
	}
	var out bytes.Buffer
	if in.Kind == "cpu" {
		err := profileCPU(ctx, &out, time.Duration(in.Seconds)*time.Second)
		return Profile{out.Bytes()}, err
	}
	p := pprof.Lookup(in.Kind)
	if p == nil {
		return Profile{}, fmt.Errorf("there is no profile %q; there are cpu, heap, allocs and goroutine: %w", in.Kind, storage.ErrInvalid)
	}
	err := p.WriteTo(&out, 0)
	return Profile{out.Bytes()}, err
}

func profileCPU(ctx context.Context, out *bytes.Buffer, d time.Duration) error {
	if d < time.Second || d > maxProfile {
		return fmt.Errorf("%v of CPU profile: 1 to %d seconds are possible: %w", d, maxProfile/time.Second, storage.ErrInvalid)
	}
	if err := pprof.StartCPUProfile(out); err != nil {
		return fmt.Errorf("%w: %w", err, storage.ErrExists) // somebody else is taking one
	}
	defer pprof.StopCPUProfile()
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
