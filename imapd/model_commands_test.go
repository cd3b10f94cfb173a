package imapd

import (
	"fmt"
	"slices"
	"strings"
)

// A target is messages as a command names them.
type target struct {
	set      string
	messages []*modelMessage // that are there, ascending
	missing  bool            // a number is that of a message that is gone
	bad      bool            // a number is that of no message
}

// target draws a set. arrived says that the client hears of what arrived before
// the set is understood: STORE alone tells that afterwards.
func (s *modelSession) target(d dice, uid, arrived bool) target {
	v := s.view
	var all []*modelMessage
	last := uint32(0)
	for _, m := range v.counted {
		all = append(all, m.modelMessage)
		last = m.uid
	}
	for _, m := range v.box.messages {
		if arrived && m.uid > last {
			all = append(all, m)
		}
	}
	savedGone := slices.ContainsFunc(v.saved, func(m *modelMessage) bool { return m.gone })
	if d.oneIn(6) && (uid || arrived || !savedGone) {
		return target{set: "$", messages: present(v.saved)}
	}
	if uid {
		return s.uidTarget(d, all, arrived)
	}
	return numberTarget(d, all)
}

func present(messages []*modelMessage) []*modelMessage {
	return slices.DeleteFunc(slices.Clone(messages), func(m *modelMessage) bool { return m.gone })
}

func numberTarget(d dice, all []*modelMessage) (t target) {
	n := len(all)
	if n == 0 || d.oneIn(30) {
		return target{set: fmt.Sprint(n + 1), bad: true}
	}
	a, b := d(n), d(n)
	numbers := []int{a}
	switch d(6) {
	case 0:
		t.set = fmt.Sprint(a + 1)
	case 1:
		t.set, numbers = fmt.Sprintf("%d,%d", a+1, b+1), []int{a, b}
	case 2:
		t.set, numbers = "*", []int{n - 1}
	case 3:
		t.set, numbers = "1:*", upTo(0, n-1)
	case 4:
		t.set, numbers = fmt.Sprintf("*:%d", a+1), upTo(a, n-1)
	default:
		t.set, numbers = fmt.Sprintf("%d:%d", a+1, b+1), upTo(min(a, b), max(a, b))
	}
	slices.Sort(numbers)
	for _, i := range slices.Compact(numbers) {
		if all[i].gone {
			t.missing = true
		} else {
			t.messages = append(t.messages, all[i])
		}
	}
	return t
}

func upTo(a, b int) (all []int) {
	for ; a <= b; a++ {
		all = append(all, a)
	}
	return all
}

func (s *modelSession) uidTarget(d dice, all []*modelMessage, arrived bool) (t target) {
	here := present(all)
	a, b := uint32(1+d(int(s.view.box.next)+1)), uint32(1+d(int(s.view.box.next)+1))
	if len(here) > 0 && d(4) > 0 { // most UIDs of old are gone
		a, b = here[d(len(here))].uid, here[d(len(here))].uid
	}
	first, last := min(a, b), max(a, b)
	switch form := d(4); {
	case form == 0:
		t.set, last = fmt.Sprint(a), a
		first = a
	case form == 1 && (arrived || len(here) > 0 && here[len(here)-1] == all[len(all)-1]): // else "*" may mean what is gone
		t.set, first, last = fmt.Sprintf("%d:*", a), a, 0
		if len(here) > 0 {
			last = here[len(here)-1].uid
		}
		first, last = min(first, last), max(first, last)
	default:
		t.set = fmt.Sprintf("%d:%d", a, b)
	}
	for _, m := range here {
		if m.uid >= first && m.uid <= last {
			t.messages = append(t.messages, m)
		}
	}
	return t
}

// uidWord is put before commands that use UIDs.
func uidWord(uid bool) string {
	if uid {
		return "UID "
	}
	return ""
}

// numbers are how a command names messages in its answer.
func (s *modelSession) numbers(messages []*modelMessage, uid bool) (numbers []uint32) {
	for _, m := range messages {
		n := int(m.uid)
		if !uid {
			n = 1 + slices.IndexFunc(s.view.counted, func(c *countedMessage) bool { return c.modelMessage == m })
		}
		numbers = append(numbers, uint32(n))
	}
	return numbers
}

func modelUIDs(messages []*modelMessage) (uids []uint32) {
	for _, m := range messages {
		uids = append(uids, m.uid)
	}
	return uids
}

// since draws a modseq about which messages differ.
func (v *modelView) since(d dice) uint64 {
	seqs := []uint64{v.box.modSeq, v.synced, v.known, 1}
	for _, m := range v.box.messages {
		seqs = append(seqs, m.modSeq, m.modSeq-1)
	}
	return pick(d, seqs...)
}

