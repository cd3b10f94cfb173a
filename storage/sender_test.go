package storage

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// TestMaySendAs: an account writes from what is its own, whoever gets the mail
// for postmaster and abuse writes as them, and a catch-all is for what nobody has.
func TestMaySendAs(t *testing.T) {
	db := open(t)
	alice, bob := account(t, db, "alice"), account(t, db, "bob")
	for address, id := range map[string]AccountID{"@bücher.example": bob, "robert@home.example": bob, "abuse@bücher.example": bob} {
		if err := db.AddAddress(ctx, id, address); err != nil {
			t.Fatal(err)
		}
	}
	for address, target := range map[string]string{
		"staff@home.example": "alice@home.example", "all@home.example": "staff@home.example",
		"tagged@home.example": "alice+x@home.example", "sales@bücher.example": "alice@home.example",
	} {
		if err := db.AddAlias(ctx, Alias{Address: address, Targets: []string{target}}); err != nil {
			t.Fatal(err)
		}
	}
	check := func(id AccountID, want bool, list ...string) {
		t.Helper()
		for _, a := range list {
			if got, err := db.MaySendAs(ctx, id, a); err != nil || got != want {
				t.Errorf("account %d as %s: %v %v", id, a, got, err)
			}
		}
	}
	check(alice, true, "alice@home.example", "ALICE+x@Home.Example", "staff@home.example", "staff+x@home.example", "sales@bücher.example",
		"postmaster@home.example", "Postmaster@bücher.example", "abuse@home.example", "postmaster+x@home.example")
	check(alice, false, "bob@home.example", "robert@home.example", "all@home.example", "tagged@home.example", "any@bücher.example",
		"abuse@bücher.example", "alice@elsewhere.example", "@home.example", "@bücher.example", "alice", "", "\xff@home.example")
	check(bob, true, "bob@home.example", "robert+x@home.example", "any@bücher.example", "any+x@xn--bcher-kva.example", "abuse@bücher.example")
	check(bob, false, "postmaster@home.example", "abuse@home.example", "postmaster@bücher.example", "sales@bücher.example", "sales+x@bücher.example", "any@home.example")
	for _, postmaster := range []string{"robert@home.example", "postmaster@home.example", "nobody@home.example"} {
		if err := db.SetDomains([]string{"home.example", "bücher.example"}, postmaster); err != nil {
			t.Fatal(err)
		}
		check(alice, false, "postmaster@home.example")
		check(bob, postmaster == "robert@home.example", "postmaster@home.example")
		check(bob, true, "postmaster@bücher.example") // the postmaster, or else who has all of it
	}
	if err := db.SetDomains([]string{"home.example", "bücher.example"}, "all@home.example"); err != nil {
		t.Fatal(err)
	}
	check(alice, true, "postmaster@home.example")
	check(bob, false, "postmaster@home.example", "postmaster@bücher.example")
	if err := db.RemoveAccount(ctx, alice); err != nil {
		t.Fatal(err)
	}
	check(alice, false, "alice@home.example", "staff@home.example", "postmaster@home.example")
}

// TestDailyLimitCounts: the limit is for recipients elsewhere only, and what is over it is
// neither queued, filed nor counted.
func TestDailyLimitCounts(t *testing.T) {
	db := open(t)
	alice := account(t, db, "alice")
	send := func(to ...string) error {
		q := &Outgoing{Account: alice, DailyLimit: 3, Sender: "alice@home.example"}
		for _, a := range to {
			q.To = append(q.To, OutgoingRecipient{Address: a})
		}
		return db.Deliver(ctx, &Delivery{Message: spool(t, db, letter(1)), Received: time.Now(), To: []Target{{Account: alice, Mailbox: "INBOX"}}, Queue: q})
	}
	for _, c := range []struct {
		to   []string
		want error
		sum  int
	}{
		{[]string{"alice@home.example", "a@home.example", "b@home.example", "c@bücher.example"}, nil, 0},
		{[]string{"alice@home.example", "a@x.example", "b@x.example"}, nil, 2},
		{[]string{"a@x.example", "b@x.example"}, ErrLimit, 2},
		{[]string{"alice@home.example", "a@x.example"}, nil, 3},
		{[]string{"a@x.example"}, ErrLimit, 3},
		{[]string{"alice@home.example"}, nil, 3},
	} {
		if err := send(c.to...); !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("to %v: %v, not %v", c.to, err, c.want)
		}
		if n, err := db.SentToday(ctx, alice); n != c.sum || err != nil {
			t.Errorf("after %v: %d %v", c.to, n, err)
		}
	}
	if b, err := db.Mailbox(ctx, alice, "INBOX"); err != nil || b.Messages != 4 {
		t.Errorf("%d messages were filed (%v), not the 4 that were taken", b.Messages, err)
	}
	if n := db.QueueSize(); n != 4+3+2+1 {
		t.Errorf("%d recipients are queued", n)
	}
}

// TestDeliverOrQueueNothing: where the queue or the disk is full, nobody gets
// the message, here or elsewhere, and the same message goes when there is room.
func TestDeliverOrQueueNothing(t *testing.T) {
	db := open(t)
	alice := account(t, db, "alice")
	noise := make([]byte, 200_000)
	rand.NewChaCha8([32]byte{1}).Read(noise) //nolint:errcheck // it cannot fail
	send := func() error {
		return db.Deliver(ctx, &Delivery{
			Message: spool(t, db, letter(1)+string(noise)), Received: time.Now(), To: []Target{{Account: alice, Mailbox: "INBOX"}},
			Queue: &Outgoing{Account: alice, Sender: "alice@home.example", To: []OutgoingRecipient{{Address: "a@x.example"}, {Address: "b@x.example"}}},
		})
	}
	check := func(messages int64, queued int) {
		t.Helper()
		b, err := db.Mailbox(ctx, alice, "INBOX")
		entries, qerr := db.QueueEntries(ctx)
		sent, serr := db.SentToday(ctx, alice)
		if err := errors.Join(err, qerr, serr); err != nil {
			t.Fatal(err)
		}
		if b.Messages != messages || len(entries) != queued || sent != queued {
			t.Errorf("%d messages are filed, %d recipients queued, %d counted", b.Messages, len(entries), sent)
		}
	}
	for i := range maxQueue - 1 {
		db.queue.there[QueuedID(1000+i)] = struct{}{}
	}
	if err := send(); !errors.Is(err, ErrQueueFull) {
		t.Errorf("into a full queue: %v", err)
	}
	check(0, 0)
	clear(db.queue.there)
	limit := func(beyond int) {
		t.Helper()
		err := db.writer.do(ctx, func(t *tx) error {
			var pages int
			if err := t.queryRow(`PRAGMA page_count`).Scan(&pages); err != nil {
				return err
			}
			return t.queryRow(fmt.Sprintf(`PRAGMA max_page_count = %d`, pages+beyond)).Scan(&pages)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	limit(1)
	if err := send(); !errors.Is(err, ErrNoSpace) {
		t.Errorf("onto a full disk: %v", err)
	}
	check(0, 0)
	limit(1 << 20)
	if err := send(); err != nil {
		t.Error(err)
	}
	check(1, 2)
}
