package mta

import (
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// fields are the fields of a header or of a delivery status, in CRLF.
type fields struct {
	strings.Builder
	utf8 bool // may have more than ASCII
}

// add appends a field, unless it is empty. Whatever its value is, it is one
// field, in lines that SMTP can carry.
func (f *fields) add(name, value string) {
	value = strings.TrimSpace(printable(value))
	if value == "" {
		return
	}
	if !f.utf8 {
		value = strings.Map(func(r rune) rune {
			if r > '~' {
				return '?'
			}
			return r
		}, strings.ReplaceAll(value, "…", "..."))
	}
	line := name + ": " + value
	if len(line) > 78 {
		line = strings.Join(wrap(line, 76), "\r\n ")
	}
	f.WriteString(line + "\r\n")
}

// printable keeps what others wrote from being more than a piece of a line: it
// has no controls and line ends, and does not turn the direction of reading.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n':
			return ' '
		case unicode.IsControl(r) || r == utf8.RuneError || unicode.In(r, unicode.Zl, unicode.Zp, unicode.Bidi_Control):
			return '?'
		}
		return r
	}, s)
}

// maxWord is the longest word that is left whole, in octets: the longest ORCPT
// (RFC 3461 section 4.2), and any address of a web page.
const maxWord = 500

// wrap breaks a text into lines of at most width letters, which longer words
// exceed. No line is empty.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		for word != "" {
			piece := word
			if len(piece) > maxWord {
				piece = strings.ToValidUTF8(piece[:maxWord], "")
			}
			word = word[len(piece):]
			switch {
			case line == "":
				line = piece
			case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(piece) <= width:
				line += " " + piece
			default:
				lines = append(lines, line)
				line = piece
			}
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

// date writes a time as RFC 5322 section 3.3 has it; "" for none.
func date(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format("Mon, 02 Jan 2006 15:04:05 -0700")
}

// mtaName writes a host as a domain or an address literal (RFC 5321 section 4.1.3).
func mtaName(host string) string {
	a, err := netip.ParseAddr(host)
	switch {
	case err != nil:
		return host
	case a.Is4():
		return "[" + host + "]"
	}
	return "[IPv6:" + host + "]"
}
