package mta

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mailbox/storage"
)

// TestMain writes and reads a message outside of any bubble of synctest, to
// which what the compressor makes at its first use would belong.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "mailbox-mta-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	db, err := storage.Open(ctx, storage.Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err)
	}
	spool := db.NewSpool()
	io.WriteString(spool, strings.Repeat("warm up\r\n", 100)) //nolint:errcheck // Finish tells
	message, err := spool.Finish(nil)
	if err == nil {
		err = db.Deliver(ctx, &storage.Delivery{Message: message, Queue: &storage.Outgoing{To: []storage.OutgoingRecipient{{Address: "a@b.example"}}}})
	}
	if err == nil {
		var queued storage.QueuedMessage
		if queued, err = db.QueuedPart(ctx, 1, 1, 1); err == nil {
			_, err = db.OpenBlob(ctx, queued.Blob)
		}
	}
	if err = errors.Join(err, db.Close()); err != nil {
		panic(err)
	}
	m.Run()
}

// A fakeHost is a Carrier whose hosts do what the test says.
type fakeHost struct {
	mu    sync.Mutex
	rcpt  func(domain, address string) *Failure // nil: it is taken
	down  func(domain string) *Failure          // nil: a connection is had
	used  func(times int) *Failure              // nil: a connection that was used so often still works
	took  map[string]int                        // by address
	text  map[string]string
	conns int
	most  map[string]int // connections at a time, by domain
	now   map[string]int
	delay time.Duration
}

func newFakeHost() *fakeHost {
	return &fakeHost{took: map[string]int{}, text: map[string]string{}, most: map[string]int{}, now: map[string]int{}}
}

func (h *fakeHost) Connect(ctx context.Context, d Destination) (Connection, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.down != nil {
		if f := h.down(d.Domain); f != nil {
			return nil, f
		}
	}
	h.conns++
	h.now[d.Domain]++
	h.most[d.Domain] = max(h.most[d.Domain], h.now[d.Domain])
	return &fakeConnection{h: h, domain: d.Domain}, nil
}

type fakeConnection struct {
	h      *fakeHost
	domain string
	times  int
}

func (c *fakeConnection) Send(ctx context.Context, m *Outbound) ([]Result, bool) {
	c.h.mu.Lock()
	delay := c.h.delay
	c.h.mu.Unlock()
	time.Sleep(delay)
	text, err := io.ReadAll(m.Reader())
	if err != nil {
		panic(err)
	}
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	results := make([]Result, len(m.To))
	if c.h.used != nil {
		if f := c.h.used(c.times); f != nil {
			fillAll(results, f)
			return results, false
		}
	}
	c.times++
	down := false
	for i, r := range m.To {
		var f *Failure
		if c.h.rcpt != nil {
			f = c.h.rcpt(c.domain, r.Address)
		}
		if f != nil {
			results[i].Failure = f
			down = down || f.HostDown
			continue
		}
		c.h.took[r.Address]++
		c.h.text[r.Address] = string(text)
		results[i].Reply = "250 ok"
	}
	return results, !down
}

func (c *fakeConnection) Attempt() storage.Attempt {
	return storage.Attempt{Host: "mx." + c.domain, Stage: "data"}
}

func (c *fakeConnection) Close() {
	c.h.mu.Lock()
	c.h.now[c.domain]--
	c.h.mu.Unlock()
}

func said(status, reply string) *Failure {
	return &Failure{Status: status, Remote: true, Attempt: storage.Attempt{Stage: "rcpt", Reply: reply}}
}

// intoStore is a Deliverer without filters.
type intoStore struct{ db *storage.DB }

func (d intoStore) Deliver(ctx context.Context, m *Message) ([]string, error) {
	list := []*storage.Delivery{d.delivery(m)}
	if m.Report != nil {
		list = append(list, d.delivery(m.Report))
	}
	return nil, d.db.Deliver(ctx, list...)
}

func (d intoStore) delivery(m *Message) *storage.Delivery {
	out := &storage.Delivery{Message: m.Spooled, Received: time.Now(), Queue: m.Queue, Settle: m.Settle}
	for _, r := range m.To {
		out.To = append(out.To, storage.Target{Account: r.Account, Mailbox: "INBOX"})
	}
	return out
}

type queueFixture struct {
	t     *testing.T
	db    *storage.DB
	host  *fakeHost
	queue *Queue
	alice storage.AccountID
}

