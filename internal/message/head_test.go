package message

import (
	"bufio"
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
)

// FuzzReadHead: the header is the one that Builder finds, and what was read is
// all there.
func FuzzReadHead(f *testing.F) {
	for _, s := range []string{
		"A: b\r\n c\r\nD: e\r\n\r\nbody", "", "\r\n", "\n", "no field\r\nA: b\r\n", " x\r\nA: b\r\n\r\n", "A: b", "A: b\nC:\n\nbody", "A: b\r\n\x00\r\n", "A: " + strings.Repeat("x", 100) + "\r\n\r\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h, err := ReadHead(bufio.NewReaderSize(strings.NewReader(s), 16), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		var read []byte
		for _, f := range h.Fields {
			read = append(read, f.Raw...)
		}
		read = slices.Concat(read, h.Gap, h.Begun)
		if !strings.HasPrefix(s, string(read)) {
			t.Fatalf("%q was read as %q", s, read)
		}
		b := NewBuilder()
		b.Write([]byte(s)) //nolint:errcheck // it has none
		built := b.Finish(nil).Header()
		if !slices.EqualFunc(h.Fields, built, func(a, b Field) bool { return a.Name == b.Name && bytes.Equal(a.Raw, b.Raw) }) {
			t.Fatalf("%q has the header %+v here, %+v for Builder", s, h.Fields, built)
		}
	})
}

// TestReadHeadLimit: a header that is too long is not lost.
func TestReadHeadLimit(t *testing.T) {
	const s = "A: b\r\nC: d\r\nE: f\r\n\r\nbody"
	in := bufio.NewReader(strings.NewReader(s))
	h, err := ReadHead(in, 12)
	if !errors.Is(err, ErrLongHeader) || len(h.Fields) != 2 || string(h.Begun) != "E: f\r\n" {
		t.Errorf("%+v, %v", h, err)
	}
}
