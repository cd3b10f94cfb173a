// Package mta accepts mail for our domains from the internet (RFC 5321).
package mta

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"mailbox/internal/dns"
	"mailbox/internal/listen"
	"mailbox/internal/mailauth"
	"mailbox/internal/smtpd"
	"mailbox/storage"
)

// A Deliverer puts a message into the mailboxes of all its recipients and
// queues it for those elsewhere, or does nothing. It returns when it is
// durable. A *smtpd.Status is the reply to the peer; any other error is ours,
// and temporary. filed says where the message went, for the log.
type Deliverer interface {
	Deliver(ctx context.Context, m *Message) (filed []string, err error)
}

// A Message is one that was taken from a peer, with its trace fields on top, or
// that the queue has for our own users.
type Message struct {
	*storage.Spooled
	From   string // "" is the null reverse-path
	To     []storage.Recipient
	Queue  *storage.Outgoing    // for addresses elsewhere; nil where there are none
	Settle []storage.Settlement // what is recorded in the same transaction
	Report *Message             // about this one, in the same transaction; nil where there is none

	Suspect map[storage.AccountID]bool // whose Junk it goes to, because of who sent it
	Met     []string                   // who sent it, for storage.Acquainted; not told of suspect ones
}

// Server is the inbound MTA. Hostname, Store and Deliver must be set; none of
// the fields may change after Configure.
type Server struct {
	Hostname string
	Store    *storage.DB
	Deliver  Deliverer
	DNS      *dns.Resolver // to find out who sends; nil means that nobody asks
	TLS      *tls.Config   // nil means no STARTTLS
	Log      *slog.Logger  // nil means slog.Default()

	once    sync.Once
	smtp    smtpd.Server
	limiter *listen.Limiter
	proxies atomic.Pointer[[]netip.Prefix]
	checks  atomic.Pointer[checks]
	lists   Blocklists
	trust   trust // in mailing lists
	stats   counters
}

// checks are how senders are looked into.
type checks struct {
	who        *mailauth.Checker // nil: not at all
	blocklists []string
}

// counters count what happened since the start of the process.
type counters struct {
	accepted, rejected, recipientsRefused, connectionsRefused, octets, panics atomic.Int64
}

// Stats are counts since the start of the process.
type Stats struct {
	smtpd.Stats
	Accepted           int64 // messages
	Rejected           int64 // messages, after their last octet
	RecipientsRefused  int64
	ConnectionsRefused int64 // for a limit
	Octets             int64 // of accepted messages
}

// Stats returns the counts as they are now.
func (s *Server) Stats() Stats {
	all := Stats{
		Stats: s.smtp.Stats(), Accepted: s.stats.accepted.Load(), Rejected: s.stats.rejected.Load(),
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
// again; a listener keeps the proxies that it began with.
func (s *Server) Configure(c Config, postmaster string) error {
	if err := c.Validate(); err != nil {
		return err
	}
	s.once.Do(func() {
		if s.Log == nil {
			s.Log = slog.Default()
		}
		s.limiter = listen.NewLimiter(listen.Limits{})
		s.smtp.Log = s.Log
		s.lists.DNS, s.lists.Log, s.lists.OnPanic = s.DNS, s.Log, s.panicked
		s.trust = listTrust
		s.smtp.NewSession = func(conn *smtpd.Conn) smtpd.Session { return &session{s: s, conn: conn} }
	})
	nets, err := prefixes(c.Proxies)
	if err != nil {
		return err
	}
	s.proxies.Store(&nets)
	how := &checks{blocklists: c.Blocklists}
	if s.DNS != nil {
		how.who = &mailauth.Checker{DNS: s.DNS, Hostname: s.Hostname, TrustedSealers: c.TrustedSealers, Log: s.Log, OnPanic: s.panicked}
	}
	s.checks.Store(how)
	s.limiter.Set(listen.Limits{Total: c.Connections, Address: c.PerAddress, Network: c.PerNetwork})
	s.smtp.Configure(smtpd.Config{
		Hostname: s.Hostname, Postmaster: postmaster, MaxSize: c.MaxSize, MaxRecipients: c.MaxRecipients,
		MaxCommands: c.MaxCommands, MaxErrors: c.MaxErrors, Idle: c.IdleTimeout, GreetDelay: c.GreetDelay,
		RefuseEager: true, TLS: s.TLS,
	})
	return nil
}

// Serve speaks to the peers that connect to l until Shutdown, when it returns
// listen.ErrClosed, or until l is closed.
func (s *Server) Serve(l net.Listener) error {
	return s.smtp.Serve(listen.New(l, listen.Config{
		Limiter: s.limiter, Proxies: *s.proxies.Load(), Log: s.Log,
		Refusal: func(r listen.Refused) []byte {
			return fmt.Appendf(nil, "421 4.7.0 %s too many connections, try again later\r\n", s.Hostname)
		},
		OnPanic: s.panicked,
		OnRefused: func(r listen.Refused) {
			s.stats.connectionsRefused.Add(1)
			s.Log.Warn("smtp connection refused", "peer", r.Addr, "limit", r.Reason)
		},
	}))
}

// Shutdown closes the listeners, tells idle peers 421, lets transactions that
// run finish, and closes everything when ctx ends.
func (s *Server) Shutdown(ctx context.Context) error { return s.smtp.Shutdown(ctx) }

func prefixes(list []string) ([]netip.Prefix, error) {
	nets := make([]netip.Prefix, 0, len(list))
	for _, p := range list {
		if a, err := netip.ParseAddr(p); err == nil {
			nets = append(nets, netip.PrefixFrom(a, a.BitLen()))
			continue
		}
		n, err := netip.ParsePrefix(p)
		if err != nil {
			return nil, fmt.Errorf("%q is neither an address nor a network such as \"10.0.0.0/8\"", p)
		}
		nets = append(nets, n)
	}
	return nets, nil
}
