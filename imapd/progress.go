package imapd

import (
	"fmt"
	"runtime/debug"
	"time"
)

// progressEvery is how long a client is left without a word on its command.
const progressEvery = 10 * time.Second

// progress tells the client how far its command has come, if it has not heard
// of it for long (RFC 9585). It must not be called inside a response.
func (c *conn) progress(done uint32, total int) {
	if time.Since(c.told) >= c.s.progress {
		c.inProgress(fmt.Sprintf("%d %d", done, total))
	}
}

// inProgress sends the response code of RFC 9585 section 4. Should the client be
// gone, the encoder keeps the error.
func (c *conn) inProgress(counts string) {
	c.enc.Status("*", "OK", fmt.Sprintf(`INPROGRESS ("%s" %s)`, c.tag, counts), "still at work")
	c.enc.Flush() //nolint:errcheck // see above
	c.told = time.Now()
}

// patiently waits for f, which may take long and must leave the connection
// alone, and tells the client meanwhile that its command goes on.
func (c *conn) patiently(f func() error) error {
	type panicked struct {
		value any
		stack []byte
	}
	done := make(chan error, 1)
	failed := make(chan panicked, 1)
	go func() {
		defer func() {
			if v := recover(); v != nil {
				failed <- panicked{v, debug.Stack()}
			}
		}()
		done <- f()
	}()
	tick := time.NewTicker(c.s.progress)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case p := <-failed: // it ends this connection, as it would have without us
			panic(fmt.Sprintf("%v\n%s", p.value, p.stack))
		case <-tick.C:
			c.inProgress("NIL NIL")
		}
	}
}
