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
	keywords int           // that the client was told of
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

// resolve returns the messages of a set, ascending. missing says that a
// sequence number names a message that is gone. UIDs that do not exist are
// left out (RFC 3501 section 6.4.8).
func (v *view) resolve(set wire.NumSet, uid bool) (uids []storage.UID, missing bool, err error) {
	if set.Saved {
		return nil, false, bad("no search result can be saved here")
	}
	if uid {
		for _, r := range set.Normalize(v.lastUID()) {
			from, _ := v.cur.Search(storage.UID(r.First))
			v.cur.Slice(from, v.cur.Len(), func(_ int, e storage.Entry) bool {
				if uint32(e.UID) > r.Last {
					return false
				}
				uids = append(uids, e.UID)
				return true
			})
		}
		return uids, false, nil
	}
	n := uint32(v.len())
	if set.Highest() > n || n == 0 {
		return nil, false, bad("there is no message with that number")
	}
	for seq := range set.Normalize(n).All() {
		u, ghost := v.at(seq)
		if missing = missing || ghost; !ghost {
			uids = append(uids, u)
		}
	}
	return uids, missing, nil
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
		for i := len(v.ghosts) - 1; i >= 0; i-- {
			seq := v.seq(v.ghosts[i])
			v.ghosts = v.ghosts[:i]
			c.untagged("%d EXPUNGE", seq)
		}
		v.ghosts = nil
	}
	return nil
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
		c.claimRecent(ctx)
		c.untagged("%d EXISTS", v.len())
		c.untagged("%d RECENT", c.recentCount())
	}
	for _, uid := range flags {
		c.tellMessageFlags(uid, false)
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

func (c *conn) recentCount() int {
	n := 0
	for _, r := range c.view.recent {
		from, _ := c.view.cur.Search(storage.UID(r.First))
		to, found := c.view.cur.Search(storage.UID(r.Last))
		if n += to - from; found {
			n++
		}
	}
	return n
}

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

// tellMessageFlags sends an untagged FETCH with the flags of a message.
func (c *conn) tellMessageFlags(uid storage.UID, withUID bool) {
	pos, found := c.view.cur.Search(uid)
	if !found {
		return
	}
	b := append(c.enc.AvailableBuffer(), "* "...)
	b = append(wire.AppendNumber(b, c.view.seq(uid)), " FETCH ("...)
	if withUID {
		b = append(wire.AppendNumber(append(b, "UID "...), uint32(uid)), ' ')
	}
	b = c.appendFlags(append(b, "FLAGS "...), c.view.cur.At(pos))
	c.enc.Write(append(b, ")\r\n"...)) //nolint:errcheck // the encoder keeps its error
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
	add := func(name string) {
		if len(b) > start {
			b = append(b, ' ')
		}
		b = append(b, name...)
	}
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
