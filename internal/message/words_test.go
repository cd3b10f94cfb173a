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

// TestCertain: what another program could decode to something else is told.
func TestCertain(t *testing.T) {
	for s, want := range map[string]bool{
		"":                                     true,
		"plain, and not encoded? = no":         true,
		"=?utf-8?q?a=40b?= =?UTF8*en?B?YQ==?=": true,
		"x=?us-ascii?b?YWI?=y":                 true,
		"=?iso-2022-jp?B?GyRCJSIlaiU5GyhC?=":   true,
		"=?Shift_JIS?b?g0E=?=":                 true,
		"=?utf-8?q??=":                         true,
		"=?utf-8?b?YQ==Yg==?=":                 false,
		"=?utf-8?b?YW!Ji?=":                    false,
		"=?utf-8?b?YW Ji?=":                    false,
		"=?utf-7?q?a+AEA-b?=":                  false,
		"=?unicode-1-1-utf-7?q?a+AEA-b?=":      false,
		"=?ibm037?q?=7C?=":                     false,
		"=?x?q?a?=":                            false,
		"=?utf-8?x?a?=":                        false,
		"=?utf-8?q?a":                          false,
		"=?utf-8?q?a?b?=":                      false,
		"=?utf-8?q?a?= =?":                     false,
		"=?utf-8?q?" + strings.Repeat("_", maxWord+1) + "?=": false,
	} {
		if Certain(s) != want {
			t.Errorf("%.60q: %v", s, !want)
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
