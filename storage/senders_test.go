package storage

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// TestSenderPolicy: an address comes before its domain, a domain before those
// above it.
func TestSenderPolicy(t *testing.T) {
	db := open(t)
	ctx := context.Background()
	for _, p := range []SenderPolicy{{Sender: "example.org", Action: "junk"}, {Sender: "good.example.org", Action: "accept"}, {Sender: "Bad@Good.example.org", Action: "reject"}} {
		if err := db.SetSenderPolicy(ctx, p); err != nil {
			t.Fatal(err)
		}
	}
	for address, want := range map[string]string{
		"a@example.org": "junk", "a@x.example.org": "junk", "a@good.example.org": "accept", "a@x.good.example.org": "accept",
		"bad@good.example.org": "reject", "a@example.net": "", "a@notexample.org": "", "": "", "no address": "",
	} {
		if got := db.SenderPolicy(address); got != want {
			t.Errorf("%s: %q, not %q", address, got, want)
		}
	}
	for _, bad := range []SenderPolicy{{Sender: "a b", Action: "junk"}, {Sender: "example.org", Action: "burn"}} {
		if err := db.SetSenderPolicy(ctx, bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if err := db.SetSenderPolicy(ctx, SenderPolicy{Sender: "@Example.org", Action: "accept"}); err != nil {
		t.Error(err)
	}
	if got := db.SenderPolicy("a@example.org"); got != "accept" {
		t.Errorf("after @domain was accepted: %q", got)
	}
	if err := db.RemoveSenderPolicy(ctx, "@example.org"); err != nil {
		t.Error(err)
	}
	if err := db.RemoveSenderPolicy(ctx, "example.org"); !errors.Is(err, ErrNotFound) {
		t.Errorf("removed twice: %v", err)
	}
	if list, err := db.SenderPolicies(ctx); len(list) != 2 || err != nil {
		t.Errorf("left: %+v, %v", list, err)
	}
}

// TestAcquainted: an account knows whose mail it has had, and nobody else's.
func TestAcquainted(t *testing.T) {
	db := open(t)
	ctx := context.Background()
	alice, bob := account(t, db, "alice@home.example"), account(t, db, "bob@home.example")
	for range 2 {
		m := spool(t, db, "Subject: x\r\n\r\ny\r\n")
		err := db.Deliver(ctx, &Delivery{Message: m, Received: time.Now(), To: []Target{
			{Account: alice, Mailbox: "INBOX", Met: []string{"from carol@far.example"}}, {Account: bob, Mailbox: "INBOX"},
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	for id, want := range map[AccountID]int{alice: 2, bob: 0} {
		if got, err := db.Acquainted(ctx, id, "from carol@far.example"); got.Messages != want || err != nil {
			t.Errorf("account %d: %+v, %v", id, got, err)
		}
	}
	if err := db.RemoveAccount(ctx, alice); err != nil {
		t.Error(err)
	}
}

// TestExplanations: found by each of its names at once, and after a restart;
// what is old goes.
func TestExplanations(t *testing.T) {
	dir := t.TempDir()
	db := openAt(t, dir)
	ctx := context.Background()
	db.Explain(Explanation{At: time.Now().Add(-31 * 24 * time.Hour), Trace: "OLD", Outcome: "filed"})
	db.Explain(Explanation{
		At: time.Now(), Trace: "ABC", MessageID: "<1@far.example>", Sender: "Carol@Far.example", Recipients: []string{"alice@home.example", "odd one@home.example"},
		Peer: "192.0.2.1", Outcome: "550 5.7.26 no", Checks: `{"dmarc":"fail"}`,
	})
	find := func(what string, want int) {
		t.Helper()
		list, err := db.Explanations(ctx, what, 10)
		if err != nil || len(list) != want {
			t.Errorf("%s: %d found, %v", what, len(list), err)
		}
	}
	for _, what := range []string{"ABC", "<1@far.example>", "1@far.example", "carol@far.example", "ALICE@home.example"} {
		find(what, 1)
	}
	for _, what := range []string{"", "ABCD", "ice@home.example", "bob@home.example", "%", "AB_"} {
		find(what, 0)
	}
	db.Explain(Explanation{At: time.Now(), Trace: "LAST"})
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = openAt(t, dir)
	find("LAST", 1)
	find("OLD", 1)
	if err := db.forget(ctx); err != nil {
		t.Fatal(err)
	}
	find("OLD", 0)
	find("ABC", 1)
}

// TestExplainedAtOnce: what was explained is found, also while it is being
// written.
func TestExplainedAtOnce(t *testing.T) {
	db := open(t)
	ctx := context.Background()
	entered, release := make(chan struct{}), make(chan struct{})
	go db.writer.do(ctx, func(*tx) error { //nolint:errcheck // it only holds the others up
		close(entered)
		<-release
		return nil
	})
	<-entered
	db.Explain(Explanation{At: time.Now(), Trace: "NEW"})
	for taken := false; !taken; time.Sleep(time.Millisecond) {
		db.explained.mu.Lock()
		taken = len(db.explained.list) == 0
		db.explained.mu.Unlock()
	}
	found := make(chan int)
	go func() {
		list, _ := db.Explanations(ctx, "NEW", 1)
		found <- len(list)
	}()
	var n int
	select {
	case n = <-found:
		close(release)
	case <-time.After(20 * time.Millisecond):
		close(release)
		n = <-found
	}
	if n != 1 {
		t.Error("an explanation was not found while it was being written")
	}
}

// TestDKIMKeys: one key of each algorithm signs for a domain at a time.
func TestDKIMKeys(t *testing.T) {
	db := open(t)
	ctx := context.Background()
	for i, signs := range []time.Time{time.Now(), {}} {
		for _, algorithm := range []string{"rsa", "ed25519"} {
			err := db.AddDKIMKey(ctx, DKIMKey{Domain: "home.example", Selector: fmt.Sprint(algorithm, i), Algorithm: algorithm, Private: []byte("x"), Signs: signs})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := db.AddDKIMKey(ctx, DKIMKey{Domain: "home.example", Selector: "rsa0", Private: []byte("y")}); !errors.Is(err, ErrExists) {
		t.Errorf("added twice: %v", err)
	}
	signing := func() (all string) {
		keys, err := db.DKIMKeys(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range keys {
			if !k.Signs.IsZero() && k.Retired.IsZero() {
				all += k.Selector + " "
			}
		}
		return all
	}
	if got := signing(); got != "rsa0 ed255190 " {
		t.Errorf("signing at first: %s", got)
	}
	if err := db.StartDKIMKey(ctx, 3); err != nil {
		t.Fatal(err)
	}
	if got := signing(); got != "ed255190 rsa1 " {
		t.Errorf("signing after a rotation: %s", got)
	}
	if err := db.RemoveDKIMKey(ctx, "home.example", "rsa1"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a key that signs was removed: %v", err)
	}
	if err := db.RetireDKIMKey(ctx, "home.example", "ed255191"); err != nil {
		t.Error(err)
	}
	for _, id := range []int64{1, 3, 4, 9} { // retired by a successor, signing, retired while it waited, none
		if err := db.StartDKIMKey(ctx, id); !errors.Is(err, ErrNotFound) {
			t.Errorf("key %d, which does not wait, was started: %v", id, err)
		}
	}
	if got := signing(); got != "ed255190 rsa1 " {
		t.Errorf("signing after a key was retired that waited: %s", got)
	}
	if err := errors.Join(db.RetireDKIMKey(ctx, "home.example", "rsa1"), db.RemoveDKIMKey(ctx, "home.example", "rsa1")); err != nil {
		t.Error(err)
	}
}
