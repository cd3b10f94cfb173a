package mta

import (
	"context"
	"fmt"
	"io"

	"mailbox/storage"
)

// A Carrier takes messages to where they go: Remote to other servers.
type Carrier interface {
	// Connect reaches one of the hosts of a destination and makes it ready for
	// messages. The error is a *Failure, whose Attempt says what was tried.
	Connect(ctx context.Context, d Destination) (Connection, error)
}

// A Connection takes messages to one host, one after the other.
type Connection interface {
	// Send sends a message to its recipients. It returns what became of each,
	// in their order, and whether the connection may be used again.
	Send(ctx context.Context, m *Outbound) (results []Result, again bool)
	// Attempt says which host it is, for the operator.
	Attempt() storage.Attempt
	Close()
}

// An Outbound is a message on its way to the recipients in To.
type Outbound struct {
	storage.QueuedMessage
	Content io.ReaderAt // Size octets, in lines that end in CRLF
}

// Reader reads the content from its begin.
func (m *Outbound) Reader() io.Reader { return io.NewSectionReader(m.Content, 0, m.Size) }

// A Result is what became of a message for one recipient.
type Result struct {
	Failure *Failure        // nil: the host has it
	Reply   string          // the host's words where it has it
	Reports bool            // the host sends the reports that RFC 3461 asks for
	Via     storage.Attempt // how it got there
}

// settled tells that the message is not tried again.
func (r Result) settled() bool { return r.Failure == nil || r.Failure.Permanent() }

// A Failure says why a message did not get to a recipient.
type Failure struct {
	storage.Attempt        // Stage and Reply say what went wrong
	Status          string // RFC 3463: "5.1.1", "4.4.1"
	Remote          bool   // Reply is what the host said
	HostDown        bool   // it is the host that does not work, whatever the message
}

func (f *Failure) Error() string { return fmt.Sprintf("%s: %s: %s", f.Attempt.Host, f.Stage, f.Reply) }

// Permanent tells that trying again is of no use.
func (f *Failure) Permanent() bool { return f.Status[0] == '5' }
