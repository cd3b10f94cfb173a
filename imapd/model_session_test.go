package imapd

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
)

// A modelSession is a client that believes nothing but what it is told, and
// holds each word of it against the model.
type modelSession struct {
	run   *modelRun
	name  string
	wants []string // what it enables when it comes

	client *client
	plain  net.Conn // under compression; nil without

	condStore, qResync, rev2, utf8 bool

	began    bool                  // the command that runs enabled CONDSTORE
	view     *modelView            // nil unless selected
	memories map[string]*modelView // of mailboxes that it left, by name
}

// A modelView is a selected mailbox as its client knows it.
type modelView struct {
	box      *modelBox
	validity uint32
	readOnly bool
	counted  []*countedMessage // in the order of their numbers
	last     uint32            // the highest UID that was ever counted
	recent   map[*modelMessage]bool
	saved    []*modelMessage // what "$" stands for
	keywords []string        // of the last FLAGS

	synced  uint64 // the client was told of all flags that changed up to it …
	known   uint64 // … and of everything that happened up to it,
	highest uint64 // as it gathers itself (RFC 7162 section 3.2.5)
	resyncs bool   // QRESYNC was enabled all the time

	memory map[uint32][]string // flags by UID, from when the client was here before
}

// A countedMessage is a message that has a number, and what the client was told of it.
type countedMessage struct {
	*modelMessage
	told      bool
	toldFlags []string // without \Recent
}

// A modelCommand is a command whose effect the model has had. Where the
// model is settled it can say what must be answered.
type modelCommand struct {
	line   string
	quiet  bool // nothing may be expunged while it runs (RFC 9051 section 7.5.1)
	expect func() expected
}

// An expected is what must be answered. EXISTS, RECENT, EXPUNGE, VANISHED,
// FLAGS, and the flags that others changed, are expected of all commands.
type expected struct {
	tagged  string
	lines   []string                   // short responses, in any order
	early   bool                       // what arrived is told before the command takes effect
	fetched map[*modelMessage][]string // items that FETCH responses must have

	// UIDs that VANISHED (EARLIER) has, and those that it may have: what a client
	// says of its numbers makes it shorter, but need not.
	gone, mayBeGone []uint32

	others bool // the changes of this step are another session's

	silent map[*modelMessage]bool // flags of these are not told, for the client computes them
	change func(flags []string) []string

	threads func([]value) string // says what is wrong with THREAD, where lines do not have it

	closed *modelView // that the tagged response tells the HIGHESTMODSEQ of
}

// taggedOnly is a command whose only answer is known beforehand.
func taggedOnly(line, tagged string) modelCommand {
	return modelCommand{line: line, expect: func() expected { return expected{tagged: tagged} }}
}

func (s *modelSession) fail(format string, args ...any) { s.run.fail(s.name+": "+format, args...) }

// connect logs in, and enables what the session wants.
func (s *modelSession) connect() {
	s.client = s.run.fixture.dial()
	s.logIn()
}

func (s *modelSession) logIn() {
	s.condStore, s.qResync, s.rev2, s.utf8, s.view = false, false, false, false, nil
	s.exchange("LOGIN " + s.run.login + ` "` + secret + `"`)
	if s.run.dice.oneIn(3) {
		s.plain = s.client.nc
		s.client.compress(false)
	}
	if len(s.wants) > 0 {
		s.do(s.enable(s.wants))
	}
}

// uncompress goes back to the plain connection.
func (s *modelSession) uncompress() {
	if s.plain != nil {
		s.client.nc, s.client.r, s.plain = s.plain, bufio.NewReader(s.plain), nil
	}
}

// exchange sends a command and returns what comes until its end.
func (s *modelSession) exchange(line string) (untagged []response, tagged response) {
	return s.answer(s.send(line))
}

func (s *modelSession) send(line string) (tag string) {
	s.client.n++
	tag = fmt.Sprint("t", s.client.n)
	s.write(tag + " " + line)
	return tag
}

func (s *modelSession) write(line string) {
	s.run.trail(s.name + " > " + line)
	if _, err := io.WriteString(s.client.nc, line+"\r\n"); err != nil {
		s.fail("%v", err)
	}
}

// answer reads up to the end of a command.
func (s *modelSession) answer(tag string) (untagged []response, tagged response) {
	for {
		l := s.read()
		if after, found := strings.CutPrefix(l, tag+" "); found {
			return untagged, s.understood(after)
		}
		untagged = append(untagged, s.untagged(l))
	}
}

