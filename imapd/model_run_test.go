package imapd

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"mailbox/storage"
)

// TestModel holds the server against a model of RFC 9051 and RFC 7162: three
// sessions with different extensions send commands of every kind, deliveries
// come in between, and every answer is compared.
//
//	model_test.go           the model: what an account is
//	model_letter_test.go    messages to put into it
//	model_session_test.go   what a client knows, and must and may be told
//	model_response_test.go  what it reads
//	model_commands_test.go  each command, with what must come of it: on messages,
//	model_search_test.go    searches,
//	model_mailbox_test.go   and on mailboxes
//
// These runs are short: what fails, rapid makes as small as it can.
func TestModel(t *testing.T) {
	f := newFixture(t, manyBadCommands)
	runs := 0
	rapid.Check(t, func(t *rapid.T) {
		runs++
		var r *modelRun
		// Each step is one draw, so that rapid can leave it out as a whole.
		step := rapid.Custom(func(inner *rapid.T) int {
			d := func(n int) int { return rapid.IntRange(0, n-1).Draw(inner, "") }
			if r == nil {
				r = newModelRun(t, f, runs, d)
				return 0
			}
			r.dice = d
			r.next()
			return r.account.step
		})
		defer func() {
			if r != nil {
				r.end()
			}
		}()
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			step.Draw(t, "step")
		}
	})
}

// TestModelSeeds does so in long runs, in which mailboxes get a past. They are
// too long to be made smaller by trying: they show their last commands, and
// MAILBOX_SEED repeats them.
func TestModelSeeds(t *testing.T) {
	seeds, steps := []uint64{1, 2, rand.Uint64() >> 1}, 500
	if os.Getenv("MAILBOX_LONG") != "" {
		seeds, steps = append(seeds, rand.Uint64()>>1), 10_000
	}
	if s := os.Getenv("MAILBOX_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seeds, steps = []uint64{seed}, 10_000
	}
	f := newFixture(t, manyBadCommands)
	for i, seed := range seeds {
		t.Run(fmt.Sprint("MAILBOX_SEED=", seed), func(t *testing.T) {
			r := newModelRun(t, f, i+1, rand.New(rand.NewPCG(seed, 0)).IntN)
			defer r.end()
			for range steps {
				r.next()
			}
		})
	}
}

func manyBadCommands(s *Server) { s.Config.MaxBad = 1 << 30 }

// A modelRun is an account with its model, and those who work on it.
type modelRun struct {
	t        rapid.TB
	dice     dice
	fixture  *fixture
	id       storage.AccountID
	login    string
	account  *modelAccount
	sessions []*modelSession
	observer *client // asks for STATUS and nothing else
	letters  []*letter
	emailIDs map[string]bool
	log      []string
}

// newModelRun makes an account, and sessions with different extensions.
func newModelRun(t rapid.TB, f *fixture, n int, d dice) *modelRun {
	r := &modelRun{t: t, fixture: f, dice: d, login: fmt.Sprintf("user%d@home.example", n), account: newModelAccount(), emailIDs: map[string]bool{}}
	r.id = f.addAccount(r.login)
	r.observer = f.dial()
	r.observer.ok("LOGIN " + r.login + ` "` + secret + `"`)
	for _, m := range listed.FindAllStringSubmatch(r.observer.ok(`LIST "" "*"`), -1) {
		b := &modelBox{name: m[2], use: m[1], next: 1}
		r.account.boxes = append(r.account.boxes, b)
		r.account.subscribed[b.name], r.account.changed[b] = true, true
	}
	r.account.settle(r.look) //nolint:errcheck // an account without a past is like any other
	for i, wants := range [][]string{
		pick(d, nil, nil, []string{"UTF8=ACCEPT"}),
		pick(d, []string{"CONDSTORE", "IMAP4rev2"}, []string{"IMAP4rev2"}, []string{"CONDSTORE"}),
		pick(d, []string{"QRESYNC"}, []string{"QRESYNC", "IMAP4rev2"}, []string{"CONDSTORE", "UTF8=ACCEPT", "QRESYNC"}),
	} {
		s := &modelSession{run: r, name: string(rune('A' + i)), wants: wants, memories: map[string]*modelView{}}
		r.sessions = append(r.sessions, s)
		s.connect()
		s.do(s.openNamed(d, "INBOX", false, 0))
	}
	return r
}

var listed = regexp.MustCompile(`\* LIST \(\\HasNoChildren ?(\S*)\) "/" (\S+)`)

func (r *modelRun) end() {
	for _, s := range r.sessions {
		s.client.nc.Close()
	}
	r.observer.nc.Close()
}

