package pull

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"mailbox/admin/archive"
)

// ErrAway is the error of a Destination that cannot be reached for a while, as
// when its server is started anew. What was asked for is then asked for again.
var ErrAway = errors.New("the destination cannot be reached")

// A Destination is the account that mail is pulled into. When a method has
// returned without an error, what it did is durable; when it returned ErrAway,
// it may be. Methods are called by several goroutines at once, but never for
// the same origin.
type Destination interface {
	// Create makes a mailbox where it is missing, and subscribes to it where m
	// says so. It takes nothing away from one that is there.
	Create(ctx context.Context, m archive.Mailbox) error

	// Known calls yield for each message that Add took under this origin and
	// that Change did not report as gone since. Under an origin whose mailbox
	// has another UIDVALIDITY now, there are none.
	Known(ctx context.Context, o Origin, yield func(Known) error) error

	// Add stores messages in a mailbox and remembers their UIDs under the
	// origin: all of them, or none. A UID that is remembered already is left
	// out. A message that equals one in the mailbox (Received to the second,
	// Size, SHA256) which is not remembered under this origin is only
	// remembered: so nothing comes twice when the source numbers anew, or when
	// what was remembered is lost. A *Refused error names one message that
	// cannot be taken; the others are then offered again without it.
	Add(ctx context.Context, mailbox string, o Origin, items []Item) error

	// Change records what changed at the source since Known: all of it, or none.
	Change(ctx context.Context, o Origin, changes []Change) error

	// Copies calls yield for each message that is known under the origin and
	// still in the account, as its octets are stored now.
	Copies(ctx context.Context, o Origin, yield func(Copy) error) error
}

// An Origin is a mailbox of the source in one life of its UIDs (RFC 9051
// section 2.3.1.1).
type Origin struct {
	Source      string // the account there: "user@host:port"
	Mailbox     string // its name there, as the server writes it: in modified UTF-7, as a rule
	UIDValidity uint32
}

// An Item is a message to add. Its Place is its UID in words, its Err is nil,
// and each call of Add may read its Content once.
type Item struct {
	archive.Message
	UID    uint32
	Size   int64
	SHA256 [sha256.Size]byte
}

// A Known message was pulled before.
type Known struct {
	UID     uint32
	Mailbox string   // that it was added to here
	Flags   []string // as last seen at the source
	Size    int64    // as it was read from the source
	SHA256  [sha256.Size]byte
}

// A Change happened to a known message at the source.
type Change struct {
	UID uint32

	// Flags are what the message has at the source now, if it is not gone. Only
	// what they differ in from Known.Flags is done to the copy here, so that
	// what was changed here stays.
	Flags []string

	Gone   bool // it is no longer there: forget it
	Remove bool // with Gone: remove its copy here as well
}

// A Copy is a known message as it is stored here.
type Copy struct {
	UID    uint32
	Size   int64
	SHA256 [sha256.Size]byte
}

// Refused is the error of a Destination that cannot take one message, such as
// one that is larger than it allows.
type Refused struct {
	UID uint32
	Err error
}

func (e *Refused) Error() string { return fmt.Sprintf("UID %d is not taken: %v", e.UID, e.Err) }

func (e *Refused) Unwrap() error { return e.Err }
