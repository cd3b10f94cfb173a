package loadtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// mails makes up n messages, none of which was there before. from is "" for
// many people.
func (r *run) mails(n, size int, from string) []mail {
	list := make([]mail, n)
	for i := range list {
		sender := cmp.Or(from, senderOf(r.sequence))
		list[i] = mail{sender, newMessage(r.sequence, size, sender, r.User)}
		r.sequence++
	}
	return list
}

// deliver measures mail that comes in.
func deliver(connections, size int) func(*run) ([]Figure, error) {
	return func(r *run) ([]Figure, error) {
		return r.load(connections, size, "", func() (smtpClient, error) { return dialSMTP(r.ctx, r.SMTP) })
	}
}

// submit measures mail that the user sends, to themselves.
func submit(connections, size int) func(*run) ([]Figure, error) {
	return func(r *run) ([]Figure, error) {
		return r.load(connections, size, r.User, func() (smtpClient, error) {
			c, err := dialSMTP(r.ctx, r.Submission)
			if err == nil {
				err = c.login(r.User, r.Password)
			}
			return c, err
		})
	}
}

// load sends messages over many connections at once, and waits until they can
// be seen in INBOX.
func (r *run) load(connections, size int, from string, dial func() (smtpClient, error)) ([]Figure, error) {
	n := r.Messages / 5
	if size == large {
		n = r.Messages / 50
	}
	inbox, err := r.client()
	if err != nil {
		return nil, err
	}
	defer inbox.Close() //nolint:errcheck // all was answered
	there, err := inbox.messages("INBOX")
	if err != nil {
		return nil, err
	}
	clients := make([]smtpClient, connections)
	for i := range clients {
		if clients[i], err = dial(); err != nil {
			return nil, err
		}
		defer clients[i].Close() //nolint:errcheck // all was answered
	}
	mails := r.mails(min(n, 16<<20/size), size, from) // sent again and again where more would take too much memory
	before, err := r.process.cpu()
	if err != nil {
		return nil, err
	}

	began := time.Now()
	replies, err := sendAll(clients, mails, r.User, n)
	if err != nil {
		return nil, err
	}
	if err := visible(r.ctx, inbox, there+len(replies)); err != nil {
		return nil, err
	}
	rate := perSecond(len(replies), time.Since(began))

	after, err := r.rest()
	figures := []Figure{rate}
	if size == small {
		figures = append(figures, r.perSync(rate, connections))
	}
	return append(append(figures, quantiles("reply ", replies)...), cpuPerMessage(len(replies), after-before)), err
}

// sendAll sends n messages, or as many as there is time for, and returns how
// long the reply to each final dot took.
func sendAll(clients []smtpClient, mails []mail, to string, n int) ([]time.Duration, error) {
	var next atomic.Int64
	replies := make([][]time.Duration, len(clients))
	errs := make([]error, len(clients))
	began := time.Now()
	var all sync.WaitGroup
	for i, c := range clients {
		all.Go(func() {
			for time.Since(began) < longest {
				k := int(next.Add(1)) - 1
				if k >= n {
					return
				}
				dot, err := c.send(mails[k%len(mails)], to)
				if err != nil {
					errs[i] = err
					return
				}
				replies[i] = append(replies[i], time.Since(dot))
			}
		})
	}
	all.Wait()
	return slices.Concat(replies...), errors.Join(errs...)
}

// visible waits until INBOX has n messages.
func visible(ctx context.Context, inbox *imapClient, n int) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		has, err := inbox.messages("INBOX")
		if err != nil || has == n {
			return err
		}
		if has > n || ctx.Err() != nil {
			return fmt.Errorf("INBOX has %d messages, not the %d that were sent", has, n)
		}
		time.Sleep(time.Millisecond)
	}
}

// quantiles are the median of durations, and what one in a hundred is above.
func quantiles(prefix string, list []time.Duration) []Figure {
	slices.Sort(list)
	return []Figure{
		milliseconds(prefix+"p50", list[len(list)*50/100]),
		milliseconds(prefix+"p99", list[len(list)*99/100]),
	}
}

// arrival sends one message after the other, and waits for each, after the
// reply to its final dot, at a client in IDLE.
func (r *run) arrival() ([]Figure, error) {
	watcher, err := r.client()
	if err != nil {
		return nil, err
	}
	defer watcher.Close() //nolint:errcheck // all was told
	if err := watcher.do("SELECT INBOX", nil); err != nil {
		return nil, err
	}
	if err := watcher.idle(); err != nil {
		return nil, err
	}
	sender, err := dialSMTP(r.ctx, r.SMTP)
	if err != nil {
		return nil, err
	}
	defer sender.Close() //nolint:errcheck // all was answered
	var took []time.Duration
	began := time.Now()
	for _, m := range r.mails(r.Messages/20, small, "") {
		if time.Since(began) > longest {
			break
		}
		dot, err := sender.send(m, r.User)
		if err != nil {
			return nil, err
		}
		if err := watcher.hear("* ", " EXISTS"); err != nil {
			return nil, err
		}
		took = append(took, time.Since(dot))
	}
	return quantiles("", took), nil
}