// trail remembers what the last commands were.
func (r *modelRun) trail(line string) {
	if len(line) > 400 {
		line = line[:400] + "…"
	}
	if r.log = append(r.log, line); len(r.log) > 4000 {
		r.log = r.log[2000:]
	}
}

func (r *modelRun) fail(format string, args ...any) {
	r.t.Helper()
	commands, from := 0, len(r.log)
	for from > 0 && commands < 50 {
		if from--; strings.Contains(r.log[from][:min(4, len(r.log[from]))], ">") {
			commands++
		}
	}
	r.t.Logf("step %d, the last commands:\n%s\n%s", r.account.step, strings.Join(r.log[from:], "\n"), fmt.Sprintf(format, args...))
	r.t.Fatalf("the server is not as the model is") // always the same, so that rapid knows it again
}

var statusLine = regexp.MustCompile(`\(MESSAGES (\d+) UNSEEN (\d+) DELETED (\d+) SIZE (\d+) UIDNEXT (\d+) UIDVALIDITY (\d+) HIGHESTMODSEQ (\d+) MAILBOXID (\S+)\)\n`)

// look asks the server how a mailbox is.
func (r *modelRun) look(b *modelBox) (is boxStatus) {
	name := (&modelSession{}).wire(b.name)
	untagged, tagged := r.observer.do("STATUS " + name + " (MESSAGES UNSEEN DELETED SIZE UIDNEXT UIDVALIDITY HIGHESTMODSEQ MAILBOXID)")
	answer := strings.Join(append(untagged, tagged), "\n")
	found := statusLine.FindStringSubmatch(answer)
	if found == nil {
		r.fail("STATUS %s: %s", name, answer)
	}
	if _, err := fmt.Sscan(strings.Join(found[1:], " "), &is.messages, &is.unseen, &is.deleted, &is.size, &is.next, &is.validity, &is.modSeq, &is.id); err != nil {
		r.fail("STATUS %s: %s: %v", name, answer, err)
	}
	return is
}

func (r *modelRun) settle() {
	if err := r.account.settle(r.look); err != nil {
		r.fail("%v", err)
	}
}

// isID compares an object id with the one that was told before.
func (r *modelRun) isID(known *string, is string) bool {
	if *known == "" {
		*known = is
		if strings.HasPrefix(is, "(M") && r.emailIDs[is] {
			return false // another email's
		}
		r.emailIDs[is] = true
	}
	return *known == is
}

func (r *modelRun) letter(d dice) *letter {
	l := newLetter(d, r.letters)
	r.letters = append(r.letters, l)
	return l
}

// name draws the name of a mailbox, which is mostly there.
func (r *modelRun) name(d dice) string {
	if d(2) == 1 {
		return r.account.boxes[d(len(r.account.boxes))].name
	}
	return pick(d, "INBOX", "INBOX", "a", "a/b", "a/b/c", "b", "b/c", "Drafts", "Zwei Worte", "Entwürfe/für alle")
}

// selected draws the name of a mailbox that is selected, by whomever, or INBOX.
func (r *modelRun) selected(d dice) string {
	if v := r.sessions[d(len(r.sessions))].view; v != nil && !v.box.deleted {
		return v.box.name
	}
	return "INBOX"
}

// full is how many messages a mailbox has when no more are put into it: FETCH
// sets \Seen of so many in one, with one modseq.
const full = 20

// target draws the name of a mailbox that messages are put into.
func (r *modelRun) target(d dice) string {
	for range 3 {
		name := pick(d, r.name, r.selected)(d)
		if b := r.account.box(name); b == nil || len(b.messages) < full {
			return name
		}
	}
	return "nowhere"
}

// next is one step of anybody.
func (r *modelRun) next() {
	d, a := r.dice, r.account
	a.step++
	s := r.sessions[d(len(r.sessions))]
	if s.view != nil && s.view.box.deleted {
		s.evicted()
		return
	}
	switch d(24) {
	case 20, 21:
		r.deliver()
	case 22:
		s.idle(d)
	case 23:
		if d(3) > 0 {
			s.comeAgain(d)
			return
		}
		s.do(s.enable(append(some(d, "QRESYNC", "CONDSTORE", "IMAP4rev2", "UTF8=ACCEPT", "CONDSTORE"), "X-NOSUCH")))
	default:
		s.do(s.command(d))
	}
}

