package imapd

import (
	"context"
	"errors"

	"mailbox/imapd/wire"
	"mailbox/internal/login"
	"mailbox/storage"
)

// A status is the end of a command that did not succeed. Err is for our log only.
type status struct {
	kind string // NO or BAD
	code string // a response code of RFC 3501 section 7.1 or RFC 5530, or ""
	text string
	err  error
}

func (s *status) Error() string { return s.kind + " " + s.text }
func (s *status) Unwrap() error { return s.err }

func no(code, text string) error { return &status{kind: "NO", code: code, text: text} }
func bad(text string) error      { return &status{kind: "BAD", text: text} }

// errLogout ends a session after its answer.
var errLogout = errors.New("logout")

// errStartTLS asks for the TLS handshake after the answer.
var errStartTLS = errors.New("starttls")

// statusOf chooses the answer to a command that ended with err, which is not an
// error of the connection.
func statusOf(err error) (s *status) {
	var syntax *wire.SyntaxError
	var limit *wire.LimitError
	switch {
	case errors.As(err, &s):
		return s
	case errors.As(err, &syntax):
		return &status{kind: "BAD", text: syntax.Text}
	case errors.As(err, &limit):
		return &status{kind: "BAD", code: "LIMIT", text: limit.Text}
	}
	for _, k := range []struct {
		err        error
		code, text string
	}{
		{storage.ErrOverQuota, "OVERQUOTA", "the account is over its quota"},
		{storage.ErrNonexistent, "NONEXISTENT", "no such mailbox"},
		{storage.ErrExists, "ALREADYEXISTS", "there is such a mailbox already"},
		{storage.ErrInvalid, "CANNOT", "that cannot be done, or no mailbox may have that name"},
		{storage.ErrLimit, "LIMIT", "a limit of the server is reached"},
		{storage.ErrExpunged, "EXPUNGEISSUED", "some of the messages no longer exist"},
		{login.ErrFailed, "AUTHENTICATIONFAILED", "name or password is wrong"},
		{login.ErrThrottled, "UNAVAILABLE", "too many failed logins, try again later"},
		{login.ErrBusy, "UNAVAILABLE", "too many logins at a time, try again later"},
		{login.ErrMechanism, "CANNOT", "mechanism not available"},
	} {
		if errors.Is(err, k.err) {
			return &status{kind: "NO", code: k.code, text: k.text}
		}
	}
	if errors.Is(err, login.ErrSyntax) {
		return &status{kind: "BAD", text: "malformed authentication message"}
	}
	if errors.Is(err, storage.ErrNoSpace) {
		return &status{kind: "NO", code: "UNAVAILABLE", text: "no space left", err: err}
	}
	if errors.Is(err, storage.ErrClosed) || errors.Is(err, context.Canceled) {
		return &status{kind: "NO", code: "UNAVAILABLE", text: "the server is shutting down"}
	}
	return &status{kind: "NO", code: "SERVERBUG", text: "internal error, see the server's log", err: err}
}
