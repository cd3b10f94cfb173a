package archive

import "strings"

// IsKeyword reports whether s can be a keyword in IMAP (RFC 9051 section 9,
// flag-keyword).
func IsKeyword(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' || strings.IndexByte(`(){%*"\]`, s[i]) >= 0 {
			return false
		}
	}
	return s != ""
}
