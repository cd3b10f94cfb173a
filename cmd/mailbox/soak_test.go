package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// soakUsers is how many users have four clients each.
const soakUsers = 10

// TestSoak has 40 clients use a server, first alone, then beside 20 peers that
// do all that peers should not. Those who behave never see an error, find all
// that was acknowledged to them, once, and the server is left with the memory,
// goroutines and files that it had before. With MAILBOX_LONG it goes on for 20
// minutes, and memory must not grow from the fifth on. How long those who behave
// wait is printed only: it depends on the machine. MAILBOX_SEED repeats what is
// random in it, though not the order in which it happens.
func TestSoak(t *testing.T) {
	alone, together := 4*time.Second, 8*time.Second
	long := os.Getenv("MAILBOX_LONG") != ""
	if long {
		alone, together = 3*time.Minute, 20*time.Minute
	}
	seed, err := strconv.ParseUint(os.Getenv("MAILBOX_SEED"), 10, 64)
	if err != nil {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("MAILBOX_SEED=%d", seed)
	s := newSite(t)
	s.set("mta", `max_size = "1MiB"`)
	s.start()
	c := &throng{s: s, seed: seed, there: map[string]time.Time{}, early: map[string]bool{}}
	for n := range soakUsers {
		s.run(testPassword, "admin", "user", "add", c.user(n)+"@"+s.domain, "--password-stdin")
	}
	bait(s)

	before := c.phase(alone, 0, func() {})
	base := s.vitals(0)
	t.Logf("alone:    %v", base)
	var samples []vitals
	sample := func() {}
	if long {
		sample = func() { samples = append(samples, s.vitals(time.Second/2)) }
	}
	beside := c.phase(together, len(nuisances), sample)
	after := s.vitalsLike(base)
	t.Logf("after:    %v", after)
	t.Log(compare(before, beside))

	c.check()
	if out, err := s.try("", "verify"); err != nil {
		t.Errorf("verify: %v\n%s", err, out)
	}
	if !after.like(base) {
		t.Errorf("the server is left with %v, and had %v", after, base)
	}
	if grown := after.heap - base.heap; grown > 8<<20 {
		t.Errorf("the server uses %d KiB more than before", grown>>10)
	}
	if long {
		checkGrowth(t, samples)
	}
}

// checkGrowth compares the memory of the last quarter of the samples with that
// of the second.
func checkGrowth(t *testing.T, samples []vitals) {
	for i, v := range samples {
		t.Logf("%3d%%: %v", (i+1)*100/len(samples), v)
	}
	quarter := len(samples) / 4
	early, late := samples[quarter:2*quarter], samples[len(samples)-quarter:]
	for what, of := range map[string]func(vitals) int64{
		"live heap": func(v vitals) int64 { return v.heap }, "resident memory": func(v vitals) int64 { return v.resident },
	} {
		least := func(all []vitals) int64 {
			return of(slices.MinFunc(all, func(a, b vitals) int { return int(of(a) - of(b)) }))
		}
		if grown := least(late) - least(early); grown > 16<<20 {
			t.Errorf("%s has grown by %d KiB", what, grown>>10)
		}
	}
}

// A throng is clients that use a server at the same time, and what was
// acknowledged to those who behave.
type throng struct {
	s    *site
	seed uint64

	mu    sync.Mutex
	there map[string]time.Time // ids of messages that must be there, and when that was said
	early map[string]bool      // ids of messages that were expunged before their sender had its answer
	waits waits                // of this phase
	last  int                  // of the ids
}

// user is the name of a user. Those of the site are bait for nuisances.
func (c *throng) user(n int) string { return fmt.Sprint("user", n) }

// phase lets the clients work for a time, some nuisances among them, and has
// sample called twenty times.
func (c *throng) phase(length time.Duration, others int, sample func()) waits {
	ctx, cancel := context.WithTimeout(context.Background(), length)
	defer cancel()
	c.waits = waits{}
	var busy sync.WaitGroup
	for n := range soakUsers {
		for role, work := range []func(*polite, context.Context) error{(*polite).deliver, (*polite).submit, (*polite).read, (*polite).keep} {
			p := &polite{throng: c, user: n, random: rand.New(rand.NewPCG(c.seed, uint64(4*n+role)))}
			busy.Go(func() {
				if err := work(p, ctx); err != nil {
					c.s.t.Errorf("a client that behaves: %v", err)
				}
			})
		}
	}
	visits := make([]int, others)
	for i := range others {
		n := &nuisance{s: c.s, number: i, random: rand.New(rand.NewPCG(c.seed, uint64(1000+i)))}
		busy.Go(func() { visits[i] = n.run(ctx, nuisances[i]) })
	}
	tick := time.NewTicker(length / 21)
	defer tick.Stop()
	for range 20 {
		select {
		case <-tick.C:
			sample()
		case <-ctx.Done():
		}
	}
	busy.Wait()
	if slices.Contains(visits, 0) {
		c.s.t.Errorf("some nuisances came to nothing: %v", visits)
	}
	return c.waits
}

// begin returns the id of a new message.
func (c *throng) begin(user int, mailbox string) (id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last++
	return fmt.Sprintf("%s.%s.%d", c.user(user), mailbox, c.last)
}

// acknowledged notes that a message is there from now on.
func (c *throng) acknowledged(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.early[id] {
		delete(c.early, id)
		return
	}
	c.there[id] = time.Now()
}

// gone notes that a message was expunged, and that this was acknowledged.
func (c *throng) gone(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.there[id]; !ok {
		c.early[id] = true
	}
	delete(c.there, id)
}

// waited notes how long something took.
func (c *throng) waited(what string, since time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waits[what] = append(c.waits[what], time.Since(since))
}

// told notes how long after its sender a client that was idle heard of a message.
func (c *throng) told(id string, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var late time.Duration
	if acknowledged, ok := c.there[id]; ok {
		late = max(0, at.Sub(acknowledged))
	}
	c.waits["idle"] = append(c.waits["idle"], late)
}

// check compares what is in the mailboxes with what was acknowledged.
func (c *throng) check() {
	t := c.s.t
	for n := range soakUsers {
		client := c.s.imapClient(c.user(n))
		for _, mailbox := range []string{"INBOX", "Archive"} {
			client.ok("SELECT " + mailbox)
			var ids []string
			for _, m := range fetched.FindAllStringSubmatch(client.ok("UID FETCH 1:* BODY.PEEK[HEADER.FIELDS (X-Id)]"), -1) {
				ids = append(ids, m[2])
			}
			var want []string
			for id := range c.there {
				if strings.HasPrefix(id, c.user(n)+"."+mailbox+".") {
					want = append(want, id)
				}
			}
			slices.Sort(ids)
			slices.Sort(want)
			if !slices.Equal(ids, want) {
				t.Errorf("%s of %s has %v, and should have %v", mailbox, c.user(n), ids, want)
			}
		}
		client.nc.Close()
	}
}

// waits are how long clients waited, by what they waited for.
type waits map[string][]time.Duration

// compare shows what clients waited alone and beside others.
func compare(alone, beside waits) string {
	var out strings.Builder
	at := func(w []time.Duration, percent int) time.Duration {
		return max(time.Microsecond, w[len(w)*percent/100])
	}
	fmt.Fprintf(&out, "%-8s %28s %28s   %s", "", "alone: median, 99 of 100", "beside others", "ratio")
	for _, what := range slices.Sorted(maps.Keys(alone)) {
		a, b := alone[what], beside[what]
		if len(a) == 0 || len(b) == 0 {
			continue
		}
		slices.Sort(a)
		slices.Sort(b)
		fmt.Fprintf(&out, "\n%-8s", what)
		for _, w := range [][]time.Duration{a, b} {
			fmt.Fprintf(&out, " %7d: %8v, %8v", len(w), at(w, 50).Round(10*time.Microsecond), at(w, 99).Round(10*time.Microsecond))
		}
		fmt.Fprintf(&out, "   %.2f, %.2f", float64(at(b, 50))/float64(at(a, 50)), float64(at(b, 99))/float64(at(a, 99)))
	}
	return out.String()
}
