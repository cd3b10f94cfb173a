package pull

import (
	"context"
	"errors"
	"time"
)

// idleTime is how long an IDLE lasts: some servers hang up after ten minutes.
const idleTime = 9 * time.Minute

// allEvery is how often, in polls, all mailboxes are gone through where the
// source does not number changes: STATUS does not show there that flags changed.
const allEvery = 10

// follow keeps everything up to date until stop is closed, and then once more.
func (r *run) follow(ctx context.Context, stop <-chan struct{}) error {
	news := make(chan struct{}, 1)
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.watch(ctx, news)
	}()
	defer func() {
		cancel()
		<-ended
	}()
	tick := time.NewTicker(r.Poll)
	defer tick.Stop()
	for polls := 1; ; {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-stop:
			return r.poll(ctx, true)
		case <-news:
			if m := r.mailboxes["INBOX"]; m != nil && m.skipped == "" {
				err = r.passOver(ctx, []*mailbox{m})
			}
		case <-tick.C:
			err = r.poll(ctx, polls%allEvery == 0)
			polls++
		}
		if err = r.endure(err); err != nil {
			return err
		}
	}
}

// poll brings the mailboxes up to date where something happened. With all, it
// goes through those too where the source does not show it.
func (r *run) poll(ctx context.Context, all bool) error {
	changed, err := r.look(ctx)
	if err != nil {
		return err
	}
	if all && !r.main.conn.condstore() {
		changed = r.pullable()
	}
	return r.passOver(ctx, changed)
}

// endure takes an error of a connection for a while: who follows for days waits
// until the source, or the destination, is back.
func (r *run) endure(err error) error {
	if err == nil || !passing(err) {
		return err
	}
	r.Log.Warn("a connection is lost; it is tried again", "every", r.Poll, "err", err)
	return nil
}

// watch waits for news of INBOX on a connection of its own (RFC 2177), if the
// source can do that.
func (r *run) watch(ctx context.Context, news chan<- struct{}) {
	w := &worker{run: r}
	defer w.close()
	for ctx.Err() == nil {
		err := w.once(ctx, func(c *conn) error {
			if !c.caps["IDLE"] {
				return errNoIdle
			}
			return c.idle(news)
		})
		if errors.Is(err, errNoIdle) {
			return
		}
		if err != nil {
			w.close()
			if sleep(ctx, r.Poll) != nil {
				return
			}
		}
	}
}

var errNoIdle = errors.New("the server has no IDLE")

// idle waits for a while, and signals each time that something happens.
func (c *conn) idle(news chan<- struct{}) error {
	if _, err := c.examine(&mailbox{listed: listed{wire: "INBOX"}}); err != nil {
		return err
	}
	signal(news) // what happened between the last look and now
	c.timed.silence = idleTime + silence
	defer func() { c.timed.silence = silence }()
	var timer *time.Timer
	defer func() {
		if timer != nil {
			timer.Stop()
		}
	}()
	_, err := c.command("IDLE", func(r *response) error {
		switch {
		case r.tag == "+" && timer == nil:
			timer = time.AfterFunc(idleTime, func() { _, _ = c.nc.Write([]byte("DONE\r\n")) }) // if it fails, so does the reading
		case r.kind == "EXISTS", r.kind == "EXPUNGE", r.kind == "FETCH", r.kind == "VANISHED":
			signal(news)
		}
		return nil
	})
	return err
}

func signal(news chan<- struct{}) {
	select {
	case news <- struct{}{}:
	default: // one is waiting already
	}
}
