package admin

import (
	"context"
	"strings"
	"testing"
	"time"

	"mailbox/storage"
)

// TestExplain: what is known of a message is found by its id, Message-ID,
// sender and recipients, the newest first.
func TestExplain(t *testing.T) {
	a := api(t)
	c := InProcess(a.Handler())
	at := time.Now().Truncate(time.Millisecond)
	for i, e := range []storage.Explanation{
		{Trace: "ONE", MessageID: "<1@far.example>", Sender: "bob@far.example", Recipients: []string{"alice@home.example"}, Peer: "192.0.2.1", Outcome: "filed", Checks: `{"because":["x"]}`},
		{Trace: "TWO", Sender: "", Recipients: []string{"alice@home.example", "dora@home.example"}, Peer: "192.0.2.2", Outcome: "refused"},
	} {
		e.At = at.Add(time.Duration(i) * time.Second)
		a.DB.Explain(e)
	}
	for _, q := range []struct {
		query ExplainQuery
		want  string
	}{
		{ExplainQuery{What: "ONE"}, "ONE "},
		{ExplainQuery{What: "1@far.example"}, "ONE "},
		{ExplainQuery{What: "Bob@far.example"}, "ONE "},
		{ExplainQuery{What: "alice@home.example"}, "TWO ONE "},
		{ExplainQuery{What: "alice@home.example", Limit: 1}, "TWO "},
		{ExplainQuery{What: "nobody@home.example"}, ""},
		{ExplainQuery{}, ""},
	} {
		var found []Explanation
		err := c.Call(context.Background(), "explain", q.query, &found)
		var got strings.Builder
		for _, e := range found {
			got.WriteString(e.ID + " ")
			if e.ID == "ONE" && (!e.At.Equal(at) || e.Peer != "192.0.2.1" || e.Outcome != "filed" || string(e.Checks) != `{"because":["x"]}` || e.MessageID != "<1@far.example>") {
				t.Errorf("%+v", e)
			}
		}
		if got.String() != q.want || err != nil || found == nil {
			t.Errorf("%+v: %q, %v; want %q", q.query, got.String(), err, q.want)
		}
	}
	for _, limit := range []int{-1, 1001} {
		if err := c.Call(context.Background(), "explain", ExplainQuery{What: "ONE", Limit: limit}, &[]Explanation{}); err == nil || !strings.Contains(err.Error(), "between 1 and 1000") {
			t.Errorf("limit %d: %v", limit, err)
		}
	}
}
