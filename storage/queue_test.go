package storage

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

// enqueue queues a letter as o says, and returns its recipients.
func enqueue(t testing.TB, db *DB, o Outgoing, to ...string) []QueueRow {
	t.Helper()
	for _, a := range to {
		o.To = append(o.To, OutgoingRecipient{Address: a})
	}
	before := queued(t, db, QueueFilter{})
	if err := db.Deliver(ctx, &Delivery{Message: spool(t, db, letter(1)), Received: time.Now(), Queue: &o}); err != nil {
		t.Fatal(err)
	}
	return queued(t, db, QueueFilter{})[len(before):]
}

func queued(t testing.TB, db *DB, f QueueFilter) []QueueRow {
	t.Helper()
	rows, err := db.Queue(ctx, f, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// addresses lists the recipients that a filter chooses.
func addresses(t testing.TB, db *DB, f QueueFilter) string {
	t.Helper()
	var all []string
	for _, r := range queued(t, db, f) {
		all = append(all, r.Address)
	}
	return strings.Join(all, " ")
}

func settle(t testing.TB, db *DB, list ...Settlement) {
	t.Helper()
	if err := db.Settle(ctx, list); err != nil {
		t.Fatal(err)
	}
}

// outgoing reads what goes out of a queued message.
func outgoing(t testing.TB, db *DB, m QueuedMessage) string {
	t.Helper()
	b, err := db.OpenBlob(ctx, m.Blob)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var out strings.Builder
	if _, err := io.Copy(&out, io.NewSectionReader(b, m.Skip, m.Size)); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestQueueSurvivesRestart: all that was asked for is there when the server
// comes back, and the message without what only stays here.
func TestQueueSurvivesRestart(t *testing.T) {
	dir := t.TempDir()
	db := openAt(t, dir)
	a := account(t, db, "alice")
	release := time.Now().Add(time.Hour).Truncate(time.Second)
	const top, rest = "Return-Path: <alice@home.example>\r\n", "Message-ID: <1@home.example>\r\nSubject: x\r\n\r\nhello\r\n"
	err := db.Deliver(ctx, &Delivery{Message: spool(t, db, top+rest), Received: time.Now(), Queue: &Outgoing{
		Account: a, Sender: "alice@home.example", Skip: int64(len(top)), UTF8: true, RequireTLS: true, Ret: "HDRS", EnvID: "QQ1", Release: release,
		To: []OutgoingRecipient{{"Bob@far.example", "SUCCESS,FAILURE", "rfc822;bobby@far.example"}, {"carol@BÜCHER.example", "", ""}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = openAt(t, dir)
	defer db.Close()
	entries, err := db.QueueEntries(ctx)
	if err != nil || len(entries) != 2 || db.QueueSize() != 2 {
		t.Fatalf("%d entries, size %d, %v", len(entries), db.QueueSize(), err)
	}
	for _, e := range entries {
		if !e.Due.Equal(release) || !e.Queued.Equal(release) || !e.TLS || e.Sender != "alice@home.example" {
			t.Errorf("entry %+v", e)
		}
	}
	m, err := db.QueuedMessage(ctx, entries[0].Message)
	if err != nil {
		t.Fatal(err)
	}
	if got := outgoing(t, db, m); got != rest {
		t.Errorf("what goes out is %q", got)
	}
	if age := time.Since(m.Queued); age < 0 || age > time.Minute {
		t.Errorf("queued %v ago", age)
	}
	m.Queued, m.Blob = time.Time{}, 0
	want := QueuedMessage{
		ID: entries[0].Message, Account: a, Skip: int64(len(top)), Size: int64(len(rest)), Sender: "alice@home.example", MessageID: "<1@home.example>",
		UTF8: true, RequireTLS: true, Ret: "HDRS", EnvID: "QQ1", Release: release, To: []QueuedRecipient{
			{ID: entries[0].Recipient, Address: "Bob@far.example", Domain: "far.example", Notify: "SUCCESS,FAILURE", ORCPT: "rfc822;bobby@far.example", Due: release},
			{ID: entries[1].Recipient, Address: "carol@BÜCHER.example", Domain: "xn--bcher-kva.example", Due: release},
		},
	}
	if !reflect.DeepEqual(m, want) {
		t.Errorf("the message is\n%+v, want\n%+v", m, want)
	}
	if found := problems(t, db); len(found) > 0 {
		t.Error(found)
	}
}

// TestSettle: an attempt that failed is remembered, one that was the last ends it.
func TestSettle(t *testing.T) {
	db := open(t)
	rows := enqueue(t, db, Outgoing{Sender: "x@far.example"}, "bob@far.example", "carol@far.example")
	bob, carol := rows[0].QueuedRecipient.ID, rows[1].QueuedRecipient.ID
	due := time.Now().Add(time.Hour).Truncate(time.Second)
	attempts := []Attempt{
		{At: time.UnixMilli(1_790_000_000_123), Took: 1500 * time.Millisecond, Host: "mx1.far.example", Address: "192.0.2.1:25", TLS: "TLS 1.3", Stage: "rcpt", Reply: "451 4.7.1 later"},
		{At: time.UnixMilli(1_790_000_900_000), Took: time.Second, Host: "far.example", Stage: "dns", Reply: "timeout"},
	}
	settle(t, db, Settlement{Recipient: bob, Due: due.Add(-time.Minute), Noticed: true, Attempt: &attempts[0]})
	settle(t, db, Settlement{Recipient: bob, Due: due, Attempt: &attempts[1]}, Settlement{Recipient: carol, Due: due})
	got, err := db.Attempts(ctx, bob)
	if !reflect.DeepEqual(got, attempts) || err != nil {
		t.Errorf("attempts %+v, %v", got, err)
	}
	rows = queued(t, db, QueueFilter{})
	if r := rows[0].QueuedRecipient; r.Attempts != 2 || !r.Due.Equal(due) || !r.Noticed || r.Last != attempts[1] {
		t.Errorf("bob stands at %+v", r)
	}
	if r := rows[1].QueuedRecipient; r.Attempts != 0 || !r.Due.Equal(due) || r.Noticed || r.Last != (Attempt{}) {
		t.Errorf("carol stands at %+v", r)
	}

	settle(t, db, Settlement{Recipient: bob, Done: true})
	settle(t, db, Settlement{Recipient: bob, Done: true}, Settlement{Recipient: bob, Due: due, Attempt: &attempts[0]})
	if got := addresses(t, db, QueueFilter{}); got != "carol@far.example" || db.QueueSize() != 1 {
		t.Errorf("left are %s, size %d", got, db.QueueSize())
	}
	if got, err := db.Attempts(ctx, bob); len(got) > 0 || err != nil {
		t.Errorf("attempts for who has left: %v %v", got, err)
	}
	settle(t, db, Settlement{Recipient: carol, Done: true})
	if _, err := db.QueuedMessage(ctx, rows[0].QueuedMessage.ID); !errors.Is(err, ErrNotFound) || db.QueueSize() != 0 {
		t.Errorf("after the last recipient: %v, size %d", err, db.QueueSize())
	}
}

// TestReportTakesThePlace: what became of a recipient and the report on it are
// one write; where the recipient is gone there is no report.
func TestReportTakesThePlace(t *testing.T) {
	db := open(t)
	a := account(t, db, "alice")
	bob := enqueue(t, db, Outgoing{Account: a, Sender: "alice@home.example"}, "bob@far.example")[0].QueuedRecipient.ID
	for i, want := range []error{nil, ErrNotFound} {
		d := delivery(spool(t, db, "Subject: report\r\n\r\n"), "INBOX", a)
		d.Settle = []Settlement{{Recipient: bob, Done: true}}
		if err := db.Deliver(ctx, d); !errors.Is(err, want) {
			t.Errorf("report %d: %v", i, err)
		}
	}
	if n := named(t, db, a, "INBOX").Messages; n != 1 || db.QueueSize() != 0 {
		t.Errorf("%d reports, %d in the queue", n, db.QueueSize())
	}
}

// TestBlobOfTheQueue: bytes live as long as somebody here or in the queue has
// the message, and no longer.
func TestBlobOfTheQueue(t *testing.T) {
	for name, body := range map[string]string{"row": "hello\r\n", "file": strings.Repeat("0123456789\r\n", 50_000)} {
		t.Run(name, func(t *testing.T) {
			db := open(t)
			a := account(t, db, "alice")
			send := func() QueueRow {
				d := delivery(spool(t, db, body), "INBOX", a)
				d.Queue = &Outgoing{Account: a, Sender: "alice@home.example", To: []OutgoingRecipient{{Address: "bob@far.example"}, {Address: "carol@far.example"}}}
				if err := db.Deliver(ctx, d); err != nil {
					t.Fatal(err)
				}
				rows := queued(t, db, QueueFilter{})
				return rows[len(rows)-2]
			}
			first := send()
			settle(t, db, Settlement{Recipient: first.QueuedRecipient.ID, Done: true}, Settlement{Recipient: first.QueuedRecipient.ID + 1, Done: true})
			if got := text(t, db, a, named(t, db, a, "INBOX").ID, 1); got != body {
				t.Error("alice's copy went with the queue's")
			}
			second := send()
			if err := db.RemoveAccount(ctx, a); err != nil {
				t.Fatal(err)
			}
			settle(t, db, Settlement{Recipient: second.QueuedRecipient.ID, Done: true})
			if got := outgoing(t, db, second.QueuedMessage); got != body {
				t.Error("the queue's copy went with alice's")
			}
			settle(t, db, Settlement{Recipient: second.QueuedRecipient.ID + 1, Done: true})
			if _, err := db.OpenBlob(ctx, second.Blob); !errors.Is(err, ErrExpunged) {
				t.Errorf("after the last recipient: %v", err)
			}
			db.blobs.unlinkDue(time.Now().Add(unlinkDelay))
			for _, id := range []BlobID{first.Blob, second.Blob} {
				if _, err := os.Stat(db.blobs.path(id)); err == nil {
					t.Errorf("the file of blob %d stays", id)
				}
			}
		})
	}
}

// TestQueueFull: a full queue takes no more, but lets what is in it go, also
// where a report takes its place.
func TestQueueFull(t *testing.T) {
	db := open(t)
	bob := enqueue(t, db, Outgoing{Sender: "x@far.example"}, "bob@far.example")[0].QueuedRecipient.ID
	var others []QueueEntry
	for i := range maxQueue - 2 {
		others = append(others, QueueEntry{Recipient: bob + 1000 + QueuedID(i)})
	}
	db.queue.add(others)
	to := func(n int, settle ...Settlement) error {
		d := &Delivery{Message: spool(t, db, letter(2)), Received: time.Now(), Queue: &Outgoing{}, Settle: settle}
		for i := range n {
			d.Queue.To = append(d.Queue.To, OutgoingRecipient{Address: fmt.Sprintf("%d@far.example", i)})
		}
		return db.Deliver(ctx, d)
	}
	if err := to(2); !errors.Is(err, ErrQueueFull) {
		t.Errorf("two for one place: %v", err)
	}
	if err := to(1); err != nil {
		t.Errorf("the last place: %v", err)
	}
	if err := to(1); !errors.Is(err, ErrQueueFull) {
		t.Errorf("no place: %v", err)
	}
	if err := to(1, Settlement{Recipient: bob, Due: time.Now(), Noticed: true}); !errors.Is(err, ErrQueueFull) {
		t.Errorf("a report on what stays: %v", err)
	}
	if err := to(1, Settlement{Recipient: bob, Done: true}); err != nil {
		t.Errorf("a report in the place of what it reports on: %v", err)
	}
	if got := addresses(t, db, QueueFilter{}); got != "0@far.example 0@far.example" || db.QueueSize() != maxQueue {
		t.Errorf("the queue holds %s, size %d", got, db.QueueSize())
	}
}

// TestDailyLimit: of messages that come at the same time, no more go through
// than an account may send; what was refused does not count.
func TestDailyLimit(t *testing.T) {
	db := open(t)
	a, b := account(t, db, "alice"), account(t, db, "bob")
	send := func(from AccountID, n int) error {
		d := &Delivery{Message: spool(t, db, letter(1)), Received: time.Now(), Queue: &Outgoing{Account: from, DailyLimit: 5}}
		for range n {
			d.Queue.To = append(d.Queue.To, OutgoingRecipient{Address: "x@far.example"})
		}
		return db.Deliver(ctx, d)
	}
	if err := send(a, 6); !errors.Is(err, ErrLimit) {
		t.Errorf("six at once: %v", err)
	}
	taken := 0
	for _, err := range batch(t, db, 8, func(int) error { return send(a, 1) }) {
		switch {
		case err == nil:
			taken++
		case !errors.Is(err, ErrLimit):
			t.Error(err)
		}
	}
	if n, err := db.SentToday(ctx, a); taken != 5 || n != 5 || err != nil {
		t.Errorf("%d of 8 went through, counted are %d (%v)", taken, n, err)
	}
	if err := errors.Join(send(b, 1), send(0, 50)); err != nil {
		t.Errorf("others: %v", err)
	}
	yesterday := func(tx *tx) error { return tx.exec(`UPDATE sent SET day = day - 1`) }
	if err := db.writer.do(ctx, yesterday); err != nil {
		t.Fatal(err)
	}
	if n, err := db.SentToday(ctx, a); n != 0 || err != nil {
		t.Errorf("on the next day: %d, %v", n, err)
	}
	if err := send(a, 5); err != nil {
		t.Errorf("on the next day: %v", err)
	}
}

// TestQueueFeed: the watcher learns of everything that was committed, in
// order, and of nothing that was not.
func TestQueueFeed(t *testing.T) {
	db := open(t)
	enqueue(t, db, Outgoing{}, "before@far.example")
	wake := db.WatchQueue()
	rows := enqueue(t, db, Outgoing{Sender: "x@far.example", RequireTLS: true}, "bob@far.example")
	<-wake
	bob := rows[0].QueuedRecipient.ID
	if err := db.Deliver(ctx, &Delivery{Message: spool(t, db, letter(1)), Received: time.Now(), To: []Target{{Account: 77}}, Settle: []Settlement{{Recipient: bob, Done: true}}}); err == nil {
		t.Error("a delivery for nobody succeeded")
	}
	due := time.Now().Add(time.Hour).Truncate(time.Second)
	settle(t, db, Settlement{Recipient: bob, Due: due, Noticed: true})
	if _, err := db.ActOnQueue(ctx, QueueFilter{Message: rows[0].QueuedMessage.ID}, QueueAction{Hold: true}); err != nil {
		t.Fatal(err)
	}
	settle(t, db, Settlement{Recipient: bob, Done: true})
	first := QueueEntry{Recipient: bob, Message: rows[0].QueuedMessage.ID, Sender: "x@far.example", Domain: "far.example", Queued: rows[0].Queued, Due: rows[0].Due, TLS: true}
	later := first
	later.Due, later.Noticed = due, true
	held := later
	held.Held = true
	want := []QueueEntry{first, later, held, {Recipient: bob, Message: first.Message, Gone: true}}
	if got := db.QueueChanges(); !reflect.DeepEqual(got, want) {
		t.Errorf("told was\n%+v, want\n%+v", got, want)
	}
	if again := db.QueueChanges(); len(again) > 0 {
		t.Errorf("told twice: %v", again)
	}
	<-wake
}

// TestQueueFilter: each condition chooses, and all that are set must hold.
func TestQueueFilter(t *testing.T) {
	db := open(t)
	a := account(t, db, "alice")
	yes, no := true, false
	first := enqueue(t, db, Outgoing{Account: a, Sender: "alice@home.example"}, "Bob@far.example", "carol@near.example")
	enqueue(t, db, Outgoing{Sender: "x@far.example"}, "bob@far.example", "dora@Bücher.Example", "eve@[192.0.2.1]")
	enqueue(t, db, Outgoing{Release: time.Now().Add(time.Hour)}, "later@far.example")
	if _, err := db.ActOnQueue(ctx, QueueFilter{Recipient: "carol@near.example"}, QueueAction{Hold: true}); err != nil {
		t.Fatal(err)
	}
	ages := func(tx *tx) error {
		return tx.exec(`UPDATE queue_message SET queued = queued - 7200 WHERE id = ?`, first[0].QueuedMessage.ID)
	}
	if err := db.writer.do(ctx, ages); err != nil {
		t.Fatal(err)
	}
	const all = "Bob@far.example carol@near.example bob@far.example dora@Bücher.Example eve@[192.0.2.1] later@far.example"
	for _, c := range []struct {
		f    QueueFilter
		want string
	}{
		{QueueFilter{}, all},
		{QueueFilter{Message: first[0].QueuedMessage.ID}, "Bob@far.example carol@near.example"},
		{QueueFilter{Message: 999}, ""},
		{QueueFilter{Recipient: "BOB@Far.Example"}, "Bob@far.example bob@far.example"},
		{QueueFilter{Recipient: "dora@Bücher.Example"}, "dora@Bücher.Example"},
		{QueueFilter{Recipient: "far.example"}, ""},
		{QueueFilter{Domain: "FAR.example"}, "Bob@far.example bob@far.example later@far.example"},
		{QueueFilter{Domain: "bücher.example"}, "dora@Bücher.Example"},
		{QueueFilter{Domain: "xn--bcher-kva.example"}, "dora@Bücher.Example"},
		{QueueFilter{Domain: "[192.0.2.1]"}, "eve@[192.0.2.1]"},
		{QueueFilter{Account: a}, "Bob@far.example carol@near.example"},
		{QueueFilter{OlderThan: time.Hour}, "Bob@far.example carol@near.example"},
		{QueueFilter{OlderThan: 3 * time.Hour}, ""},
		{QueueFilter{Held: &yes}, "carol@near.example"},
		{QueueFilter{Held: &no}, strings.Replace(all, "carol@near.example ", "", 1)},
		{QueueFilter{Released: true}, strings.TrimSuffix(all, " later@far.example")},
		{QueueFilter{Domain: "far.example", Account: a}, "Bob@far.example"},
	} {
		if got := addresses(t, db, c.f); got != c.want {
			t.Errorf("%+v chooses %q, want %q", c.f, got, c.want)
		}
	}
	if rows, err := db.Queue(ctx, QueueFilter{}, 2); err != nil || len(rows) != 2 || rows[0].Address != "Bob@far.example" {
		t.Errorf("at most two: %d, %v", len(rows), err)
	}
}

// TestQueueActions: each does its work on the chosen ones, and on no other.
func TestQueueActions(t *testing.T) {
	db := open(t)
	future := time.Now().Add(time.Hour).Truncate(time.Second)
	var to []string
	for i := range slice + 1 { // more than one write function takes
		to = append(to, fmt.Sprintf("%d@many.example", i))
	}
	many := enqueue(t, db, Outgoing{Release: future}, to...)
	bob := enqueue(t, db, Outgoing{Release: future}, "bob@far.example")[0]
	act := func(f QueueFilter, a QueueAction, want int) {
		t.Helper()
		if n, err := db.ActOnQueue(ctx, f, a); n != want || err != nil {
			t.Errorf("%+v on %+v: %d, want %d (%v)", a, f, n, want, err)
		}
	}
	yes := true
	chosen := QueueFilter{Domain: "many.example"}
	act(chosen, QueueAction{Hold: true}, len(many))
	act(QueueFilter{Held: &yes}, QueueAction{Free: true}, len(many))
	act(QueueFilter{Held: &yes}, QueueAction{Free: true}, 0)
	host := "smtp.other.example:587"
	act(chosen, QueueAction{Route: &host}, len(many))
	entries, err := db.QueueEntries(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Held || (e.Route == host) != (e.Message != bob.QueuedMessage.ID) || !e.Due.Equal(future) {
			t.Fatalf("entry %+v", e)
		}
	}
	none := ""
	act(chosen, QueueAction{Route: &none}, len(many))
	act(chosen, QueueAction{Retry: true}, len(many))
	for _, r := range queued(t, db, QueueFilter{}) {
		if now := !r.Due.After(time.Now()); now != (r.Domain == "many.example") || r.Route != "" {
			t.Fatalf("recipient %+v", r.QueuedRecipient)
		}
	}
	act(chosen, QueueAction{Drop: true}, len(many))
	act(chosen, QueueAction{Drop: true}, 0)
	if got := addresses(t, db, QueueFilter{}); got != "bob@far.example" {
		t.Errorf("left are %s", got)
	}
	if _, err := db.OpenBlob(ctx, many[0].Blob); !errors.Is(err, ErrExpunged) {
		t.Errorf("bytes of what was dropped: %v", err)
	}
}

// TestRemovedSender: an account that is removed sends nothing more; what it
// had sent goes out, and its removal is not in the way of anything.
func TestRemovedSender(t *testing.T) {
	db := open(t)
	a := account(t, db, "alice")
	row := enqueue(t, db, Outgoing{Account: a, Sender: "alice@home.example"}, "bob@far.example")[0]
	send := func() error {
		return db.Deliver(ctx, &Delivery{Message: spool(t, db, letter(2)), Received: time.Now(), Queue: &Outgoing{Account: a, To: []OutgoingRecipient{{Address: "late@far.example"}}}})
	}
	half := func(tx *tx) error { return tx.exec(`UPDATE account SET removed = 1 WHERE id = ?`, a) }
	if err := db.writer.do(ctx, half); err != nil {
		t.Fatal(err)
	}
	if err := send(); !errors.Is(err, ErrNotFound) {
		t.Errorf("sent while it is removed: %v", err)
	}
	whole := func(tx *tx) error { return tx.exec(`UPDATE account SET removed = 0 WHERE id = ?`, a) }
	if err := db.writer.do(ctx, whole); err != nil {
		t.Fatal(err)
	}
	if err := db.RemoveAccount(ctx, a); err != nil {
		t.Fatal(err)
	}
	if err := send(); !errors.Is(err, ErrNotFound) {
		t.Errorf("sent after it was removed: %v", err)
	}
	if got := addresses(t, db, QueueFilter{Account: a}); got != "bob@far.example" {
		t.Errorf("of what it had sent, left are %q", got)
	}
	if got := outgoing(t, db, row.QueuedMessage); got != letter(1) {
		t.Errorf("what goes out is %q", got)
	}
}

// TestVerifyFindsInQueue: damage of the queue is reported.
func TestVerifyFindsInQueue(t *testing.T) {
	for name, damage := range map[string]string{
		"no recipient":      `DELETE FROM queue_recipient`,
		"no message":        `DELETE FROM queue_message`,
		"no bytes":          `DELETE FROM blob`,
		"size":              `UPDATE queue_message SET size = size + 1`,
		"skip":              `UPDATE queue_message SET skip = skip + 1`,
		"attempts":          `DELETE FROM queue_attempt`,
		"number of attempt": `UPDATE queue_attempt SET number = 7`,
	} {
		t.Run(name, func(t *testing.T) {
			db := openAt(t, t.TempDir())
			defer db.Close()
			rows := enqueue(t, db, Outgoing{}, "bob@far.example")
			settle(t, db, Settlement{Recipient: rows[0].QueuedRecipient.ID, Due: time.Now(), Attempt: &Attempt{At: time.Now(), Stage: "dns"}})
			if found := problems(t, db); len(found) > 0 {
				t.Fatalf("before: %v", found)
			}
			if _, err := db.writer.conn.ExecContext(ctx, `PRAGMA foreign_keys = OFF`); err != nil {
				t.Fatal(err)
			}
			if err := db.writer.do(ctx, func(tx *tx) error { return tx.exec(damage) }); err != nil {
				t.Fatal(err)
			}
			if len(problems(t, db)) == 0 {
				t.Error("nothing was found")
			}
		})
	}
}
