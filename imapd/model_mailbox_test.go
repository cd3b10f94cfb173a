package imapd

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// wire is a name as the session writes it.
func (s *modelSession) wire(name string) string {
	if !s.rev2 && !s.utf8 {
		name = strings.ReplaceAll(name, "ü", "&APw-")
	}
	if strings.ContainsAny(name, " ü") {
		return `"` + name + `"`
	}
	return name
}

// told is a name as short shows it.
func (s *modelSession) told(name string) string { return strings.Trim(s.wire(name), `"`) }

// open is SELECT and EXAMINE (RFC 9051 section 6.3.2, RFC 7162 section 3.2.5).
func (s *modelSession) open(d dice) modelCommand {
	name, readOnly, how := pick(d, s.run.selected, s.run.selected, s.run.selected, s.run.name)(d), d.oneIn(4), d(4)
	return s.openNamed(d, name, readOnly, how)
}

func (s *modelSession) openNamed(d dice, name string, readOnly bool, how int) modelCommand {
	b := s.run.account.box(name)
	line := "SELECT " + s.wire(name)
	if readOnly {
		line = "EXAMINE " + s.wire(name)
	}
	var r *resyncing
	switch {
	case how == 1:
		line += " (CONDSTORE)"
	case how > 1 && s.qResync:
		r = s.resyncing(d, name)
		line += " (QRESYNC (" + r.params + "))"
	case how > 1 && d.oneIn(10):
		return taggedOnly(line+" (QRESYNC (1 1))", "BAD [CLIENTBUG]")
	}
	x := expected{tagged: "OK [READ-WRITE]", fetched: map[*modelMessage][]string{}}
	if s.view != nil {
		x.lines = append(x.lines, "OK [CLOSED]")
	}
	s.leave()
	if how == 1 {
		s.condStore = true
	}
	if b == nil {
		x.tagged = "NO [NONEXISTENT]"
		return modelCommand{line: line, expect: func() expected { return x }}
	}
	if readOnly {
		x.tagged = "OK [READ-ONLY]"
	}
	s.view = &modelView{box: b, validity: b.validity, readOnly: readOnly, recent: map[*modelMessage]bool{}, resyncs: s.qResync, synced: b.modSeq, known: b.modSeq}
	x.lines = append(x.lines, "OK [PERMANENTFLAGS]", "OK [MAILBOXID]", fmt.Sprintf("OK [UIDVALIDITY %d]", b.validity),
		fmt.Sprintf("OK [UIDNEXT %d]", b.next), fmt.Sprintf("OK [HIGHESTMODSEQ %d]", b.modSeq))
	unseen := slices.IndexFunc(b.messages, func(m *modelMessage) bool { return !m.has(`\Seen`) })
	switch {
	case s.rev2:
		x.lines = append(x.lines, "LIST () / "+s.told(name))
	case unseen >= 0:
		x.lines = append(x.lines, fmt.Sprintf("OK [UNSEEN %d]", unseen+1))
	}
	if r != nil {
		s.resync(r, &x)
	}
	return modelCommand{line: line, expect: func() expected { return x }}
}

// A resyncing is what a client says of a mailbox as it knows it.
type resyncing struct {
	params   string
	memory   *modelView // nil where the client makes something up
	validity uint32
	since    uint64
	known    []uint32 // nil: all
	intact   uint32   // up to this UID the numbers are right
}

// resyncing draws the arguments of QRESYNC: what the client remembers, or
// anything that it might say.
func (s *modelSession) resyncing(d dice, name string) *resyncing {
	b := s.run.account.box(name)
	r := &resyncing{memory: s.memories[name]}
	var numbers, uids []uint32
	switch {
	case r.memory != nil:
		r.validity, r.since = r.memory.validity, r.memory.highest
		for i, m := range r.memory.counted {
			if m.told {
				uids, numbers = append(uids, m.uid), append(numbers, uint32(i+1))
			}
		}
	case b != nil:
		v := &modelView{box: b}
		r.validity, r.since = b.validity, v.since(d)
		for range d(5) {
			numbers, uids = append(numbers, uint32(len(numbers)+1+d(2))), append(uids, uint32(1+d(int(b.next))))
		}
		slices.Sort(numbers)
		slices.Sort(uids)
		numbers, uids = slices.Compact(numbers), slices.Compact(uids)
		numbers, uids = numbers[:min(len(numbers), len(uids))], uids[:min(len(numbers), len(uids))]
	default:
		r.validity, r.since = 1, 1
	}
	r.params = fmt.Sprintf("%d %d", r.validity, r.since)
	if len(uids) > 0 && d(2) == 1 {
		r.known = uids
		r.params += " " + setOf(uids)
	}
	if len(uids) > 0 && d(2) == 1 {
		r.params += fmt.Sprintf(" (%s %s)", setOf(numbers), setOf(uids))
		for i, uid := range uids {
			if n := int(numbers[i]); b != nil && n <= len(b.messages) && b.messages[n-1].uid == uid {
				r.intact = uid
			}
		}
	}
	return r
}

