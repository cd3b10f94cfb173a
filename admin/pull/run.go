package pull

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"mailbox/admin/archive"
)

// A run is one call of Pull, Follow or Preview.
type run struct {
	*Puller
	source  string // the account, for origins
	started uint32 // in seconds
	preview bool
	main    *worker

	mailboxes map[string]*mailbox // by their names on the wire

	mu       sync.Mutex // of what follows, and of the failed messages of mailboxes
	progress Progress
}

func (p *Puller) newRun() (*run, error) {
	q, err := p.withDefaults()
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(q.Address)
	if err != nil {
		return nil, err
	}
	r := &run{
		Puller:    q,
		source:    q.User + "@" + net.JoinHostPort(strings.ToLower(host), port),
		started:   uint32(time.Now().Unix()),
		mailboxes: map[string]*mailbox{},
	}
	r.main = &worker{run: r}
	return r, nil
}

// passAll looks at all mailboxes, and brings them up to date.
func (r *run) passAll(ctx context.Context) error {
	changed, err := r.look(ctx)
	if err != nil {
		return err
	}
	return r.passOver(ctx, changed)
}

// look lists the mailboxes, and returns those where something happened.
func (r *run) look(ctx context.Context) ([]*mailbox, error) {
	var l *listing
	gmail := false
	err := r.main.try(ctx, func(c *conn) (err error) {
		gmail = c.caps["X-GM-EXT-1"]
		l, err = c.list()
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := r.register(ctx, l, gmail); err != nil {
		return nil, err
	}
	var changed []*mailbox
	for _, m := range r.pullable() {
		if m.status == nil {
			err := r.main.try(ctx, func(c *conn) (err error) {
				m.status, err = c.status(m.wire)
				return err
			})
			if err != nil && !isStatus(err) {
				return nil, err
			}
		}
		if m.status == nil || m.told == nil || *m.status != *m.told || m.err != nil {
			changed = append(changed, m)
		}
	}
	return changed, nil
}

// pullable returns the mailboxes that are not skipped, the largest first.
func (r *run) pullable() []*mailbox {
	var all []*mailbox
	for _, m := range r.mailboxes {
		if m.skipped == "" {
			all = append(all, m)
		}
	}
	size := func(m *mailbox) int64 {
		if m.status == nil {
			return 0
		}
		return int64(m.status.messages)
	}
	slices.SortFunc(all, func(a, b *mailbox) int {
		if a, b := size(a), size(b); a != b {
			return int(b - a)
		}
		return strings.Compare(a.wire, b.wire)
	})
	return all
}

// register takes note of what is listed: of new mailboxes, and of those that
// are no longer there.
func (r *run) register(ctx context.Context, l *listing, gmail bool) error {
	names := place(l, gmail)
	sorter := r.sorter(l, names, gmail)
	there := map[string]bool{}
	for i, listed := range l.mailboxes {
		there[listed.wire] = true
		m := r.mailboxes[listed.wire]
		if m == nil || m.vanished {
			m = &mailbox{name: names[i], skipped: skip(listed, sorter)}
			r.mailboxes[listed.wire] = m
		}
		m.listed = listed
		if sorter != nil && listed.use == `\All` {
			m.sorter, m.places = sorter, sorter.mailboxes()
		} else {
			m.places = []archive.Mailbox{{Name: m.name, SpecialUse: m.use, Subscribed: m.subscribed}}
		}
	}
	for _, m := range r.pullable() {
		if there[m.wire] {
			continue
		}
		gone, err := r.isGone(ctx, m)
		if gone {
			err = r.vanish(ctx, m)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// isGone makes sure that a mailbox which is not listed any more is not there.
func (r *run) isGone(ctx context.Context, m *mailbox) (bool, error) {
	err := r.main.try(ctx, func(c *conn) error {
		_, err := c.status(m.wire)
		return err
	})
	if isStatus(err) {
		return !temporary(err), nil
	}
	return false, err
}

// sorter returns what sorts "All Mail", if the source is Gmail and shows that.
func (r *run) sorter(l *listing, names []string, gmail bool) *sorter {
	if !gmail {
		return nil
	}
	if !slices.ContainsFunc(l.mailboxes, func(m listed) bool { return m.use == `\All` }) {
		r.Log.Warn("the source hides All Mail: only what has a label can be pulled, and by mailboxes")
		return nil
	}
	return newSorter(l, names, r.Labels == LabelsAsKeywords)
}

// skip says why a mailbox is not pulled, or "".
func skip(m listed, s *sorter) string {
	switch {
	case m.unusable:
		return "its name holds what no command can hold"
	case m.use == `\All` && s != nil:
		return ""
	case m.use == `\All`, m.use == `\Flagged`, m.use == `\Important`:
		return "it is a view of messages in other mailboxes (RFC 6154 section 2)"
	case s != nil && s.keywords && m.use != `\Trash` && m.use != `\Junk`:
		return "it is a label: its messages come from All Mail"
	}
	return ""
}

// passOver brings mailboxes up to date, with several connections.
func (r *run) passOver(ctx context.Context, mailboxes []*mailbox) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	q := &queue{mailboxes: mailboxes}
	var wg sync.WaitGroup
	for range min(r.Connections, len(mailboxes)) - 1 {
		wg.Go(func() {
			w := &worker{run: r}
			defer w.logout()
			if err := w.work(ctx, q); err != nil && ctx.Err() == nil {
				r.Log.Info("one connection less to the source", "err", err)
			}
		})
	}
	err := r.main.work(ctx, q)
	if err != nil {
		cancel(err)
	}
	wg.Wait()
	if err == nil {
		err = r.main.work(ctx, q) // what another could not go on with
	}
	return err
}

// A queue is what is still to be brought up to date.
type queue struct {
	mu        sync.Mutex
	mailboxes []*mailbox
}

func (q *queue) take() *mailbox {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.mailboxes) == 0 {
		return nil
	}
	m := q.mailboxes[0]
	q.mailboxes = q.mailboxes[1:]
	return m
}

func (q *queue) putBack(m *mailbox) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.mailboxes = append(q.mailboxes, m)
}

// work brings one mailbox after the other up to date. One that the server
// refuses is remembered with the reason; after any other error, it is left for
// another worker.
func (w *worker) work(ctx context.Context, q *queue) error {
	for m := q.take(); m != nil; m = q.take() {
		status := m.status
		m.err = w.try(ctx, func(c *conn) error { return w.run.pass(ctx, c, m) })
		switch {
		case m.err == nil:
			m.told = status
		case isStatus(m.err):
			w.run.Log.Warn("a mailbox cannot be pulled", "mailbox", m.wire, "err", m.err)
		default:
			err := fmt.Errorf("%s: %w", m.name, m.err)
			q.putBack(m)
			return err
		}
	}
	return nil
}

// expect counts what is to come of a mailbox.
func (r *run) expect(m *mailbox, fresh []entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.progress.TotalMessages -= m.open.messages
	r.progress.TotalBytes -= m.open.bytes
	m.open.messages, m.open.bytes = len(fresh), 0
	for _, e := range fresh {
		m.open.bytes += e.size
	}
	r.progress.TotalMessages += m.open.messages
	r.progress.TotalBytes += m.open.bytes
	r.tell(m)
}

// pulled counts a message that is here now.
func (r *run) pulled(m *mailbox, msg *message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m.open.messages--
	m.open.bytes -= msg.claimed
	r.progress.Messages++
	r.progress.Bytes += msg.Size
	r.progress.TotalBytes += msg.Size - msg.claimed
	r.tell(m)
}

// settled takes one that will not come off the totals.
func (r *run) settled(m *mailbox, claimed int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dismiss(m, claimed)
}

func (r *run) dismiss(m *mailbox, claimed int64) {
	m.open.messages--
	m.open.bytes -= claimed
	r.progress.TotalMessages--
	r.progress.TotalBytes -= claimed
	r.tell(m)
}

func (r *run) tell(m *mailbox) {
	r.progress.Mailbox = m.name
	if r.Progress != nil {
		r.Progress(r.progress)
	}
}

func (r *run) pulledSoFar() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.progress.Messages
}
