package smtpd

import (
	"context"
	"errors"
	"io"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// A Session decides about the mail of one connection, from its EHLO to the
// next STARTTLS or its end. Its methods run one at a time. An error that is no
// *Status is logged, and the peer told to try again later.
type Session interface {
	// Mail begins a transaction. An earlier one is over.
	Mail(ctx context.Context, m Mail) error
	// Rcpt judges one more recipient of the transaction.
	Rcpt(ctx context.Context, to Rcpt) error
	// Data takes the message. The envelope holds what Mail and Rcpt accepted.
	// A read error means that the peer is gone or broke a rule: nothing may be
	// kept then. A *Status of 250 tells the peer what was done.
	Data(ctx context.Context, e Envelope, r io.Reader) error
}

// A Login is a Session whose peers may log in (RFC 4954).
type Login interface {
	Session
	// Mechanisms are what the peer may use on this connection; none means that
	// AUTH is not offered.
	Mechanisms() []string
	// Auth begins an exchange.
	Auth(mechanism string) (Exchange, error)
}

// An Exchange is one try to log in. Next takes the peer's message, nil where
// it sent none with the command, and returns the challenge that answers it, or
// that the login is done.
type Exchange interface {
	Next(message []byte) (challenge []byte, done bool, err error)
}

// Mail is what a MAIL command said.
type Mail struct {
	From       string    // "" is the null reverse-path
	Size       int64     // declared, in bytes; 0 where it is not
	UTF8       bool      // SMTPUTF8 (RFC 6531)
	RequireTLS bool      // REQUIRETLS (RFC 8689)
	Ret, EnvID string    // "FULL", "HDRS" or ""; decoded (RFC 3461)
	Release    time.Time // not to be sent before (RFC 4865); zero: at once

	Helo     string // the name that the peer gave itself
	Protocol string // the word for Received (RFC 3848, RFC 6531 section 4.3)
}

// Rcpt is what a RCPT command said.
type Rcpt struct {
	Address string // as the peer wrote it
	Notify  string // "NEVER", or of "SUCCESS,FAILURE,DELAY"; "" is the default (RFC 3461)
	ORCPT   string // "rfc822;address" or "utf-8;address", decoded; "" is none
}

// An Envelope is a transaction that is ready for its message.
type Envelope struct {
	Mail
	To []Rcpt // each address once
}

// session stands between go-smtp, which parses, and a Session, which decides.
type session struct {
	c *Conn
	s Session

	mu   sync.Mutex // Data may run beside Reset
	open bool       // a transaction
	env  Envelope
}

const (
	maxEnvID = 100 // octets (RFC 3461 section 4.4)
	maxORCPT = 500 // octets (RFC 3461 section 4.2)
)

// Mail implements smtp.Session.
func (s *session) Mail(from string, o *smtp.MailOptions) error {
	if _, open := s.envelope(); open {
		return smtpError(s.c.log, Reply(503, "5.5.1", "a transaction is open already"))
	}
	if len(o.EnvelopeID) > maxEnvID {
		return smtpError(s.c.log, Reply(501, "5.5.4", "ENVID is too long"))
	}
	m := Mail{
		From: from, Size: o.Size, UTF8: o.UTF8, RequireTLS: o.RequireTLS, Ret: string(o.Return), EnvID: o.EnvelopeID, Release: s.c.release,
		Helo: s.c.helo, Protocol: s.c.protocol(o.UTF8),
	}
	err := s.guard(func() error { return s.s.Mail(s.c.ctx, m) })
	if err == nil {
		s.set(true, Envelope{Mail: m})
	}
	return err
}

// Rcpt implements smtp.Session.
func (s *session) Rcpt(address string, o *smtp.RcptOptions) error {
	to := Rcpt{Address: address}
	for i, n := range o.Notify {
		if i > 0 {
			to.Notify += ","
		}
		to.Notify += string(n)
	}
	if o.OriginalRecipient != "" {
		to.ORCPT = strings.ToLower(string(o.OriginalRecipientType)) + ";" + o.OriginalRecipient
		if len(to.ORCPT) > maxORCPT || !utf8.ValidString(to.ORCPT) || strings.ContainsFunc(to.ORCPT, unicode.IsControl) {
			return smtpError(s.c.log, Reply(501, "5.5.4", "malformed ORCPT"))
		}
	}
	err := s.guard(func() error { return s.s.Rcpt(s.c.ctx, to) })
	env, open := s.envelope()
	if known := slices.ContainsFunc(env.To, func(r Rcpt) bool { return r.Address == address }); err == nil && !known {
		env.To = append(slices.Clone(env.To), to)
		s.set(open, env)
	}
	return err
}

// AuthMechanisms implements smtp.AuthSession.
func (s *session) AuthMechanisms() []string {
	var names []string
	if l, ok := s.s.(Login); ok {
		_ = s.guard(func() error { // what fails offers nothing
			names = l.Mechanisms()
			return nil
		})
	}
	return names
}

// Auth implements smtp.AuthSession.
func (s *session) Auth(mechanism string) (sasl.Server, error) {
	l, ok := s.s.(Login)
	if !ok {
		return nil, smtpError(s.c.log, Reply(500, "5.5.1", "AUTH is not offered here"))
	}
	if _, open := s.envelope(); open {
		return nil, smtpError(s.c.log, Reply(503, "5.5.1", "AUTH is not allowed inside a transaction"))
	}
	var x Exchange
	err := s.guard(func() (err error) {
		x, err = l.Auth(mechanism)
		return err
	})
	return exchange{s, x}, err
}

// exchange is an Exchange as go-smtp wants it.
type exchange struct {
	s *session
	x Exchange
}

// Next implements sasl.Server.
func (e exchange) Next(message []byte) (challenge []byte, done bool, err error) {
	err = e.s.guard(func() (err error) {
		challenge, done, err = e.x.Next(message)
		return err
	})
	e.s.c.authenticated = e.s.c.authenticated || done && err == nil
	return challenge, done, err
}

// Data implements smtp.Session. Under BDAT it runs beside Reset and Logout, in
// a goroutine of its own.
func (s *session) Data(r io.Reader) error {
	var body *body
	if chunks, chunked := r.(*io.PipeReader); !chunked {
		body = s.c.body
		r = body
	} else if err := begun(chunks); err != nil {
		<-s.c.done // go-smtp would take the result for that of the next message
		return err
	}
	env, _ := s.envelope()
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
	if in.err == smtp.ErrDataReset {
		<-s.c.done // as above
	}
	return err
}

// begun waits for the first octet of a message in chunks, or for its end. Until
// that is read, go-smtp can go no further: the transaction is still the one that
// the message belongs to, and not one that began after it was given up.
func begun(chunks *io.PipeReader) error {
	_, err := chunks.Read(nil)
	if err == io.EOF {
		return nil
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