// resync says what the client must hear: then its memory is right again.
func (s *modelSession) resync(r *resyncing, x *expected) {
	v := s.view
	if r.validity != v.validity {
		return
	}
	knows := func(uid uint32) bool { return r.known == nil || slices.Contains(r.known, uid) }
	for _, g := range v.box.vanished {
		if g.modSeq > r.since && knows(g.uid) {
			if x.mayBeGone = append(x.mayBeGone, g.uid); g.uid > r.intact {
				x.gone = append(x.gone, g.uid)
			}
		}
	}
	for _, m := range v.box.messages {
		if m.modSeq > r.since && knows(m.uid) {
			x.fetched[m] = []string{"UID", "FLAGS", "MODSEQ"}
		}
	}
	if r.memory == nil {
		return
	}
	v.memory = map[uint32][]string{}
	for _, m := range r.memory.counted {
		if m.told && m.gone && !slices.Contains(x.gone, m.uid) {
			s.fail("it would keep UID %d behind SELECT %s (QRESYNC (%s))", m.uid, v.box.name, r.params)
		}
		if m.told {
			v.memory[m.uid] = m.toldFlags
		}
	}
}

// leave remembers the mailbox, if the client can begin there again.
func (s *modelSession) leave() {
	if v := s.view; v != nil && v.resyncs {
		s.memories[v.box.name] = v
	}
	s.view = nil
}

// closeBox is CLOSE and UNSELECT.
func (s *modelSession) closeBox(d dice) modelCommand {
	v := s.view
	if d(2) == 1 || v.readOnly {
		s.leave()
		return taggedOnly(pick(d, "UNSELECT", map[bool]string{true: "CLOSE", false: "UNSELECT"}[v.readOnly]), "OK")
	}
	s.run.account.remove(v.box, v.box.flagged(`\Deleted`))
	s.leave()
	if !s.qResync {
		return taggedOnly("CLOSE", "OK")
	}
	// What the client knew as \Deleted it forgets; how much of the rest it knows
	// depends on what others did, and shows when it comes back.
	v.counted = slices.DeleteFunc(v.counted, func(m *countedMessage) bool { return m.gone && slices.Contains(m.toldFlags, `\Deleted`) })
	return modelCommand{line: "CLOSE", expect: func() expected {
		x := expected{tagged: fmt.Sprintf("OK [HIGHESTMODSEQ %d] or OK [HIGHESTMODSEQ %d]", v.known, v.box.modSeq)}
		x.closed = v
		return x
	}}
}

// create, delete, rename and subscribe are the commands of that name.
func (s *modelSession) create(d dice) modelCommand {
	name := s.run.name(d)
	line := "CREATE " + s.wire(name)
	if s.run.account.box(name) != nil {
		return taggedOnly(line, "NO [ALREADYEXISTS]")
	}
	s.run.account.create(name)
	return taggedOnly(line, "OK [MAILBOXID]")
}

func (s *modelSession) delete(d dice) modelCommand {
	name := s.run.name(d)
	line := "DELETE " + s.wire(name)
	b := s.run.account.box(name)
	switch {
	case name == "INBOX":
		return taggedOnly(line, "NO [CANNOT]")
	case b == nil:
		return taggedOnly(line, "NO [NONEXISTENT]")
	}
	s.run.account.delete(b)
	if s.view != nil && s.view.box == b {
		s.view = nil
	}
	return taggedOnly(line, "OK")
}

func (s *modelSession) rename(d dice) modelCommand {
	from, to := s.run.name(d), s.run.name(d)
	line := fmt.Sprintf("RENAME %s %s", s.wire(from), s.wire(to))
	if refused := s.run.account.rename(from, to); refused != "" {
		return taggedOnly(line, refused)
	}
	x := expected{tagged: "OK"}
	if s.rev2 && from != "INBOX" {
		x.lines = []string{fmt.Sprintf("LIST () / %s (OLDNAME (%s))", s.told(to), s.told(from))}
	}
	return modelCommand{line: line, expect: func() expected { return x }}
}

