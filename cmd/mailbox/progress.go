package main

import (
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"mailbox/admin"
)

// linesEvery is how often progress is told where nobody looks at a terminal.
const linesEvery = 10 * time.Second

// A progressSign shows how far a transfer is: as a bar on a terminal, elsewhere
// as lines. It writes to standard error.
type progressSign struct {
	now   atomic.Pointer[admin.Progress]
	start time.Time
	bars  *mpb.Progress // nil: lines are written
	bar   *mpb.Bar
	stop  chan struct{}
	ended chan struct{}
}

func newProgressSign(c *cobra.Command) *progressSign {
	p := &progressSign{start: time.Now(), stop: make(chan struct{}), ended: make(chan struct{})}
	p.now.Store(&admin.Progress{})
	out := c.ErrOrStderr()
	if !canDraw(out) {
		go p.lines(out)
		return p
	}
	close(p.ended)
	p.bars = mpb.New(mpb.WithOutput(out))
	p.bar = p.bars.AddBar(0, mpb.BarWidth(24), mpb.BarRemoveOnComplete(),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return " " + p.line() })))
	return p
}

// canDraw reports whether w is a terminal that has a size: not every one has.
func canDraw(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	width, height, err := term.GetSize(int(f.Fd()))
	return err == nil && width > 0 && height > 0
}

// update is told by the transfer.
func (p *progressSign) update(now admin.Progress) {
	p.now.Store(&now)
	if p.bar == nil {
		return
	}
	done, all := share(now)
	p.bar.SetTotal(max(all, 1), false)
	p.bar.SetCurrent(min(done, max(all, 1)-1)) // the end is said by close
}

// close takes the sign away.
func (p *progressSign) close() {
	close(p.stop)
	<-p.ended
	if p.bar != nil {
		p.bar.SetTotal(-1, true)
		p.bars.Wait()
	}
}

func (p *progressSign) lines(out io.Writer) {
	defer close(p.ended)
	tick := time.NewTicker(linesEvery)
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-tick.C:
			fmt.Fprintln(out, p.line())
		}
	}
}

// share is how much of how much is done, in messages where these were counted
// beforehand, else in octets.
func share(p admin.Progress) (done, all int64) {
	if p.AllMessages > 0 {
		return p.Messages, max(p.AllMessages, p.Messages)
	}
	return p.Bytes, max(p.AllBytes, p.Bytes)
}

// line says how far it is.
func (p *progressSign) line() string {
	now, took := *p.now.Load(), time.Since(p.start)
	text := fmt.Sprintf("%d messages, %s, %.0f a second", now.Messages, formatSize(now.Bytes), float64(now.Messages)/took.Seconds())
	if done, all := share(now); done > 0 && all > done {
		left := time.Duration(float64(took) / float64(done) * float64(all-done))
		text += fmt.Sprintf(", %s left", left.Round(time.Second))
	}
	if now.Mailbox != "" {
		text += fmt.Sprintf(", at %q", now.Mailbox)
	}
	return text
}