func newQueueFixture(t *testing.T, change func(*Config)) *queueFixture {
	t.Helper()
	f := &queueFixture{t: t, host: newFakeHost()}
	f.db, f.alice = newStore(t)
	f.queue = &Queue{Hostname: "mx.home.example", Store: f.db, Carrier: f.host, Deliver: intoStore{f.db}, Log: slog.New(slog.DiscardHandler)}
	cfg := DefaultConfig()
	if change != nil {
		change(&cfg)
	}
	f.queue.Configure(cfg, "home.example")
	go f.queue.Run() //nolint:errcheck // the test ends it
	t.Cleanup(func() {
		f.queue.Shutdown(context.Background()) //nolint:errcheck // it has no error
		f.db.Close()
	})
	return f
}

// send queues a message.
func (f *queueFixture) send(o storage.Outgoing, to ...string) {
	f.t.Helper()
	f.sendAt(time.Now(), o, to...)
}

// sendAt is send by a clock that shows another time.
func (f *queueFixture) sendAt(at time.Time, o storage.Outgoing, to ...string) {
	f.t.Helper()
	for _, a := range to {
		o.To = append(o.To, storage.OutgoingRecipient{Address: a})
	}
	spool := f.db.NewSpool()
	fmt.Fprintf(spool, "From: alice@home.example\r\nSubject: to %d\r\n\r\nhello\r\n", len(o.To))
	m, err := spool.Finish([]byte("Return-Path: <alice@home.example>\r\n"))
	if err != nil {
		f.t.Fatal(err)
	}
	o.Skip = int64(len("Return-Path: <alice@home.example>\r\n"))
	if err := f.db.Deliver(context.Background(), &storage.Delivery{Message: m, Received: at, Queue: &o}); err != nil {
		f.t.Fatal(err)
	}
}

// reports returns what alice has in INBOX.
func (f *queueFixture) reports() []string {
	f.t.Helper()
	ctx := context.Background()
	box, err := f.db.Mailbox(ctx, f.alice, "INBOX")
	if err != nil {
		f.t.Fatal(err)
	}
	var uids []storage.UID
	for u := storage.UID(1); u < box.UIDNext; u++ {
		uids = append(uids, u)
	}
	list, err := f.db.Messages(ctx, f.alice, box.ID, uids, 0)
	if err != nil {
		f.t.Fatal(err)
	}
	var all []string
	for _, m := range list {
		b, err := f.db.OpenBlob(ctx, m.Blob)
		if err != nil {
			f.t.Fatal(err)
		}
		text, err := io.ReadAll(io.NewSectionReader(b, 0, m.Size))
		if err != nil {
			f.t.Fatal(err)
		}
		b.Close()
		all = append(all, string(text))
	}
	return all
}

var fromAlice = storage.Outgoing{Sender: "alice@home.example"}

// pass lets time go by, and waits until everybody has done what there was to
// do. What the test does before and after, the hosts see in that order.
func (f *queueFixture) pass(d time.Duration) {
	f.host.order()
	time.Sleep(d)
	synctest.Wait()
	f.host.order()
}

func (h *fakeHost) order() {
	h.mu.Lock()
	defer h.mu.Unlock()
}

// TestQueueRetries: what fails for now is tried again as the schedule says, the
// sender hears once that it is late, and after five days that it is given up.
func TestQueueRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newQueueFixture(t, nil)
		began := time.Now()
		var tries []time.Duration
		f.host.rcpt = func(_, address string) *Failure {
			if strings.HasPrefix(address, "bob") {
				tries = append(tries, time.Since(began))
				return said("4.3.2", "451 4.3.2 not now")
			}
			return nil
		}
		f.send(fromAlice, "bob@far.example", "carol@far.example")
		f.pass(4*time.Hour + time.Minute)
		if got := f.reports(); len(got) != 1 || !strings.Contains(got[0], "bob@far.example") {
			t.Fatalf("after four hours alice has %q", got)
		}
		f.pass(5 * 24 * time.Hour)
		if n := f.db.QueueSize(); n != 0 {
			t.Errorf("%d recipients are still queued", n)
		}
		if got := f.reports(); len(got) != 2 {
			t.Errorf("after five days alice has %q", got)
		}
		if f.host.took["carol@far.example"] != 1 {
			t.Errorf("carol got %d copies", f.host.took["carol@far.example"])
		}
		t.Log(tries)
	})
}