func (s *modelSession) read() string {
	l, err := s.client.tryLine()
	if err != nil {
		s.fail("%v, after %q", err, l)
	}
	s.run.trail(s.name + " < " + l)
	return l
}

func (s *modelSession) untagged(l string) response {
	rest, found := strings.CutPrefix(l, "* ")
	if !found {
		s.fail("what is this? %s", l)
	}
	return s.understood(rest)
}

func (s *modelSession) understood(l string) response {
	r, err := readResponse(l)
	if err != nil {
		s.fail("%s: %v", l, err)
	}
	return r
}

// do executes a command and compares its answer.
func (s *modelSession) do(c modelCommand) {
	untagged, tagged := s.exchange(c.line)
	s.run.settle()
	s.compare(untagged, tagged, c.quiet, c.expect())
}

func (s *modelSession) compare(untagged []response, tagged response, quiet bool, x expected) {
	w := s.watch(quiet, x)
	for _, r := range untagged {
		w.take(r)
	}
	w.takeCode(tagged)
	if x.closed != nil {
		x.closed.highest = w.code
	}
	if got := tagged.short(); !slices.Contains(strings.Split(x.tagged, " or "), got) {
		s.fail("ended with %s, want %s", tagged.line, x.tagged)
	}
	w.end()
	s.began = false
}

// A watch is what may and must come while a command runs.
type watch struct {
	*modelSession
	quiet bool
	expected
	must  map[*modelMessage][]string // items that must still be told; of other messages nothing may be
	lines []string
	told  []uint32 // UIDs of VANISHED (EARLIER)
	seen  uint64   // highest modseq of FETCH …
	code  uint64   // … and the one of the last HIGHESTMODSEQ
}

func (s *modelSession) watch(quiet bool, x expected) *watch {
	w := &watch{modelSession: s, quiet: quiet, expected: x, must: map[*modelMessage][]string{}}
	for m, items := range x.fetched {
		w.must[m] = slices.Clone(items)
	}
	if s.view == nil {
		return w
	}
	for _, m := range s.view.counted {
		if m.gone {
			continue
		}
		if m.told && x.silent[m.modelMessage] {
			m.toldFlags = x.change(m.toldFlags)
		}
		changed := m.modSeq
		if m.touched == s.run.account.step && !x.others { // what the command itself does is in fetched
			changed = m.wasSeq
		}
		// Where silence was asked for, what others changed shows in toldFlags.
		if changed > s.view.synced && !x.silent[m.modelMessage] {
			w.must[m.modelMessage] = append(w.must[m.modelMessage], s.itemsOfNews()...)
		}
	}
	return w
}

// itemsOfNews are what a FETCH that nobody asked for has.
func (s *modelSession) itemsOfNews() []string {
	items := []string{"FLAGS"}
	if s.condStore && !s.began {
		items = append(items, "MODSEQ")
	}
	if s.qResync || s.rev2 {
		items = append(items, "UID")
	}
	return items
}

// take holds one response against the model.
func (w *watch) take(r response) {
	v := w.view
	switch r.kind {
	case "EXISTS", "EXPUNGE", "FETCH", "RECENT", "FLAGS", "VANISHED":
		if v == nil {
			w.fail("%s, but nothing is selected", r.line)
		}
	}
	w.takeCode(r)
	switch r.kind {
	case "EXISTS":
		w.exists(r)
	case "EXPUNGE":
		if r.number < 1 || r.number > len(v.counted) || w.qResync {
			w.fail("%s, of %d", r.line, len(v.counted))
		}
		w.uncount(r, r.number-1)
	case "VANISHED":
		w.vanished(r)
	case "RECENT":
		w.countRecent(r)
	case "FLAGS":
		v.keywords = wordsOf(r.values[0].list)
	case "FETCH":
		w.fetch(r)
	case "THREAD":
		if w.threads == nil {
			w.lines = append(w.lines, r.short())
		} else if wrong := w.threads(r.values); wrong != "" {
			w.fail("%s: %s", r.line, wrong)
		}
	default:
		w.lines = append(w.lines, r.short())
	}
}

func (w *watch) takeCode(r response) {
	if n, found := strings.CutPrefix(r.code, "HIGHESTMODSEQ "); found {
		w.code, _ = strconv.ParseUint(n, 10, 64)
	}
}

