package imapd

import (
	"context"
	"errors"
	"slices"
	"sort"

	"mailbox/imapd/wire"
	"mailbox/storage"
)

// A view is a selected mailbox as its client knows it: the messages of cur,
// and ghosts, which are gone from it without the client having been told.
type view struct {
	mailbox  storage.MailboxID
	readOnly bool
	cur      *storage.Index
	ghosts   []storage.UID // ascending
	recent   wire.Ranges   // UIDs
	saved    wire.Ranges   // UIDs that "$" stands for (RFC 5182)
	keywords int           // that the client was told of

	// known is the modseq up to which the client was told of everything: it is
	// behind cur while there are ghosts.
	known storage.ModSeq
}

// len is the number of messages that the client knows.
func (v *view) len() int { return v.cur.Len() + len(v.ghosts) }

// seq returns the message sequence number of a message of the view: its rank
// in cur and the ghosts below it.
func (v *view) seq(uid storage.UID) uint32 {
	pos, _ := v.cur.Search(uid)
	g, _ := slices.BinarySearch(v.ghosts, uid)
	return uint32(pos + g + 1)
}

// at returns the message with a sequence number from 1 to len.
func (v *view) at(seq uint32) (uid storage.UID, ghost bool) {
	g := sort.Search(len(v.ghosts), func(i int) bool { return v.seq(v.ghosts[i]) >= seq })
	if g < len(v.ghosts) && v.seq(v.ghosts[g]) == seq {
		return v.ghosts[g], true
	}
	return v.cur.At(int(seq) - 1 - g).UID, false
}

// lastUID is what "*" stands for in a set of UIDs.
func (v *view) lastUID() uint32 {
	if n := v.cur.Len(); n > 0 {
		return uint32(v.cur.At(n - 1).UID)
	}
	return 0
}

// resolve returns the messages of a set that are on a page, ascending. missing
// says that a sequence number names a message that is gone. UIDs that do not
// exist are left out (RFC 3501 section 6.4.8).
func (v *view) resolve(set wire.NumSet, uid bool, p page) (uids []storage.UID, missing bool, err error) {
	if set.Saved { // what was expunged is no more in it (RFC 5182 section 2.1)
		return v.uidsAt(p.of(v.places(v.saved))), false, nil
	}
	if uid {
		return v.uidsAt(p.of(v.places(set.Normalize(v.lastUID())))), false, nil
	}
	n := uint32(v.len())
	if set.Highest() > n || n == 0 {
		return nil, false, bad("there is no message with that number")
	}
	for seq := range p.of(set.Normalize(n)).All() {
		u, ghost := v.at(seq)
		if missing = missing || ghost; !ghost {
			uids = append(uids, u)
		}
	}
	return uids, missing, nil
}

// places returns where in cur the messages of a set of UIDs stand, at the cost
// of two look-ups for a range, however many messages it has.
func (v *view) places(set wire.Ranges) (places wire.Ranges) {
	for _, r := range set {
		from, _ := v.cur.Search(storage.UID(r.First))
		to, found := v.cur.Search(storage.UID(r.Last))
		if found {
			to++
		}
		if from < to {
			places = append(places, wire.Range{First: uint32(from), Last: uint32(to - 1)})
		}
	}
	return places
}

// uidsAt returns the UIDs of the messages that stand at some places in cur.
func (v *view) uidsAt(places wire.Ranges) []storage.UID {
	uids := make([]storage.UID, 0, places.Count())
	for _, r := range places {
		v.cur.Slice(int(r.First), int(r.Last)+1, func(_ int, e storage.Entry) bool {
			uids = append(uids, e.UID)
			return true
		})
	}
	return uids
}

// syncOptions say what may be told while the view is brought up to date.
type syncOptions struct {
	expunge bool // EXPUNGE may be sent

	// known tells which new flags the client knows, or will be told by the
	// command itself; nil means none.
	known func(old, cur *storage.Index, was, now *storage.Entry) bool
}

var errMailboxGone = no("", "the selected mailbox was deleted")

// sync brings the view up to date and tells the client what changed.
func (c *conn) sync(ctx context.Context, o syncOptions) error {
	v := c.view
	cur, err := c.s.Store.Index(ctx, c.account, v.mailbox)
	if errors.Is(err, storage.ErrNonexistent) {
		return errMailboxGone
	}
	if err != nil {
		return err
	}
	if cur != v.cur {
		c.follow(ctx, cur, o)
	}
	if o.expunge {
		c.tellExpunged()
	}
	if len(v.ghosts) == 0 {
		v.known = v.cur.HighestModSeq
	}
	return nil
}

// tellExpunged lets go of the ghosts.
func (c *conn) tellExpunged() {
	v := c.view
	if c.has(qResync) {
		c.tellVanished(v.ghosts, false)
		v.ghosts = nil
		return
	}
	for i := len(v.ghosts) - 1; i >= 0; i-- {
		seq := v.seq(v.ghosts[i])
		v.ghosts = v.ghosts[:i]
		c.untagged("%d EXPUNGE", seq)
	}
	v.ghosts = nil
}