// counts begins to count modseqs, where the client did not before; then it
// hears where it stands (RFC 7162 section 3.1.2.1).
func (s *modelSession) counts(known uint64) []string {
	if s.condStore {
		return nil
	}
	s.condStore, s.began = true, true
	if s.view == nil {
		return nil
	}
	return []string{fmt.Sprintf("OK [HIGHESTMODSEQ %d]", known)}
}

// storeFlags is STORE (RFC 9051 section 6.4.6, RFC 7162 section 3.1.3).
func (s *modelSession) storeFlags(d dice) modelCommand {
	v, uid := s.view, d(2) == 1
	op, silent, flags := pick(d, "+", "-", ""), d(3) == 2, newFlags(d)
	condition, since := "", uint64(1<<63-1)
	x := expected{tagged: "OK", fetched: map[*modelMessage][]string{}, silent: map[*modelMessage]bool{}}
	if s.condStore && d(3) == 1 || d.oneIn(20) {
		since = v.since(d)
		condition = fmt.Sprintf("(UNCHANGEDSINCE %d) ", since)
		x.lines = s.counts(v.known)
	}
	t := s.target(d, uid, false)
	line := fmt.Sprintf("%sSTORE %s %s%sFLAGS", uidWord(uid), t.set, condition, op)
	if silent {
		line += ".SILENT"
	}
	c := modelCommand{line: line + " (" + strings.Join(flags, " ") + ")", quiet: !uid, expect: func() expected { return x }}
	if t.bad || v.readOnly {
		if x.tagged = "NO"; t.bad {
			x.tagged = "BAD"
		}
		return c
	}
	var stored, modified []*modelMessage
	for _, m := range t.messages {
		if m.modSeq > since {
			modified = append(modified, m)
		} else {
			stored = append(stored, m)
		}
	}
	s.run.account.store(v.box, stored, op, flags)
	spelled := v.box.spelled(flags)
	x.change = func(old []string) []string { return changedFlags(old, op, spelled) }
	for _, m := range stored {
		var items []string
		changed := m.touched == s.run.account.step
		if x.silent[m] = silent; !silent {
			items = append(items, "FLAGS")
		}
		if s.condStore && (!silent || changed || condition != "") {
			items = append(items, "MODSEQ")
		}
		if len(items) > 0 && (uid || s.qResync || s.rev2) {
			items = append(items, "UID")
		}
		x.fetched[m] = items
	}
	switch {
	case len(modified) > 0:
		x.tagged = fmt.Sprintf("OK [MODIFIED %s]", setOf(s.numbers(modified, uid)))
		if t.missing {
			x.tagged = "NO" + x.tagged[2:]
		}
	case t.missing:
		x.tagged = "NO [EXPUNGEISSUED]"
	}
	return c
}

// Items of FETCH, as they are asked for, with how they come back and whether
// they set \Seen.
var fetchAsked = []struct {
	ask, answer string
	seen        bool
}{
	{ask: "FLAGS"},
	{ask: "UID"},
	{ask: "MODSEQ"},
	{ask: "INTERNALDATE"},
	{ask: "RFC822.SIZE"},
	{ask: "ENVELOPE"},
	{ask: "BODY"},
	{ask: "BODYSTRUCTURE"},
	{ask: "EMAILID"},
	{ask: "THREADID"},
	{ask: "SAVEDATE"},
	{ask: "PREVIEW"},
	{ask: "RFC822.HEADER"},
	{ask: "BODY[]", seen: true},
	{ask: "BODY[TEXT]", seen: true},
	{ask: "BODY[1]", seen: true},
	{ask: "RFC822", seen: true},
	{ask: "RFC822.TEXT", seen: true},
	{ask: "BINARY[1]", seen: true},
	{ask: "BINARY.SIZE[1]"},
	{ask: "BODY.PEEK[]", answer: "BODY[]"},
	{ask: "BODY.PEEK[HEADER]", answer: "BODY[HEADER]"},
	{ask: "BODY.PEEK[2]", answer: "BODY[2]"},
	{ask: "BODY.PEEK[TEXT]<2.7>", answer: "BODY[TEXT]<2>"},
	{ask: "BINARY.PEEK[1]", answer: "BINARY[1]"},
	{ask: "BODY.PEEK[HEADER.FIELDS (SUBJECT)]", answer: "BODY[HEADER.FIELDS (SUBJECT)]"},
}

