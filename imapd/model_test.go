package imapd

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A modelAccount is an account as RFC 9051 and RFC 7162 see it, and nothing of
// how a server keeps it. Commands change it before they are sent. The numbers
// that are the server's to choose (UIDVALIDITY, modseqs, object ids) are zero
// then, until settle has learned them.
type modelAccount struct {
	boxes      []*modelBox // those that exist
	subscribed map[string]bool
	step       int // counts commands

	changed    map[*modelBox]bool // since settle
	validities map[uint32]bool    // that were ever given
	highest    uint64             // modseq that was ever heard
}

type modelBox struct {
	name     string
	use      string // special use
	id       string // MAILBOXID
	validity uint32
	next     uint32 // UIDNEXT
	modSeq   uint64 // HIGHESTMODSEQ
	messages []*modelMessage
	vanished []vanished      // every message that it ever lost
	keywords []string        // as they were first written
	recent   uint32          // from this UID on, no session was told of the messages
	leaving  []*modelMessage // that were last taken away
	deleted  bool
}

type vanished struct {
	uid    uint32
	modSeq uint64
}

type modelMessage struct {
	*letter
	uid      uint32
	received time.Time
	modSeq   uint64
	flags    []string // sorted, without \Recent

	gone    bool
	touched int // the step that last changed it or took it away …
	was     []string
	wasSeq  uint64 // … and what it was before
}

func (m *modelMessage) String() string {
	return fmt.Sprintf("UID %d %v MODSEQ %d (before step %d: %v MODSEQ %d), gone %t", m.uid, m.flags, m.modSeq, m.touched, m.was, m.wasSeq, m.gone)
}

func newModelAccount() *modelAccount {
	return &modelAccount{subscribed: map[string]bool{}, changed: map[*modelBox]bool{}, validities: map[uint32]bool{}}
}

// box returns the mailbox of a name, or nil.
func (a *modelAccount) box(name string) *modelBox {
	for _, b := range a.boxes {
		if b.name == name {
			return b
		}
	}
	return nil
}

func (a *modelAccount) hasChildren(name string) bool {
	return slices.ContainsFunc(a.boxes, func(b *modelBox) bool { return strings.HasPrefix(b.name, name+"/") })
}

// add files a message.
func (a *modelAccount) add(b *modelBox, l *letter, received time.Time, flags []string) *modelMessage {
	m := &modelMessage{letter: l, uid: b.next, received: received, flags: b.spelled(flags), touched: a.step}
	b.adopt(flags)
	b.next++
	b.messages = append(b.messages, m)
	a.changed[b] = true
	return m
}

// remove takes messages away.
func (a *modelAccount) remove(b *modelBox, messages []*modelMessage) {
	b.leaving = messages
	for _, m := range messages {
		a.touch(m)
		m.gone = true
		b.messages = slices.DeleteFunc(b.messages, func(o *modelMessage) bool { return o == m })
		b.vanished = append(b.vanished, vanished{uid: m.uid})
		a.changed[b] = true
	}
}

// touch remembers what a message was before this step.
func (a *modelAccount) touch(m *modelMessage) {
	if m.touched != a.step {
		m.touched, m.was, m.wasSeq = a.step, m.flags, m.modSeq
	}
}

// store changes the flags of messages. One whose flags stay as they are is not changed.
func (a *modelAccount) store(b *modelBox, messages []*modelMessage, op string, flags []string) {
	flags = b.spelled(flags)
	for _, m := range messages {
		now := changedFlags(m.flags, op, flags)
		if slices.Equal(now, m.flags) {
			continue
		}
		a.touch(m)
		m.flags, m.modSeq = now, 0
		a.changed[b] = true
		if op != "-" {
			b.adopt(flags)
		}
	}
}

// changedFlags is what STORE makes of flags.
func changedFlags(old []string, op string, given []string) []string {
	var now []string
	switch op {
	case "+":
		now = append(slices.Clone(old), given...)
	case "-":
		now = slices.DeleteFunc(slices.Clone(old), func(f string) bool { return slices.Contains(given, f) })
	default:
		now = slices.Clone(given)
	}
	slices.Sort(now)
	return slices.Compact(now)
}

