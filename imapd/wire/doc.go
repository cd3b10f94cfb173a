// Package wire reads and writes the syntax of IMAP (RFC 3501 section 9,
// RFC 9051 section 9) for a server. It knows nothing of mail or storage.
//
// A server reads a command like this:
//
//	err := d.Wait()             // an idle connection holds no buffer here
//	tag, err := d.Tag()         // then primitives, one after the other
//	err = d.SP()
//	name, err := d.Word()
//	…
//	err = d.CRLF()
//
// Any primitive may fail. After a *SyntaxError (answer BAD), a *LimitError
// (answer NO or BAD), or an error of its own OnLiteral, the server answers and
// calls SkipLine, which finds the start of the next command, or says that the
// connection has to be closed. Every other error came from the connection.
//
// Lines end with CRLF. A bare LF is taken as a line end too, after a command
// and after the header of a literal, because people type into such
// connections and old scripts send it; nothing depends on how a line ended.
// A CR that no LF follows is a syntax error.
//
// Responses are written with an Encoder, or appended to a slice with the
// Append functions, which do not allocate.
package wire
