package login

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"
	"golang.org/x/text/unicode/norm"
)

// maxName is the length of a name in octets: 64 for the local part, 255 for the
// domain (RFC 5321 section 4.5.3.1), and the @.
const maxName = 320

// preparePassword brings a password to the one form that is derived, so that it
// is the same from every keyboard and through every mechanism.
//
// SCRAM clients prepare it themselves, with SASLprep (RFC 5802 section 2.2).
// Hence its mappings come first (RFC 4013 sections 2.1 and 2.2: spaces, nothing,
// NFKC); what OpaqueString (RFC 8265 section 4.2) then allows is wider, such as
// emoji, which SASLprep never heard of. A password of printable ASCII is left as
// it is by all of them.
func preparePassword(password string) (string, error) {
	if len(password) > maxPassword {
		return "", fmt.Errorf("the password is longer than %d octets", maxPassword)
	}
	if !utf8.ValidString(password) {
		return "", errors.New("the password is not UTF-8")
	}
	mapped := norm.NFKC.String(strings.Map(mapSASLprep, password))
	if mapped == "" {
		return "", errors.New("the password is empty")
	}
	prepared, err := precis.OpaqueString.String(mapped)
	if err != nil {
		// The library's error may quote the password.
		return "", errors.New("the password holds a character that cannot be used, such as a control character")
	}
	if len(prepared) > maxPassword {
		return "", fmt.Errorf("the password is longer than %d octets", maxPassword)
	}
	return prepared, nil
}

// mapSASLprep maps a rune as RFC 4013 section 2.1: those commonly mapped to
// nothing (RFC 3454 table B.1) go, other spaces (table C.1.2) become a space.
// U+200B stands in both tables; as nobody can see it, it goes.
func mapSASLprep(r rune) rune {
	switch {
	case r < 0x80:
		return r
	case r == 0x00AD, r == 0x034F, r == 0x1806,
		r >= 0x180B && r <= 0x180D, r >= 0x200B && r <= 0x200D,
		r == 0x2060, r >= 0xFE00 && r <= 0xFE0F, r == 0xFEFF:
		return -1
	case unicode.Is(unicode.Zs, r):
		return ' '
	}
	return r
}

// foldName brings the name of an account to lower case and NFC; ok is false for
// one that no account can have.
func foldName(name string) (folded string, ok bool) {
	if name == "" || len(name) > maxName || !utf8.ValidString(name) {
		return "", false
	}
	for _, r := range name {
		if unicode.IsControl(r) {
			return "", false
		}
	}
	folded = norm.NFC.String(strings.ToLower(name))
	return folded, len(folded) <= maxName
}