// TestQueueReports: who hears what of whom (RFC 3461).
func TestQueueReports(t *testing.T) {
	for name, c := range map[string]struct {
		sender, notify string
		fail           *Failure
		want           string // in the report; "": there is none
	}{
		"refused":          {"alice@home.example", "", said("5.1.1", "550 5.1.1 no such user"), "failed"},
		"taken":            {"alice@home.example", "", nil, ""},
		"never":            {"alice@home.example", "NEVER", said("5.1.1", "550 no"), ""},
		"success only":     {"alice@home.example", "SUCCESS", said("5.1.1", "550 no"), ""},
		"relayed":          {"alice@home.example", "SUCCESS,FAILURE", nil, "relayed"},
		"null sender":      {"", "", said("5.1.1", "550 no"), ""},
		"sender is gone":   {"nobody@home.example", "", said("5.1.1", "550 no"), ""},
		"delay not wanted": {"alice@home.example", "FAILURE", said("4.2.2", "452 full"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newQueueFixture(t, nil)
				f.host.rcpt = func(string, string) *Failure { return c.fail }
				f.send(storage.Outgoing{Sender: c.sender, To: []storage.OutgoingRecipient{{Address: "bob@far.example", Notify: c.notify}}})
				f.pass(5 * time.Hour)
				got := f.reports()
				if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.Contains(got[0], "Action: "+c.want)) {
					t.Errorf("alice got %q", got)
				}
				if n := f.db.QueueSize(); n != 0 && name != "delay not wanted" {
					t.Errorf("%d recipients are still queued", n)
				}
			})
		})
	}
}

// TestQueueReportsElsewhere: the sender of a forwarded message is told by mail
// that goes out, and has no return path itself.
func TestQueueReportsElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newQueueFixture(t, nil)
		f.host.rcpt = func(domain, _ string) *Failure {
			if domain == "far.example" {
				return said("5.2.2", "552 5.2.2 mailbox is full")
			}
			return nil
		}
		f.send(storage.Outgoing{Sender: "someone@there.example"}, "bob@far.example")
		f.pass(time.Minute)
		if text := f.host.text["someone@there.example"]; !strings.Contains(text, "mailbox is full") || strings.Contains(text, "Return-Path") {
			t.Errorf("the sender got %q", text)
		}
	})
}

// TestQueueSurvivesRestart: a new process goes on where the last one was.
func TestQueueSurvivesRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newQueueFixture(t, nil)
		f.host.rcpt = func(string, string) *Failure { return said("4.3.2", "451 later") }
		f.send(fromAlice, "bob@far.example")
		f.pass(time.Minute)
		f.queue.Shutdown(context.Background()) //nolint:errcheck // it has no error
		f.host.rcpt = nil
		next := &Queue{Store: f.db, Carrier: f.host, Deliver: intoStore{f.db}, Log: f.queue.Log}
		next.Configure(DefaultConfig(), "home.example")
		go next.Run() //nolint:errcheck // ended below
		f.pass(time.Minute)
		if n := f.host.took["bob@far.example"]; n != 0 {
			t.Errorf("%d copies went out before they were due", n)
		}
		f.pass(10 * time.Minute)
		if n := f.host.took["bob@far.example"]; n != 1 || f.db.QueueSize() != 0 {
			t.Errorf("bob got %d copies; %d are queued", n, f.db.QueueSize())
		}
		next.Shutdown(context.Background()) //nolint:errcheck // it has no error
	})
}

// TestQueueOperator: hold, free, retry, drop and another route do what they say.
func TestQueueOperator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newQueueFixture(t, nil)
		act := func(a storage.QueueAction) {
			t.Helper()
			if n, err := f.db.ActOnQueue(context.Background(), storage.QueueFilter{}, a); n != 1 || err != nil {
				t.Fatalf("acted on %d recipients: %v", n, err)
			}
			f.pass(time.Second)
		}
		attempts := 0
		f.host.down = func(domain string) *Failure {
			attempts++
			if domain == "far.example" {
				return failed("connect", "4.4.1", "no answer")
			}
			return nil
		}
		f.send(fromAlice, "bob@far.example")
		f.pass(time.Second)
		if attempts != 1 {
			t.Fatalf("%d attempts", attempts)
		}
		act(storage.QueueAction{Retry: true}) // although the destination is left alone
		act(storage.QueueAction{Retry: true})
		if attempts != 3 {
			t.Fatalf("%d attempts after two retries", attempts)
		}
		act(storage.QueueAction{Hold: true})
		f.pass(24 * time.Hour)
		if attempts != 3 {
			t.Fatalf("%d attempts while on hold", attempts)
		}
		act(storage.QueueAction{Free: true})
		if attempts != 4 {
			t.Fatalf("%d attempts after the hold", attempts)
		}
		smarthost := "smart.example:587"
		act(storage.QueueAction{Route: &smarthost})
		act(storage.QueueAction{Retry: true})
		if f.host.took["bob@far.example"] != 1 {
			t.Errorf("bob got %d copies by the other route", f.host.took["bob@far.example"])
		}
		f.send(fromAlice, "carol@far.example")
		f.pass(time.Second)
		act(storage.QueueAction{Drop: true})
		if n := f.db.QueueSize(); n != 0 {
			t.Errorf("%d recipients after a drop", n)
		}
	})
}

