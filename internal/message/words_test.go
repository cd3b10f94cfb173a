package message

import (
	"strings"
	"testing"
)

// TestLongWords: whole subjects in one encoded-word are read, up to a bound;
// beginnings without an end are text.
func TestLongWords(t *testing.T) {
	long := strings.Repeat("x", 3000)
	for in, want := range map[string]string{
		"=?utf-8?q?" + long + "?=":                       long,
		"=?utf-8?q?" + strings.Repeat("x", 20000) + "?=": "=?utf-8?q?" + strings.Repeat("x", 20000) + "?=",
		strings.Repeat("=?a?q?x", 3):                     strings.Repeat("=?a?q?x", 3),
	} {
		if got := DecodeWords(in); got != want {
			t.Errorf("%.40q… is %.40q…, not %.40q…", in, got, want)
		}
	}
}

// BenchmarkDecodeWords reads a field of one mebibyte that begins words and ends none.
func BenchmarkDecodeWords(b *testing.B) {
	s := strings.Repeat("=?a?q?x", 1<<20/7)
	b.SetBytes(int64(len(s)))
	for b.Loop() {
		DecodeWords(s)
	}
}