// exists counts messages that arrived.
func (w *watch) exists(r response) {
	v := w.view
	for _, m := range w.arrivals() {
		if m.uid > v.last && len(v.counted) < r.number {
			flags, told := v.memory[m.uid]
			v.counted = append(v.counted, &countedMessage{modelMessage: m, told: told, toldFlags: flags})
			v.last = m.uid
		}
	}
	if len(v.counted) != r.number {
		w.fail("%s, but it should be %d at most", r.line, len(v.counted))
	}
	if w.rev2 { // which has no \Recent
		return
	}
	for _, m := range w.arrivals() {
		if m.uid >= v.box.recent {
			v.recent[m] = true
		}
	}
	if !v.readOnly {
		v.box.recent = v.box.next
	}
}

// arrivals are the messages that EXISTS may count, those among them that the
// command takes away at once.
func (w *watch) arrivals() []*modelMessage {
	all := slices.Clone(w.view.box.messages)
	if w.early {
		for _, m := range w.view.box.leaving {
			if m.touched == w.run.account.step {
				all = append(all, m)
			}
		}
		slices.SortFunc(all, func(a, b *modelMessage) int { return int(a.uid) - int(b.uid) })
	}
	return all
}

// countRecent compares with the recent messages; those that this very command
// takes away may have been counted before.
func (w *watch) countRecent(r response) {
	least, most := 0, 0
	for _, m := range w.view.counted {
		if w.view.recent[m.modelMessage] && !m.gone {
			least++
		}
		if w.view.recent[m.modelMessage] && (!m.gone || m.touched == w.run.account.step) {
			most++
		}
	}
	if r.number < least || r.number > most || w.rev2 {
		w.fail("%s, want %d", r.line, least)
	}
}

// uncount lets go of a message.
func (w *watch) uncount(r response, at int) {
	if m := w.view.counted[at]; !m.gone || w.quiet {
		w.fail("%s, UID %d", r.line, m.uid)
	}
	w.view.counted = slices.Delete(w.view.counted, at, at+1)
}

func (w *watch) vanished(r response) {
	uids, err := numbersOf(r.values[len(r.values)-1].text)
	if err != nil || !w.qResync {
		w.fail("%s (%v)", r.line, err)
	}
	if len(r.values) > 1 { // (EARLIER): they are not counted
		w.told = append(w.told, uids...)
		return
	}
	for _, uid := range uids {
		at := slices.IndexFunc(w.view.counted, func(m *countedMessage) bool { return m.uid == uid })
		if at < 0 {
			w.fail("%s: %d is not counted", r.line, uid)
		}
		w.uncount(r, at)
	}
}

func (w *watch) fetch(r response) {
	v := w.view
	if r.number < 1 || r.number > len(v.counted) || len(r.values) != 1 {
		w.fail("%s, of %d", r.line, len(v.counted))
	}
	m := v.counted[r.number-1]
	if m.gone && m.touched != w.run.account.step {
		w.fail("%s, but it is gone", r.line)
	}
	if _, due := w.must[m.modelMessage]; !due && !w.silent[m.modelMessage] && !m.gone {
		w.fail("%s, but it did not change, and was not asked for", r.line)
	}
	items := pairs(r.values[0].list)
	for name, val := range items {
		if !w.item(m.modelMessage, name, val) {
			w.fail("%s: %s is %s of %s", r.line, name, val, m)
		}
		w.must[m.modelMessage] = slices.DeleteFunc(w.must[m.modelMessage], func(n string) bool { return n == name })
	}
	if f, found := items["FLAGS"]; found {
		w.tellFlags(r, m, f)
	}
	if n, found := items["MODSEQ"]; found {
		if !w.condStore {
			w.fail("%s without CONDSTORE", r.line)
		}
		seq, _ := strconv.ParseUint(n.list[0].text, 10, 64)
		w.seen = max(w.seen, seq)
	}
}

// tellFlags compares with the flags that a message has or, since this command
// may have changed them, had.
func (w *watch) tellFlags(r response, m *countedMessage, f value) {
	flags := wordsOf(f.list)
	recent := slices.Contains(flags, `\Recent`)
	flags = slices.DeleteFunc(flags, func(f string) bool { return f == `\Recent` })
	slices.Sort(flags)
	now := m.touched == w.run.account.step
	if recent != w.view.recent[m.modelMessage] || !slices.Equal(flags, m.flags) && !(now && slices.Equal(flags, m.was)) {
		w.fail("%s of %s, recent %t", r.line, m, w.view.recent[m.modelMessage])
	}
	for _, f := range flags {
		if !slices.Contains(w.view.keywords, f) {
			w.fail("%s: %s is not in FLAGS %v", r.line, f, w.view.keywords)
		}
	}
	if w.silent[m.modelMessage] && now && m.wasSeq <= w.view.synced {
		w.fail("%s, but silence was asked for", r.line)
	}
	m.told, m.toldFlags = true, flags
}

