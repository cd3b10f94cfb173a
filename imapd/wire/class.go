package wire

// A class is a set of octets, as a bit in classes.
type class uint8

const (
	atomChar    class = 1 << iota // ATOM-CHAR
	astringChar                   // ASTRING-CHAR: ATOM-CHAR or "]"
	tagChar                       // ASTRING-CHAR except "+"
	listChar                      // list-char: ASTRING-CHAR or a wildcard
	wordChar                      // letters, digits, ".", "-", "_", "="
	digit                         // DIGIT
	setChar                       // the octets of a sequence-set
	quotedChar                    // QUOTED-CHAR of one 7-bit octet that needs no escape
)

// classes says which classes each octet belongs to (RFC 9051 section 9). It
// is never written after its initialisation.
var classes = func() (t [256]class) {
	for i := range t {
		c := byte(i)
		if c != 0 && c < 0x80 && c != '\r' && c != '\n' && c != '"' && c != '\\' {
			t[c] |= quotedChar
		}
		if c >= '0' && c <= '9' {
			t[c] |= digit | setChar | wordChar
		}
		if lower := c | 0x20; lower >= 'a' && lower <= 'z' {
			t[c] |= wordChar
		}
		if c <= ' ' || c >= 0x7f {
			continue
		}
		switch c {
		case '(', ')', '{', '"', '\\':
			continue
		case '%', '*':
			t[c] |= listChar
		case ']':
			t[c] |= listChar | astringChar | tagChar
		case '+':
			t[c] |= listChar | astringChar | atomChar
		default:
			t[c] |= listChar | astringChar | tagChar | atomChar
		}
		switch c {
		case '.', '-', '_', '=':
			t[c] |= wordChar
		case ':', '*', ',', '$':
			t[c] |= setChar
		}
	}
	return t
}()

// IsAtom reports whether s is an atom (RFC 9051 section 9).
func IsAtom(s string) bool { return all(s, atomChar) }

// all reports whether s is not empty and has only octets of class c.
func all(s string, c class) bool {
	for i := range len(s) {
		if classes[s[i]]&c == 0 {
			return false
		}
	}
	return s != ""
}

// upper returns the upper case of an ASCII letter, and every other octet as
// it is.
func upper(c byte) byte {
	if c >= 'a' && c <= 'z' {
		return c - 0x20
	}
	return c
}

// equalFold reports whether a and b are equal but for the case of ASCII
// letters.
func equalFold[A, B string | []byte](a A, b B) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if upper(a[i]) != upper(b[i]) {
			return false
		}
	}
	return true
}
