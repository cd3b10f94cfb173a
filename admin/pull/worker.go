package pull

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
)

// The pauses before a connection is tried again: after it was cut, and after
// the source asked for less. They double up to the last.
const (
	firstPause    = 100 * time.Millisecond
	lastPause     = time.Minute
	firstThrottle = 30 * time.Second
	lastThrottle  = 15 * time.Minute
)

// throttleCodes are the response codes by which Gmail, and others after it, ask
// for patience.
var throttleCodes = []string{"OVERQUOTA", "THROTTLED"}

// throttleTexts are what else servers say to that end, in small letters.
var throttleTexts = []string{"bandwidth limit", "throttled", "too many simultaneous", "too many connections", "rate limit"}

// throttled reports whether the source asks for patience.
func throttled(err error) bool {
	var text string
	var status *statusError
	var cut *cutError
	switch {
	case errors.As(err, &status):
		if slices.Contains(throttleCodes, status.code) {
			return true
		}
		text = status.text
	case errors.As(err, &cut):
		text = cut.bye
	}
	text = strings.ToLower(text)
	return slices.ContainsFunc(throttleTexts, func(s string) bool { return strings.Contains(text, s) })
}

// temporary reports whether a refusal may pass (RFC 5530).
func temporary(err error) bool {
	var status *statusError
	if !errors.As(err, &status) {
		return false
	}
	return slices.Contains([]string{"UNAVAILABLE", "INUSE", "LIMIT", "SERVERBUG"}, status.code) || throttled(err)
}

// passing tells whether an error is of a connection, to the source or to the
// destination, that may be had again.
func passing(err error) bool {
	var cut *cutError
	return errors.As(err, &cut) || temporary(err) || errors.Is(err, ErrAway)
}

// A worker has a connection, and makes another when it breaks.
type worker struct {
	run      *run
	conn     *conn
	worked   bool          // one was logged in once
	pause    time.Duration // before the next try
	throttle time.Duration
	since    time.Time // of the last progress
	pulled   int       // messages of the run, then
}

// try calls f with a connection, again and again where that may help: at once a
// connection must have worked, and there must be progress within Patience.
func (w *worker) try(ctx context.Context, f func(*conn) error) error {
	w.progress()
	for {
		err := w.once(ctx, f)
		if err == nil {
			w.progress()
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if isStatus(err) && !throttled(err) {
			return err // the connection is as good as before
		}
		w.close()
		if err := w.wait(ctx, err); err != nil {
			return err
		}
	}
}

func (w *worker) once(ctx context.Context, f func(*conn) error) error {
	if w.conn == nil {
		c, err := w.run.connect(ctx)
		if err != nil {
			return err
		}
		w.conn, w.worked = c, true
	}
	return guarded(func() error { return f(w.conn) })
}

// wait waits until another try makes sense. It returns err if none does.
func (w *worker) wait(ctx context.Context, err error) error {
	if w.pulled != w.run.pulledSoFar() {
		w.progress()
	}
	if throttled(err) {
		w.throttle = min(max(2*w.throttle, firstThrottle), lastThrottle)
		w.run.Log.Warn("the source asks for patience", "wait", w.throttle, "err", err)
		w.since = w.since.Add(w.throttle) // it is not for want of progress
		return sleep(ctx, w.throttle)
	}
	if !passing(err) {
		return err
	}
	if !w.worked || time.Since(w.since) > w.run.Patience {
		return err
	}
	w.pause = min(max(2*w.pause, firstPause), lastPause)
	w.run.Log.Info("a connection broke", "wait", w.pause, "err", err)
	return sleep(ctx, w.pause)
}

func (w *worker) progress() {
	w.pause, w.throttle, w.since, w.pulled = 0, 0, time.Now(), w.run.pulledSoFar()
}

func (w *worker) close() {
	w.conn.close()
	w.conn = nil
}

func (w *worker) logout() {
	if w.conn != nil {
		w.conn.logout()
		w.conn = nil
	}
}

// sleep waits, or returns why ctx ended.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
