package login

import "context"

// derivations is how many passwords are derived at a time: on a small machine
// more would only take the processor from those who are logged in.
const derivations = 2

// slots lets a few callers in, and a bounded number wait.
type slots struct {
	working chan struct{}
	present chan struct{} // those who work and those who wait
}

func newSlots(working, waiting int) slots {
	return slots{
		working: make(chan struct{}, working),
		present: make(chan struct{}, working+waiting),
	}
}

// acquire returns when the caller may work; it must call release afterwards.
// ErrBusy: too many wait already.
func (s slots) acquire(ctx context.Context) error {
	select {
	case s.present <- struct{}{}:
	default:
		return ErrBusy
	}
	select {
	case s.working <- struct{}{}:
		return nil
	case <-ctx.Done():
		<-s.present
		return ctx.Err()
	}
}

func (s slots) release() {
	<-s.working
	<-s.present
}
