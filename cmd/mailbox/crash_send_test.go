package main

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/smtp"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mailbox/storage"
)

// TestKillSender holds promise 2 against SIGKILL while the queue is sending to
// hosts that fail at every stage. What was acknowledged arrives; it arrives
// again only where the host had said 250 and the sender was killed before it
// went on, which the hosts' own logs decide; every failure is told exactly
// once; nothing is left. With MAILBOX_LONG set it goes on for longer.
func TestKillSender(t *testing.T) {
	kills, messages := 15, 300
	if os.Getenv("MAILBOX_LONG") != "" {
		kills, messages = 100, 2000
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	p := newPost(t, seed, int64(messages))
	p.load(random, int64(messages)*3/4)
	waited := []int{} // recipients, at each kill
	for round := range kills {
		p.start()
		stop := make(chan struct{})
		var senders sync.WaitGroup
		for n := range 4 {
			mine := rand.New(rand.NewPCG(seed, uint64(100+10*round+n)))
			senders.Go(func() { p.submit(mine, int64(messages), stop) })
		}
		time.Sleep(time.Duration(50+random.IntN(350)) * time.Millisecond)
		waited = append(waited, len(p.missing()))
		p.killAt()
		close(stop)
		senders.Wait()
		if out, err := p.try("", "verify"); err != nil {
			t.Fatalf("after kill %d: %v\n%s", round, err, out)
		}
	}
	p.finish(int64(messages))
	p.check()
	t.Logf("recipients that waited at the kills: %v", waited)
	slices.Sort(waited)
	if waited[kills/4] == 0 {
		t.Error("there was nothing to send at a quarter of the kills; the test shows little")
	}
}

// postSinks is how many hosts a post sends to; the last one is that of client.example.
const postSinks = 8

// A post is a site that sends, the hosts that it sends to, and what senders
// and hosts know, outside of the process.
type post struct {
	*site
	sinks []*sink
	hosts atomic.Int32 // shut, moody, calm
	next  atomic.Int64

	mu    sync.Mutex
	sent  []shipment
	kills []span
}

// The hosts of a post take nothing, fail at random, or take everything.
const (
	shut = iota
	moody
	calm
)

// A shipment is a message that was acknowledged, or for which no answer came.
type shipment struct {
	id           string
	to           []string // at the sinks
	here         bool     // its sender is alice, not somebody elsewhere
	acknowledged bool
}

// A span is the time in which the process was killed.
type span struct{ begin, end time.Time }

// forwarded are the addresses behind the alias fwd-n@home.example.
func forwarded(n int64) []string {
	return []string{fmt.Sprintf("f-%d@d0.example", n), fmt.Sprintf("f-%d@d5.example", n), fmt.Sprintf("no-%d-0@d3.example", n)}
}

// everyForwarded is one of so many messages goes to an alias.
const everyForwarded = 8

func newPost(t *testing.T, seed uint64, messages int64) *post {
	p := &post{site: newSite(t)}
	for n := range postSinks {
		k := newSink(t, "127.0.0.1:0")
		k.keep, k.temper = true, p.temper(rand.New(rand.NewPCG(seed, uint64(1000+n))))
		p.sinks = append(p.sinks, k.run(t))
		domain := fmt.Sprintf("d%d.example", n)
		if n == postSinks-1 {
			domain = "client.example"
		}
		p.set("[mta.routes]", fmt.Sprintf("domains = [%q]\nhost = %q\ntls = \"none\"", domain, k.Addr()))
	}
	p.set("mta", "retry = [\"1s\"]\ndelay_notice = \"0s\"\ntimeout = \"5s\"")
	p.set("msa", "plaintext_login = true\nrecipients_per_day = 0")
	p.store(func(db *storage.DB) {
		for n := int64(everyForwarded); n <= messages; n += everyForwarded {
			if err := db.AddAlias(context.Background(), storage.Alias{Address: fmt.Sprintf("fwd-%d@home.example", n), Targets: forwarded(n)}); err != nil {
				t.Fatal(err)
			}
		}
	})
	return p
}

// temper makes a host fail at every stage, and be slow, now and then.
func (p *post) temper(random *rand.Rand) func(string) (mood, time.Duration) {
	var mu sync.Mutex
	return func(stage string) (mood, time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		n, wait := random.IntN(100), time.Duration(0)
		if random.IntN(20) == 0 {
			wait = time.Duration(random.IntN(100)) * time.Millisecond
		}
		if stage == "greeting" || stage == "EHLO" { // which ends it for all that wait
			n *= 5
		}
		switch hosts := p.hosts.Load(); {
		case hosts == shut:
			return quits, 0
		case hosts == calm || n >= 16:
			return fine, wait
		case n < 8:
			return busy, wait
		case n < 11:
			return quits, wait
		case n < 14:
			return gone, wait
		}
		return torn, wait
	}
}

// load fills the queue while nothing can be sent.
func (p *post) load(random *rand.Rand, messages int64) {
	p.t.Helper()
	p.start()
	for p.next.Load() < messages {
		p.submit(random, messages, nil)
	}
	p.stop()
	p.next.Store(messages)
	p.hosts.Store(moody)
	p.t.Logf("%d recipients in the queue", p.queued())
}

// submit hands in messages until there are enough or the server is gone: most
// as alice, some from elsewhere to an alias that leads elsewhere.
func (p *post) submit(random *rand.Rand, enough int64, stop <-chan struct{}) {
	in, err := smtp.Dial(p.submission)
	if err != nil {
		return
	}
	defer in.Close()
	if in.Auth(smtp.PlainAuth("", "alice@home.example", testPassword, "127.0.0.1")) != nil {
		return
	}
	from, err := smtp.Dial(p.smtp)
	if err != nil {
		return
	}
	defer from.Close()
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(random.IntN(20)) * time.Millisecond):
		}
		n := p.next.Add(1)
		if n > enough {
			return
		}
		l := shipment{id: fmt.Sprintf("m%d", n), here: n%everyForwarded != 0}
		lines := 5
		if n%10 == 9 {
			lines = 15_000 // a blob in a file
		}
		body := fmt.Sprintf("From: alice@home.example\r\nX-Id: %s\r\n\r\n%send of %[1]s\r\n", l.id, strings.Repeat("all work and no play\r\n", lines))
		if l.here {
			l.to = recipients(random, n)
			err = sendFrom(in, "alice@home.example", body, l.to)
		} else {
			l.to = forwarded(n)
			err = sendFrom(from, "load@client.example", body, []string{fmt.Sprintf("fwd-%d@home.example", n)})
		}
		l.acknowledged = err == nil
		p.mu.Lock()
		p.sent = append(p.sent, l)
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// recipients are one to four at random hosts. One of six does not exist there.
func recipients(random *rand.Rand, n int64) (all []string) {
	for i := range 1 + random.IntN(4) {
		name := fmt.Sprintf("r-%d-%d", n, i)
		if random.IntN(6) == 0 {
			name = "no" + name[1:]
		}
		all = append(all, fmt.Sprintf("%s@d%d.example", name, random.IntN(postSinks-1)))
	}
	return all
}

