package message

import (
	"strings"
	"unicode/utf8"
)

// Fold makes texts equal that differ in case only. A rune is folded by itself,
// so that the fold of a part of a text is a part of its fold.
func Fold(s string) string {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return strings.ToLower(strings.ToUpper(s)) // ſ and s have the same capital
		}
	}
	return strings.ToLower(s)
}
