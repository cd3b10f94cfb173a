package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"mailbox/storage"
)

// An ExplainQuery asks what became of messages.
type ExplainQuery struct {
	What  string `json:"what"`            // the id of a message, a Message-ID, or the address of a sender or recipient
	Limit int    `json:"limit,omitempty"` // 1 to 1,000; 0 means 20
}

// An Explanation says what became of a message that came in, and why.
type Explanation struct {
	At         time.Time       `json:"at"`
	ID         string          `json:"id"` // in our Received field and in the log
	MessageID  string          `json:"message_id,omitempty"`
	Sender     string          `json:"sender"` // reverse-path
	Recipients []string        `json:"recipients"`
	Peer       string          `json:"peer"` // IP address
	Outcome    string          `json:"outcome"`
	Checks     json.RawMessage `json:"checks"` // mta.Checks
}

const maxExplain = 1000

// explain returns the newest first.
func (a *API) explain(ctx context.Context, in ExplainQuery) ([]Explanation, error) {
	limit := in.Limit
	if limit == 0 {
		limit = 20
	}
	if limit < 0 || limit > maxExplain {
		return nil, fmt.Errorf("limit %d is not between 1 and %d: %w", in.Limit, maxExplain, storage.ErrInvalid)
	}
	found, err := a.DB.Explanations(ctx, in.What, limit)
	all := make([]Explanation, 0, len(found))
	for _, e := range found {
		if !json.Valid([]byte(e.Checks)) {
			e.Checks = "{}"
		}
		all = append(all, Explanation{
			At: e.At, ID: e.Trace, MessageID: e.MessageID, Sender: e.Sender, Recipients: e.Recipients, Peer: e.Peer, Outcome: e.Outcome,
			Checks: json.RawMessage(e.Checks),
		})
	}
	return all, err
}
