package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/smtp"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// crashes is how often TestKill kills the server.
const crashes = 20

// TestKill holds promises 1, 2 and 6 against SIGKILL under load: what was
// acknowledged is there, once, in both mailboxes; what was not is in both or
// in neither; UIDs ascend and the store is whole.
func TestKill(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	s := newSite(t)
	sent := &ledger{}
	for round := range crashes {
		s.start()
		stop := make(chan struct{})
		var senders sync.WaitGroup
		for n := range 8 {
			senders.Go(func() { sent.send(s.smtp, fmt.Sprintf("%d.%d", round, n), stop) })
		}
		time.Sleep(time.Duration(50+random.IntN(350)) * time.Millisecond)
		s.kill()
		close(stop)
		senders.Wait()

		if out, err := s.try("", "verify"); err != nil {
			t.Fatalf("after kill %d: %v\n%s", round, err, out)
		}
	}
	s.start()
	alice, bob := s.ids("alice"), s.ids("bob")
	for who, ids := range map[string][]string{"alice": alice, "bob": bob} {
		if dup := duplicate(ids); dup != "" {
			t.Errorf("%s has message %s twice", who, dup)
		}
	}
	slices.Sort(alice)
	slices.Sort(bob)
	if !slices.Equal(alice, bob) {
		t.Errorf("alice has %d messages, bob %d: some are in one mailbox only", len(alice), len(bob))
	}
	for _, id := range sent.acknowledged {
		if _, found := slices.BinarySearch(alice, id); !found {
			t.Errorf("message %s was acknowledged and is lost", id)
		}
	}
	t.Logf("%d acknowledged, %d there", len(sent.acknowledged), len(alice))
	if len(sent.acknowledged) < crashes {
		t.Errorf("only %d messages were acknowledged; the test shows nothing", len(sent.acknowledged))
	}
}

// A ledger is what senders know, outside of the server.
type ledger struct {
	mu           sync.Mutex
	acknowledged []string
}

// send sends messages one after the other until the server is gone.
func (l *ledger) send(addr, name string, stop <-chan struct{}) {
	c, err := smtp.Dial(addr)
	if err != nil {
		return
	}
	defer c.Close()
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		default:
		}
		id := fmt.Sprintf("%s.%d", name, n)
		size := 100
		if n%10 == 9 {
			size = 400_000 // a blob in a file
		}
		body := fmt.Sprintf("X-Id: %s\r\n\r\n%s\r\n", id, strings.Repeat("all work and no play\r\n", size/22))
		if sendOne(c, body, "alice@home.example", "bob@home.example") != nil {
			return
		}
		l.mu.Lock()
		l.acknowledged = append(l.acknowledged, id)
		l.mu.Unlock()
	}
}

func sendOne(c *smtp.Client, body string, to ...string) error {
	if err := c.Mail("load@client.example"); err != nil {
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
	if _, err := io.WriteString(w, body); err != nil {
		return err
	}
	return w.Close()
}

var fetched = regexp.MustCompile(`(?s)\* \d+ FETCH \(UID (\d+) BODY\[HEADER\.FIELDS \(X-Id\)\] \{\d+\}\r\nX-Id: (\S+)\r\n`)

// ids reads what is in a user's INBOX, and checks that UIDs ascend.
func (s *site) ids(user string) []string {
	s.t.Helper()
	c := s.imapClient(user)
	c.ok("SELECT INBOX")
	var ids []string
	last := 0
	for _, m := range fetched.FindAllStringSubmatch(c.ok("FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (X-Id)])"), -1) {
		uid, err := strconv.Atoi(m[1])
		if err != nil || uid <= last {
			s.t.Errorf("UID %s comes after %d", m[1], last)
		}
		last = uid
		ids = append(ids, m[2])
	}
	return ids
}

func duplicate(ids []string) string {
	seen := map[string]bool{}
	for _, id := range ids {
		if seen[id] {
			return id
		}
		seen[id] = true
	}
	return ""
}
