package pull

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
)

// A Report says what a run did, and whether what is here equals what is at the
// source.
type Report struct {
	Mailboxes []MailboxReport // by their names at the source
}

// A MailboxReport is about one mailbox of the source.
type MailboxReport struct {
	Source string // its name there
	Name   string // its name here; with a label for a mailbox, where what has none goes

	Skipped string // why it was not pulled, or ""
	Error   string // why it could not be pulled to its end, or ""

	Added, Changed, Gone int // messages, in this run; in a preview, what they would be

	// What is at the source now, with what was read of it, and what is here of
	// that. Messages that are gone at the source and were not removed here are in
	// neither.
	AtSource, Here Tally

	Failures    []Failure    // what could not be pulled
	Differences []Difference // between what was pulled and what is here
}

// A Tally is the sum of messages.
type Tally struct {
	Messages int
	Bytes    int64
	Sum      Sum
}

// A Sum is the sum of the SHA-256 of messages, modulo 2^256: the same in
// whatever order they come.
type Sum [sha256.Size]byte

// Add adds a message.
func (t *Tally) Add(size int64, hash [sha256.Size]byte) {
	t.Messages++
	t.Bytes += size
	carry := 0
	for i := len(hash) - 1; i >= 0; i-- {
		carry += int(t.Sum[i]) + int(hash[i])
		t.Sum[i] = byte(carry)
		carry >>= 8
	}
}

func (s Sum) String() string { return hex.EncodeToString(s[:]) }

// MarshalText writes the sum in hexadecimal digits.
func (s Sum) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// A Failure is a message that could not be pulled. The next run tries again.
type Failure struct {
	UID    uint32
	Size   int64 // as the server claims
	Reason string
	Aside  string // file with what could be had of it, or ""
}

// A Difference is a message that is not here as it was read from the source.
type Difference struct {
	UID  uint32
	What string
}

// Equal reports whether everything at the source is here, octet for octet.
func (r *Report) Equal() bool {
	return !slices.ContainsFunc(r.Mailboxes, func(m MailboxReport) bool {
		return m.Error != "" || m.AtSource != m.Here || len(m.Failures) > 0 || len(m.Differences) > 0
	})
}

// report sums up. With compare, it asks the destination what is there.
func (r *run) report(ctx context.Context, compare bool) (*Report, error) {
	report := &Report{}
	for _, wire := range slices.Sorted(maps.Keys(r.mailboxes)) {
		m := r.mailboxes[wire]
		b := MailboxReport{
			Source: m.listed.name, Name: m.name, Skipped: m.skipped,
			Added: m.added, Changed: m.changed, Gone: m.gone,
		}
		for _, uid := range slices.Sorted(maps.Keys(m.failed)) {
			b.Failures = append(b.Failures, m.failed[uid])
		}
		if m.err != nil {
			b.Error = m.err.Error()
		}
		if compare && m.loaded && m.skipped == "" {
			if err := r.compare(ctx, m, &b); err != nil {
				return report, fmt.Errorf("compare %q: %w", m.name, err)
			}
		}
		report.Mailboxes = append(report.Mailboxes, b)
	}
	return report, nil
}

// compare fills in what is at the source, what is here, and what differs.
func (r *run) compare(ctx context.Context, m *mailbox, b *MailboxReport) error {
	read := map[uint32]Known{}
	err := r.Destination.Known(ctx, m.origin, func(k Known) error {
		if _, there := m.known[k.UID]; there {
			read[k.UID] = k
			b.AtSource.Add(k.Size, k.SHA256)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, f := range b.Failures {
		b.AtSource.Messages++
		b.AtSource.Bytes += f.Size
	}
	err = r.Destination.Copies(ctx, m.origin, func(c Copy) error {
		k, there := read[c.UID]
		if !there {
			return nil
		}
		delete(read, c.UID)
		b.Here.Add(c.Size, c.SHA256)
		if c.Size != k.Size || c.SHA256 != k.SHA256 {
			b.Differences = append(b.Differences, Difference{c.UID, fmt.Sprintf("it has %d octets here and had %d there, or others", c.Size, k.Size)})
		}
		return nil
	})
	for _, uid := range slices.Sorted(maps.Keys(read)) {
		b.Differences = append(b.Differences, Difference{uid, "it was pulled and is no longer here"})
	}
	return err
}
