package admin

import (
	"context"
	"crypto/sha256"
	"io"
	"sync"

	"mailbox/admin/archive"
	"mailbox/admin/pull"
)

// A PullDestination is the account of a user as one that mail is pulled into.
type PullDestination struct {
	client  *Client
	address string
	homes   homes

	mu     sync.Mutex
	places map[string]string // the names here of mailboxes, by those that pull gives them
	names  nameFitter
	there  map[pull.Origin]map[string]matches // what a mailbox had when the first message of an origin came
}

var _ pull.Destination = (*PullDestination)(nil)

// NewPullDestination returns the account of a user.
func NewPullDestination(ctx context.Context, c *Client, address string) (*PullDestination, error) {
	h, err := homesOf(ctx, c, address)
	return &PullDestination{client: c, address: address, homes: h, places: map[string]string{}, there: map[pull.Origin]map[string]matches{}}, err
}

// place is the name here of a mailbox.
func (d *PullDestination) place(m archive.Mailbox) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	name, ok := d.places[m.Name]
	if !ok {
		if name = d.homes[m.SpecialUse]; name == "" {
			name = d.names.fit(m.Name)
		}
		d.places[m.Name] = name
	}
	return name
}

// Create implements pull.Destination.
func (d *PullDestination) Create(ctx context.Context, m archive.Mailbox) error {
	return d.client.Call(ctx, "mailbox/ensure", NewMailbox{d.address, d.place(m), m.SpecialUse, m.Subscribed}, &None{})
}

func (d *PullDestination) origin(o pull.Origin) pullOrigin {
	return pullOrigin{d.address, o.Source, o.Mailbox, o.UIDValidity}
}

// Known implements pull.Destination.
func (d *PullDestination) Known(ctx context.Context, o pull.Origin, yield func(pull.Known) error) error {
	return d.pulled(ctx, "pull/known", o, func(p pulledHead) error {
		return yield(pull.Known{UID: p.UID, Mailbox: p.Mailbox, Flags: p.Flags, Size: p.Size, SHA256: [sha256.Size]byte(p.SHA256)})
	})
}

// Copies implements pull.Destination.
func (d *PullDestination) Copies(ctx context.Context, o pull.Origin, yield func(pull.Copy) error) error {
	return d.pulled(ctx, "pull/copies", o, func(p pulledHead) error {
		return yield(pull.Copy{UID: p.UID, Size: p.Size, SHA256: [sha256.Size]byte(p.SHA256)})
	})
}

func (d *PullDestination) pulled(ctx context.Context, command string, o pull.Origin, yield func(pulledHead) error) error {
	return d.client.each(ctx, command, d.origin(o), func(rec record, _ io.Reader) error {
		if rec.Pulled == nil || len(rec.Pulled.SHA256) != sha256.Size {
			return errRecord
		}
		return yield(*rec.Pulled)
	})
}

// matches are the messages of a mailbox that may be what comes, by fingerprint.
type matches map[[16]byte][]int64

// match takes one of the messages with a fingerprint; 0: there is none.
func (m matches) match(key [16]byte) int64 {
	list := m[key]
	if len(list) == 0 {
		return 0
	}
	m[key] = list[1:]
	return list[0]
}

// candidates returns what a mailbox had that is not remembered of an origin.
func (d *PullDestination) candidates(ctx context.Context, o pull.Origin, mailbox string) (matches, error) {
	d.mu.Lock()
	m, ok := d.there[o][mailbox]
	d.mu.Unlock()
	if ok {
		return m, nil
	}
	taken := map[int64]bool{}
	err := d.pulled(ctx, "pull/known", o, func(p pulledHead) error {
		taken[p.Email] = true
		return nil
	})
	if err != nil {
		return nil, err
	}
	m = matches{}
	err = d.client.contents(ctx, mailboxRef{d.address, mailbox}, func(c contentSum) {
		if !taken[c.Email] {
			key := fingerprint(c.Received, c.Size, c.SHA256)
			m[key] = append(m[key], c.Email)
		}
	})
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.there[o] == nil {
		d.there[o] = map[string]matches{}
	}
	d.there[o][mailbox] = m
	return m, err
}

// Add implements pull.Destination.
func (d *PullDestination) Add(ctx context.Context, mailbox string, o pull.Origin, items []pull.Item) error {
	here := d.place(archive.Mailbox{Name: mailbox})
	m, err := d.candidates(ctx, o, here)
	if err != nil {
		return err
	}
	origin, ref := d.origin(o), mailboxRef{d.address, here}
	return d.client.send(ctx, "pull/messages", &Imported{}, func(s *streamWriter) error {
		if err := s.record(record{Mailbox: &ref, Origin: &origin, Place: mailbox}); err != nil {
			return err
		}
		for _, i := range items {
			h := headOf(dated(i.Received), fitFlags(i.Flags), i.Size)
			h.UID, h.SHA256 = i.UID, i.SHA256[:]
			if h.Email = m.match(fingerprint(h.Received, h.Size, h.SHA256)); h.Email != 0 {
				err = s.record(record{Message: h})
			} else {
				err = s.message(h, i.Content)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Change implements pull.Destination.
func (d *PullDestination) Change(ctx context.Context, o pull.Origin, changes []pull.Change) error {
	in := pullChanges{pullOrigin: d.origin(o)}
	for _, c := range changes {
		in.Changes = append(in.Changes, pullChange{c.UID, fitFlags(c.Flags), c.Gone, c.Remove})
	}
	return d.client.Call(ctx, "pull/change", in, &None{})
}
