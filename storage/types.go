package storage

import (
	"errors"
	"strings"
	"time"
)

// The numbers that name rows. Each is given once and never again.
type (
	AccountID int64
	MailboxID int64
	EmailID   int64 // account × 2³² + n (RFC 8474 EMAILID)
	BlobID    int64
	QueueID   int64  // of a message in the queue
	QueuedID  int64  // of one of its recipients
	UID       uint32 // 1 … 2³²−1, ascending in a mailbox (RFC 9051 section 2.3.1.1)
	ModSeq    int64  // 1 … 2⁶³−1, one counter for each account (RFC 7162 section 3.1)
)

// Account tells the account that an email belongs to.
func (id EmailID) Account() AccountID { return AccountID(id >> 32) }

// Flags are the system flags of a message, one bit each (RFC 9051 section 2.3.2).
type Flags uint8

const (
	Seen Flags = 1 << iota
	Answered
	Flagged
	Deleted
	Draft
)

// flagNames are the system flags as IMAP writes them. It is never changed.
var flagNames = [...]struct {
	flag Flags
	name string
}{{Answered, `\Answered`}, {Flagged, `\Flagged`}, {Deleted, `\Deleted`}, {Seen, `\Seen`}, {Draft, `\Draft`}}

// Names returns the names of the flags, as IMAP writes them.
func (f Flags) Names() []string {
	var names []string
	for _, n := range flagNames {
		if f&n.flag != 0 {
			names = append(names, n.name)
		}
	}
	return names
}

// ParseFlags parts the names of flags into system flags and keywords. Names
// that begin with a backslash and are no system flags are returned as unknown.
func ParseFlags(names []string) (flags Flags, keywords, unknown []string) {
next:
	for _, name := range names {
		for _, n := range flagNames {
			if strings.EqualFold(name, n.name) {
				flags |= n.flag
				continue next
			}
		}
		if strings.HasPrefix(name, `\`) {
			unknown = append(unknown, name)
		} else {
			keywords = append(keywords, name)
		}
	}
	return flags, keywords, unknown
}

// Errors that callers tell apart. All others are faults of the store or the disk.
var (
	ErrNotFound    = errors.New("not found")
	ErrExists      = errors.New("already exists")
	ErrOverQuota   = errors.New("over quota")
	ErrNoSpace     = errors.New("no space left on the disk")
	ErrNonexistent = errors.New("mailbox does not exist")
	ErrLimit       = errors.New("limit reached")
	ErrExpunged    = errors.New("message was expunged")
	ErrInvalid     = errors.New("invalid")
	ErrQueueFull   = errors.New("the queue is full")
	ErrClosed      = errors.New("store is closed")
)

// An Account is a person who can log in.
type Account struct {
	ID         AccountID
	Name       string // the address that it was created with
	Quota      int64  // bytes; 0 means no limit
	Used       int64  // bytes: the sum of RFC822.SIZE over all message rows
	Messages   int64
	ModSeq     ModSeq // the last one given
	Salt       []byte // of every credential (RFC 5802)
	Iterations int
	TagFolders bool // user+tag is filed in the mailbox named tag, where there is one
	Created    time.Time
}

// A Credential is one password of an account, as the keys of SCRAM-SHA-256 (RFC 7677).
type Credential struct {
	ID        int64
	Account   AccountID
	Name      string // "" is the main password, others are app passwords
	StoredKey []byte
	ServerKey []byte
	Created   time.Time
	LastUsed  time.Time // zero: never
	LastFrom  string    // address of the last login
}

// An Alias is a local address that stands for other addresses.
type Alias struct {
	Address string
	Targets []string
}

// A Mailbox is a folder with its counts. A mailbox that is not Exists is a
// name that was deleted and lives on as a parent or as a subscription
// (RFC 9051 section 6.3.5).
type Mailbox struct {
	ID          MailboxID
	Account     AccountID
	Name        string // UTF-8 in NFC, components parted by "/"
	UIDValidity uint32
	UIDNext     UID
	Created     ModSeq
	Changed     ModSeq // of the mailbox and of everything in it: HIGHESTMODSEQ
	SpecialUse  string // "\Sent" …, or ""
	Subscribed  bool
	Exists      bool
	Messages    int64
	Unseen      int64
	Deleted     int64
	Size        int64    // bytes
	Keywords    []string // in use or once used; their place is their number
}

// A Message is a message of a mailbox with what FETCH needs and the index does not hold.
type Message struct {
	UID           UID
	Email         EmailID
	Thread        EmailID
	Blob          BlobID
	Size          int64     // RFC822.SIZE, bytes
	Received      time.Time // INTERNALDATE, in the zone that it was given in
	Saved         time.Time // RFC 8514
	Envelope      []byte    // as IMAP syntax
	BodyStructure []byte    // as IMAP syntax
	Parts         []byte    // message.UnmarshalParts
}
