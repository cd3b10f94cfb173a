package archive

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// TestFirstLineDecides: a file with LF is given CRLF, one with CRLF is left alone.
func TestFirstLineDecides(t *testing.T) {
	for in, want := range map[string]string{
		"":                     "",
		"a":                    "a",
		"a\nb\n":               "a\r\nb\r\n",
		"a\nb\r\nc":            "a\r\nb\r\nc",
		"a\r\nb\nc\r\r\n":      "a\r\nb\nc\r\r\n",
		"\n\r\n":               "\r\n\r\n",
		"a\rb\nc\r\r\nd\n\n\r": "a\rb\r\nc\r\r\nd\r\n\r\n\r",
	} {
		for _, r := range []io.Reader{strings.NewReader(in), iotest.OneByteReader(strings.NewReader(in))} {
			got, err := io.ReadAll(WithCRLF(r, ByFirstLine))
			if err != nil || string(got) != want {
				t.Errorf("%q: %q, %v, not %q", in, got, err, want)
			}
		}
	}
}

// oddText is text with every kind of line ending.
var oddText = rapid.Custom(func(t *rapid.T) string {
	return strings.Join(rapid.SliceOf(rapid.SampledFrom([]string{"a", "From x", ">", "\r", "\n", "\r\n", "\r\n", "\x00"})).Draw(t, "text"), "")
})

// TestLinesComeBack: what a Spool calls clean comes back from LF as it was, in
// whatever pieces it is written and read.
func TestLinesComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := oddText.Draw(t, "text")
		var s Spool
		if err := s.Fill(strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		var lf bytes.Buffer
		w := WithLF(&lf)
		if _, err := io.Copy(w, iotest.OneByteReader(s.Content())); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		if int64(lf.Len()) != s.Size()-s.CRLFs() {
			t.Fatalf("%q has %d octets with LF, not %d", text, lf.Len(), s.Size()-s.CRLFs())
		}
		back, err := io.ReadAll(WithCRLF(iotest.HalfReader(&lf), ByFirstLine))
		if err != nil {
			t.Fatal(err)
		}
		if s.CleanCRLF() && string(back) != text {
			t.Fatalf("%q came back as %q", text, back)
		}
	})
}

// TestSpoolHoldsLarge: a message larger than the memory comes back, and so does
// a small one after it.
func TestSpoolHoldsLarge(t *testing.T) {
	s := Spool{Temporary: func() (*os.File, error) { return os.CreateTemp(t.TempDir(), "") }}
	defer s.Close()
	for _, text := range []string{strings.Repeat("0123456789\r\n", 300_000), "small", strings.Repeat("x", spoolMemory), strings.Repeat("x", spoolMemory+1)} {
		if err := s.Fill(strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(s.Content())
		if err != nil || string(got) != text || s.Size() != int64(len(text)) {
			t.Fatalf("%d octets came back as %d, %v", len(text), len(got), err)
		}
	}
}

func FuzzWithCRLF(f *testing.F) {
	f.Add("a\nb\r\n\r\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := io.ReadAll(WithCRLF(strings.NewReader(text), ByFirstLine))
		if err != nil || strings.ReplaceAll(string(got), "\r", "") != strings.ReplaceAll(text, "\r", "") {
			t.Fatalf("%q became %q, %v", text, got, err)
		}
	})
}

func FuzzSubscriptions(f *testing.F) {
	f.Add("V\t2\n\nA\tb\n")
	f.Add("A.b\nINBOX\n")
	f.Fuzz(func(t *testing.T, text string) {
		names, err := Subscriptions(strings.NewReader(text), '.')
		for _, name := range names {
			if err == nil && name == "" {
				t.Fatalf("an empty name in %q", text)
			}
		}
	})
}
