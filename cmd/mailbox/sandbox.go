package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"mailbox/mta"
	"mailbox/storage"
)

// sandboxAddress gets what the demo would send outside.
const sandboxAddress = "sandbox@" + demoDomain

// A sandbox takes the place of all other servers: what is sent to them is
// filed in one mailbox, with the envelope in a header field.
type sandbox struct{ db *storage.DB }

// Connect implements mta.Carrier.
func (s sandbox) Connect(context.Context, mta.Destination) (mta.Connection, error) { return s, nil }

// Attempt implements mta.Connection.
func (s sandbox) Attempt() storage.Attempt { return storage.Attempt{Host: "sandbox"} }

// Close implements mta.Connection.
func (s sandbox) Close() {}

// Send implements mta.Connection.
func (s sandbox) Send(ctx context.Context, m *mta.Outbound) (results []mta.Result, again bool) {
	results = make([]mta.Result, len(m.To))
	err := s.file(ctx, m)
	for i := range results {
		results[i].Reply = "250 2.0.0 filed in the sandbox"
		if err != nil {
			results[i].Failure = &mta.Failure{Status: "4.3.0", Attempt: storage.Attempt{Host: "sandbox", Stage: "data", Reply: err.Error()}}
		}
	}
	return results, true
}

func (s sandbox) file(ctx context.Context, m *mta.Outbound) error {
	found, err := s.db.Resolve(ctx, sandboxAddress)
	if err != nil {
		return err
	}
	var to []string
	for _, r := range m.To {
		to = append(to, "<"+r.Address+">")
	}
	spool := s.db.NewSpool()
	if _, err := io.Copy(spool, m.Reader()); err != nil {
		spool.Discard()
		return err
	}
	message, err := spool.Finish(fmt.Appendf(nil, "Return-Path: <%s>\r\nX-Sandbox-Envelope: from <%s>\r\n to %s\r\n", m.Sender, m.Sender, strings.Join(to, ",\r\n ")))
	if err != nil {
		return err
	}
	defer message.Close() //nolint:errcheck // its bytes are in the store
	d := &storage.Delivery{Message: message, Received: time.Now()}
	for _, r := range found.Local {
		d.To = append(d.To, storage.Target{Account: r.Account, Mailbox: "INBOX"})
	}
	return s.db.Deliver(ctx, d)
}
