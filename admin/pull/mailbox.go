package pull

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"mailbox/admin/archive"
)

// A mailbox is one of the source, and what is known of it in this run. It
// belongs to one worker at a time.
type mailbox struct {
	listed
	name     string            // here
	places   []archive.Mailbox // here, that messages of it may be put into
	sorter   *sorter           // by labels; nil without
	skipped  string            // why it is not pulled
	vanished bool              // it is no longer listed

	origin Origin
	loaded bool                  // known has what the destination remembers
	known  map[uint32]remembered // what was pulled and is still there
	failed map[uint32]Failure    // what cannot be pulled
	cuts   map[uint32]int        // how often the connection broke while a message was awaited
	told   *status               // what STATUS said before the last pass
	modseq uint64                // up to which all changes are known; 0 if they are not numbered
	err    error                 // why it could not be read to its end

	added, changed, gone int
	open                 struct { // what is still to come
		messages int
		bytes    int64
	}
}

// What is remembered of a pulled message.
type remembered struct {
	flags   string
	mailbox string
}

// pass brings a mailbox up to date. It may be called again after any error.
func (r *run) pass(ctx context.Context, c *conn, m *mailbox) error {
	l, err := c.examine(m)
	if err != nil {
		return err
	}
	if err := r.load(ctx, m, l); err != nil {
		return err
	}
	entries, all, err := c.changes(m, l)
	if err != nil {
		return err
	}
	fresh, changes := m.compare(entries, all, r.Remove)
	if !all && len(m.known)+len(m.failed)+len(fresh) != int(l.exists) {
		// Something is gone, and only the whole list shows what.
		if entries, all, err = c.all(m, l); err != nil {
			return err
		}
		fresh, changes = m.compare(entries, all, r.Remove)
	}
	r.expect(m, fresh)
	if r.preview {
		m.preview(fresh, changes)
		return nil
	}
	if err := r.apply(ctx, m, changes); err != nil {
		return err
	}
	if err := r.fetchAll(ctx, c, m, fresh); err != nil {
		return err
	}
	m.modseq = l.modseq
	return nil
}

// load begins with a mailbox, or begins anew where the source numbers anew.
func (r *run) load(ctx context.Context, m *mailbox, l look) error {
	if l.uidValidity == 0 { // its UIDs mean nothing beyond this day
		l.uidValidity = r.started
	}
	if m.loaded && m.origin.UIDValidity == l.uidValidity {
		return nil
	}
	m.origin = Origin{Source: r.source, Mailbox: m.wire, UIDValidity: l.uidValidity}
	m.known, m.failed, m.cuts = map[uint32]remembered{}, map[uint32]Failure{}, map[uint32]int{}
	m.modseq = 0
	if !r.preview {
		for _, place := range m.places {
			if err := r.Destination.Create(ctx, place); err != nil {
				return fmt.Errorf("create %q: %w", place.Name, err)
			}
		}
	}
	err := r.Destination.Known(ctx, m.origin, func(k Known) error {
		m.known[k.UID] = remembered{strings.Join(cleanFlags(k.Flags), " "), k.Mailbox}
		return nil
	})
	m.loaded = err == nil
	return err
}

// changes lists what changed since the last pass if the server can tell, else
// all that there is.
func (c *conn) changes(m *mailbox, l look) (entries []entry, all bool, err error) {
	if m.modseq == 0 || l.modseq == 0 || m.sorter != nil {
		return c.all(m, l)
	}
	if m.modseq == l.modseq {
		return nil, false, nil
	}
	entries, _, err = c.entries(m, m.modseq)
	return entries, false, err
}

// all lists all messages. It does not if the server does not show as many as it
// says there are: nothing may be taken for gone then.
func (c *conn) all(m *mailbox, l look) (entries []entry, all bool, err error) {
	if l.exists == 0 {
		return nil, true, nil
	}
	entries, total, err := c.entries(m, 0)
	return entries, total >= int(l.exists), err
}

// compare holds what is listed against what is known: messages that are new,
// and changes. Where all are listed, the others are gone. With remove, one
// whose labels put it elsewhere now is gone from where it was, and new.
func (m *mailbox) compare(entries []entry, all, remove bool) (fresh []entry, changes []Change) {
	there := map[uint32]bool{}
	for _, e := range entries {
		there[e.uid] = true
		k, known := m.known[e.uid]
		_, failed := m.failed[e.uid]
		switch {
		case known && remove && k.mailbox != e.mailbox && m.sorter != nil:
			changes = append(changes, Change{UID: e.uid, Gone: true, Remove: true})
			fresh = append(fresh, e)
		case known && k.flags != e.flags:
			changes = append(changes, Change{UID: e.uid, Flags: strings.Fields(e.flags)})
		case !known && !failed:
			fresh = append(fresh, e)
		}
	}
	if !all {
		return fresh, changes
	}
	for uid := range m.known {
		if !there[uid] {
			changes = append(changes, Change{UID: uid, Gone: true, Remove: remove})
		}
	}
	for uid := range m.failed {
		if !there[uid] {
			delete(m.failed, uid)
		}
	}
	return fresh, changes
}

func (m *mailbox) preview(fresh []entry, changes []Change) {
	m.added = len(fresh)
	for _, c := range changes {
		if c.Gone {
			m.gone++
		} else {
			m.changed++
		}
	}
}

// maxChanges is how many changes are handed over at once.
const maxChanges = 500