var fetchMacros = map[string][]string{
	"FAST": {"FLAGS", "INTERNALDATE", "RFC822.SIZE"},
	"ALL":  {"FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"},
	"FULL": {"FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY"},
}

// fetchItems draws what is asked of messages, and what must come back.
func fetchItems(d dice, condStore bool) (asked string, items []string, seen bool) {
	if d.oneIn(8) {
		macro := pick(d, "FAST", "ALL", "FULL")
		return macro, slices.Clone(fetchMacros[macro]), false
	}
	var all []string
	for range 1 + d(4) {
		i := fetchAsked[d(len(fetchAsked))]
		if i.ask == "MODSEQ" && !condStore && d(3) > 0 || slices.Contains(all, i.ask) {
			continue
		}
		all, seen = append(all, i.ask), seen || i.seen
		if i.answer == "" {
			i.answer = i.ask
		}
		items = append(items, i.answer)
	}
	if len(all) == 0 {
		all, items = []string{"FLAGS"}, []string{"FLAGS"}
	}
	return "(" + strings.Join(all, " ") + ")", items, seen
}

// fetchMessages is FETCH (RFC 9051 section 6.4.5, RFC 7162 sections 3.1.4 and 3.2.6).
func (s *modelSession) fetchMessages(d dice) modelCommand {
	v, uid := s.view, d(2) == 1
	asked, items, seen := fetchItems(d, s.condStore)
	seen = seen && !v.readOnly
	x := expected{tagged: "OK", fetched: map[*modelMessage][]string{}}
	changed, vanished, since := s.condStore && d(3) == 1, false, uint64(0)
	if changed {
		since, items = v.since(d), append(items, "MODSEQ")
		vanished = uid && s.qResync && d(2) == 1
	}
	if slices.Contains(items, "MODSEQ") {
		x.lines = s.counts(v.known)
	}
	t := s.target(d, uid, true)
	line := fmt.Sprintf("%sFETCH %s %s", uidWord(uid), t.set, asked)
	switch {
	case vanished:
		line += fmt.Sprintf(" (CHANGEDSINCE %d VANISHED)", since)
		x.gone = v.askedFor(t.set, since)
		x.mayBeGone = x.gone
	case changed:
		line += fmt.Sprintf(" (CHANGEDSINCE %d)", since)
	}
	if uid {
		items = append(items, "UID")
	}
	if seen {
		items = append(items, "FLAGS")
		if s.condStore {
			items = append(items, "MODSEQ")
		}
	}
	named := slices.DeleteFunc(t.messages, func(m *modelMessage) bool { return changed && m.modSeq <= since })
	if t.missing {
		x.tagged = "NO [EXPUNGEISSUED]"
	}
	if t.bad {
		x.tagged, named = "BAD", nil
	}
	for _, m := range named {
		x.fetched[m] = items
	}
	if seen {
		s.run.account.store(v.box, named, "+", []string{`\Seen`})
	}
	return modelCommand{line: line, quiet: !uid, expect: func() expected { return x }}
}

// askedFor returns the UIDs of a set that vanished since a modseq.
func (v *modelView) askedFor(set string, since uint64) (uids []uint32) {
	var named func(uint32) bool
	if set == "$" {
		saved := modelUIDs(v.saved)
		named = func(uid uint32) bool { return slices.Contains(saved, uid) }
	} else {
		all, _ := numbersOf(strings.ReplaceAll(set, "*", fmt.Sprint(v.box.next-1)))
		if from, to, _ := strings.Cut(set, ":"); to == "*" { // it may be the lower one
			n, _ := numbersOf(from)
			all, _ = numbersOf(fmt.Sprintf("%d:%d", min(n[0], v.box.next-1), max(n[0], v.box.next-1)))
		} else if to != "" && len(all) == 0 {
			all, _ = numbersOf(to + ":" + from)
		}
		named = func(uid uint32) bool { _, found := slices.BinarySearch(all, uid); return found }
	}
	for _, g := range v.box.vanished {
		if g.modSeq > since && named(g.uid) {
			uids = append(uids, g.uid)
		}
	}
	return uids
}

// appendMessages is APPEND of one or several messages (RFC 9051 section 6.3.12, RFC 3502).
func (s *modelSession) appendMessages(d dice) modelCommand {
	name := s.run.target(d)
	b := s.run.account.box(name)
	line := "APPEND " + s.wire(name)
	var made []*modelMessage
	for range 1 + d(4)/2 {
		l, flags, date := s.run.letter(d), newFlags(d), receivedDate(d)
		line += fmt.Sprintf(` (%s) "%s" {%d+}`+"\r\n%s", strings.Join(flags, " "), date.Format(dateTime), len(l.text), l.text)
		if b != nil {
			made = append(made, s.run.account.add(b, l, date, flags))
		}
	}
	if b == nil {
		return taggedOnly(line, "NO [TRYCREATE]")
	}
	return taggedOnly(line, fmt.Sprintf("OK [APPENDUID %d %s]", b.validity, setOf(modelUIDs(made))))
}

