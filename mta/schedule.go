package mta

import (
	"math/rand/v2"
	"slices"
	"time"

	"mailbox/storage"
)

// next is when a recipient is tried again, with a quarter of jitter, so that
// what failed together does not come back together. It is not after the moments
// at which its sender is to be told that it is late, and that it is given up.
func (c *Config) next(e *storage.QueueEntry, now time.Time) time.Time {
	wait := c.Retry[min(e.Attempts, len(c.Retry)-1)]
	at := now.Add(wait + time.Duration((rand.Float64()-0.5)/2*float64(wait)))
	moments := []time.Time{e.Queued.Add(c.Expire)}
	if c.DelayNotice > 0 && !e.Noticed {
		moments = append(moments, e.Queued.Add(c.DelayNotice))
	}
	for _, m := range moments {
		if m.After(now) && m.Before(at) {
			at = m
		}
	}
	return at
}

// wait is how long a recipient need not be looked at. What its sender wants held
// is held by the clock on the wall, which may be set meanwhile; nothing else is
// due later than the longest interval from now, unless the clock was set back.
func (c *Config) wait(e *storage.QueueEntry, now time.Time) time.Duration {
	wait := e.Due.Sub(now)
	if e.Release.After(now) {
		return min(wait, longest)
	}
	if wait > slices.Max(c.Retry)*5/4 {
		return 0
	}
	return wait
}

// expired tells whether a recipient is not tried again.
func (c *Config) expired(e *storage.QueueEntry, now time.Time) bool {
	return !now.Before(e.Queued.Add(c.Expire))
}

// late tells whether the sender should hear now that a recipient is late.
func (c *Config) late(e *storage.QueueEntry, now time.Time) bool {
	return c.DelayNotice > 0 && !e.Noticed && !now.Before(e.Queued.Add(c.DelayNotice))
}

// pause is how long a destination that does not work is left alone, the longer
// the more often that was in a row.
func (c *Config) pause(times int) time.Duration {
	wait := c.Retry[0] / 5 << min(times-1, 5)
	return min(max(wait, 100*time.Millisecond), 30*time.Minute)
}
