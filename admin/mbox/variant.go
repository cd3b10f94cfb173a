// Package mbox reads and writes mailboxes that are one file each.
//
// Each message begins with a From_ line, and an empty line comes before the
// next. There are four variants. In mboxo, lines of a message that begin with
// "From " get a ">" before them, and nobody can tell afterwards which had one
// already: what is read keeps it, as it does in Dovecot, mutt and Thunderbird.
// In mboxrd, lines that begin with any number of ">" and "From " get one more,
// which is taken off again. mboxcl is mboxo with a Content-Length, which counts
// the octets of the body; mboxcl2 has that, and quotes no line of the body.
//
// Which variant a file has is told by its first message. A Writer names it in
// the sender of the From_ line, "mboxrd@z" and so on, as git and public-inbox
// do. Otherwise it is mboxcl or mboxcl2 (between which there is no difference in
// reading) if there is a Content-Length that leads to a From_ line or to the
// end, and mboxo if not. Each Content-Length is checked so; where it is wrong,
// the next From_ line is looked for. A line is one if it begins with "From " and
// has a date, whether or not an empty line is before it.
//
// Lines of a file end as its first does. Bare LFs in a message come back as
// CRLF, and a last line that is not ended comes back ended, but for the bodies
// of mboxcl and mboxcl2.
package mbox

import "fmt"

// A Variant is how the messages of an mbox are kept apart.
type Variant int

const (
	Detect Variant = iota // for a Reader: as the first message of each file tells; a Writer takes RD
	O
	RD
	CL
	CL2
)

var variants = [...]string{"detect", "mboxo", "mboxrd", "mboxcl", "mboxcl2"}

func (v Variant) String() string { return variants[v] }

// ParseVariant reads the name of a variant.
func ParseVariant(s string) (Variant, error) {
	for v, name := range variants {
		if name == s {
			return Variant(v), nil
		}
	}
	return 0, fmt.Errorf("%q is none of mboxo, mboxrd, mboxcl and mboxcl2", s)
}

// counted reports whether bodies have a Content-Length.
func (v Variant) counted() bool { return v == CL || v == CL2 }