// replaceMessage is REPLACE (RFC 8508).
func (s *modelSession) replaceMessage(d dice) modelCommand {
	v, uid := s.view, d(2) == 1
	var t target
	for t = s.target(d, uid, true); strings.ContainsAny(t.set, ":,$"); { // one message only
		t = s.target(d, uid, true)
	}
	name := s.run.target(d)
	l, flags, date := s.run.letter(d), newFlags(d), receivedDate(d)
	line := fmt.Sprintf(`%sREPLACE %s %s (%s) "%s" {%d+}`+"\r\n%s", uidWord(uid), t.set, s.wire(name), strings.Join(flags, " "), date.Format(dateTime), len(l.text), l.text)
	b := s.run.account.box(name)
	switch {
	case t.bad:
		return taggedOnly(line, "BAD")
	case t.missing:
		return taggedOnly(line, "NO [EXPUNGEISSUED]")
	case len(t.messages) == 0:
		return taggedOnly(line, "NO [NONEXISTENT]")
	case v.readOnly:
		return taggedOnly(line, "NO")
	case b == nil:
		return taggedOnly(line, "NO [TRYCREATE]")
	}
	m := s.run.account.add(b, l, date, flags)
	s.run.account.remove(v.box, t.messages)
	return modelCommand{line: line, expect: func() expected {
		return expected{tagged: "OK", early: true, lines: []string{fmt.Sprintf("OK [APPENDUID %d %d]", b.validity, m.uid)}}
	}}
}

// copyMessages is COPY and MOVE (RFC 9051 sections 6.4.7 and 6.4.8).
func (s *modelSession) copyMessages(d dice) modelCommand {
	v, uid, move := s.view, d(2) == 1, d(2) == 1
	t := s.target(d, uid, true)
	name := s.run.target(d)
	b := s.run.account.box(name)
	line := fmt.Sprintf("%s%s %s %s", uidWord(uid), map[bool]string{true: "MOVE", false: "COPY"}[move], t.set, s.wire(name))
	switch {
	case t.bad:
		return taggedOnly(line, "BAD")
	case t.missing:
		return taggedOnly(line, "NO [EXPUNGEISSUED]")
	case move && v.readOnly:
		return taggedOnly(line, "NO")
	case b == nil:
		return taggedOnly(line, "NO [TRYCREATE]")
	case len(t.messages) == 0:
		return taggedOnly(line, "OK")
	}
	made := s.run.account.copy(t.messages, b)
	code := fmt.Sprintf("OK [COPYUID %d %s %s]", b.validity, setOf(modelUIDs(t.messages)), setOf(modelUIDs(made)))
	if !move {
		return taggedOnly(line, code)
	}
	s.run.account.remove(v.box, t.messages)
	return modelCommand{line: line, expect: func() expected {
		return expected{tagged: s.toldAll(), early: true, lines: []string{code}}
	}}
}

// toldAll is the end of a command that tells a QRESYNC client of all that is
// gone (RFC 7162 section 3.2.7).
func (s *modelSession) toldAll() string {
	if s.qResync {
		return fmt.Sprintf("OK [HIGHESTMODSEQ %d]", s.view.box.modSeq)
	}
	return "OK"
}

// expungeMessages is EXPUNGE and UID EXPUNGE (RFC 9051 sections 6.4.3 and 6.4.9).
func (s *modelSession) expungeMessages(d dice) modelCommand {
	v, line := s.view, "EXPUNGE"
	gone := v.box.flagged(`\Deleted`)
	var t target
	if d(2) == 1 {
		t = s.target(d, true, true)
		line = "UID EXPUNGE " + t.set
		gone = slices.DeleteFunc(gone, func(m *modelMessage) bool { return !slices.Contains(t.messages, m) })
	}
	if v.readOnly {
		return taggedOnly(line, "NO")
	}
	if t.set != "" && len(t.messages) == 0 {
		return taggedOnly(line, "OK")
	}
	s.run.account.remove(v.box, gone)
	return modelCommand{line: line, expect: func() expected { return expected{tagged: s.toldAll(), early: t.set != ""} }}
}
