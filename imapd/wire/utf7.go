package wire

import (
	"unicode/utf16"
	"unicode/utf8"
)

// base64 is the alphabet of modified UTF-7 (RFC 3501 section 5.1.3).
const base64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,"

// EncodeUTF7 converts UTF-8 to the modified UTF-7 of RFC 3501 section 5.1.3.
// Octets that are not UTF-8 become U+FFFD.
func EncodeUTF7(s string) string {
	if !needsUTF7(s) {
		return s
	}
	return string(AppendUTF7(nil, s))
}

// needsUTF7 reports whether s has anything that does not represent itself.
func needsUTF7(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' || s[i] == '&' {
			return true
		}
	}
	return false
}

// AppendUTF7 appends s as EncodeUTF7 converts it.
func AppendUTF7(b []byte, s string) []byte {
	var bits uint32 // not yet written, in the low places
	n := 0          // how many they are
	inside := false // a base64 run is open
	unit := func(u uint16) {
		bits = bits<<16 | uint32(u)
		for n += 16; n >= 6; n -= 6 {
			b = append(b, base64[bits>>(n-6)&63])
		}
		bits &= 1<<n - 1
	}
	closeRun := func() {
		if !inside {
			return
		}
		if n > 0 {
			b = append(b, base64[bits<<(6-n)&63])
		}
		b = append(b, '-')
		bits, n, inside = 0, 0, false
	}
	for _, r := range s {
		switch {
		case r == '&':
			closeRun()
			b = append(b, '&', '-')
			continue
		case r >= ' ' && r <= '~':
			closeRun()
			b = append(b, byte(r))
			continue
		}
		if !inside {
			b = append(b, '&')
			inside = true
		}
		if hi, lo := utf16.EncodeRune(r); hi != utf8.RuneError {
			unit(uint16(hi))
			unit(uint16(lo))
		} else {
			unit(uint16(r))
		}
	}
	closeRun()
	return b
}

// DecodeUTF7 converts modified UTF-7 to UTF-8. It takes nothing but what
// EncodeUTF7 gives, as RFC 3501 section 5.1.3 demands, so that a name has one
// form only: anything else is a SyntaxError.
func DecodeUTF7(s string) (string, error) {
	b, ok := decodeUTF7(s)
	// What decodes to the same name in another way (padding bits, "&AGE-" for
	// "a", two runs side by side) shows in the way back.
	if !ok || EncodeUTF7(string(b)) != s {
		return "", syntaxf("mailbox name is not in modified UTF-7: %+q", s[:min(len(s), maxWord)])
	}
	return string(b), nil
}

// decodeUTF7 converts s without checking that it is the only form.
func decodeUTF7(s string) (b []byte, ok bool) {
	for i := 0; i < len(s); i++ {
		if s[i] != '&' {
			b = append(b, s[i])
			continue
		}
		start := i + 1
		for i++; i < len(s) && s[i] != '-'; i++ {
		}
		if i == len(s) {
			return nil, false
		}
		if i == start {
			b = append(b, '&')
			continue
		}
		if b, ok = appendRun(b, s[start:i]); !ok {
			return nil, false
		}
	}
	return b, true
}

// appendRun appends the UTF-16 that a base64 run holds, as UTF-8. Half a
// surrogate pair becomes U+FFFD, which is no encoding of the run.
func appendRun(b []byte, run string) ([]byte, bool) {
	var bits uint32
	var high rune // a high surrogate that waits for the low one
	n := 0
	for i := range len(run) {
		v := base64Value(run[i])
		if v < 0 {
			return nil, false
		}
		bits = bits<<6 | uint32(v)
		if n += 6; n < 16 {
			continue
		}
		n -= 16
		r := rune(bits >> n & 0xffff)
		bits &= 1<<n - 1
		switch {
		case high != 0:
			r, high = utf16.DecodeRune(high, r), 0
		case r >= 0xd800 && r < 0xdc00:
			high = r
			continue
		}
		b = utf8.AppendRune(b, r)
	}
	return b, high == 0
}

// base64Value returns the place of c in base64, or -1.
func base64Value(c byte) int {
	switch {
	case c >= 'A' && c <= 'Z':
		return int(c - 'A')
	case c >= 'a' && c <= 'z':
		return int(c-'a') + 26
	case c >= '0' && c <= '9':
		return int(c-'0') + 52
	case c == '+':
		return 62
	case c == ',':
		return 63
	}
	return -1
}
