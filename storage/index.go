package storage

import (
	"slices"
	"sort"
	"time"
)

// chunkLen is the number of messages in a chunk of an index: what a change of
// one message copies.
const chunkLen = 1024

// An Entry is what the index knows of one message.
type Entry struct {
	ModSeq   ModSeq
	UID      UID
	Email    uint32 // the n of the EmailID: see Index.Email
	Keywords uint32 // a set of keywords: see Index.Keywords; 0 is none
	Day      uint16 // of INTERNALDATE, in days since 1970; NoDay: see Message.Received
	Flags    Flags
}

// NoDay stands for the days that an Entry cannot hold: those before 2 January
// 1970 and behind 5 June 2149.
const NoDay = 0

// dayOf returns the day of a time in its zone, as an Entry holds it.
func dayOf(t time.Time) uint16 {
	_, zone := t.Zone()
	day := (t.Unix() + int64(zone)) / 86400
	if day < 1 || day > 65534 {
		return NoDay
	}
	return uint16(day)
}

// An Index is an immutable picture of one mailbox: its messages in UID order
// with flags and modseqs. Pictures of one mailbox share what did not change,
// so a session keeps the one that its client knows at almost no cost.
type Index struct {
	Account       AccountID
	Mailbox       MailboxID
	UIDValidity   uint32
	UIDNext       UID
	HighestModSeq ModSeq

	asOf   ModSeq // of the account when the picture was loaded
	chunks []chunk
	n      int
	names  []string // keywords of the mailbox, by bit
	sets   []keywordSet
}

type chunk struct {
	start   int // position of the first entry
	last    UID // no entry has a higher one, and all of the next chunk have
	entries []Entry
}

type keywordSet struct {
	bits  string
	names []string
}

// Len is the number of messages.
func (x *Index) Len() int { return x.n }

// At returns the entry at position i, 0 ≤ i < Len.
func (x *Index) At(i int) Entry {
	c := x.chunkAt(i)
	return x.chunks[c].entries[i-x.chunks[c].start]
}

// Slice calls yield for the entries from position i up to j, until it returns false.
func (x *Index) Slice(i, j int, yield func(int, Entry) bool) {
	if i >= j {
		return
	}
	for c := x.chunkAt(i); c < len(x.chunks) && x.chunks[c].start < j; c++ {
		ch := &x.chunks[c]
		for k := max(0, i-ch.start); k < len(ch.entries) && ch.start+k < j; k++ {
			if !yield(ch.start+k, ch.entries[k]) {
				return
			}
		}
	}
}

// All yields position and entry of every message.
func (x *Index) All(yield func(int, Entry) bool) { x.Slice(0, x.n, yield) }

// Backward calls yield for all entries, the last one first, until it returns false.
func (x *Index) Backward(yield func(int, Entry) bool) {
	for _, ch := range slices.Backward(x.chunks) {
		for k, e := range slices.Backward(ch.entries) {
			if !yield(ch.start+k, e) {
				return
			}
		}
	}
}

// Search returns the position of the first message whose UID is at least uid
// (Len if there is none), and whether it has that UID.
func (x *Index) Search(uid UID) (int, bool) {
	c := x.chunkOf(uid)
	if c == len(x.chunks) {
		return x.n, false
	}
	ch := x.chunks[c]
	k, ok := searchEntries(ch.entries, uid)
	return ch.start + k, ok
}

// Email returns the content that an entry of this index names.
func (x *Index) Email(e Entry) EmailID { return EmailID(int64(x.Account)<<32 | int64(e.Email)) }

// Keywords returns the names of a set of keywords (Entry.Keywords), in the
// order in which the mailbox got them. The caller must not change it.
func (x *Index) Keywords(set uint32) []string {
	if set == 0 {
		return nil
	}
	return x.sets[set-1].names
}

// AllKeywords returns every keyword that the mailbox has ever had.
func (x *Index) AllKeywords() []string { return x.names }

// Bytes estimates the memory of the picture, shared parts included.
func (x *Index) Bytes() int { return 256 + 24*x.n + 40*len(x.chunks) }

func (x *Index) chunkAt(i int) int {
	return sort.Search(len(x.chunks), func(c int) bool { return x.chunks[c].start > i }) - 1
}

// chunkOf finds the chunk in which a UID is, if it is anywhere.
func (x *Index) chunkOf(uid UID) int {
	return sort.Search(len(x.chunks), func(i int) bool { return x.chunks[i].last >= uid })
}

func searchEntries(e []Entry, uid UID) (int, bool) {
	return slices.BinarySearchFunc(e, uid, func(e Entry, uid UID) int {
		switch {
		case e.UID < uid:
			return -1
		case e.UID > uid:
			return 1
		}
		return 0
	})
}

// Diff tells what happened between two pictures of one mailbox: yield gets, in
// UID order, messages that are gone (was, nil), came (nil, now) or have other
// flags or modseq (was, now), until it returns false. What the pictures share
// costs nothing.
func Diff(old, cur *Index, yield func(was, now *Entry) bool) {
	var a, b cursor
	a.x, b.x = old, cur
	for {
		for a.whole() && b.whole() && &a.x.chunks[a.c].entries[0] == &b.x.chunks[b.c].entries[0] &&
			len(a.x.chunks[a.c].entries) == len(b.x.chunks[b.c].entries) {
			a.c++
			b.c++
		}
		was, now := a.entry(), b.entry()
		switch {
		case was == nil && now == nil:
			return
		case now == nil || was != nil && was.UID < now.UID:
			now = nil
		case was == nil || now.UID < was.UID:
			was = nil
		}
		if was != nil {
			a.next()
		}
		if now != nil {
			b.next()
		}
		if was != nil && now != nil && was.ModSeq == now.ModSeq && was.Flags == now.Flags {
			continue
		}
		if !yield(was, now) {
			return
		}
	}
}

// A cursor walks over the entries of an index.
type cursor struct {
	x    *Index
	c, k int
}

// whole tells whether the cursor stands at the first entry of a chunk.
func (p *cursor) whole() bool { return p.k == 0 && p.c < len(p.x.chunks) }

func (p *cursor) entry() *Entry {
	if p.c == len(p.x.chunks) {
		return nil
	}
	return &p.x.chunks[p.c].entries[p.k]
}

func (p *cursor) next() {
	if p.k++; p.k == len(p.x.chunks[p.c].entries) {
		p.c, p.k = p.c+1, 0
	}
}
