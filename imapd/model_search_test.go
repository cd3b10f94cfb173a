package imapd

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A criterion is a search key with its meaning. seq is the number of the message.
type criterion struct {
	text string
	fits func(m *modelMessage, seq int) bool
}

// A searching is what a SEARCH is drawn for.
type searching struct {
	*modelSession
	d       dice
	last    int  // the number of the last message
	modSeqs bool // a key asks for them
}

// criterion draws a key; depth bounds how keys may stand in keys.
func (q *searching) criterion(depth int) criterion {
	if depth > 0 {
		switch q.d(6) {
		case 3:
			k := q.criterion(depth - 1)
			return criterion{"NOT " + k.text, func(m *modelMessage, seq int) bool { return !k.fits(m, seq) }}
		case 4:
			a, b := q.criterion(depth-1), q.criterion(depth-1)
			return criterion{"OR " + a.text + " " + b.text, func(m *modelMessage, seq int) bool { return a.fits(m, seq) || b.fits(m, seq) }}
		case 5:
			a, b := q.criterion(depth-1), q.criterion(depth-1)
			return criterion{"(" + a.text + " " + b.text + ")", func(m *modelMessage, seq int) bool { return a.fits(m, seq) && b.fits(m, seq) }}
		}
	}
	draw := pick(q.d, q.flagKey, q.keywordKey, q.setKey, q.dateKey, q.textKey, q.sizeKey, q.otherKey, q.recentKey, q.modSeqKey)
	return draw()
}

