package wire

import (
	"strconv"
	"unicode/utf8"
)

// maxQuoted is the length of the longest string that is written quoted, in
// octets. Longer ones are literals, which no client has to scan.
const maxQuoted = 1000

// AppendNumber appends n in decimal.
func AppendNumber[N uint32 | uint64 | int | int64](b []byte, n N) []byte {
	if n < 0 {
		return strconv.AppendInt(b, int64(n), 10)
	}
	return strconv.AppendUint(b, uint64(n), 10)
}

// AppendString appends s as a string: quoted if it is printable 7-bit, or
// UTF-8 where utf8ok says that the client has enabled it, and at most 1000
// octets; otherwise as a literal. NUL, which no string can hold, is dropped
// (RFC 9051 section 9, CHAR8).
func AppendString[S string | []byte](b []byte, s S, utf8ok bool) []byte {
	if !quotable(s, utf8ok) {
		return AppendLiteral(b, s)
	}
	b = append(b, '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return append(b, '"')
}

// AppendNString appends s as AppendString does, or NIL if ok is false.
func AppendNString[S string | []byte](b []byte, s S, ok, utf8ok bool) []byte {
	if !ok {
		return append(b, "NIL"...)
	}
	return AppendString(b, s, utf8ok)
}

// AppendLiteral appends s as a literal, without its NULs.
func AppendLiteral[S string | []byte](b []byte, s S) []byte {
	nuls := 0
	for i := range len(s) {
		if s[i] == 0 {
			nuls++
		}
	}
	b = appendHeader(b, int64(len(s)-nuls), false)
	if nuls == 0 {
		return append(b, s...)
	}
	for i := range len(s) {
		if s[i] != 0 {
			b = append(b, s[i])
		}
	}
	return b
}

// appendHeader appends what announces a literal of size octets.
func appendHeader(b []byte, size int64, binary bool) []byte {
	if binary {
		b = append(b, '~')
	}
	b = append(b, '{')
	b = strconv.AppendInt(b, size, 10)
	return append(b, "}\r\n"...)
}

// quotable reports whether s is written as a quoted string.
func quotable[S string | []byte](s S, utf8ok bool) bool {
	if len(s) > maxQuoted {
		return false
	}
	ascii := true
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return false
		}
		ascii = ascii && s[i] < 0x80
	}
	// The conversion may allocate; names and addresses beyond ASCII are rare.
	return ascii || utf8ok && utf8.ValidString(string(s))
}

// AppendAstring appends s as an atom where it is one, else as AppendString
// does. The atom NIL is quoted, since some clients take it for nothing.
func AppendAstring(b []byte, s string, utf8ok bool) []byte {
	if IsAtom(s) && !equalFold(s, "NIL") {
		return append(b, s...)
	}
	return AppendString(b, s, utf8ok)
}

// AppendMailbox appends the name of a mailbox, given in UTF-8: as it is where
// utf8ok says that the client has enabled UTF-8, otherwise in modified UTF-7.
func AppendMailbox(b []byte, name string, utf8ok bool) []byte {
	if !utf8ok {
		name = EncodeUTF7(name)
	}
	return AppendAstring(b, name, utf8ok)
}

// AppendFlags appends flags in parentheses. Each must be a flag as
// Decoder.Flag returns it, or `\*`.
func AppendFlags(b []byte, flags []string) []byte {
	b = append(b, '(')
	for i, f := range flags {
		if i > 0 {
			b = append(b, ' ')
		}
		b = append(b, f...)
	}
	return append(b, ')')
}

// AppendText appends s as the human readable text of a response (RFC 9051
// section 9, text): what is not printable US-ASCII becomes "?", so that no
// text can end a line or begin another, and no text becomes a single "-".
func AppendText(b []byte, s string) []byte {
	if s == "" {
		return append(b, '-')
	}
	for _, r := range s {
		if r < ' ' || r > '~' {
			r = '?'
		}
		b = append(b, byte(r))
	}
	return b
}

// AppendStatus appends a status response with its CRLF (RFC 9051 section
// 7.1): tag is that of the command, or "*"; kind is OK, NO, BAD, BYE or
// PREAUTH; code is a response code without its brackets, or empty. The code
// is written as it is, but for line ends and other controls.
func AppendStatus(b []byte, tag, kind, code, text string) []byte {
	b = append(append(append(b, tag...), ' '), kind...)
	b = append(b, ' ')
	if code != "" {
		b = append(b, '[')
		for i := range len(code) {
			if c := code[i]; c >= ' ' && c != 0x7f {
				b = append(b, c)
			}
		}
		b = append(b, "] "...)
	} else if len(text) > 0 && text[0] == '[' {
		b = append(b, "- "...) // not to be read as a response code
	}
	return append(AppendText(b, text), "\r\n"...)
}
