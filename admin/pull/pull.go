// Package pull brings the mail of an account on another IMAP server here:
// octets, dates, flags and keywords, mailboxes with their hierarchy, special
// uses and subscriptions. It never changes the source.
//
// It is safe to stop at any moment and to run again: what was pulled is
// remembered by the destination under the UIDs of the source. Whatever the
// source says is taken for hostile, and bounded.
//
// It speaks IMAP itself. The client of go-imap cannot ask for Gmail's labels,
// has no LSUB, puts no bound on lines and on literals that are not a message,
// and gives up the connection at the first response that it does not know.
package pull

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"time"
)

// Security says how the connection to the source is protected.
type Security int

// The ways to protect a connection.
const (
	ImplicitTLS Security = iota // TLS from the first octet (RFC 8314 section 3.2)
	StartTLS                    // STARTTLS, which the server must offer (RFC 9051 section 6.2.1)
	Plaintext                   // nothing; refused unless the peer is on this machine
)

// Labels says what becomes of the labels of Gmail (X-GM-EXT-1), where each
// message stands once in "All Mail", and in a mailbox for each of its labels.
type Labels int

// The ways to take labels.
const (
	// LabelsAsMailboxes pulls a message into every mailbox that it has a label
	// of, and what has no label at all into Archive.
	LabelsAsMailboxes Labels = iota

	// LabelsAsKeywords pulls every message once: into INBOX, Drafts or Sent if
	// its label is one of these (the first that fits), else into Archive. Its
	// other labels become keywords.
	LabelsAsKeywords
)

// A Puller pulls one account. Address, User, Destination and one of Password
// and Token must be set; the other fields may be left zero. None may change
// once it runs.
type Puller struct {
	Address     string // host:port; 993 (143 with StartTLS and Plaintext) if there is no port
	Security    Security
	TLS         *tls.Config // nil means the roots of the system; the host is verified
	User        string
	Password    string
	Token       string // an OAuth 2.0 access token, for OAUTHBEARER (RFC 7628) or XOAUTH2
	Destination Destination

	Labels      Labels
	Remove      bool          // what is gone at the source is removed here too
	Connections int           // at the same time; 0 means 3
	MaxSize     int64         // of one message, in octets; 0 means 150 MiB
	Aside       string        // directory for what could not be pulled; "" keeps its reasons in the report only
	Patience    time.Duration // how long a connection that worked once is tried again without progress; 0 means 10 minutes
	Poll        time.Duration // between looks at all mailboxes in Follow; 0 means a minute

	Dial     func(ctx context.Context, network, address string) (net.Conn, error) // nil means a net.Dialer
	Progress func(Progress)                                                       // called often, by one goroutine at a time
	Log      *slog.Logger                                                         // nil means slog.Default()
}

// Progress is how far a pull has come.
type Progress struct {
	Mailbox       string // that something was last pulled from
	Messages      int    // pulled in this run
	Bytes         int64
	TotalMessages int   // that are to be pulled in this run, as far as the mailboxes were looked at
	TotalBytes    int64 // by the sizes that the source claims
}

// Pull brings everything over that is not here yet. A report comes also with
// an error, but then it compares nothing.
func (p *Puller) Pull(ctx context.Context) (*Report, error) {
	return p.run(ctx, func(ctx context.Context, r *run) error {
		return r.passAll(ctx)
	})
}

// Follow does what Pull does, and then keeps pulling what is new and what
// changes, until stop is closed: it takes a last look then, and reports. When
// ctx ends, it ends at once, and without.
func (p *Puller) Follow(ctx context.Context, stop <-chan struct{}) (*Report, error) {
	return p.run(ctx, func(ctx context.Context, r *run) error {
		if err := r.passAll(ctx); err != nil {
			return err
		}
		return r.follow(ctx, stop)
	})
}

// Preview says what Pull would do, and writes nothing.
func (p *Puller) Preview(ctx context.Context) (*Report, error) {
	return p.run(ctx, func(ctx context.Context, r *run) error {
		r.preview = true
		return r.passAll(ctx)
	})
}

func (p *Puller) run(ctx context.Context, work func(context.Context, *run) error) (*Report, error) {
	r, err := p.newRun()
	if err != nil {
		return nil, err
	}
	defer r.main.logout()
	err = work(ctx, r)
	compare := err == nil && !r.preview
	report, reportErr := r.report(ctx, compare)
	return report, errors.Join(err, reportErr)
}

// withDefaults returns a copy of p with its zero fields filled in.
func (p *Puller) withDefaults() (*Puller, error) {
	q := *p
	if q.Destination == nil || q.User == "" || (q.Password == "") == (q.Token == "") {
		return nil, errors.New("pull needs a destination, a user, and either a password or a token")
	}
	if _, _, err := net.SplitHostPort(q.Address); err != nil {
		port := "143"
		if q.Security == ImplicitTLS {
			port = "993"
		}
		q.Address = net.JoinHostPort(q.Address, port)
	}
	if q.Connections <= 0 {
		q.Connections = 3
	}
	if q.MaxSize <= 0 {
		q.MaxSize = 150 << 20
	}
	if q.Patience <= 0 {
		q.Patience = 10 * time.Minute
	}
	if q.Poll <= 0 {
		q.Poll = time.Minute
	}
	if q.Dial == nil {
		q.Dial = (&net.Dialer{Timeout: 30 * time.Second}).DialContext
	}
	if q.Log == nil {
		q.Log = slog.Default()
	}
	return &q, nil
}
