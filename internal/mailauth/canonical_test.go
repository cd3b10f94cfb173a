package mailauth

import (
	"crypto/sha256"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// canonicalBody is the canonical form of a body, said in the words of RFC 6376
// section 3.4.3 and 3.4.4.
func canonicalBody(body string, relaxed bool) string {
	lines := strings.Split(body, "\n")
	for i := range lines {
		if i < len(lines)-1 {
			lines[i] = strings.TrimSuffix(lines[i], "\r")
		}
		if relaxed {
			lines[i] = strings.TrimRight(regexp.MustCompile("[ \t]+").ReplaceAllString(lines[i], " "), " ")
		}
	}
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	if len(lines) == 0 && relaxed {
		return ""
	}
	return strings.Join(lines, "\r\n") + "\r\n"
}

// TestBodyHash: the hash is that of the canonical form, in whatever pieces
// the body comes.
func TestBodyHash(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pieces := rapid.SliceOf(rapid.SampledFrom([]string{" ", "\t", "\r", "\n", "\r\n", "a", "bc", "\x00", "\x0b\xff", strings.Repeat("x", 5000)})).Draw(t, "pieces")
		for _, relaxed := range []bool{false, true} {
			h := newBodyHash(relaxed)
			for _, p := range pieces {
				if n, err := h.Write([]byte(p)); n != len(p) || err != nil {
					t.Fatal(n, err)
				}
			}
			h.finish()
			want := canonicalBody(strings.Join(pieces, ""), relaxed)
			if sum := sha256.Sum256([]byte(want)); string(h.done) != string(sum[:]) || h.length != int64(len(want)) {
				t.Errorf("relaxed %v: not the hash of %q, %d octets", relaxed, want, h.length)
			}
		}
	})
}
