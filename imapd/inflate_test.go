package imapd

import (
	"bytes"
	"compress/flate"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

// packed compresses pieces, each flushed behind itself.
func packed(t testing.TB, level int, pieces ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	z, err := flate.NewWriter(&out, level)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pieces {
		io.WriteString(z, p)
		z.Flush()
	}
	return out.Bytes()
}

// texts are hard in different ways: short, long, repeated from far away, random.
func texts(seed uint64) []string {
	r := rand.New(rand.NewPCG(seed, 1))
	noise := make([]byte, 70_000)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	words := strings.Repeat("From: someone@far.example\r\nSubject: something\r\n\r\n", 900)
	return []string{"a NOOP\r\n", "", string(noise), words, string(noise[40_000:]), strings.Repeat("x", 100_000), string(noise[:33_000]), words}
}

// TestInflate: what compress/flate packs comes out, however it arrives.
func TestInflate(t *testing.T) {
	all := texts(7)
	want := strings.Join(all, "")
	for _, level := range []int{flate.NoCompression, flate.BestSpeed, 6, flate.BestCompression, flate.HuffmanOnly} {
		in := packed(t, level, all...)
		for name, src := range map[string]io.Reader{
			"whole": bytes.NewReader(in), "octets": iotest.OneByteReader(bytes.NewReader(in)), "halves": iotest.HalfReader(bytes.NewReader(in)),
		} {
			got, err := io.ReadAll(&inflater{src: src})
			if err != nil || string(got) != want {
				t.Errorf("level %d, %s: %d octets of %d, %v", level, name, len(got), len(want), err)
			}
		}
	}
}

// A tap gives what it has, and errTap where others would wait for more: then
// idle is called.
type tap struct {
	has  []byte
	idle func()
}

var errTap = errors.New("it would wait")

func (s *tap) Read(p []byte) (int, error) {
	if len(s.has) == 0 {
		s.idle()
		return 0, errTap
	}
	n := copy(p, s.has)
	s.has = s.has[n:]
	return n, nil
}

// bitWriter writes a stream by hand, lowest bit first.
type bitWriter struct {
	out  []byte
	bits uint
	n    uint
}

func (w *bitWriter) write(v, n uint) {
	for i := range n {
		w.bits |= v >> i & 1 << w.n
		if w.n++; w.n == 8 {
			w.out = append(w.out, byte(w.bits))
			w.bits, w.n = 0, 0
		}
	}
}

// code writes a code of the fixed ones, highest bit first.
func (w *bitWriter) code(symbol int) {
	v, n := uint(symbol)+0x30, 8
	switch {
	case symbol >= 256:
		v, n = uint(symbol-256), 7
	case symbol >= 144:
		v, n = uint(symbol-144)+0x190, 9
	}
	for i := n - 1; i >= 0; i-- {
		w.write(v>>i, 1)
	}
}

// TestInflateNeverWaits: all that the octets which came can say is given out
// before more is asked for: after a partial flush (an empty block of fixed
// codes, as zlib writes it), and without any flush, in the midst of a block.
func TestInflateNeverWaits(t *testing.T) {
	const text = "a NOOP\r\n"
	for name, end := range map[string]func(*bitWriter){
		"partial flush": func(w *bitWriter) {
			w.code(endOfBlock)
			w.write(2, 3) // an empty block of fixed codes
			w.code(endOfBlock)
		},
		"open block": func(*bitWriter) {},
	} {
		w := &bitWriter{}
		w.write(2, 3)
		for _, c := range []byte(text) {
			w.code(int(c))
		}
		end(w)
		w.write(0, 7) // the rest of the octet is there, of what follows nothing
		s := &tap{}
		d := &inflater{src: s}
		var got []byte
		s.idle = func() { // the window holds all that is decoded
			if len(d.window) > len(got) {
				t.Errorf("%s: it waits with %q in hand", name, d.window[len(got):])
			}
		}
		buf := make([]byte, 3)
		for _, c := range w.out {
			s.has = []byte{c}
			for {
				n, err := d.Read(buf)
				got = append(got, buf[:n]...)
				if err != nil {
					if err != errTap {
						t.Fatal(err)
					}
					d.err = nil
					break
				}
			}
		}
		if string(got) != text {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestInflateZlib: three commands as zlib packs them, each behind a flush of one
// of its kinds, are all there when the last octet is.
func TestInflateZlib(t *testing.T) {
	for name, in := range map[string]string{
		"partial": "4a345070730d71f65030b4d252d008f5745170f371740f5670f50b73f5f10f70d5e4e50208a04443824a000228d188a0128000",
		"sync":    "4a345070730d71f65030b4d252d008f5745170f371740f5670f50b73f5f10f70d5e4e502000000ffff4a3424a804000000ffff4a3422a804000000ffff",
		"full": "4a345070730d71f65030b4d252d008f5745170f371740f5670f50b73f5f10f70d5e4e502000000ffff4a345470730d71f65030b4d252d008f574" +
			"5170f371740f5670f50b73f5f10f70d5e4e502000000ffff4a345270730d71f65030b4d252d008f5745170f371740f5670f50b73f5f10f70d5e4e502000000ffff",
	} {
		raw, err := hex.DecodeString(in)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range []bool{false, true} {
			var src io.Reader = &tap{has: raw, idle: func() {}}
			if one {
				src = iotest.OneByteReader(src)
			}
			got, err := io.ReadAll(&inflater{src: src})
			if want := "a0 FETCH 1:* (UID FLAGS ENVELOPE)\r\na1 FETCH 1:* (UID FLAGS ENVELOPE)\r\na2 FETCH 1:* (UID FLAGS ENVELOPE)\r\n"; string(got) != want || err != errTap {
				t.Errorf("%s: %q, %v", name, got, err)
			}
		}
	}
}

// TestInflateBomb: a stream that unpacks to a gigabyte gives as much as is
// asked for, from a window of 32 KiB; blocks of nothing end it.
func TestInflateBomb(t *testing.T) {
	zeros := packed(t, 9, strings.Repeat("\x00", 1<<20))
	d := &inflater{src: bytes.NewReader(bytes.Repeat(zeros, 1000))}
	n, err := io.CopyN(io.Discard, d, 5<<20)
	if err != nil || n != 5<<20 || cap(d.window) > 2*windowSize {
		t.Errorf("%d octets, %v, window %d", n, err, cap(d.window))
	}
	empty := packed(t, 1, strings.Split(strings.Repeat(",", 2*maxIdle), ",")...)
	if got, err := io.ReadAll(&inflater{src: bytes.NewReader(empty)}); len(got) > 0 || err != errDeflate {
		t.Errorf("empty blocks: %q %v", got, err)
	}
}

// TestInflateMalformed: what no encoder writes.
func TestInflateMalformed(t *testing.T) {
	for name, in := range map[string]string{
		"block type 3":         "06",
		"stored length":        "000100feff00",
		"distance too far":     "030200", // length 3 from nowhere
		"too many lengths":     "fcff",
		"no end of block":      "0480cdb66ddb",
		"oversubscribed codes": "04008924924992244992244992244900",
	} {
		raw, err := hex.DecodeString(in)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(&inflater{src: io.MultiReader(bytes.NewReader(raw), bytes.NewReader(make([]byte, 64)))}); err == nil {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestInflateEnd: behind the flush that ends it begins what is not compressed.
func TestInflateEnd(t *testing.T) {
	final := func(text string) []byte {
		var out bytes.Buffer
		z, _ := flate.NewWriter(&out, 6)
		io.WriteString(z, text)
		z.Close()
		return out.Bytes()
	}
	const text, behind = "x UNAUTHENTICATE\r\n", "y LOGIN"
	for name, in := range map[string][]byte{"flushed": packed(t, 6, text), "finished": final(text), "stored": packed(t, 0, text)} {
		for _, one := range []bool{false, true} {
			var src io.Reader = bytes.NewReader(append(bytes.Clone(in), behind...))
			whole := src
			if one {
				src = iotest.OneByteReader(src)
			}
			d := &inflater{src: src}
			got := make([]byte, len(text))
			if _, err := io.ReadFull(d, got); err != nil || string(got) != text {
				t.Fatalf("%s: %q %v", name, got, err)
			}
			rest, err := d.end()
			more, _ := io.ReadAll(whole)
			if string(rest)+string(more) != behind || err != nil {
				t.Errorf("%s: behind it is %q, %v", name, string(rest)+string(more), err)
			}
		}
	}
	d := &inflater{src: bytes.NewReader(packed(t, 6, "x\r\ny\r\n"))}
	io.ReadFull(d, make([]byte, 3))
	if _, err := d.end(); err == nil {
		t.Error("a command is hidden behind the end")
	}
}

// FuzzInflate compares with compress/flate: where that reads a stream to its
// end we read the same, and where it fails so do we. Zeros behind the stream
// are a mistake for both, so that neither is left waiting.
func FuzzInflate(f *testing.F) {
	for _, level := range []int{0, 1, 9} {
		f.Add(packed(f, level, texts(3)[0], strings.Repeat("ab", 300)))
	}
	f.Add([]byte{3, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		const limit = 1 << 20
		in = append(in, make([]byte, 64)...)
		want, werr := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(in)), limit))
		got, gerr := io.ReadAll(io.LimitReader(&inflater{src: iotest.HalfReader(bytes.NewReader(in))}, limit))
		if werr == nil && (gerr != nil || !bytes.Equal(got, want)) {
			t.Errorf("%d octets, %v; want %d", len(got), gerr, len(want))
		}
		if _, corrupt := werr.(flate.CorruptInputError); corrupt && gerr == nil {
			t.Errorf("read %d octets of what is %v", len(got), werr)
		}
	})
}

func BenchmarkInflate(b *testing.B) {
	all := strings.Join(texts(5), "")
	in := packed(b, 6, all)
	b.SetBytes(int64(len(all)))
	for b.Loop() {
		if n, err := io.Copy(io.Discard, &inflater{src: bytes.NewReader(in)}); err != nil || n != int64(len(all)) {
			b.Fatal(fmt.Sprint(n, err))
		}
	}
}