func (s *modelSession) subscribe(d dice) modelCommand {
	name, on := s.run.name(d), d(2) == 0
	s.run.account.subscribe(name, on)
	return taggedOnly(map[bool]string{true: "SUBSCRIBE ", false: "UNSUBSCRIBE "}[on]+s.wire(name), "OK")
}

// statusItems draws items of STATUS.
func (s *modelSession) statusItems(d dice) []string {
	items := some(d, "MESSAGES", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "DELETED", "SIZE", "DELETED-STORAGE", "APPENDLIMIT")
	if s.condStore && d(2) == 1 || d.oneIn(20) {
		items = append(items, "HIGHESTMODSEQ")
	}
	if !s.rev2 && d(2) == 1 {
		items = append(items, "RECENT")
	}
	if len(items) == 0 {
		return []string{"MESSAGES"}
	}
	return items
}

// statusLine is the response with the items of a mailbox.
func (s *modelSession) statusLine(b *modelBox, items []string) string {
	var out []string
	for _, item := range items {
		n := uint64(0)
		switch item {
		case "MESSAGES":
			n = uint64(len(b.messages))
		case "UIDNEXT":
			n = uint64(b.next)
		case "UIDVALIDITY":
			n = uint64(b.validity)
		case "UNSEEN":
			n = uint64(len(b.messages) - len(b.flagged(`\Seen`)))
		case "DELETED":
			n = uint64(len(b.flagged(`\Deleted`)))
		case "SIZE":
			n = uint64(b.size())
		case "DELETED-STORAGE":
			for _, m := range b.flagged(`\Deleted`) {
				n += uint64(len(m.text))
			}
		case "APPENDLIMIT":
			n = 50 << 20
		case "HIGHESTMODSEQ":
			n = b.modSeq
		case "RECENT":
			for _, m := range b.messages {
				if m.uid >= b.recent {
					n++
				}
			}
		}
		out = append(out, fmt.Sprint(item, " ", n))
	}
	return fmt.Sprintf("STATUS %s (%s)", s.wire(b.name), strings.Join(out, " "))
}

// askStatus is STATUS (RFC 9051 section 6.3.11).
func (s *modelSession) askStatus(d dice) modelCommand {
	name := s.run.name(d)
	items := s.statusItems(d)
	line := fmt.Sprintf("STATUS %s (%s)", s.wire(name), strings.Join(items, " "))
	b := s.run.account.box(name)
	if b == nil {
		return taggedOnly(line, "NO [NONEXISTENT]")
	}
	x := expected{tagged: "OK", lines: []string{s.statusLine(b, items)}}
	x.lines = append(x.lines, s.countsInStatus(items)...)
	return modelCommand{line: line, expect: func() expected { return x }}
}

func (s *modelSession) countsInStatus(items []string) []string {
	switch {
	case !slices.Contains(items, "HIGHESTMODSEQ"):
		return nil
	case s.view == nil:
		return s.counts(0)
	}
	return s.counts(s.view.known)
}

// pattern is a pattern of LIST with its meaning.
func pattern(d dice) (text string, fits *regexp.Regexp) {
	text = pick(d, "*", "%", "a/*", "a/%", "%/%", "I*", "*b*")
	expression := strings.NewReplacer("*", ".*", "%", "[^/]*").Replace(text)
	return text, regexp.MustCompile("^" + expression + "$")
}

