package storage

import (
	"math/bits"
	"slices"
	"strings"
)

// An edit makes the next picture of a mailbox out of the last one, copying
// only the chunks that change.
type edit struct {
	x     Index
	own   map[int]bool      // chunks that this edit has copied
	sets  map[string]uint32 // numbers of x.sets, made when needed
	holes bool              // a chunk may be empty, and starts are stale
}

func (x *Index) edit() *edit {
	e := &edit{x: *x, own: map[int]bool{}}
	e.x.chunks = slices.Clone(x.chunks)
	return e
}

// apply adds one change that the picture does not hold yet. Changes come in
// ModSeq order.
func (e *edit) apply(c Change) {
	if c.keywords != nil {
		e.x.names = c.keywords
	}
	for _, m := range c.Entries {
		switch c.Kind {
		case Added:
			e.add(m, c.ModSeq)
		case FlagsSet:
			e.set(m, c.ModSeq)
		case Expunged:
			e.remove(m.uid)
		}
	}
	e.x.HighestModSeq = max(e.x.HighestModSeq, c.ModSeq)
}

func (e *edit) add(m entryChange, modseq ModSeq) {
	last := len(e.x.chunks) - 1
	if last < 0 || len(e.x.chunks[last].entries) >= chunkLen {
		room := chunkLen
		if last < 0 {
			room = 16 // most mailboxes are small
		}
		e.x.chunks = append(e.x.chunks, chunk{start: e.x.n, entries: make([]Entry, 0, room)})
		last++
		e.own[last] = true
	}
	entry := Entry{ModSeq: modseq, Email: uint32(m.email), UID: m.uid, Day: m.day, Flags: m.flags, Keywords: e.intern(m.keywords)}
	// Appending behind the end that older pictures see does not change them:
	// there is one line of pictures, and only its newest is edited.
	e.x.chunks[last].entries = append(e.x.chunks[last].entries, entry)
	e.x.chunks[last].last = m.uid
	e.x.n++
	e.x.UIDNext = m.uid + 1
}

func (e *edit) set(m entryChange, modseq ModSeq) {
	if c, k, ok := e.find(m.uid); ok {
		p := &e.copied(c)[k]
		p.Flags, p.Keywords, p.ModSeq = m.flags, e.intern(m.keywords), modseq
	}
}

func (e *edit) remove(uid UID) {
	if c, k, ok := e.find(uid); ok {
		entries := e.copied(c)
		e.x.chunks[c].entries = slices.Delete(entries, k, k+1)
		e.x.n--
		e.holes = true
	}
}

func (e *edit) find(uid UID) (c, k int, ok bool) {
	if c = e.x.chunkOf(uid); c == len(e.x.chunks) {
		return 0, 0, false
	}
	k, ok = searchEntries(e.x.chunks[c].entries, uid)
	return c, k, ok
}

// copied returns the entries of a chunk for writing.
func (e *edit) copied(c int) []Entry {
	if !e.own[c] {
		e.x.chunks[c].entries = slices.Clone(e.x.chunks[c].entries)
		e.own[c] = true
	}
	return e.x.chunks[c].entries
}

// intern returns the number of a keyword set.
func (e *edit) intern(set string) uint32 {
	if set == "" {
		return 0
	}
	if e.sets == nil {
		e.sets = make(map[string]uint32, len(e.x.sets))
		for i, s := range e.x.sets {
			e.sets[s.bits] = uint32(i + 1)
		}
	}
	n := e.sets[set]
	if n == 0 {
		e.x.sets = append(e.x.sets, keywordSet{set, keywordNames(set, e.x.names)})
		n = uint32(len(e.x.sets))
		e.sets[set] = n
	}
	return n
}

// done returns the new picture.
func (e *edit) done() *Index {
	if e.holes {
		e.x.chunks = slices.DeleteFunc(e.x.chunks, func(c chunk) bool { return len(c.entries) == 0 })
		start := 0
		for i := range e.x.chunks {
			e.x.chunks[i].start = start
			start += len(e.x.chunks[i].entries)
		}
	}
	x := e.x
	return &x
}

// keywordNames spells a bit set out. Bits without a name are left out.
func keywordNames(set string, names []string) []string {
	var out []string
	for i := range len(set) {
		for b := set[i]; b != 0; b &= b - 1 {
			if n := 8*i + bits.TrailingZeros8(b); n < len(names) {
				out = append(out, names[n])
			}
		}
	}
	return out
}

// keywordBit sets bit n in a set.
func keywordBit(set []byte, n int) []byte {
	for len(set) <= n/8 {
		set = append(set, 0)
	}
	set[n/8] |= 1 << (n % 8)
	return set
}

// trimSet makes equal sets equal strings.
func trimSet(set []byte) string { return strings.TrimRight(string(set), "\x00") }
