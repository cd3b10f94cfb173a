package smtpd

import (
	"context"
	"errors"
	"io"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/emersion/go-smtp"
)

// A Session decides about the mail of one connection, from its EHLO to the
// next STARTTLS or its end. Its methods run one at a time. An error that is no
// *Status is logged, and the peer told to try again later.
type Session interface {
	// Mail begins a transaction. An earlier one is over.
	Mail(ctx context.Context, m Mail) error
	// Rcpt judges one more recipient of the transaction.
	Rcpt(ctx context.Context, to string) error
	// Data takes the message. The envelope holds what Mail and Rcpt accepted.
	// A read error means that the peer is gone or broke a rule: nothing may be
	// kept then. A *Status of 250 tells the peer what was done.
	Data(ctx context.Context, e Envelope, r io.Reader) error
}

// Mail is what a MAIL command said.
type Mail struct {
	From string // "" is the null reverse-path
	Size int64  // declared, in bytes; 0 where it is not
	UTF8 bool   // SMTPUTF8 (RFC 6531)

	Helo     string // the name that the peer gave itself
	Protocol string // the word for Received (RFC 3848, RFC 6531 section 4.3)
}

// An Envelope is a transaction that is ready for its message.
type Envelope struct {
	Mail
	To []string // as the peer wrote them, each once
}

// session stands between go-smtp, which parses, and a Session, which decides.
type session struct {
	c *Conn
	s Session

	mu   sync.Mutex // Data may run beside Reset
	open bool       // a transaction
	env  Envelope
}

// Mail implements smtp.Session.
func (s *session) Mail(from string, o *smtp.MailOptions) error {
	if _, open := s.envelope(); open {
		return smtpError(s.c.log, Reply(503, "5.5.1", "a transaction is open already"))
	}
	m := Mail{From: from, Size: o.Size, UTF8: o.UTF8, Helo: s.c.helo, Protocol: s.c.protocol(o.UTF8)}
	err := s.guard(func() error { return s.s.Mail(s.c.ctx, m) })
	if err == nil {
		s.set(true, Envelope{Mail: m})
	}
	return err
}

// Rcpt implements smtp.Session.
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	err := s.guard(func() error { return s.s.Rcpt(s.c.ctx, to) })
	if env, open := s.envelope(); err == nil && !slices.Contains(env.To, to) {
		env.To = append(slices.Clone(env.To), to)
		s.set(open, env)
	}
	return err
}

// Data implements smtp.Session. Under BDAT it runs beside Reset and Logout, in
// a goroutine of its own.
func (s *session) Data(r io.Reader) error {
	env, open := s.envelope()
	if !open { // RSET came before this goroutine did
		return smtp.ErrDataReset
	}
	var body *body
	if _, chunked := r.(*io.PipeReader); !chunked {
		body = s.c.body
		r = body
	}
	in := &failingReader{r: r}
	err := s.guard(func() error {
		err := s.s.Data(s.c.ctx, env, in)
		if in.err != nil && in.err != io.EOF {
			return in.status(err)
		}
		return err
	})
	if body != nil {
		if broken := body.drain(); broken != nil {
			return smtpError(s.c.log, broken)
		}
	}
	return err
}

// Reset implements smtp.Session.
func (s *session) Reset() { s.set(false, Envelope{}) }

func (s *session) envelope() (Envelope, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.env, s.open
}

// set replaces the envelope. One that was handed out never changes.
func (s *session) set(open bool, env Envelope) {
	s.mu.Lock()
	s.open, s.env = open, env
	s.mu.Unlock()
}

// Logout implements smtp.Session.
func (s *session) Logout() error { return nil }

// guard calls a Session's method; a panic ends this connection only.
func (s *session) guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.c.server.stats.panics.Add(1)
			s.c.log.Error("panic in an SMTP session", "panic", p, "stack", string(debug.Stack()))
			s.c.lastReply.Store(true)
			err = smtpError(s.c.log, Reply(421, "4.3.0", "internal error"))
		}
	}()
	return smtpError(s.c.log, f())
}

// failingReader remembers that reading failed, so that no Session can take
// half a message for a whole one.
type failingReader struct {
	r   io.Reader
	err error
}

func (f *failingReader) Read(p []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	n, err := f.r.Read(p)
	f.err = err
	return n, err
}

// status is the reply to a message that could not be read.
func (f *failingReader) status(err error) error {
	var s *Status
	switch {
	case errors.As(f.err, &s):
		return f.err
	case errors.As(err, &s) && s.Code >= 400:
		return err
	}
	return Reply(451, "4.4.2", "message was cut off")
}
