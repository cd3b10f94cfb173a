package admin

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"mailbox/storage"
)

// enqueue queues a message as o says.
func enqueue(t *testing.T, a *API, o storage.Outgoing, to ...string) {
	t.Helper()
	s := a.DB.NewSpool()
	if _, err := io.WriteString(s, "Message-ID: <1@home.example>\r\n\r\nhello\r\n"); err != nil {
		t.Fatal(err)
	}
	m, err := s.Finish(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for _, address := range to {
		o.To = append(o.To, storage.OutgoingRecipient{Address: address, Notify: "SUCCESS", ORCPT: "rfc822;" + address})
	}
	if err := a.DB.Deliver(context.Background(), &storage.Delivery{Message: m, Received: time.Now(), Queue: &o}); err != nil {
		t.Fatal(err)
	}
}

// queue is an API with a user and three messages in the queue: 1 is alice's,
// 2 is forwarded, 3 is alice's too and for an hour from now.
func queue(t *testing.T) (*API, *Client) {
	t.Helper()
	a := api(t)
	c := InProcess(a.Handler())
	if err := c.Call(context.Background(), "user/add", NewUser{Address: "alice@home.example", Password: "wonderland 7"}, &User{}); err != nil {
		t.Fatal(err)
	}
	alice, _, err := a.DB.AccountByLogin(context.Background(), "alice@home.example")
	if err != nil {
		t.Fatal(err)
	}
	enqueue(t, a, storage.Outgoing{Account: alice.ID, Sender: "alice@home.example", RequireTLS: true, Ret: "HDRS", EnvID: "QQ1"}, "bob@far.example", "carol@near.example")
	enqueue(t, a, storage.Outgoing{Sender: ""}, "bob@far.example")
	enqueue(t, a, storage.Outgoing{Account: alice.ID, Sender: "alice@home.example", Release: time.Now().Add(time.Hour)}, "dora@far.example")
	return a, c
}

// listed says who is chosen, and of which message.
func listed(t *testing.T, c *Client, q QueueQuery) string {
	t.Helper()
	var list QueueList
	if err := c.Call(context.Background(), "queue/list", q, &list); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, r := range list.Recipients {
		name, _, _ := strings.Cut(r.Recipient, "@")
		all = append(all, fmt.Sprint(r.ID, name))
	}
	if list.More {
		all = append(all, "more")
	}
	return strings.Join(all, " ")
}

func TestQueueList(t *testing.T) {
	_, c := queue(t)
	no := false
	for _, q := range []struct {
		query QueueQuery
		want  string
	}{
		{QueueQuery{}, "1bob 1carol 2bob 3dora"},
		{QueueQuery{QueueChoice: QueueChoice{IDs: []int64{3, 1, 9}}}, "3dora 1bob 1carol"},
		{QueueQuery{QueueChoice: QueueChoice{Recipient: "Bob@far.example"}}, "1bob 2bob"},
		{QueueQuery{QueueChoice: QueueChoice{Domain: "far.example", User: "alice@home.example"}}, "1bob 3dora"},
		{QueueQuery{QueueChoice: QueueChoice{Older: 60}}, ""},
		{QueueQuery{QueueChoice: QueueChoice{Held: &no}}, "1bob 1carol 2bob 3dora"},
		{QueueQuery{Limit: 2}, "1bob 1carol more"},
		{QueueQuery{Limit: 4}, "1bob 1carol 2bob 3dora"},
		{QueueQuery{QueueChoice: QueueChoice{IDs: []int64{2, 1}}, Limit: 1}, "2bob more"},
	} {
		if got := listed(t, c, q.query); got != q.want {
			t.Errorf("%+v: %q, want %q", q.query, got, q.want)
		}
	}
}

// TestQueueShow: the operator sees what was asked for, and every attempt.
func TestQueueShow(t *testing.T) {
	a, c := queue(t)
	ctx := context.Background()
	rows, err := a.DB.Queue(ctx, storage.QueueFilter{Message: 1}, 1)
	if err != nil {
		t.Fatal(err)
	}
	for i, reply := range []string{"450 4.2.0 greylisted", "452 4.2.2 full"} {
		at := time.UnixMilli(1_790_000_000_000 + int64(i))
		err := a.DB.Settle(ctx, []storage.Settlement{{Recipient: rows[0].QueuedRecipient.ID, Due: time.Now(), Noticed: true, Attempt: &storage.Attempt{
			At: at, Took: 1500 * time.Millisecond, Host: "mx.far.example", Address: "192.0.2.1:25", TLS: "TLS 1.3", Stage: "rcpt", Reply: reply,
		}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	var m QueuedMessage
	if err := c.Call(ctx, "queue/show", QueueRef{1}, &m); err != nil {
		t.Fatal(err)
	}
	if m.Sender != "alice@home.example" || m.User != "alice@home.example" || m.MessageID != "<1@home.example>" || m.Size == 0 || !m.Release.IsZero() ||
		m.Ret != "HDRS" || m.EnvID != "QQ1" || !m.RequireTLS || m.UTF8 || time.Since(m.Queued) > time.Hour || len(m.Recipients) != 2 {
		t.Fatalf("%+v", m)
	}
	bob := m.Recipients[0]
	if bob.Address != "bob@far.example" || bob.Notify != "SUCCESS" || bob.ORCPT != "rfc822;bob@far.example" || !bob.Late || len(bob.Attempts) != 2 {
		t.Fatalf("%+v", bob)
	}
	if got := bob.Attempts[1]; got.At.UnixMilli() != 1_790_000_000_001 || got.Took != 1.5 || got.Host != "mx.far.example" || got.Address != "192.0.2.1:25" ||
		got.TLS != "TLS 1.3" || got.Stage != "rcpt" || got.Reply != "452 4.2.2 full" {
		t.Errorf("%+v", got)
	}
	var list QueueList
	if err := c.Call(ctx, "queue/list", QueueQuery{}, &list); err != nil || list.Recipients[0].Attempts != 2 || list.Recipients[0].LastReply != "452 4.2.2 full" {
		t.Errorf("%+v, %v", list.Recipients[0], err)
	}
	if err := c.Call(ctx, "user/remove", UserRef{"alice@home.example"}, &None{}); err != nil {
		t.Fatal(err)
	}
	m = QueuedMessage{}
	if err := c.Call(ctx, "queue/show", QueueRef{1}, &m); err != nil || m.User != "" || m.Sender != "alice@home.example" {
		t.Errorf("after its sender was removed: %+v, %v", m, err)
	}
	if err := c.Call(ctx, "queue/show", QueueRef{9}, &m); err == nil || err.Error() != "message 9 of the queue: not found" {
		t.Errorf("unknown message: %v", err)
	}
}

// TestQueueActions: what each does, to whom, and to whom it does not.
func TestQueueActions(t *testing.T) {
	a, c := queue(t)
	ctx := context.Background()
	act := func(action string, in any, want int, missing ...int64) {
		t.Helper()
		var done QueueDone
		if err := c.Call(ctx, "queue/"+action, in, &done); err != nil || done.Recipients != want || fmt.Sprint(done.Missing) != fmt.Sprint(missing) {
			t.Errorf("%s %+v: %+v, want %d, %v (%v)", action, in, done, want, missing, err)
		}
	}
	row := func(id int64) QueueRow {
		t.Helper()
		var list QueueList
		if err := c.Call(ctx, "queue/list", QueueQuery{QueueChoice: QueueChoice{IDs: []int64{id}}}, &list); err != nil || len(list.Recipients) == 0 {
			t.Fatalf("message %d: %v", id, err)
		}
		return list.Recipients[0]
	}
	yes := true
	held := QueueQuery{QueueChoice: QueueChoice{Held: &yes}}
	all, everything := QueueChoice{All: true}, QueueQuery{}

	act("hold", QueueChoice{IDs: []int64{2, 9}}, 1, 9)
	if got := listed(t, c, held); got != "2bob" {
		t.Errorf("held are %q", got)
	}
	act("release", QueueChoice{IDs: []int64{1}}, 0, 1)

	// Neither what is held nor what is for later is tried, unless it is named.
	later := time.Now().Add(30 * time.Minute)
	entries, err := a.DB.QueueEntries(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries[:3] {
		if err := a.DB.Settle(ctx, []storage.Settlement{{Recipient: e.Recipient, Due: later}}); err != nil {
			t.Fatal(err)
		}
	}
	act("retry", all, 2)
	for id, now := range map[int64]bool{1: true, 2: false, 3: false} {
		if got := !row(id).Due.After(time.Now()); got != now {
			t.Errorf("message %d is tried now: %v", id, got)
		}
	}
	act("retry", QueueChoice{IDs: []int64{2}}, 0, 2)
	act("retry", QueueChoice{IDs: []int64{3}}, 1)
	if r := row(3); r.Due.After(time.Now()) || !r.Release.After(time.Now()) {
		t.Errorf("named, and for later: %+v", r)
	}
	act("release", all, 1)
	if got := listed(t, c, held); got != "" {
		t.Errorf("held are %q", got)
	}

	act("route", QueueRoute{QueueChoice{Domain: "near.example"}, "smtp.other.example:587"}, 1)
	act("route", QueueRoute{QueueChoice{IDs: []int64{2}}, "smtp.other.example:587"}, 1)
	act("route", QueueRoute{QueueChoice{Domain: "near.example"}, ""}, 1)
	if r := [2]string{row(1).Route, row(2).Route}; r != [2]string{"", "smtp.other.example:587"} {
		t.Errorf("routes %q", r)
	}

	act("drop", QueueChoice{IDs: []int64{3}}, 1)
	act("drop", QueueChoice{Recipient: "bob@far.example"}, 2)
	act("drop", QueueChoice{Domain: "elsewhere.example"}, 0)
	if got := listed(t, c, everything); got != "1carol" {
		t.Errorf("left are %q", got)
	}
}

// TestQueueRefuses: what is more often a slip than meant does nothing.
func TestQueueRefuses(t *testing.T) {
	_, c := queue(t)
	for _, r := range []struct {
		command string
		in      any
		want    string
	}{
		{"drop", QueueChoice{}, "nothing was chosen"},
		{"retry", QueueChoice{}, "nothing was chosen"},
		{"route", QueueRoute{Host: "smtp.other.example:25"}, "nothing was chosen"},
		{"route", QueueRoute{QueueChoice{All: true}, "smtp.other.example"}, "missing port"},
		{"drop", QueueChoice{User: "nobody@home.example"}, "nobody@home.example: not found"},
		{"drop", QueueChoice{IDs: []int64{0}}, "message 0: invalid"},
		{"drop", QueueChoice{IDs: make([]int64, 1001)}, "1001 messages"},
		{"hold", QueueChoice{Older: -1}, "-1 seconds"},
		{"list", QueueQuery{Limit: -1}, "limit -1 is not between"},
		{"list", QueueQuery{Limit: 10_001}, "limit 10001 is not between"},
	} {
		if err := c.Call(context.Background(), "queue/"+r.command, r.in, &None{}); err == nil || !strings.Contains(err.Error(), r.want) {
			t.Errorf("%s %+v: %v, want %q", r.command, r.in, err, r.want)
		}
	}
	if got := listed(t, c, QueueQuery{}); got != "1bob 1carol 2bob 3dora" {
		t.Errorf("left are %q", got)
	}
}
