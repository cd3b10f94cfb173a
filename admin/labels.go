package admin

import (
	"context"
	"slices"
	"strings"

	"mailbox/admin/archive"
)

// labelled are the mailboxes that messages come into by their labels, while an
// archive is read that has all of them in one.
type labelled struct{ list []*mailboxImport }

func (l *labelled) all() []*mailboxImport {
	if l == nil {
		return nil
	}
	return l.list
}

// What Google calls its own labels, in the archives that it makes, and what
// they are here.
var googleLabels = map[string]archive.Mailbox{
	"inbox": {Name: "INBOX"}, "sent": {SpecialUse: `\Sent`}, "drafts": {SpecialUse: `\Drafts`}, "draft": {SpecialUse: `\Drafts`},
	"spam": {SpecialUse: `\Junk`}, "trash": {SpecialUse: `\Trash`}, "archived": {SpecialUse: `\Archive`},
}

// label puts a message where its labels say: into a mailbox for each of them,
// or with its labels as keywords into one. Without a label that is a mailbox of
// Gmail's own it is archived.
func (in *mailboxImport) label(ctx context.Context, p *pending, labels []string) error {
	var places []archive.Mailbox
	var others []string
	for _, l := range labels {
		if m, ok := googleLabels[strings.ToLower(l)]; ok {
			if !slices.Contains(places, m) {
				places = append(places, m)
			}
		} else {
			others = append(others, l)
		}
	}
	if in.Keywords {
		p.head.Flags = append(p.head.Flags, fitKeywords(others)...)
		places = places[:min(len(places), 1)]
	} else {
		for _, l := range others {
			places = append(places, archive.Mailbox{Name: l, Subscribed: true})
		}
	}
	if len(places) == 0 {
		places = []archive.Mailbox{{SpecialUse: `\Archive`}}
	}
	p.others = len(places) - 1
	for _, m := range places {
		to, err := in.labelledFor(ctx, m)
		if err != nil {
			return err
		}
		if err := to.take(ctx, p); err != nil {
			return err
		}
	}
	return in.flushLabelled(ctx)
}

// labelledFor is the mailbox of a label.
func (in *mailboxImport) labelledFor(ctx context.Context, m archive.Mailbox) (*mailboxImport, error) {
	if in.labelled == nil {
		in.labelled = &labelled{}
	}
	name := m.Name
	if name == "" {
		name = strings.TrimPrefix(m.SpecialUse, `\`)
		if home := in.homes[m.SpecialUse]; home != "" {
			name = home
		}
	}
	name = fitted(name)
	for _, to := range in.labelled.list {
		if to.ref.Name == name {
			return to, nil
		}
	}
	m.Name = in.counts.Source
	to, err := in.begin(ctx, m, name)
	if err == nil {
		in.labelled.list = append(in.labelled.list, to)
	}
	return to, err
}

// flushLabelled sends what waits where all of it together is a batch: there may
// be hundreds of labels.
func (in *mailboxImport) flushLabelled(ctx context.Context) error {
	var size int64
	for _, to := range in.labelled.list {
		size += to.batch.size
	}
	if size < batchBytes {
		return nil
	}
	for _, to := range in.labelled.list {
		if err := to.flush(ctx); err != nil {
			return err
		}
	}
	return nil
}