// apply hands changes to the destination.
func (r *run) apply(ctx context.Context, m *mailbox, changes []Change) error {
	for len(changes) > 0 {
		some := changes[:min(len(changes), maxChanges)]
		changes = changes[len(some):]
		if err := r.Destination.Change(ctx, m.origin, some); err != nil {
			return fmt.Errorf("change %q: %w", m.name, err)
		}
		for _, c := range some {
			if c.Gone {
				delete(m.known, c.UID)
				m.gone++
				continue
			}
			m.known[c.UID] = remembered{strings.Join(c.Flags, " "), m.known[c.UID].mailbox}
			m.changed++
		}
	}
	return nil
}

// vanish does what is to be done when a mailbox is no longer at the source.
func (r *run) vanish(ctx context.Context, m *mailbox) error {
	var changes []Change
	for uid := range m.known {
		changes = append(changes, Change{UID: uid, Gone: true, Remove: r.Remove})
	}
	m.vanished, m.skipped = true, "it is no longer at the source"
	m.failed, m.err = nil, nil
	return r.apply(ctx, m, changes)
}

// The bounds of a batch, in octets as the server claims them, and in messages.
const (
	maxBatch         = 4 << 20
	maxBatchMessages = 200
)

// How often the connection may break at a message before it is asked for alone,
// and before it is given up.
const (
	cutsUntilAlone = 2
	cutsUntilLost  = 5
)

// nextBatch takes from the front of fresh what is fetched at once.
func (r *run) nextBatch(m *mailbox, fresh []entry) (batch, rest []entry) {
	size, n := fresh[0].size, 1
	if r.alone(m, fresh[0]) {
		return fresh[:1], fresh[1:]
	}
	for n < min(len(fresh), maxBatchMessages) && !r.alone(m, fresh[n]) {
		if size += fresh[n].size; size > maxBatch {
			break
		}
		n++
	}
	return fresh[:n], fresh[n:]
}

// alone reports whether a message should not hold up others.
func (r *run) alone(m *mailbox, e entry) bool {
	return e.size > r.MaxSize || m.cuts[e.uid] >= cutsUntilAlone
}

// fetchAll fetches messages and adds them. While one batch is added, the next
// is fetched.
func (r *run) fetchAll(ctx context.Context, c *conn, m *mailbox, fresh []entry) error {
	a := r.startAdder(ctx, m)
	var err error
	for len(fresh) > 0 && err == nil {
		var batch []entry
		batch, fresh = r.nextBatch(m, fresh)
		var got []*message
		got, err = r.fetchBatch(c, m, batch)
		if !a.put(got) {
			break
		}
	}
	if addErr := a.finish(); addErr != nil {
		return addErr
	}
	return err
}

// fetchBatch fetches a batch. A message of it that cannot be had is kept aside;
// those that came are returned also with an error, which ends the pass.
func (r *run) fetchBatch(c *conn, m *mailbox, batch []entry) ([]*message, error) {
	if e := batch[0]; e.size > r.MaxSize {
		return nil, r.fetchOdd(c, m, e, r.tooLarge(e.size))
	}
	got, err := c.fetch(m, batch, r.MaxSize+maxBatch)
	var out []*message
	var missing []entry
	for _, e := range batch {
		msg := got[e.uid]
		switch {
		case msg == nil:
			missing = append(missing, e)
		case msg.Size == 0 && e.size > 0: // what some servers do when they cannot read it
			msg.body.close()
			missing = append(missing, e)
		case msg.Size > r.MaxSize:
			failErr := r.fail(m, e, r.tooLarge(msg.Size), msg.body)
			msg.body.close()
			if failErr != nil {
				return out, failErr
			}
		default:
			msg.claimed = e.size
			out = append(out, msg)
		}
	}
	if len(missing) == 0 {
		return out, err
	}
	if err != nil && (!isStatus(err) || throttled(err)) {
		return out, r.blame(c, m, missing[0], err)
	}
	if len(batch) == 1 {
		return out, r.fetchOdd(c, m, batch[0], err)
	}
	for _, e := range missing {
		one, err := r.fetchBatch(c, m, []entry{e})
		out = append(out, one...)
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

func (r *run) tooLarge(size int64) error {
	return fmt.Errorf("it has %d octets, and %d are allowed", size, r.MaxSize)
}

// blame counts at which message the connection broke. If it is that message
// that breaks it, the others can do without.
func (r *run) blame(c *conn, m *mailbox, e entry, err error) error {
	var cut *cutError
	if !errors.As(err, &cut) || throttled(err) {
		return err
	}
	m.cuts[e.uid]++
	if m.cuts[e.uid] >= cutsUntilLost {
		reason := fmt.Errorf("the connection broke %d times while it was read: %w", cutsUntilLost, err)
		if asideErr := r.fail(m, e, reason, c.torn); asideErr != nil {
			return asideErr
		}
	}
	return err
}

// fetchOdd keeps aside what can be had of a message that the server does not
// give, unless it is gone by now.
func (r *run) fetchOdd(c *conn, m *mailbox, e entry, reason error) error {
	there, err := c.exists(e.uid)
	if err != nil && !isStatus(err) {
		return err
	}
	if err == nil && !there {
		r.settled(m, e.size)
		return nil
	}
	part, err := c.salvage(e.uid)
	if err != nil {
		return r.blame(c, m, e, err)
	}
	defer part.close()
	if reason == nil {
		reason = errors.New("the server lists it and does not give its content")
	}
	return r.fail(m, e, reason, part)
}
