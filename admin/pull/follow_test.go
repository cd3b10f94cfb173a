package pull

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// following follows a server in a bubble of its own until stop is called.
func following(t *testing.T, p *Puller) (stop func() *Report) {
	t.Helper()
	stopped, ended := make(chan struct{}), make(chan struct{})
	var report *Report
	var err error
	go func() {
		defer close(ended)
		report, err = p.Follow(ctx, stopped)
	}()
	synctest.Wait()
	return func() *Report {
		t.Helper()
		close(stopped)
		<-ended
		must(t, err)
		return report
	}
}

// TestIdle: new mail in INBOX does not wait for the next poll, however long the
// connection has been open.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, a := inboxOf(oddLetters(2)), newAccount()
		o.caps = "IDLE"
		var idle *oddSession
		var tag string
		times := 0
		o.hook = func(s *oddSession, aTag, command string) bool {
			switch {
			case command == "IDLE":
				idle, tag = s, aTag
				times++
				s.say("+ idling")
				return true
			case aTag == "DONE":
				idle = nil
				s.say("%s OK done", tag)
				return true
			}
			return false
		}
		p := o.puller(t, a)
		p.Poll = 24 * time.Hour
		stop := following(t, p)
		time.Sleep(time.Hour)
		o.mu.Lock()
		if times < 6 {
			t.Errorf("it said IDLE %d times in an hour", times)
		}
		o.boxes[0].messages = oddLetters(3)
		idle.say("* 3 EXISTS")
		o.mu.Unlock()
		time.Sleep(time.Second)
		if got := len(a.texts("INBOX")); got != 3 {
			t.Errorf("%d messages are here", got)
		}
		if report := stop(); !report.Equal() {
			t.Errorf("%+v", report)
		}
	})
}

// TestOutage: who follows waits for hours until the source is back.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, a := inboxOf(oddLetters(2)), newAccount()
		p, down := o.puller(t, a), false
		p.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			o.mu.Lock()
			refused := down
			o.mu.Unlock()
			if refused {
				return nil, errors.New("connection refused")
			}
			return o.dial(ctx, network, address)
		}
		o.hook = func(s *oddSession, _, _ string) bool {
			if down {
				s.nc.Close()
			}
			return down
		}
		stop := following(t, p)
		set := func(to bool) {
			o.mu.Lock()
			defer o.mu.Unlock()
			down = to
		}
		set(true)
		time.Sleep(5 * time.Hour)
		set(false)
		o.mu.Lock()
		o.boxes[0].messages = oddLetters(4)
		o.mu.Unlock()
		time.Sleep(5 * time.Minute)
		if got := len(a.texts("INBOX")); got != 4 {
			t.Errorf("%d messages are here", got)
		}
		stop()
	})
}

// TestAway: who follows waits for hours until the destination is back; what came
// meanwhile is pulled then.
func TestAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, a := inboxOf(oddLetters(2)), newAccount()
		stop := following(t, o.puller(t, a))
		breaks := func(err error) {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.broken = err
		}
		breaks(fmt.Errorf("add: %w", ErrAway))
		o.mu.Lock()
		o.boxes[0].messages = oddLetters(4)
		o.mu.Unlock()
		time.Sleep(5 * time.Hour)
		if got := len(a.texts("INBOX")); got != 2 {
			t.Fatalf("%d messages are here", got)
		}
		breaks(nil)
		time.Sleep(5 * time.Minute)
		if got := len(a.texts("INBOX")); got != 4 {
			t.Errorf("%d messages are here", got)
		}
		stop()
	})
}

// TestUnseenChanges: a flag arrives also from a source that numbers no changes;
// a mailbox that is merely not listed is not taken for gone.
func TestUnseenChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, a := inboxOf(oddLetters(2)), newAccount()
		hide := false
		o.hook = func(s *oddSession, tag, command string) bool {
			if hide && strings.HasPrefix(command, "LIST") {
				s.say("%s OK none", tag)
				return true
			}
			return false
		}
		p := o.puller(t, a)
		p.Remove = true
		stop := following(t, p)
		o.mu.Lock()
		o.boxes[0].messages[0].flags = `\Flagged work`
		hide = true
		o.mu.Unlock()
		time.Sleep(15 * time.Minute)
		if got := a.messages("INBOX"); len(got) != 2 || !strings.HasSuffix(got[0], `\Flagged work`) {
			t.Errorf("here are %q", got)
		}
		stop()
	})
}

// TestBye: a server that hangs up in the middle is taken up where it was.
func TestBye(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := inboxOf(oddLetters(10))
		o.boxes[0].messages[4].text = strings.Repeat("large ", 1<<20)
		asked := map[uint32]int{}
		o.hook = func(s *oddSession, _, command string) bool {
			if !strings.Contains(command, "BODY.PEEK") {
				return false
			}
			for _, m := range s.asked(command) {
				asked[m.uid]++
			}
			if s.number > 3 {
				return false
			}
			some := s.asked(command)
			s.box = &oddBox{messages: some[:min(2, len(some))]}
			s.fetch("UID FETCH 1:* BODY.PEEK[]")
			s.say("* BYE shutting down")
			s.nc.Close()
			return true
		}
		var last Progress
		a := newAccount()
		p := o.puller(t, a)
		p.Progress = func(now Progress) { last = now }
		_, err := p.Pull(ctx)
		must(t, err)
		if !slices.Equal(a.texts("INBOX"), o.boxes[0].texts()) {
			t.Error("here is something else")
		}
		if asked[1] != 1 || last.Messages != 10 || last.TotalMessages != 10 || last.Bytes != last.TotalBytes {
			t.Errorf("the first was asked for %d times, and in the end %+v", asked[1], last)
		}
	})
}
