package pull

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// An adder adds the messages of one mailbox, in order, while others are being
// fetched.
type adder struct {
	run    *run
	m      *mailbox
	cancel context.CancelFunc
	ctx    context.Context // ends when adding has failed
	in     chan []*message
	done   chan error
}

func (r *run) startAdder(ctx context.Context, m *mailbox) *adder {
	a := &adder{run: r, m: m, in: make(chan []*message), done: make(chan error, 1)}
	a.ctx, a.cancel = context.WithCancel(ctx)
	go func() { a.done <- guarded(func() error { return a.work(ctx) }) }()
	return a
}

// put hands messages over, which are the adder's to close. It returns false if
// adding has failed.
func (a *adder) put(messages []*message) bool {
	a.in <- messages
	return a.ctx.Err() == nil
}

// finish waits until all is added.
func (a *adder) finish() error {
	close(a.in)
	defer a.cancel()
	return <-a.done
}

func (a *adder) work(ctx context.Context) error {
	var failed error
	for messages := range a.in {
		if failed == nil {
			failed = guarded(func() error { return a.add(ctx, messages) })
		}
		if failed != nil {
			a.cancel()
		}
		for _, m := range messages {
			m.body.close()
		}
	}
	return failed
}

// add adds messages, one mailbox after the other.
func (a *adder) add(ctx context.Context, messages []*message) error {
	for len(messages) > 0 {
		mailbox := messages[0].mailbox
		var here, others []*message
		for _, m := range messages {
			if m.mailbox == mailbox {
				here = append(here, m)
			} else {
				others = append(others, m)
			}
		}
		if err := a.addTo(ctx, mailbox, here); err != nil {
			return err
		}
		messages = others
	}
	return nil
}

// addTo adds messages to a mailbox, but for those that are refused.
func (a *adder) addTo(ctx context.Context, mailbox string, messages []*message) error {
	for len(messages) > 0 {
		items := make([]Item, len(messages))
		for i, m := range messages {
			items[i] = m.Item
			items[i].Content = m.body.reader()
		}
		err := a.run.Destination.Add(ctx, mailbox, a.m.origin, items)
		if err == nil {
			break
		}
		var refused *Refused
		i := -1
		if errors.As(err, &refused) {
			i = slices.IndexFunc(messages, func(m *message) bool { return m.UID == refused.UID })
		}
		if i < 0 {
			return fmt.Errorf("add to %q: %w", mailbox, err)
		}
		m := messages[i]
		if err := a.run.fail(a.m, entry{uid: m.UID, size: m.claimed}, refused.Err, m.body); err != nil {
			return err
		}
		messages = slices.Delete(slices.Clone(messages), i, i+1)
	}
	for _, m := range messages {
		a.m.known[m.UID] = remembered{strings.Join(m.Flags, " "), mailbox}
		a.m.added++
		a.run.pulled(a.m, m)
	}
	return nil
}

// guarded calls f, and makes an error of its panic: what a server sends must
// not end the process.
func guarded(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	return f()
}