func sendFrom(c *smtp.Client, from, body string, to []string) error {
	if err := c.Mail(from); err != nil {
		return err
	}
	for _, r := range to {
		if err := c.Rcpt(r); err != nil {
			return err
		}
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write([]byte(body)); err != nil {
		return err
	}
	return w.Close()
}

// killAt kills the process, and notes when.
func (p *post) killAt() {
	k := span{begin: time.Now()}
	p.kill()
	k.end = time.Now()
	p.kills = append(p.kills, k)
}

// arrived are the arrivals for each recipient of each message, as "id address".
func (p *post) arrived() map[string][]arrival {
	all := map[string][]arrival{}
	for _, k := range p.sinks {
		for _, a := range k.log() {
			for _, to := range a.to {
				key := a.id + " " + to
				all[key] = append(all[key], a)
			}
		}
	}
	return all
}

// missing are the acknowledged recipients that exist and have got nothing.
func (p *post) missing() (list []string) {
	arrived := p.arrived()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.sent {
		for _, to := range l.to {
			key := l.id + " " + to
			if l.acknowledged && !strings.HasPrefix(to, "no-") && !slices.ContainsFunc(arrived[key], func(a arrival) bool { return a.written }) {
				list = append(list, key)
			}
		}
	}
	return list
}

// finish hands in what is left, lets the hosts be calm, and runs the server
// until its queue is empty.
func (p *post) finish(messages int64) {
	p.t.Helper()
	p.start()
	p.submit(rand.New(rand.NewPCG(1, 1)), messages, nil)
	p.hosts.Store(calm)
	left := 0
	for wait := 500 * time.Millisecond; wait < time.Minute; wait *= 2 {
		for until := time.Now().Add(time.Minute); len(p.missing()) > 0 && time.Now().Before(until); {
			time.Sleep(50 * time.Millisecond)
		}
		time.Sleep(wait) // for what nobody waits for: refusals and reports
		p.stop()
		if left = p.queued(); left == 0 {
			p.start()
			return
		}
		p.start()
	}
	p.t.Errorf("%d recipients are left in the queue", left)
}

// queued is how many recipients are in the queue.
func (p *post) queued() (n int) {
	p.t.Helper()
	p.store(func(db *storage.DB) { n = db.QueueSize() })
	return n
}

// store opens the store, while no server has it.
func (s *site) store(use func(db *storage.DB)) {
	s.t.Helper()
	db, err := storage.Open(context.Background(), storage.Options{Dir: filepath.Join(s.dir, "data"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	use(db)
}

// check compares what the senders, the hosts and alice know.
func (p *post) check() {
	p.t.Helper()
	arrived := p.arrived()
	for _, key := range p.missing() {
		p.t.Errorf("%s was acknowledged and has not arrived", key)
	}
	twice := 0
	for key, list := range arrived {
		slices.SortFunc(list, func(a, b arrival) int { return a.said.Compare(b.said) })
		if strings.Contains(key, ", torn") {
			p.t.Errorf("%s arrived in part", key)
		}
		twice += len(list) - 1
		for _, a := range list[:len(list)-1] {
			if a.went || !p.killedDuring(a) {
				p.t.Errorf("%s was sent again, though its sender had the 250: %+v", key, list)
			}
		}
	}
	p.checkWhole(arrived)
	reports := p.checkReports(arrived)
	acknowledged := 0
	for _, l := range p.sent {
		if l.acknowledged {
			acknowledged++
		}
	}
	p.t.Logf("%d of %d messages acknowledged, %d recipients reached, %d of them again, %d failures told", acknowledged, len(p.sent), len(arrived), twice, reports)
	if out, err := p.try("", "verify"); err != nil {
		p.t.Errorf("%v\n%s", err, out)
	}
}

// killedDuring tells whether the sender was killed while the connection was
// open over which it sent. The host may have said its 250 to nobody.
func (p *post) killedDuring(a arrival) bool {
	return slices.ContainsFunc(p.kills, func(k span) bool { return a.opened.Before(k.end) && !a.lost.Before(k.begin) })
}

// checkWhole looks for messages without an answer of which a part was sent.
func (p *post) checkWhole(arrived map[string][]arrival) {
	for _, l := range p.sent {
		got, real := 0, 0
		for _, to := range l.to {
			if strings.HasPrefix(to, "no-") {
				continue
			}
			real++
			if len(arrived[l.id+" "+to]) > 0 {
				got++
			}
		}
		if got != 0 && got != real {
			p.t.Errorf("message %s was sent to %d of its recipients %v", l.id, got, l.to)
		}
	}
}

var refusedAddress = regexp.MustCompile(`no-\d+-\d+@d\d\.example`)

// checkReports looks for each recipient that does not exist in what its sender
// was told, and returns how many there were.
func (p *post) checkReports(arrived map[string][]arrival) int {
	told := map[string]int{}
	note := func(text string) {
		about := refusedAddress.FindAllString(text, -1)
		slices.Sort(about)
		for _, address := range slices.Compact(about) {
			told[address]++
		}
	}
	for _, text := range p.inbox(p.t, "alice")() {
		note(text)
	}
	for _, list := range arrived { // several, where the report itself was sent again
		note(list[0].text)
	}
	n := 0
	for _, l := range p.sent {
		for _, to := range l.to {
			if !strings.HasPrefix(to, "no-") {
				continue
			}
			n++
			if got := told[to]; got > 1 || got == 0 && l.acknowledged {
				p.t.Errorf("the sender of %s was told %d times that %s failed", l.id, got, to)
			}
		}
	}
	return n
}