// end looks whether everything was told.
func (w *watch) end() {
	if why := w.lacks(); why != "" {
		w.fail("%s", why)
	}
	if !within(w.gone, w.told) || !within(w.told, w.mayBeGone) {
		w.fail("VANISHED (EARLIER) %v, want %v, at most %v", w.told, w.gone, w.mayBeGone)
	}
	want, got := w.expected.lines, w.lines
	if v := w.view; v != nil {
		if v.synced = v.box.modSeq; !v.hasGone() {
			v.known = v.box.modSeq
		} else if w.qResync {
			want = append(want, fmt.Sprintf("OK [HIGHESTMODSEQ %d]", v.known))
		}
		if v.highest = max(v.highest, w.seen); w.code > 0 {
			v.highest = w.code
		}
		if w.qResync && v.highest > v.known {
			w.fail("thinks that it knows all up to %d, but was told up to %d", v.highest, v.known)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(want, got) {
		w.fail("answered\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func within(part, all []uint32) bool {
	return !slices.ContainsFunc(part, func(n uint32) bool { return !slices.Contains(all, n) })
}

// lacks says what the client should know, and does not.
func (w *watch) lacks() string {
	for m, items := range w.must {
		if len(items) > 0 && !m.gone {
			return fmt.Sprintf("%v were not told of %s", items, m)
		}
	}
	v := w.view
	if v == nil {
		return ""
	}
	present := 0
	for i, m := range v.counted {
		switch {
		case m.gone && !w.quiet:
			return fmt.Sprintf("message %d is gone, but still counted: %s", i+1, m)
		case m.gone:
			continue
		case m.told && !slices.Equal(m.toldFlags, m.flags):
			return fmt.Sprintf("message %d was told as %v: %s", i+1, m.toldFlags, m)
		}
		present++
	}
	if present != len(v.box.messages) {
		return fmt.Sprintf("%d messages are counted, there are %d", present, len(v.box.messages))
	}
	return ""
}

func (v *modelView) hasGone() bool {
	return slices.ContainsFunc(v.counted, func(m *countedMessage) bool { return m.gone })
}

// item compares an item of FETCH. FLAGS are compared elsewhere.
func (s *modelSession) item(m *modelMessage, name string, is value) bool {
	switch name {
	case "FLAGS":
		return true
	case "MODSEQ":
		now := m.touched == s.run.account.step && is.String() == fmt.Sprintf("(%d)", m.wasSeq)
		return now || is.String() == fmt.Sprintf("(%d)", m.modSeq)
	case "UID":
		return is.text == fmt.Sprint(m.uid)
	case "INTERNALDATE":
		return is.text == m.received.Format(dateTime)
	case "SAVEDATE":
		return len(is.text) == len(dateTime)
	case "EMAILID":
		return s.run.isID(&m.emailID, is.String())
	case "THREADID":
		return s.run.isID(&m.threadID, is.String())
	case "ENVELOPE":
		return is.list[1].text == m.subject && is.list[2].list[0].list[2].text == m.from && is.list[9].text == fmt.Sprintf("<%d@far.example>", m.id)
	case "BODY", "BODYSTRUCTURE":
		return strings.EqualFold(is.list[0].text, "text") && is.list[6].text == fmt.Sprint(len(m.body))
	case "RFC822.SIZE":
		return is.text == fmt.Sprint(len(m.text))
	case "PREVIEW":
		return strings.HasPrefix(is.text, strings.Fields(m.body)[0])
	}
	content, known := map[string]string{
		"RFC822": m.text, "RFC822.HEADER": m.header, "RFC822.TEXT": m.body,
		"BODY[]": m.text, "BODY[HEADER]": m.header, "BODY[TEXT]": m.body, "BODY[1]": m.body, "BODY[2]": "NIL",
		"BODY[TEXT]<2>": m.body[2:9], "BODY[HEADER.FIELDS (SUBJECT)]": "Subject: " + m.subject + "\r\n\r\n",
		"BINARY[1]": m.body, "BINARY.SIZE[1]": fmt.Sprint(len(m.body)),
	}[name]
	return known && is.text == content
}
