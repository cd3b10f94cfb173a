package imapd

import (
	"context"
	"slices"

	"mailbox/imapd/wire"
	"mailbox/storage"
)

// selectParams are what stands behind the name in SELECT and EXAMINE.
type selectParams struct {
	enable extension
	resync *resync // nil without QRESYNC
}

// A resync is what a client says of the mailbox as it knows it (RFC 7162 section 3.2.5).
type resync struct {
	validity uint32
	since    storage.ModSeq
	known    wire.Ranges // UIDs; nil stands for all
	seqs     wire.Ranges // numbers that the client had for …
	uids     wire.Ranges // … these UIDs, in step
}

// selectParams reads the parameters of SELECT, to the end of the line.
func (c *conn) selectParams() (p selectParams, err error) {
	err = c.modifiers(func(word string) (err error) {
		switch word {
		case "CONDSTORE":
			p.enable = condStore
			return nil
		case "QRESYNC":
			p.resync, err = c.readResync()
			return err
		}
		return bad("unknown parameter " + word)
	})
	return p, err
}

// readResync reads the arguments of QRESYNC.
func (c *conn) readResync() (*resync, error) {
	if err := c.require(qResync, "QRESYNC"); err != nil {
		return nil, err
	}
	r := &resync{}
	err := c.dec.SP()
	if err == nil {
		err = c.dec.Expect('(')
	}
	if err == nil {
		r.validity, err = c.dec.NZNumber()
	}
	if err == nil {
		err = c.dec.SP()
	}
	if err != nil {
		return nil, err
	}
	n, err := c.dec.Number64()
	if err != nil {
		return nil, err
	}
	r.since = storage.ModSeq(n)
	for {
		more, err := c.dec.Accept(' ')
		if err != nil {
			return nil, err
		}
		if !more {
			return r, c.dec.Expect(')')
		}
		if err := c.readKnown(r); err != nil {
			return nil, err
		}
	}
}

// readKnown reads the UIDs that the client knows, or behind them the numbers
// that it had for some.
func (c *conn) readKnown(r *resync) (err error) {
	next, err := c.dec.Peek()
	if err != nil {
		return err
	}
	if next != '(' {
		if r.known != nil || r.seqs != nil {
			return bad("the known UIDs come once, before what matches")
		}
		r.known, err = c.plainSet()
		return err
	}
	if r.seqs != nil {
		return bad("numbers and UIDs come once")
	}
	if err := c.dec.Expect('('); err != nil {
		return err
	}
	if r.seqs, err = c.plainSet(); err != nil {
		return err
	}
	if err := c.dec.SP(); err != nil {
		return err
	}
	if r.uids, err = c.plainSet(); err != nil {
		return err
	}
	if r.seqs.Count() != r.uids.Count() {
		return bad("not as many numbers as UIDs")
	}
	return c.dec.Expect(')')
}

// plainSet reads a set without "*" (RFC 7162 section 7, known-uids).
func (c *conn) plainSet() (wire.Ranges, error) {
	set, err := c.dec.NumSet()
	if err == nil && (set.Saved || set.HasStar()) {
		err = bad("expected a set of numbers")
	}
	return set.Normalize(0), err
}

func (r *resync) knows(u storage.UID) bool {
	return r.known == nil || r.known.Contains(uint32(u))
}

// intact returns the highest of the client's UIDs whose number is still right:
// no message up to it can be gone.
func (r *resync) intact(x *storage.Index) (last storage.UID) {
	seqs, uids := slices.Clone(r.seqs), slices.Clone(r.uids)
	for len(seqs) > 0 && len(uids) > 0 {
		n := min(seqs[0].Last-seqs[0].First, uids[0].Last-uids[0].First)
		uid := storage.UID(uids[0].First + n)
		if pos, found := x.Search(uid); found && uint32(pos+1) == seqs[0].First+n {
			last = uid
		}
		seqs, uids = behind(seqs, n), behind(uids, n)
	}
	return last
}

// behind leaves out n+1 numbers, which are all of the first range.
func behind(rs wire.Ranges, n uint32) wire.Ranges {
	if rs[0].Last-rs[0].First == n {
		return rs[1:]
	}
	rs[0].First += n + 1
	return rs
}

// catchUp tells what happened to the messages that the client knows since it
// was last there. Where its UIDs are of another mailbox, it learns that from
// UIDVALIDITY, and nothing more (RFC 7162 section 3.2.5.1).
func (c *conn) catchUp(ctx context.Context, r *resync) error {
	x := c.view.cur
	if r.validity != x.UIDValidity {
		return nil
	}
	gone, err := c.s.Store.Vanished(ctx, c.account, x.Mailbox, r.since, x.HighestModSeq)
	if err != nil {
		return err
	}
	intact := r.intact(x)
	c.tellVanished(slices.DeleteFunc(gone, func(u storage.UID) bool { return u <= intact || !r.knows(u) }), true)
	x.All(func(_ int, e storage.Entry) bool {
		if e.ModSeq > r.since && r.knows(e.UID) {
			c.tellMessageFlags(e.UID, true)
		}
		return c.enc.Err() == nil
	})
	return nil
}

// tellVanishedSince is what VANISHED adds to UID FETCH (RFC 7162 section
// 3.2.6): the UIDs of the set whose messages went since a modseq. Before it
// the client hears of those that it still counts.
func (c *conn) tellVanishedSince(ctx context.Context, set wire.NumSet, since storage.ModSeq) error {
	if err := c.sync(ctx, syncOptions{expunge: true}); err != nil {
		return err
	}
	x := c.view.cur
	gone, err := c.s.Store.Vanished(ctx, c.account, x.Mailbox, since, x.HighestModSeq)
	if err != nil {
		return err
	}
	asked := set.Normalize(uint32(x.UIDNext - 1)) // the last message may be among the vanished
	if set.Saved {
		asked = c.view.saved
	}
	c.tellVanished(slices.DeleteFunc(gone, func(u storage.UID) bool { return !asked.Contains(uint32(u)) }), true)
	return nil
}