// command draws a command for the state of the session. Most are about
// messages that others see too.
func (s *modelSession) command(d dice) modelCommand {
	noop := func(d dice) modelCommand { return taggedOnly("NOOP", "OK") }
	if s.view == nil {
		return pick(d, s.open, s.open, s.open, noop, s.appendMessages, s.onMailboxes)(d)
	}
	check := func(d dice) modelCommand { return taggedOnly("CHECK", "OK") }
	return pick(d, noop, check, s.open, s.closeBox, s.appendMessages, s.onMailboxes, s.onMailboxes,
		s.storeFlags, s.storeFlags, s.storeFlags, s.storeFlags, s.fetchMessages, s.fetchMessages, s.fetchMessages, s.fetchMessages,
		s.copyMessages, s.copyMessages, s.replaceMessage, s.expungeMessages, s.expungeMessages, s.expungeMessages,
		s.search, s.search, s.search, s.sortMessages, s.threadMessages)(d)
}

func (s *modelSession) onMailboxes(d dice) modelCommand {
	return pick(d, s.askStatus, s.askStatus, s.create, s.delete, s.rename, s.subscribe, s.list, s.lsub)(d)
}

// deliver files a message as the MDA does.
func (r *modelRun) deliver() {
	d := r.dice
	name := r.target(d)
	b := r.account.box(name)
	if b == nil { // INBOX gets what is for a mailbox that is not there
		if b = r.account.box("INBOX"); len(b.messages) >= full {
			return
		}
	}
	l, flags, date := r.letter(d), newFlags(d), receivedDate(d).UTC()
	target := storage.Target{Account: r.id, Mailbox: name}
	for _, f := range flags {
		if strings.HasPrefix(f, `\`) {
			bits, _, _ := parseFlags([]string{f})
			target.Flags |= bits
		} else {
			target.Keywords = append(target.Keywords, f)
		}
	}
	r.trail(fmt.Sprintf("delivery > %s %v %d: %q", name, flags, l.id, l.subject))
	r.account.add(b, l, date, flags)
	spool := r.fixture.db.NewSpool()
	if _, err := spool.Write([]byte(l.text)); err != nil {
		r.fail("%v", err)
	}
	m, err := spool.Finish(nil)
	if err != nil {
		r.fail("%v", err)
	}
	defer m.Close()
	if err := r.fixture.db.Deliver(context.Background(), &storage.Delivery{Message: m, Received: date, To: []storage.Target{target}}); err != nil {
		r.fail("%v", err)
	}
	r.settle()
}

// evicted is a session whose mailbox another one deleted: it ends.
func (s *modelSession) evicted() {
	s.send("NOOP")
	if l := s.read(); !strings.HasPrefix(l, "* BYE ") {
		s.fail("its mailbox is deleted")
	}
	s.view = nil
	s.away()
	s.connect()
}

// away ends the connection.
func (s *modelSession) away() {
	s.client.nc.Close()
	s.leave()
	s.uncompress()
}

// comeAgain ends a login in one of three ways, and begins another one; then
// the client may go on where it was.
func (s *modelSession) comeAgain(d dice) {
	where := "INBOX"
	if s.view != nil {
		where = s.view.box.name
	}
	switch d(3) {
	case 0: // the connection breaks
		s.away()
		s.connect()
	case 1:
		s.exchange("LOGOUT")
		s.away()
		s.connect()
	case 2:
		if _, tagged := s.exchange("UNAUTHENTICATE"); tagged.kind != "OK" {
			s.fail("%s", tagged.line)
		}
		s.leave()
		s.uncompress()
		s.logIn()
	}
	if s.run.account.box(where) != nil {
		s.do(s.openNamed(d, where, false, d(4)))
	}
}

// idle is IDLE (RFC 2177): a client hears of what another does without asking.
func (s *modelSession) idle(d dice) {
	tag := s.send("IDLE")
	if l := s.read(); !strings.HasPrefix(l, "+ ") {
		s.fail("no continuation")
	}
	s.untilInStep(false)
	s.run.account.step++
	s.run.somebodyElse(d, s)
	s.untilInStep(true)
	s.run.account.step++
	s.write("DONE")
	untagged, tagged := s.answer(tag)
	s.compare(untagged, tagged, false, expected{tagged: "OK"})
}

// untilInStep reads until the client knows everything.
func (s *modelSession) untilInStep(others bool) {
	w := s.watch(false, expected{others: others})
	for w.lacks() != "" {
		w.take(s.untagged(s.read()))
	}
	w.end()
}

// somebodyElse does something that a session may hear of.
func (r *modelRun) somebodyElse(d dice, than *modelSession) {
	o := r.sessions[d(len(r.sessions))]
	if o == than || o.view == nil || o.view.box.deleted {
		r.deliver()
		return
	}
	draw := pick(d, o.storeFlags, o.expungeMessages, o.fetchMessages)
	if o.rev2 || than.rev2 || than.view == nil || o.view.box != than.view.box { // else both may be the first to hear of a message, to whom it is recent
		draw = pick(d, draw, o.copyMessages, o.appendMessages)
	}
	o.do(draw(d))
}
