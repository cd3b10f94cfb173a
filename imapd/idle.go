package imapd

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"
	"time"
)

const idlePing = 4 * time.Minute // keeps the connection known to the boxes between

// idle is IDLE (RFC 2177): changes are told as they happen, until DONE.
func (c *conn) idle(ctx context.Context) (ok, error) {
	if err := c.dec.CRLF(); err != nil {
		return ok{}, err
	}
	watcher := c.s.Store.Watch(c.account)
	defer watcher.Close()
	c.setWaiting(true)
	defer c.setWaiting(false)
	c.enc.Continue("idling")
	if err := c.idleSync(ctx); err != nil {
		return ok{}, err
	}
	c.idling = true
	defer func() { c.idling = false }()
	done := make(chan error, 1)
	go func() {
		defer func() {
			if v := recover(); v != nil {
				c.s.stats.panics.Add(1)
				c.log.Error("panic while idle", "panic", v, "stack", string(debug.Stack()))
				done <- &connError{fmt.Errorf("panic while idle: %v", v)}
			}
		}()
		done <- c.dec.Wait()
	}()
	ping := time.NewTicker(idlePing)
	defer ping.Stop()
	for {
		var err error
		select {
		case err = <-done:
			c.setWaiting(false)
			return c.idleDone(err)
		case <-watcher.C:
			err = c.idleSync(ctx)
		case <-ping.C:
			c.enc.Status("*", "OK", "", "still here")
			err = c.enc.Flush()
		}
		if err != nil {
			c.stop(statusOf(err).text) // ends the read
			<-done
			return ok{}, &connError{err}
		}
	}
}

func (c *conn) idleSync(ctx context.Context) error {
	if c.view != nil {
		if err := c.sync(ctx, syncOptions{expunge: true}); err != nil {
			return err
		}
	}
	return c.enc.Flush()
}

func (c *conn) idleDone(err error) (ok, error) {
	if err != nil {
		return ok{}, &connError{err}
	}
	line, err := c.dec.Line()
	if err != nil {
		return ok{}, err
	}
	if !strings.EqualFold(string(line), "DONE") {
		return ok{}, bad("expected DONE")
	}
	return ok{text: "IDLE completed"}, nil
}
