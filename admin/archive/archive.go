// Package archive says what mail looks like that comes from somewhere else, or
// goes there: mailboxes, and the messages in them. Every format that is
// imported is a Reader, every one that is exported a Writer.
package archive

import (
	"context"
	"io"
	"time"
)

// A Mailbox is a folder of an archive.
type Mailbox struct {
	Name       string // UTF-8, levels parted by "/"; the inbox is "INBOX"
	SpecialUse string // "\Sent" and so on, or "" (RFC 6154 section 2)
	Subscribed bool   // true for all mailboxes of an archive that knows no subscriptions
	Messages   int64  // about how many, for a sign of progress; 0: not known beforehand
	Bytes      int64  // about how much, likewise
}

// A Message is one message of an archive.
type Message struct {
	Place    string    // where it stands, for people: the name of a file, an octet of it, a UID
	Received time.Time // INTERNALDATE, in the zone that the archive gives; zero if it gives none
	Flags    []string  // system flags and keywords as IMAP writes them, without \Recent
	Labels   []string  // what Gmail filed it under, as Gmail names it: folders or keywords, as the caller likes
	Content  io.Reader // its octets with CRLF at the ends of lines; read at most once, before yield returns; an error is this message's only
	Loss     error     // a Loss: what is known to be missing; the rest is here
	Err      error     // why it cannot be read; then only Place is sure
}

// A Loss says what could not be carried over of something that otherwise was.
type Loss string

func (l Loss) Error() string { return string(l) }

// A Reader reads an archive, one mailbox after the other.
type Reader interface {
	// Mailboxes lists the mailboxes, those without messages included.
	Mailboxes(ctx context.Context) ([]Mailbox, error)

	// Messages calls yield for each message of a mailbox, always in the same
	// order. A message that cannot be read is yielded with its Err, and what can
	// be read behind it too. Messages returns what yield returned, if that is an
	// error, or why nothing more of the mailbox can be read.
	Messages(ctx context.Context, mailbox string, yield func(*Message) error) error

	// Close must be called when the archive is no longer read.
	Close() error
}

// A Writer writes an archive.
type Writer interface {
	// Mailbox begins a mailbox: what Message gets from now on is put into it. No
	// mailbox is begun twice. A Loss says that it is begun, under another name.
	Mailbox(ctx context.Context, m Mailbox) error

	// Message adds a message. Its Content is read before Message returns. A Loss
	// says that the message is added, without something that the format has no
	// place for; a RefusedError, that it is not, and that the others can be.
	Message(ctx context.Context, m *Message) error

	// Close makes what was written durable. Nothing is whole before that.
	Close() error
}

// A RefusedError says that a format, or the library for it, does not take a message.
type RefusedError struct {
	Err     error
	Content []byte // of the message
}

// Error implements error.
func (e *RefusedError) Error() string { return e.Err.Error() }

// Unwrap implements errors.Unwrap.
func (e *RefusedError) Unwrap() error { return e.Err }
