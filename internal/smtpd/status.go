package smtpd

import (
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"

	"github.com/emersion/go-smtp"
)

// A Status is an SMTP reply that the peer should see. Err is for our log only.
// As the error of a Session it may also say 250, to name what was done.
type Status struct {
	Code     int    // RFC 5321 section 4.2
	Enhanced string // RFC 3463: "5.1.1"
	Text     string // shown to the peer: no paths, no SQL
	Err      error  // shown to the operator
}

// Reply makes a Status without a private cause.
func Reply(code int, enhanced, text string) *Status {
	return &Status{Code: code, Enhanced: enhanced, Text: text}
}

func (s *Status) Error() string {
	text := fmt.Sprintf("%d %s %s", s.Code, s.Enhanced, s.Text)
	if s.Err != nil {
		text += ": " + s.Err.Error()
	}
	return text
}

func (s *Status) Unwrap() error { return s.Err }

// Local is the reply to what went wrong here: temporary, and nothing said
// about it (RFC 3463, X.3.0).
func Local(err error) *Status {
	return &Status{Code: 451, Enhanced: "4.3.0", Text: "local error, try again later", Err: err}
}

// ReplyCode is what the peer gets for an error: "550 5.1.1".
func ReplyCode(err error) string {
	var s *Status
	if !errors.As(err, &s) {
		s = Local(err)
	}
	return strconv.Itoa(s.Code) + " " + s.Enhanced
}

// smtpError makes what go-smtp answers out of a session's error. What nobody
// classified is our fault, and temporary.
func smtpError(log *slog.Logger, err error) error {
	if err == nil {
		return nil
	}
	var s *Status
	if !errors.As(err, &s) {
		s = Local(err)
	}
	if s.Err != nil {
		log.Error("local error", "reply", ReplyCode(s), "err", s.Err)
	}
	return &smtp.SMTPError{Code: s.Code, EnhancedCode: enhanced(s.Enhanced), Message: oneLine(s.Text)}
}

func enhanced(code string) smtp.EnhancedCode {
	var e smtp.EnhancedCode
	parts := strings.Split(code, ".")
	if len(parts) != 3 {
		return smtp.EnhancedCodeNotSet
	}
	for i, p := range parts {
		n, err := strconv.Atoi(p)
		if err != nil {
			return smtp.EnhancedCodeNotSet
		}
		e[i] = n
	}
	return e
}

// oneLine keeps what a peer sent us from forging replies or log lines.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}
