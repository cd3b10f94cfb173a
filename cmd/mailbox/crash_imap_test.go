package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestKillBetweenClients: two clients, of which one resynchronises by QRESYNC,
// change a mailbox while it gets mail, and the process is killed at random
// moments. After each both find into the mailbox again, agree with the server,
// and find what was acknowledged to them. With MAILBOX_LONG set it goes on for longer.
func TestKillBetweenClients(t *testing.T) {
	rounds := 10
	if os.Getenv("MAILBOX_LONG") != "" {
		rounds = 100
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	s := newSite(t)
	h := &history{s: s, ids: map[int]string{}, leaving: map[string]bool{}}
	slow := newReplica(h, "slow", rand.New(rand.NewPCG(seed, 2)))
	quick := newReplica(h, "quick", rand.New(rand.NewPCG(seed, 3)))
	for round := range rounds {
		s.start()
		h.check(slow, quick)
		stop := make(chan struct{})
		var busy sync.WaitGroup
		busy.Go(func() { h.send(s.smtp, fmt.Sprint("mail.", round), stop) })
		busy.Go(slow.work)
		busy.Go(quick.work)
		time.Sleep(time.Duration(50+random.IntN(450)) * time.Millisecond)
		s.kill()
		close(stop)
		busy.Wait()
	}
	s.start()
	h.check(slow, quick)
	t.Logf("%d messages acknowledged, %d commands of slow, %d of quick", len(h.acknowledged), slow.done, quick.done)
	if len(h.acknowledged) < rounds || slow.done < rounds || quick.done < rounds {
		t.Error("so little was acknowledged that the test shows nothing")
	}
}

// A history is what anybody ever heard of the mailbox.
type history struct {
	s *site
	ledger
	validity string
	ids      map[int]string  // X-Id, by UID
	next     int             // the highest UIDNEXT
	modSeq   int             // the highest
	leaving  map[string]bool // ids that somebody tried to expunge
}

// A replica is a client with a memory of the mailbox.
type replica struct {
	*history
	name   string
	quick  bool // it resynchronises by QRESYNC
	random *rand.Rand
	c      *imapClient

	messages map[int]remembered // by UID
	last     int                // the UID up to which quick knows all that are there
	known    int                // the modseq up to which quick knows everything
	tried    int                // steps
	done     int                // commands acknowledged
	flags    map[string]bool    // "UID keyword": whether it was set, as was acknowledged
	gone     []int              // UIDs that were expunged or moved, as was acknowledged
}

type remembered struct {
	flags  string
	modSeq int // only for quick
}

func newReplica(h *history, name string, random *rand.Rand) *replica {
	return &replica{history: h, name: name, quick: name == "quick", random: random, messages: map[int]remembered{}, flags: map[string]bool{}}
}

var (
	flagsFetched  = regexp.MustCompile(`FETCH \(.*FLAGS \(([^)]*)\)`)
	uidFetched    = regexp.MustCompile(`FETCH \(.*UID (\d+)`)
	modSeqFetched = regexp.MustCompile(`FETCH \(.*MODSEQ \((\d+)\)`)
	uidsVanished  = regexp.MustCompile(`^\* VANISHED (?:\(EARLIER\) )?(\S+)`)
	highestModSeq = regexp.MustCompile(`\[HIGHESTMODSEQ (\d+)\]`)
	uidNext       = regexp.MustCompile(`\[UIDNEXT (\d+)\]`)
	uidValidity   = regexp.MustCompile(`\[UIDVALIDITY (\d+)\]`)
	idFetched     = regexp.MustCompile(`X-Id: (\S+)`)
)

// numberIn is what a pattern finds, 0 where it finds nothing.
func numberIn(re *regexp.Regexp, text string) int {
	m := re.FindStringSubmatch(text)
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

// sync connects and finds into the mailbox again.
func (r *replica) sync() {
	r.s.t.Helper()
	r.c = r.s.imapClient("alice")
	if !r.quick {
		r.must("SELECT INBOX")
		clear(r.messages)
		r.must("UID FETCH 1:* (UID FLAGS)")
		return
	}
	r.must("ENABLE QRESYNC")
	params := ""
	if r.known > 0 {
		params = fmt.Sprintf(" (QRESYNC (%s %d))", r.validity, r.known)
	}
	r.must("SELECT INBOX" + params)
	if err := r.news(); err != nil {
		r.s.t.Fatal(err)
	}
}

// news fetches what a replica never saw. Single messages above may be known to
// it already, because another client changed them.
func (r *replica) news() error {
	err := r.then(fmt.Sprintf("UID FETCH %d:* (UID FLAGS MODSEQ)", r.last+1), nil)
	if err == nil {
		for uid := range r.messages {
			r.last = max(r.last, uid)
		}
	}
	return err
}

func (r *replica) must(command string) {
	r.s.t.Helper()
	if tagged, err := r.run(command); err != nil || !strings.HasPrefix(tagged, "OK") {
		r.s.t.Fatalf("%s: %s %v", command, tagged, err)
	}
}

// run executes a command and remembers what comes of it. What was told of a
// command that the server did not live to end is true, but not all.
func (r *replica) run(command string) (tagged string, err error) {
	untagged, tagged, err := r.c.try(command)
	seen := 0
	for line := range strings.Lines(untagged) {
		if strings.HasSuffix(line, "\r\n") {
			seen = max(seen, r.take(line))
		}
	}
	if err != nil {
		return "", err
	}
	r.done++
	if told := numberIn(highestModSeq, untagged+tagged); told > 0 {
		r.known = told
	} else {
		r.known = max(r.known, seen)
	}
	r.hear(max(r.known, seen), numberIn(uidNext, untagged))
	return tagged, nil
}

func (r *replica) take(line string) (modSeq int) {
	if m := uidsVanished.FindStringSubmatch(line); m != nil {
		for span := range strings.SplitSeq(m[1], ",") {
			first, last, isRange := strings.Cut(span, ":")
			from, _ := strconv.Atoi(first)
			to, _ := strconv.Atoi(last)
			for uid := from; uid == from || isRange && uid <= to; uid++ {
				delete(r.messages, uid)
			}
		}
	}
	uid := numberIn(uidFetched, line)
	flags := flagsFetched.FindStringSubmatch(line)
	if uid == 0 || flags == nil {
		return 0
	}
	modSeq = numberIn(modSeqFetched, line)
	r.messages[uid] = remembered{flagsTold(flags[1]), modSeq}
	return modSeq
}

func flagsTold(text string) string {
	all := slices.DeleteFunc(strings.Fields(text), func(f string) bool { return f == `\Recent` })
	slices.Sort(all)
	return strings.Join(all, " ")
}

// work changes the mailbox until the server is killed.
func (r *replica) work() {
	for r.step() == nil {
	}
}

// step executes a command, and notes what the server acknowledged. An error is
// the end of the server.
func (r *replica) step() error {
	r.tried++
	uids := slices.Sorted(maps.Keys(r.messages))
	kind := r.random.IntN(10)
	if len(uids) == 0 || kind < 3 {
		id := fmt.Sprint(r.name, ".", r.tried)
		text := "X-Id: " + id + "\r\n\r\nhi\r\n"
		return r.then(fmt.Sprintf("APPEND INBOX {%d+}\r\n%s", len(text), text), func() { r.acknowledge(id) })
	}
	uid := uids[r.random.IntN(len(uids))]
	switch {
	case kind < 7:
		keyword, op := fmt.Sprint(r.name, r.random.IntN(4)), []string{"+", "-"}[r.random.IntN(2)]
		key := fmt.Sprint(uid, " ", keyword)
		delete(r.flags, key)
		return r.then(fmt.Sprintf("UID STORE %d %sFLAGS (%s)", uid, op, keyword), func() { r.flags[key] = op == "+" })
	case kind == 7 && r.leaves(uid):
		if err := r.then(fmt.Sprintf(`UID STORE %d +FLAGS.SILENT (\Deleted)`, uid), nil); err != nil {
			return err
		}
		return r.then(fmt.Sprint("UID EXPUNGE ", uid), func() { r.gone = append(r.gone, uid) })
	case kind == 8:
		return r.then(fmt.Sprintf("UID MOVE %d Archive", uid), func() { r.gone = append(r.gone, uid) })
	case r.quick:
		return r.news()
	}
	return r.then("NOOP", nil)
}

// then executes a command and calls ok if that is what the server says.
func (r *replica) then(command string, ok func()) error {
	tagged, err := r.run(command)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(tagged, "OK") {
		r.s.t.Errorf("%s: %s: %s", r.name, command, tagged)
	} else if ok != nil {
		ok()
	}
	return nil
}

func (h *history) hear(modSeq, next int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.modSeq, h.next = max(h.modSeq, modSeq), max(h.next, next)
}

func (h *history) acknowledge(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.acknowledged = append(h.acknowledged, id)
}

// leaves notes that a message is about to be expunged, if it is known by name.
func (h *history) leaves(uid int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	id := h.ids[uid]
	h.leaving[id] = true
	return id != ""
}

// check holds the mailbox, where nobody is at work, against what was heard of
// it, and the replicas against the mailbox.
func (h *history) check(replicas ...*replica) {
	h.s.t.Helper()
	c := h.s.imapClient("alice")
	selected := c.ok("SELECT INBOX (CONDSTORE)")
	validity := uidValidity.FindStringSubmatch(selected)[1]
	if h.validity == "" {
		h.validity = validity
	}
	if next, modSeq := numberIn(uidNext, selected), numberIn(highestModSeq, selected); validity != h.validity || next < h.next || modSeq < h.modSeq {
		h.s.t.Errorf("UIDVALIDITY %s was %s, UIDNEXT %d was %d, HIGHESTMODSEQ %d was %d", validity, h.validity, next, h.next, modSeq, h.modSeq)
	}
	truth, places := map[int]remembered{}, map[string]int{}
	for _, m := range strings.Split(c.ok("UID FETCH 1:* (FLAGS MODSEQ BODY.PEEK[HEADER.FIELDS (X-Id)])"), "* ")[1:] {
		uid, id := numberIn(uidFetched, m), idFetched.FindStringSubmatch(m)[1]
		truth[uid] = remembered{flagsTold(flagsFetched.FindStringSubmatch(m)[1]), numberIn(modSeqFetched, m)}
		places[id]++
		if was := h.ids[uid]; was != "" && was != id {
			h.s.t.Errorf("UID %d is of message %s, was of %s", uid, id, was)
		}
		h.ids[uid] = id
		h.next = max(h.next, uid+1)
	}
	c.ok("SELECT Archive")
	for _, m := range idFetched.FindAllStringSubmatch(c.ok("UID FETCH 1:* BODY.PEEK[HEADER.FIELDS (X-Id)]"), -1) {
		places[m[1]]++
	}
	for id, n := range places {
		if n > 1 {
			h.s.t.Errorf("message %s is there %d times", id, n)
		}
	}
	for _, id := range h.acknowledged {
		if places[id] == 0 && !h.leaving[id] {
			h.s.t.Errorf("message %s was acknowledged and is lost", id)
		}
	}
	for _, r := range replicas {
		r.sync()
		r.check(truth)
	}
}

// check holds a replica that has just come back against the truth.
func (r *replica) check(truth map[int]remembered) {
	r.s.t.Helper()
	for uid, m := range truth {
		if !r.quick {
			m.modSeq = 0
		}
		if r.messages[uid] != m {
			r.s.t.Errorf("%s: UID %d is %+v, believed %+v", r.name, uid, m, r.messages[uid])
		}
	}
	for uid := range r.messages {
		if _, there := truth[uid]; !there {
			r.s.t.Errorf("%s: UID %d is not there any more", r.name, uid)
		}
	}
	for key, on := range r.flags {
		number, keyword, _ := strings.Cut(key, " ")
		uid, _ := strconv.Atoi(number)
		if m, there := truth[uid]; there && slices.Contains(strings.Fields(m.flags), keyword) != on {
			r.s.t.Errorf("%s: UID %d has %q, though %s was acknowledged as %v", r.name, uid, m.flags, keyword, on)
		}
	}
	for _, uid := range r.gone {
		if _, there := truth[uid]; there {
			r.s.t.Errorf("%s: UID %d went, as was acknowledged, and is back", r.name, uid)
		}
	}
}
