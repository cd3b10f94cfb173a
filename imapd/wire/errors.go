package wire

import (
	"errors"
	"fmt"
)

// ErrUnskippable is returned by SkipLine when the rest of a command is larger
// than Limits.Skip: the connection cannot be brought back into step at a
// reasonable price and must be closed.
var ErrUnskippable = errors.New("rest of command is too large to skip")

// A SyntaxError says that the client sent something other than what the
// grammar allows. Text is for the client: printable US-ASCII, without line
// ends, fit to follow "tag BAD ".
type SyntaxError struct {
	Text string
}

func (e *SyntaxError) Error() string { return e.Text }

// A LimitError says that a command, which may be good syntax, is larger than
// the server is willing to read. Text is for the client, as in SyntaxError.
type LimitError struct {
	Text string
	Max  int64 // the limit that was passed, in the unit of Text
}

func (e *LimitError) Error() string { return e.Text }

// syntaxf returns a SyntaxError. Arguments that a client chose are to be
// formatted with %+q, which leaves printable ASCII only.
func syntaxf(format string, args ...any) error {
	return &SyntaxError{Text: fmt.Sprintf(format, args...)}
}

// expected returns the SyntaxError for finding the octet c in the place of
// what.
func expected(what string, c byte) error {
	switch {
	case c == '\r' || c == '\n':
		return syntaxf("expected %s, found the end of the line", what)
	case c > ' ' && c < 0x7f:
		return syntaxf("expected %s, found %c", what, c)
	case c == ' ':
		return syntaxf("expected %s, found a space", what)
	}
	return syntaxf("expected %s, found octet 0x%02x", what, c)
}
