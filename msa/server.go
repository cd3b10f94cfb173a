// Package msa accepts mail from our users (RFC 6409): it knows who they are,
// holds them to the addresses that are theirs, and completes what they send.
package msa

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"mailbox/internal/listen"
	"mailbox/internal/login"
	"mailbox/internal/message"
	"mailbox/internal/smtpd"
	"mailbox/storage"
)

// maxRelease is how far ahead a message may be dated (RFC 4865).
const maxRelease = 30 * 24 * time.Hour

// A Submitter files a message for its local recipients and queues it for the
// others, or does nothing. It returns when it is durable. A *smtpd.Status is
// the reply to the client; any other error is ours, and temporary. filed says
// where the message went, for the log.
type Submitter interface {
	Submit(ctx context.Context, m *Message) (filed []string, err error)
}

// A Signer signs messages of our domains (RFC 6376). It reads body, which
// follows the empty line, to its end, and returns the fields to put on top: none
// for a domain without a key.
type Signer interface {
	Sign(domain string, header message.Header, body io.Reader) ([]byte, error)
}

// A Message is one that a user has submitted, complete, with its trace fields
// on top.
type Message struct {
	*storage.Spooled
	Account storage.AccountID // who submitted it
	From    string            // "" is the null reverse-path
	To      []storage.Recipient
	Queue   *storage.Outgoing // for those who do not get it here and now; nil where there are none
}

// Server is the submission server. Hostname, Store, Auth and Submit must be
// set; none of the fields may change after Configure.
type Server struct {
	Hostname string
	Store    *storage.DB
	Auth     *login.Authenticator
	Submit   Submitter
	Sign     Signer       // nil: messages are not signed
	TLS      *tls.Config  // nil means no STARTTLS, and ServeTLS fails
	Log      *slog.Logger // nil means slog.Default()

	once    sync.Once
	ctx     context.Context // of logins; ends when the last connections must
	cancel  context.CancelFunc
	smtp    smtpd.Server
	limiter *listen.Limiter
	current atomic.Pointer[Config]
	stats   counters
}

// counters count what happened since the start of the process.
type counters struct {
	logins, failedLogins, accepted, rejected, recipientsRefused, connectionsRefused, octets, panics atomic.Int64
}

// Stats are counts since the start of the process.
type Stats struct {
	smtpd.Stats
	Logins             int64
	FailedLogins       int64
	Accepted           int64 // messages
	Rejected           int64 // messages, after their last octet
	RecipientsRefused  int64
	ConnectionsRefused int64 // for a limit
	Octets             int64 // of accepted messages
}

// Stats returns the counts as they are now.
func (s *Server) Stats() Stats {
	all := Stats{
		Stats: s.smtp.Stats(), Logins: s.stats.logins.Load(), FailedLogins: s.stats.failedLogins.Load(),
		Accepted: s.stats.accepted.Load(), Rejected: s.stats.rejected.Load(),
		RecipientsRefused: s.stats.recipientsRefused.Load(), ConnectionsRefused: s.stats.connectionsRefused.Load(),
		Octets: s.stats.octets.Load(),
	}
	all.Panics += s.stats.panics.Load()
	return all
}

// panicked counts panics outside of sessions.
func (s *Server) panicked(any, []byte) { s.stats.panics.Add(1) }

// Configure sets what holds for connections to come; postmaster is the domain
// of "RCPT TO:<postmaster>". It must be called before Serve and may be called
// again.
func (s *Server) Configure(c Config, postmaster string) error {
	if err := c.Validate(); err != nil {
		return err
	}
	s.once.Do(func() {
		if s.Log == nil {
			s.Log = slog.Default()
		}
		s.ctx, s.cancel = context.WithCancel(context.Background())
		s.limiter = listen.NewLimiter(listen.Limits{})
		s.smtp.Log = s.Log
		s.smtp.NewSession = func(conn *smtpd.Conn) smtpd.Session {
			return &session{s: s, cfg: s.current.Load(), conn: conn, log: conn.Log()}
		}
	})
	s.current.Store(&c)
	s.limiter.Set(c.limits())
	s.smtp.Configure(smtpd.Config{
		Hostname: s.Hostname, Postmaster: postmaster, MaxSize: c.MaxSize, MaxRecipients: c.MaxRecipients,
		MaxCommands: c.MaxCommands, MaxErrors: c.MaxErrors, Idle: c.IdleTimeout,
		TLS: s.TLS, DSN: true, RequireTLS: true, MaxRelease: maxRelease,
	})
	return nil
}

// Serve speaks to the clients that connect to l, and offers STARTTLS, until
// Shutdown, when it returns listen.ErrClosed, or until l is closed.
func (s *Server) Serve(l net.Listener) error {
	return s.smtp.Serve(s.admit(l, func(listen.Refused) []byte {
		return fmt.Appendf(nil, "421 4.7.0 %s too many connections, try again later\r\n", s.Hostname)
	}))
}

// ServeTLS is Serve with TLS from the first octet (RFC 8314 section 3.3).
func (s *Server) ServeTLS(l net.Listener) error {
	if s.TLS == nil {
		return fmt.Errorf("msa: %s: no TLS configuration", l.Addr())
	}
	return s.smtp.ServeTLS(s.admit(l, nil), s.TLS)
}

// admit holds the connections of l to the limits.
func (s *Server) admit(l net.Listener, refusal func(listen.Refused) []byte) net.Listener {
	return listen.New(l, listen.Config{
		Limiter: s.limiter, Log: s.Log, Refusal: refusal,
		OnPanic: s.panicked,
		OnRefused: func(r listen.Refused) {
			s.stats.connectionsRefused.Add(1)
			s.Log.Warn("submission connection refused", "peer", r.Addr, "limit", r.Reason)
		},
	})
}

// Shutdown closes the listeners, tells idle clients 421, lets transactions and
// logins that run finish, and closes everything when ctx ends.
func (s *Server) Shutdown(ctx context.Context) error {
	stop := context.AfterFunc(ctx, s.cancel)
	defer stop()
	return s.smtp.Shutdown(ctx)
}