// list is LIST (RFC 9051 section 6.3.9, RFC 5258, RFC 5819).
func (s *modelSession) list(d dice) modelCommand {
	a := s.run.account
	text, fits := pattern(d)
	selects, returns := some(d, "SUBSCRIBED", "SPECIAL-USE"), some(d, "SUBSCRIBED", "CHILDREN", "SPECIAL-USE")
	if d(2) == 1 {
		selects, returns = nil, nil
	}
	recursive := len(selects) > 0 && d(2) == 1
	line := "LIST "
	if len(selects) > 0 {
		line += "(" + strings.Join(selects, " ") + map[bool]string{true: " RECURSIVEMATCH"}[recursive] + ") "
	}
	line += `"" ` + text
	var items []string
	asked := slices.Clone(returns)
	if len(returns) > 0 && d(2) == 1 {
		items = s.statusItems(d)
		asked = append(asked, "STATUS ("+strings.Join(items, " ")+")")
	}
	if len(asked) > 0 {
		line += " RETURN (" + strings.Join(asked, " ") + ")"
	}
	selected := func(name string) bool {
		b := a.box(name)
		there := b != nil || a.hasChildren(name)
		if slices.Contains(selects, "SUBSCRIBED") {
			there = a.subscribed[name]
		}
		return there && (!slices.Contains(selects, "SPECIAL-USE") || b != nil && b.use != "")
	}
	var names []string
	for _, name := range a.names() {
		if selected(name) {
			names = append(names, name)
		}
	}
	x := expected{tagged: "OK"}
	var told []string
	for _, name := range a.namesAndParents() {
		leads := recursive && slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, name+"/") })
		if !fits.MatchString(name) || !selected(name) && !leads {
			continue
		}
		l := fmt.Sprintf("LIST (%s) / %s", strings.Join(s.attributes(name, selects, returns, len(selects)+len(asked) > 0), " "), s.told(name))
		if leads {
			l += " (CHILDINFO (" + strings.Join(selects, " ") + "))"
		}
		x.lines = append(x.lines, l)
		if b := a.box(name); b != nil && selected(name) && items != nil {
			told = append(told, s.statusLine(b, items))
		}
	}
	if len(told) > 0 {
		x.lines = append(append(x.lines, told...), s.countsInStatus(items)...)
	}
	return modelCommand{line: line, expect: func() expected { return x }}
}

// attributes are those of a name in LIST (RFC 9051 section 7.3.1), sorted.
func (s *modelSession) attributes(name string, selects, returns []string, extended bool) (attrs []string) {
	a := s.run.account
	b := a.box(name)
	if b == nil {
		attrs = append(attrs, `\NonExistent`)
		if !extended {
			attrs = append(attrs, `\Noselect`)
		}
	} else if b.use != "" {
		attrs = append(attrs, b.use)
	}
	if a.subscribed[name] && slices.Contains(slices.Concat(selects, returns), "SUBSCRIBED") {
		attrs = append(attrs, `\Subscribed`)
	}
	if !extended || slices.Contains(returns, "CHILDREN") {
		attrs = append(attrs, map[bool]string{true: `\HasChildren`, false: `\HasNoChildren`}[a.hasChildren(name)])
	}
	slices.Sort(attrs)
	return attrs
}

// namesAndParents are the names, and those above subscriptions whose mailboxes are gone.
func (a *modelAccount) namesAndParents() []string {
	all := a.names()
	for _, name := range all {
		all = append(all, parentsOfName(name)...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// lsub is LSUB (RFC 3501 section 6.3.9).
func (s *modelSession) lsub(d dice) modelCommand {
	a := s.run.account
	text, fits := pattern(d)
	lines := map[string]bool{}
	for name := range a.subscribed {
		if fits.MatchString(name) {
			lines[fmt.Sprintf("LSUB (%s) / %s", map[bool]string{true: `\Noselect`}[a.box(name) == nil], s.told(name))] = true
			continue
		}
		for _, parent := range parentsOfName(name) {
			if strings.HasSuffix(text, "%") && !a.subscribed[parent] && fits.MatchString(parent) {
				lines[`LSUB (\Noselect) / `+s.told(parent)] = true
			}
		}
	}
	x := expected{tagged: "OK"}
	for l := range lines {
		x.lines = append(x.lines, l)
	}
	return modelCommand{line: `LSUB "" ` + text, expect: func() expected { return x }}
}

// enable is ENABLE (RFC 9051 section 6.3.1).
func (s *modelSession) enable(words []string) modelCommand {
	line := "ENABLED"
	var lines []string
	for _, word := range words {
		implied := word == "CONDSTORE" && s.condStore || word == "QRESYNC" && s.qResync || word == "IMAP4rev2" && s.rev2 || word == "UTF8=ACCEPT" && s.utf8
		if implied || word == "X-NOSUCH" {
			continue
		}
		line += " " + word
		switch word {
		case "CONDSTORE", "QRESYNC":
			known := uint64(0)
			if s.view != nil {
				known = s.view.known
			}
			lines = append(lines, s.counts(known)...)
			s.qResync = s.qResync || word == "QRESYNC"
			s.began = false // what is told is told behind it
		case "IMAP4rev2":
			s.rev2 = true
			if s.view != nil {
				clear(s.view.recent)
			}
		case "UTF8=ACCEPT":
			s.utf8 = true
		}
	}
	x := expected{tagged: "OK", lines: append(lines, line)}
	return modelCommand{line: "ENABLE " + strings.Join(words, " "), expect: func() expected { return x }}
}
