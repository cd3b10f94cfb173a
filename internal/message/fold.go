package message

import "strings"

// Fold makes texts equal that differ in case only. A rune is folded by itself,
// so that the fold of a part of a text is a part of its fold.
func Fold(s string) string { return strings.ToLower(strings.ToUpper(s)) }
