package wire

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// chunks reads from s in pieces of the sizes that rng gives.
type chunks struct {
	s   string
	rng *rand.Rand
}

func (c *chunks) Read(p []byte) (int, error) {
	if c.s == "" {
		return 0, io.EOF
	}
	n := min(len(p), len(c.s), 1+c.rng.IntN(40))
	n = copy(p[:n], c.s)
	c.s = c.s[n:]
	return n, nil
}

// FuzzDecoder reads arbitrary octets with a program of primitives, whole and
// in random pieces, and checks that both read the same and come to an end.
func FuzzDecoder(f *testing.F) {
	names := make([]string, 0, len(primitives))
	for n := range primitives {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, s := range []string{
		"a LOGIN {3}\r\nabc {3+}\r\ndef\r\n", "a FETCH 1:*,$ (FLAGS BODY[1.2]<0.5>)\r\n",
		`a APPEND x (\Seen) " 7-Feb-1994 21:52:25 -0800" ~{3+}` + "\r\nabc\r\n",
		"a \"\\\"\xc3\xa9\" NIL 29-Feb-2024 {99999999999999999999+}\r\n", "((((a))))\r\n\n\r\r\n",
	} {
		for i := range names {
			f.Add(s, uint64(i), false)
		}
	}
	f.Fuzz(func(t *testing.T, in string, seed uint64, wait bool) {
		whole := transcript(t, strings.NewReader(in), names, seed, wait)
		pieces := transcript(t, &chunks{in, rand.New(rand.NewPCG(seed, 1))}, names, seed, wait)
		if whole != pieces {
			t.Errorf("read whole:\n%s\nin pieces:\n%s", whole, pieces)
		}
	})
}

// transcript reads r with primitives that seed chooses, and says what came.
func transcript(t *testing.T, r io.Reader, names []string, seed uint64, refuse bool) string {
	rng := rand.New(rand.NewPCG(seed, 0))
	d := NewDecoder(r, new(Buffers))
	d.SetLimits(Limits{Line: 300, Literal: 50, Command: 100, Depth: 5, Skip: 5000})
	d.UTF8 = seed&1 == 0
	d.OnLiteral = func(size int64, nonSync, _ bool) error {
		if refuse && size&1 == 0 {
			return errors.New("refused")
		}
		return nil
	}
	var out strings.Builder
	for range 1000 {
		if err := d.Wait(); err != nil {
			fmt.Fprintf(&out, "wait: %v\n", err)
			return out.String()
		}
		for range rng.IntN(6) {
			name := names[rng.IntN(len(names))]
			got, err := primitives[name](d)
			if err != nil {
				got = "" // what came before an error of the connection depends on the pieces
				checkText(t, err)
			}
			fmt.Fprintf(&out, "%s %q %v\n", name, got, err)
			if err != nil {
				break
			}
			_, _ = d.Accept(' ')
		}
		if err := d.SkipLine(); err != nil {
			fmt.Fprintf(&out, "skip: %v\n", err)
			return out.String()
		}
	}
	return out.String()
}