// spelled returns flags, sorted, with keywords as the mailbox has first seen
// them: they differ by more than case only.
func (b *modelBox) spelled(flags []string) []string {
	out := []string{}
	for _, f := range flags {
		if at := slices.IndexFunc(b.keywords, func(k string) bool { return strings.EqualFold(k, f) }); at >= 0 {
			f = b.keywords[at]
		}
		out = append(out, f)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// adopt takes in keywords that the mailbox did not have.
func (b *modelBox) adopt(flags []string) {
	for _, f := range b.spelled(flags) {
		if !strings.HasPrefix(f, `\`) && !slices.Contains(b.keywords, f) {
			b.keywords = append(b.keywords, f)
		}
	}
}

// copy puts messages into a mailbox and returns the new ones.
func (a *modelAccount) copy(messages []*modelMessage, to *modelBox) (made []*modelMessage) {
	for _, m := range messages {
		made = append(made, a.add(to, m.letter, m.received, m.flags))
	}
	return made
}

func (b *modelBox) flagged(flag string) (all []*modelMessage) {
	for _, m := range b.messages {
		if m.has(flag) {
			all = append(all, m)
		}
	}
	return all
}

func (m *modelMessage) has(flag string) bool {
	return slices.ContainsFunc(m.flags, func(f string) bool { return strings.EqualFold(f, flag) })
}

func (b *modelBox) size() (n int) {
	for _, m := range b.messages {
		n += len(m.text)
	}
	return n
}

// create makes a mailbox and its missing parents.
func (a *modelAccount) create(name string) *modelBox {
	for _, parent := range append(parentsOfName(name), name) {
		if a.box(parent) == nil {
			b := &modelBox{name: parent, next: 1}
			a.boxes = append(a.boxes, b)
			a.changed[b] = true
		}
	}
	return a.box(name)
}

// parentsOfName returns the names above a name, the outermost first.
func parentsOfName(name string) (above []string) {
	for i, c := range name {
		if c == '/' {
			above = append(above, name[:i])
		}
	}
	return above
}

// delete takes a mailbox away. Its subscription stays.
func (a *modelAccount) delete(b *modelBox) {
	a.remove(b, slices.Clone(b.messages))
	b.deleted = true
	a.boxes = slices.DeleteFunc(a.boxes, func(o *modelBox) bool { return o == b })
	delete(a.changed, b)
}

// names returns, sorted, the names that LIST may have to tell: of mailboxes, of
// what is above them, and of subscriptions.
func (a *modelAccount) names() []string {
	var all []string
	for _, b := range a.boxes {
		all = append(append(all, b.name), parentsOfName(b.name)...)
	}
	for name := range a.subscribed {
		all = append(all, name)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// below returns the names that a RENAME of a name is about.
func (a *modelAccount) below(name string) []string {
	return slices.DeleteFunc(a.names(), func(n string) bool { return n != name && !strings.HasPrefix(n, name+"/") })
}

// rename gives a mailbox and all below it a new name, or says why not. INBOX
// stays, and its messages move.
func (a *modelAccount) rename(from, to string) (refused string) {
	switch {
	case from == "INBOX" && a.box(to) != nil, to == "INBOX", to == from:
		return "NO [ALREADYEXISTS]"
	case from == "INBOX":
		moved := slices.Clone(a.box("INBOX").messages)
		a.copy(moved, a.create(to))
		a.remove(a.box("INBOX"), moved)
		return ""
	case strings.HasPrefix(to, from+"/"):
		return "NO [CANNOT]"
	case a.box(from) == nil && !a.hasChildren(from):
		return "NO [NONEXISTENT]"
	}
	tree := a.below(from)
	for _, name := range tree { // a name that is only subscribed stands in the way of nothing
		renamed := to + name[len(from):]
		if (name == from || a.box(name) != nil) && a.box(renamed) != nil && !slices.Contains(tree, renamed) {
			return "NO [ALREADYEXISTS]"
		}
	}
	var subscribed []string
	for _, name := range tree {
		if a.subscribed[name] {
			delete(a.subscribed, name)
			subscribed = append(subscribed, to+name[len(from):])
		}
	}
	for _, b := range a.boxes {
		if slices.Contains(tree, b.name) {
			b.name = to + b.name[len(from):]
			a.changed[b] = true
		}
	}
	for _, name := range subscribed {
		a.subscribe(name, true)
	}
	for _, parent := range parentsOfName(to) {
		a.create(parent)
	}
	return ""
}

// subscribe changes a subscription; a mailbox is not needed for it.
func (a *modelAccount) subscribe(name string, on bool) {
	if b := a.box(name); b != nil && a.subscribed[name] != on {
		a.changed[b] = true
	}
	if a.subscribed[name] = on; !on {
		delete(a.subscribed, name)
	}
}

// What a mailbox says of itself in STATUS.
type boxStatus struct {
	messages, unseen, deleted, size int
	next, validity                  uint32
	modSeq                          uint64
	id                              string
}

// settle looks at the mailboxes that were changed: they must be as they are
// here, and their modseqs above all that was ever heard.
func (a *modelAccount) settle(look func(*modelBox) boxStatus) error {
	before := a.highest
	for b := range a.changed {
		is := look(b)
		want := boxStatus{
			messages: len(b.messages), unseen: len(b.messages) - len(b.flagged(`\Seen`)), deleted: len(b.flagged(`\Deleted`)), size: b.size(),
			next: b.next, validity: b.validity, modSeq: is.modSeq, id: b.id,
		}
		if b.validity == 0 {
			if a.validities[is.validity] {
				return fmt.Errorf("UIDVALIDITY of %s was given before: %d", b.name, is.validity)
			}
			want.validity, want.id = is.validity, is.id
			a.validities[is.validity] = true
		}
		if is != want {
			return fmt.Errorf("%s is %+v, want %+v", b.name, is, want)
		}
		if is.modSeq <= before {
			return fmt.Errorf("modseq of %s is %d, was %d", b.name, is.modSeq, before)
		}
		a.highest = max(a.highest, is.modSeq)
		b.learn(is)
	}
	clear(a.changed)
	return nil
}

func (b *modelBox) learn(is boxStatus) {
	b.validity, b.id, b.modSeq = is.validity, is.id, is.modSeq
	for _, m := range b.messages {
		if m.modSeq == 0 {
			m.modSeq = is.modSeq
		}
	}
	for i := len(b.vanished) - 1; i >= 0 && b.vanished[i].modSeq == 0; i-- {
		b.vanished[i].modSeq = is.modSeq
	}
}