// follow goes over to a newer picture.
func (c *conn) follow(ctx context.Context, cur *storage.Index, o syncOptions) {
	v := c.view
	var flags []storage.UID
	arrived := 0
	storage.Diff(v.cur, cur, func(was, now *storage.Entry) bool {
		switch {
		case now == nil:
			i, _ := slices.BinarySearch(v.ghosts, was.UID)
			v.ghosts = slices.Insert(v.ghosts, i, was.UID)
		case was == nil:
			arrived++
		case o.known == nil || !o.known(v.cur, cur, was, now):
			flags = append(flags, now.UID)
		}
		return true
	})
	v.cur = cur
	if len(cur.AllKeywords()) > v.keywords {
		c.tellFlags()
	}
	if arrived > 0 {
		c.tellExists(ctx)
	}
	for _, uid := range flags {
		c.tellNews(uid, false)
	}
}

// tellExists sends the number of messages, and of recent ones to whom that is told.
func (c *conn) tellExists(ctx context.Context) {
	c.untagged("%d EXISTS", c.view.len())
	if !c.has(rev2) {
		c.claimRecent(ctx)
		c.untagged("%d RECENT", c.recentCount())
	}
}

// claimRecent takes the new messages as recent ones, if no session did before.
func (c *conn) claimRecent(ctx context.Context) {
	v := c.view
	from, err := c.s.recent.first(ctx, c.s.Store, v.cur, !v.readOnly)
	if err != nil { // not worth more than a line
		c.log.Warn("recent messages are not known", "err", err)
		return
	}
	at, _ := v.cur.Search(from)
	v.cur.Slice(at, v.cur.Len(), func(_ int, e storage.Entry) bool {
		v.recent = v.recent.Add(uint32(e.UID))
		return true
	})
}

func (c *conn) recentCount() uint64 { return c.view.places(c.view.recent).Count() }

// tellFlags sends the flags that messages of the mailbox may have (RFC 3501 section 7.2.6).
func (c *conn) tellFlags() {
	b := append([]byte("* FLAGS "), wire.AppendFlags(nil, c.mailboxFlags(false))...)
	c.enc.Write(append(b, "\r\n"...)) //nolint:errcheck // the encoder keeps its error
	c.view.keywords = len(c.view.cur.AllKeywords())
}

func (c *conn) mailboxFlags(wildcard bool) []string {
	keywords := c.view.cur.AllKeywords()
	all := append([]string{`\Answered`, `\Flagged`, `\Deleted`, `\Seen`, `\Draft`}, keywords...)
	if wildcard && len(keywords) < storage.MaxKeywords { // new ones may be made (RFC 3501 section 7.1)
		all = append(all, `\*`)
	}
	return all
}

// tellNews sends what others did to a message. Who counts modseqs gets its UID
// too: a client that asked for changes only need not know which number means
// which.
func (c *conn) tellNews(uid storage.UID, withUID bool) {
	c.tellMessageFlags(uid, withUID || c.has(condStore))
}

// tellMessageFlags sends an untagged FETCH with the flags of a message.
func (c *conn) tellMessageFlags(uid storage.UID, withUID bool) { c.tellMessage(uid, withUID, true) }

// tellMessage sends an untagged FETCH with the modseq of a message, where the
// client counts them (RFC 7162 section 3.1), and with its flags where they are
// asked for. Its UID belongs to it once IMAP4rev2 (RFC 9051 section 7.5.2) or
// QRESYNC is enabled.
func (c *conn) tellMessage(uid storage.UID, withUID, withFlags bool) {
	pos, found := c.view.cur.Search(uid)
	if !found {
		return
	}
	e := c.view.cur.At(pos)
	b := append(c.enc.AvailableBuffer(), "* "...)
	b = append(wire.AppendNumber(b, c.view.seq(uid)), " FETCH ("...)
	start := len(b)
	if withUID || c.has(qResync|rev2) {
		b = wire.AppendNumber(append(b, "UID "...), uint32(uid))
	}
	if withFlags {
		b = c.appendFlags(append(spaced(b, start), "FLAGS "...), e)
	}
	if c.has(condStore) {
		b = appendModSeq(append(spaced(b, start), "MODSEQ "...), e.ModSeq)
	}
	c.enc.Write(append(b, ")\r\n"...)) //nolint:errcheck // the encoder keeps its error
}

// spaced parts what follows from what stands behind start.
func spaced(b []byte, start int) []byte {
	if len(b) > start {
		b = append(b, ' ')
	}
	return b
}

var systemFlags = [...]struct {
	flag storage.Flags
	name string
}{
	{storage.Answered, `\Answered`},
	{storage.Flagged, `\Flagged`},
	{storage.Deleted, `\Deleted`},
	{storage.Seen, `\Seen`},
	{storage.Draft, `\Draft`},
}

// appendFlags appends the flags of a message in parentheses.
func (c *conn) appendFlags(b []byte, e storage.Entry) []byte {
	b = append(b, '(')
	start := len(b)
	add := func(name string) { b = append(spaced(b, start), name...) }
	for _, f := range systemFlags {
		if e.Flags&f.flag != 0 {
			add(f.name)
		}
	}
	if c.view.recent.Contains(uint32(e.UID)) {
		add(`\Recent`)
	}
	for _, k := range c.view.cur.Keywords(e.Keywords) {
		add(k)
	}
	return append(b, ')')
}