func (q *searching) flagKey() criterion {
	flag, without := pick(q.d, "Seen", "Answered", "Flagged", "Deleted", "Draft"), q.d(2) == 1
	word := strings.ToUpper(flag)
	if without {
		word = "UN" + word
	}
	return criterion{word, func(m *modelMessage, _ int) bool { return m.has(`\`+flag) != without }}
}

func (q *searching) keywordKey() criterion {
	keyword, without := pick(q.d, "blue", "RED", "$label1", "nosuch"), q.d(2) == 1
	word := "KEYWORD "
	if without {
		word = "UNKEYWORD "
	}
	return criterion{word + keyword, func(m *modelMessage, _ int) bool { return m.has(keyword) != without }}
}

func (q *searching) setKey() criterion {
	v := q.view
	switch q.d(3) {
	case 1:
		saved := slices.Clone(v.saved)
		return criterion{"$", func(m *modelMessage, _ int) bool { return slices.Contains(saved, m) }}
	case 2:
		a, b := uint32(1+q.d(int(v.box.next))), uint32(1+q.d(int(v.box.next)))
		return criterion{fmt.Sprintf("UID %d:%d", a, b), func(m *modelMessage, _ int) bool { return m.uid >= min(a, b) && m.uid <= max(a, b) }}
	}
	if q.last == 0 {
		return criterion{"ALL", func(*modelMessage, int) bool { return true }}
	}
	a, b := 1+q.d(q.last), 1+q.d(q.last)
	return criterion{fmt.Sprintf("%d:%d", a, b), func(_ *modelMessage, seq int) bool { return seq >= min(a, b) && seq <= max(a, b) }}
}

// dateKey compares days as they are written, whatever the zone.
func (q *searching) dateKey() criterion {
	day := time.Date(2024, 3, 1+q.d(5), 0, 0, 0, 0, time.UTC)
	of := func(m *modelMessage) time.Time { return m.received }
	sent := q.d(2) == 1
	prefix := ""
	if sent {
		day = time.Date(2024, 2, 1+q.d(4), 0, 0, 0, 0, time.UTC)
		prefix, of = "SENT", func(m *modelMessage) time.Time { return m.sent }
	}
	relation, signs := "BEFORE", []int{-1}
	switch q.d(3) {
	case 1:
		relation, signs = "ON", []int{0}
	case 2:
		relation, signs = "SINCE", []int{0, 1}
	}
	return criterion{prefix + relation + " " + day.Format("2-Jan-2006"), func(m *modelMessage, _ int) bool {
		return slices.Contains(signs, strings.Compare(of(m).Format(time.DateOnly), day.Format(time.DateOnly)))
	}}
}

func (q *searching) textKey() criterion {
	holds := func(s, part string) bool { return strings.Contains(strings.ToLower(s), part) }
	switch q.d(7) {
	case 1:
		from := pick(q.d, "ann", "BOB", "cid@far")
		return criterion{"FROM " + from, func(m *modelMessage, _ int) bool { return holds(m.from+"@far.example", strings.ToLower(from)) }}
	case 2:
		return criterion{"TO alice", func(*modelMessage, int) bool { return true }}
	case 3:
		return criterion{"CC alice", func(*modelMessage, int) bool { return false }}
	case 4:
		return criterion{`BODY "needle in"`, func(m *modelMessage, _ int) bool { return holds(m.body, "needle in") }}
	case 5:
		return criterion{"TEXT ate", func(m *modelMessage, _ int) bool { return holds(m.text, "ate") }}
	case 6:
		return criterion{`HEADER References ""`, func(m *modelMessage, _ int) bool { return m.answers != nil }}
	}
	subject := pick(q.d, "plan", "re", "RAIN", "list]")
	return criterion{"SUBJECT " + subject, func(m *modelMessage, _ int) bool { return holds(m.subject, strings.ToLower(subject)) }}
}

func (q *searching) sizeKey() criterion {
	n := 150 + q.d(150)
	if q.d(2) == 1 {
		return criterion{fmt.Sprint("SMALLER ", n), func(m *modelMessage, _ int) bool { return len(m.text) < n }}
	}
	return criterion{fmt.Sprint("LARGER ", n), func(m *modelMessage, _ int) bool { return len(m.text) > n }}
}

func (q *searching) otherKey() criterion {
	always := func(*modelMessage, int) bool { return true }
	switch q.d(5) {
	case 1:
		return criterion{"OLDER 1000", always}
	case 2:
		return criterion{"SAVEDSINCE 1-Jan-2026", always}
	case 3:
		return criterion{"NOT YOUNGER 1000", always}
	case 4:
		for _, m := range q.view.box.messages {
			if m.emailID != "" {
				id := strings.Trim(m.emailID, "()")
				return criterion{"EMAILID " + id, func(o *modelMessage, _ int) bool { return o.letter == m.letter }}
			}
		}
	}
	return criterion{"ALL", always}
}

// recentKey is about \Recent, which IMAP4rev2 has not.
func (q *searching) recentKey() criterion {
	recent := q.recentSoon()
	if q.rev2 {
		return q.flagKey()
	}
	switch q.d(3) {
	case 1:
		return criterion{"NEW", func(m *modelMessage, _ int) bool { return recent(m) && !m.has(`\Seen`) }}
	case 2:
		return criterion{"OLD", func(m *modelMessage, _ int) bool { return !recent(m) }}
	}
	return criterion{"RECENT", func(m *modelMessage, _ int) bool { return recent(m) }}
}

// recentSoon tells which messages are recent once the client was told of those that arrived.
func (q *searching) recentSoon() func(*modelMessage) bool {
	v := q.view
	arrived := len(v.box.messages) > 0 && v.box.messages[len(v.box.messages)-1].uid > v.last
	from := v.box.recent
	return func(m *modelMessage) bool { return v.recent[m] || arrived && m.uid >= from }
}

func (q *searching) modSeqKey() criterion {
	if !q.condStore && !q.d.oneIn(6) {
		return q.keywordKey()
	}
	since := q.view.since(q.d)
	q.modSeqs = true
	return criterion{fmt.Sprint("MODSEQ ", since), func(m *modelMessage, _ int) bool { return m.modSeq >= since }}
}

// A foundMessage is a message that a search finds.
type foundMessage struct {
	*modelMessage
	seq int
}

func (f foundMessage) number(uid bool) uint32 {
	if uid {
		return f.uid
	}
	return uint32(f.seq)
}

func numbersFound(all []foundMessage, uid bool) (numbers []uint32) {
	for _, f := range all {
		numbers = append(numbers, f.number(uid))
	}
	return numbers
}

// searchFor draws keys and finds the messages. The client hears of what
// arrived before; what is gone has a number still, and is not found.
func (s *modelSession) searchFor(d dice) (keys string, all []foundMessage, q *searching) {
	v := s.view
	numbered := []foundMessage{}
	for _, m := range v.counted {
		numbered = append(numbered, foundMessage{m.modelMessage, len(numbered) + 1})
	}
	for _, m := range v.box.messages {
		if m.uid > v.last {
			numbered = append(numbered, foundMessage{m, len(numbered) + 1})
		}
	}
	q = &searching{modelSession: s, d: d, last: len(numbered)}
	k := q.criterion(2)
	if d.oneIn(3) {
		a, b := k, q.criterion(1)
		k = criterion{a.text + " " + b.text, func(m *modelMessage, seq int) bool { return a.fits(m, seq) && b.fits(m, seq) }}
	}
	for _, f := range numbered {
		if !f.gone && k.fits(f.modelMessage, f.seq) {
			all = append(all, f)
		}
	}
	return k.text, all, q
}

// countsWhileSearching is counts of a command that tells what changed before it is understood.
func (q *searching) countsWhileSearching() []string {
	if !q.modSeqs {
		return nil
	}
	if q.view.hasGone() {
		return q.counts(q.view.known)
	}
	return q.counts(q.view.box.modSeq)
}

// search is SEARCH (RFC 9051 section 6.4.4, RFC 4731, RFC 5182).
func (s *modelSession) search(d dice) modelCommand {
	uid := d(2) == 1
	keys, all, q := s.searchFor(d)
	x := expected{tagged: "OK", lines: q.countsWhileSearching()}
	options := []string{"ALL"}
	line := uidWord(uid) + "SEARCH "
	extended := s.rev2
	if d(2) == 1 {
		options, extended = some(d, "MIN", "MAX", "COUNT", "ALL", "SAVE"), true
		line += "RETURN (" + strings.Join(options, " ") + ") "
		if len(options) == 0 {
			options = []string{"ALL"}
		}
	}
	subject := aboutFound(options, all)
	if slices.Contains(options, "SAVE") {
		s.view.saved = nil
		for _, f := range subject {
			s.view.saved = append(s.view.saved, f.modelMessage)
		}
	}
	highest := highestModSeq(subject)
	switch {
	case slices.Equal(options, []string{"SAVE"}): // nothing is answered
	case extended:
		x.lines = append(x.lines, s.extendedAnswer(uid, options, all)+modSeqFound(q, " MODSEQ %d", highest))
	default:
		x.lines = append(x.lines, strings.TrimSpace("SEARCH "+spacedNumbers(numbersFound(all, uid)))+modSeqFound(q, " (MODSEQ %d)", highest))
	}
	return modelCommand{line: line + keys, quiet: !uid, expect: func() expected { return x }}
}

func highestModSeq(found []foundMessage) (highest uint64) {
	for _, f := range found {
		highest = max(highest, f.modSeq)
	}
	return highest
}

func modSeqFound(q *searching, format string, highest uint64) string {
	if !q.modSeqs || highest == 0 {
		return ""
	}
	return fmt.Sprintf(format, highest)
}

// aboutFound returns what the options are about: with MIN or MAX and neither
// ALL nor COUNT, only these (RFC 5182 section 2.4).
func aboutFound(options []string, all []foundMessage) []foundMessage {
	least, most := slices.Contains(options, "MIN"), slices.Contains(options, "MAX")
	if len(all) == 0 || !least && !most || slices.Contains(options, "ALL") || slices.Contains(options, "COUNT") {
		return all
	}
	var some []foundMessage
	if least {
		some = append(some, all[0])
	}
	if most && (!least || len(all) > 1) {
		some = append(some, all[len(all)-1])
	}
	return some
}

func (s *modelSession) extendedAnswer(uid bool, options []string, all []foundMessage) string {
	answer := fmt.Sprintf(`ESEARCH (TAG "t%d")`, s.client.n+1)
	if uid {
		answer += " UID"
	}
	numbers := numbersFound(all, uid)
	for _, o := range []string{"MIN", "MAX", "COUNT", "ALL"} {
		switch {
		case !slices.Contains(options, o):
		case o == "COUNT":
			answer += fmt.Sprint(" COUNT ", len(all))
		case len(all) == 0:
		case o == "MIN":
			answer += fmt.Sprint(" MIN ", numbers[0])
		case o == "MAX":
			answer += fmt.Sprint(" MAX ", numbers[len(numbers)-1])
		default:
			answer += " ALL " + setOf(numbers)
		}
	}
	return answer
}

func spacedNumbers(numbers []uint32) string { return strings.Trim(fmt.Sprint(numbers), "[]") }

// sortOrders are the criteria of SORT (RFC 5256 section 3).
var sortOrders = map[string]func(a, b foundMessage) int{
	"ARRIVAL": func(a, b foundMessage) int { return a.received.Compare(b.received) },
	"DATE":    func(a, b foundMessage) int { return a.sent.Compare(b.sent) },
	"FROM":    func(a, b foundMessage) int { return strings.Compare(strings.ToLower(a.from), strings.ToLower(b.from)) },
	"SIZE":    func(a, b foundMessage) int { return cmp.Compare(len(a.text), len(b.text)) },
	"SUBJECT": func(a, b foundMessage) int { return strings.Compare(a.base, b.base) },
}

// sortMessages is SORT.
func (s *modelSession) sortMessages(d dice) modelCommand {
	uid := d(2) == 1
	keys, all, q := s.searchFor(d)
	x := expected{tagged: "OK", lines: q.countsWhileSearching()}
	var words []string
	order := func(a, b foundMessage) int { return cmp.Compare(a.seq, b.seq) }
	for range 1 + d(3) { // the last one counts least
		word, reverse, less := pick(d, "ARRIVAL", "DATE", "FROM", "SIZE", "SUBJECT"), d(3) == 2, order
		by := sortOrders[word]
		order = func(a, b foundMessage) int { return cmp.Or(by(a, b), less(a, b)) }
		if reverse {
			order = func(a, b foundMessage) int { return cmp.Or(by(b, a), less(a, b)) }
			word = "REVERSE " + word
		}
		words = append([]string{word}, words...)
	}
	slices.SortFunc(all, order)
	x.lines = append(x.lines, strings.TrimSpace("SORT "+spacedNumbers(numbersFound(all, uid)))+modSeqFound(q, " (MODSEQ %d)", highestModSeq(all)))
	line := fmt.Sprintf("%sSORT (%s) UTF-8 %s", uidWord(uid), strings.Join(words, " "), keys)
	return modelCommand{line: line, quiet: !uid, expect: func() expected { return x }}
}

// threadMessages is THREAD (RFC 5256 section 3).
func (s *modelSession) threadMessages(d dice) modelCommand {
	uid, byReferences := d(2) == 1, d(2) == 1
	keys, all, q := s.searchFor(d)
	x := expected{tagged: "OK", lines: q.countsWhileSearching()}
	algorithm := "ORDEREDSUBJECT"
	if byReferences {
		algorithm = "REFERENCES"
		x.threads = func(threads []value) string { return misplaced(all, uid, threads) }
	} else {
		x.lines = append(x.lines, orderedBySubject(all, uid))
	}
	line := fmt.Sprintf("%sTHREAD %s US-ASCII %s", uidWord(uid), algorithm, keys)
	return modelCommand{line: line, quiet: !uid, expect: func() expected { return x }}
}

// orderedBySubject is the answer of THREAD ORDEREDSUBJECT.
func orderedBySubject(all []foundMessage, uid bool) string {
	slices.SortFunc(all, func(a, b foundMessage) int { return cmp.Or(a.sent.Compare(b.sent), cmp.Compare(a.seq, b.seq)) })
	var subjects []string
	threads := map[string][]uint32{}
	for _, f := range all {
		if threads[f.base] == nil {
			subjects = append(subjects, f.base)
		}
		threads[f.base] = append(threads[f.base], f.number(uid))
	}
	answer := "THREAD "
	for _, subject := range subjects {
		if t := threads[subject]; len(t) <= 2 {
			answer += "(" + spacedNumbers(t) + ")"
		} else {
			answer += fmt.Sprintf("(%d (%s))", t[0], strings.ReplaceAll(spacedNumbers(t[1:]), " ", ")("))
		}
	}
	return strings.TrimSpace(answer)
}

// misplaced says what is wrong with the answer of THREAD REFERENCES: every
// message stands in it once, and behind the one that it answers, in its thread.
func misplaced(all []foundMessage, uid bool, threads []value) string {
	type place struct{ thread, at int }
	places := map[string]place{}
	for i, t := range threads {
		for _, n := range strings.Fields(strings.NewReplacer("(", " ", ")", " ").Replace(t.String())) {
			places[n] = place{i, len(places)}
		}
	}
	if len(places) != len(all) {
		return fmt.Sprintf("%d messages, want %d", len(places), len(all))
	}
	first := map[*letter]foundMessage{} // of several copies
	for _, f := range all {
		if _, found := first[f.letter]; !found {
			first[f.letter] = f
		}
	}
	for _, f := range all {
		child, there := places[fmt.Sprint(f.number(uid))]
		if !there {
			return fmt.Sprintf("%d is missing", f.number(uid))
		}
		answered, there := first[f.answers]
		if !there {
			continue
		}
		if parent := places[fmt.Sprint(answered.number(uid))]; parent.thread != child.thread || parent.at > child.at {
			return fmt.Sprintf("%d is not below %d", f.number(uid), answered.number(uid))
		}
	}
	return ""
}