// TestQueueRelease: a message that was dated ahead waits for its time, those for
// our own users too (RFC 4865).
func TestQueueRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newQueueFixture(t, nil)
		f.send(storage.Outgoing{Sender: "bob@far.example", Release: time.Now().Add(7 * 24 * time.Hour)}, "alice@home.example", "bob@far.example")
		f.pass(6 * 24 * time.Hour)
		if len(f.reports()) != 0 || len(f.host.took) != 0 {
			t.Fatal("it came before its time")
		}
		f.pass(24*time.Hour + time.Minute)
		if got := f.reports(); len(got) != 1 || !strings.HasPrefix(got[0], "Return-Path: <bob@far.example>\r\nFrom: alice") {
			t.Errorf("alice has %q", got)
		}
		if f.host.took["bob@far.example"] != 1 || f.db.QueueSize() != 0 {
			t.Errorf("bob got %v; %d are queued", f.host.took, f.db.QueueSize())
		}
	})
}

// TestQueueDelivered: who asked to hear of the delivery here hears of it.
func TestQueueDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newQueueFixture(t, nil)
		f.send(storage.Outgoing{Sender: "alice@home.example", To: []storage.OutgoingRecipient{
			{Address: "alice+x@home.example", Notify: "SUCCESS"}, {Address: "nobody@home.example", Notify: "SUCCESS,FAILURE"},
		}})
		f.pass(time.Minute)
		got := strings.Join(f.reports(), "\n")
		for _, want := range []string{"Subject: to 2", "Action: delivered", "Action: failed"} {
			if !strings.Contains(got, want) {
				t.Errorf("alice has nothing with %q: %q", want, got)
			}
		}
		if n := f.db.QueueSize(); n != 0 {
			t.Errorf("%d recipients are still queued", n)
		}
	})
}

// TestQueueLearns: connections to a destination become more while it takes what
// it is given, and none is made while it is to be left alone.
func TestQueueLearns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newQueueFixture(t, func(c *Config) { c.PerDestination = 7 })
		f.host.delay = time.Second
		for i := range 100 {
			f.send(fromAlice, fmt.Sprintf("u%d@far.example", i))
		}
		f.pass(time.Hour)
		if len(f.host.took) != 100 || f.host.most["far.example"] != 7 {
			t.Errorf("%d were taken over at most %d connections at a time", len(f.host.took), f.host.most["far.example"])
		}
		if f.host.conns > 20 {
			t.Errorf("%d connections were made for 100 messages", f.host.conns)
		}
		busy := failed("mail", "4.7.0", "421 4.7.0 too busy")
		busy.Remote = true
		f.host.rcpt = func(string, string) *Failure { return busy }
		before := f.host.conns
		for i := range 100 {
			f.send(fromAlice, fmt.Sprintf("v%d@far.example", i))
		}
		f.pass(50 * time.Second)
		if n := f.host.conns - before; n > 7 {
			t.Errorf("%d connections were made to a host that said 421", n)
		}
		f.host.rcpt = nil
		f.pass(time.Hour)
		if len(f.host.took) != 200 || f.db.QueueSize() != 0 {
			t.Errorf("%d were taken, %d are queued", len(f.host.took), f.db.QueueSize())
		}
	})
}

// TestQueueIsFair: destinations that are dead or slow do not hold up others.
// Time is that of the bubble, so that it can be asserted.
func TestQueueIsFair(t *testing.T) {
	load := func(t *testing.T, dead, slow int) (took time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			f := newQueueFixture(t, nil)
			f.host.delay = 200 * time.Millisecond
			f.host.down = func(domain string) *Failure {
				f.host.mu.Unlock()
				defer f.host.mu.Lock()
				switch {
				case strings.HasPrefix(domain, "dead"):
					time.Sleep(30 * time.Second)
					return failed("connect", "4.4.1", "no answer in time")
				case strings.HasPrefix(domain, "slow"):
					time.Sleep(20 * time.Second)
				}
				return nil
			}
			good := map[string]bool{}
			for i := range 400 {
				to := fmt.Sprintf("u%d@good%d.example", i, i%40)
				good[to] = true
				f.send(fromAlice, to)
				if dead > 0 {
					f.send(fromAlice, fmt.Sprintf("u%d@dead%d.example", i, i%dead), fmt.Sprintf("u%d@slow%d.example", i, i%slow))
				}
			}
			began := time.Now()
			for left := len(good); left > 0; {
				time.Sleep(10 * time.Millisecond)
				f.host.mu.Lock()
				for a := range good {
					if f.host.took[a] > 0 {
						delete(good, a)
					}
				}
				left = len(good)
				f.host.mu.Unlock()
			}
			took = time.Since(began)
			f.queue.cut() // the rest does not matter
		})
		return took
	}
	alone, among, many := load(t, 0, 0), load(t, 25, 25), load(t, 200, 200)
	t.Logf("400 messages to 40 good destinations: alone %s, among 25 dead and 25 slow ones %s, 200 and 200 %s", alone, among, many)
	if among > alone*6/5 {
		t.Errorf("the good ones took %s instead of %s", among, alone)
	}
	if many > alone+time.Minute {
		t.Errorf("among very many others the good ones took %s instead of %s", many, alone)
	}
}

// TestQueuePanics: a panic while sending harms neither the message nor others.
func TestQueuePanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newQueueFixture(t, nil)
		panics := 0
		f.host.rcpt = func(domain, _ string) *Failure {
			if domain == "odd.example" && panics < 3 {
				panics++
				panic("on purpose")
			}
			return nil
		}
		f.send(fromAlice, "bob@odd.example")
		f.send(fromAlice, "carol@far.example")
		f.pass(2 * time.Hour)
		if f.host.took["bob@odd.example"] != 1 || f.host.took["carol@far.example"] != 1 || f.db.QueueSize() != 0 {
			t.Errorf("taken: %v; %d are queued", f.host.took, f.db.QueueSize())
		}
		if n := f.queue.Stats().Panics; n != 3 {
			t.Errorf("%d panics were counted", n)
		}
	})
}

// TestQueueKeptConnection: a connection that was kept for too long costs the
// next message nothing; one that never works is not tried forever.
func TestQueueKeptConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newQueueFixture(t, nil)
		closing := failed("mail", "4.3.2", "421 4.3.2 closing")
		closing.Remote = true
		f.host.used = func(times int) *Failure {
			if times > 0 {
				return closing
			}
			return nil
		}
		for i := range 5 {
			f.send(fromAlice, fmt.Sprintf("u%d@far.example", i))
		}
		f.pass(time.Minute)
		if len(f.host.took) != 5 || f.queue.Stats().Deferred != 0 {
			t.Errorf("%d of 5 were taken, %d deferred", len(f.host.took), f.queue.Stats().Deferred)
		}
		f.host.used = func(int) *Failure { return closing }
		f.send(fromAlice, "v@far.example")
		f.pass(time.Minute)
		if f.queue.Stats().Deferred != 1 {
			t.Errorf("%d deferred", f.queue.Stats().Deferred)
		}
	})
}

// TestQueueManyRecipients: recipients of one message share transactions, of 100
// at most; those that the host wants in another one get it at once.
func TestQueueManyRecipients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newQueueFixture(t, nil)
		n := 0
		f.host.rcpt = func(string, string) *Failure {
			if n++; n%20 == 0 { // at most 19 in a transaction
				return said("4.5.3", "452 4.5.3 too many recipients")
			}
			return nil
		}
		var to []string
		for i := range 250 {
			to = append(to, fmt.Sprintf("u%d@far.example", i))
		}
		f.send(fromAlice, to...)
		f.pass(time.Minute)
		if len(f.host.took) != 250 || f.db.QueueSize() != 0 {
			t.Errorf("%d were taken, %d are queued", len(f.host.took), f.db.QueueSize())
		}
		for a, n := range f.host.took {
			if n != 1 {
				t.Errorf("%s got %d copies", a, n)
			}
		}
	})
}
