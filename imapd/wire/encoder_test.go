package wire

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"pgregory.net/rapid"
)

// written returns what f writes.
func written(t *testing.T, f func(e *Encoder)) string {
	t.Helper()
	var out bytes.Buffer
	e := NewEncoder(&out, new(Buffers))
	f(e)
	if err := e.Flush(); err != nil {
		t.Fatal(err)
	}
	if e.buf != nil {
		t.Error("a buffer is held after Flush")
	}
	return out.String()
}

func TestStringsTakeTheFormThatHoldsThem(t *testing.T) {
	long := strings.Repeat("a", maxQuoted+1)
	for _, c := range []struct {
		in   string
		utf8 bool
		want string
	}{
		{"", false, `""`},
		{`a "b" \ c`, false, `"a \"b\" \\ c"`},
		{"a\r\nb", false, "{4}\r\na\r\nb"},
		{"a\x00b", false, "{2}\r\nab"},
		{"\x7f", true, "{1}\r\n\x7f"},
		{"\t", true, "{1}\r\n\t"},
		{"é", false, "{2}\r\né"},
		{"é", true, `"é"`},
		{"\xe9", true, "{1}\r\n\xe9"},
		{long, false, "{1001}\r\n" + long},
		{long[1:], false, `"` + long[1:] + `"`},
	} {
		got := written(t, func(e *Encoder) { e.UTF8 = c.utf8; e.String(c.in) })
		if got != c.want {
			t.Errorf("%.40q, UTF-8 %t: %.60q, want %.60q", c.in, c.utf8, got, c.want)
		}
	}
}

func TestMailboxNames(t *testing.T) {
	for _, c := range []struct {
		in   string
		utf8 bool
		want string
	}{
		{"INBOX", false, "INBOX"},
		{"a b", false, `"a b"`},
		{"nil", false, `"nil"`},
		{"Entwürfe", false, "Entw&APw-rfe"},
		{"Entwürfe", true, `"Entwürfe"`},
		{"a&b", false, "a&-b"},
		{"a&b", true, "a&b"},
		{`a"b`, false, `"a\"b"`},
		{"", false, `""`},
		{"a]b", false, `"a]b"`},
	} {
		got := written(t, func(e *Encoder) { e.UTF8 = c.utf8; e.Mailbox(c.in) })
		if got != c.want {
			t.Errorf("%q, UTF-8 %t: %q, want %q", c.in, c.utf8, got, c.want)
		}
	}
}

func TestResponses(t *testing.T) {
	for _, c := range []struct {
		want string
		f    func(e *Encoder)
	}{
		{"* OK [UIDNEXT 5] next\r\n", func(e *Encoder) { e.Status("*", "OK", "UIDNEXT 5", "next") }},
		{"a1 BAD -\r\n", func(e *Encoder) { e.Status("a1", "BAD", "", "") }},
		{"a1 NO a??b ?\r\n", func(e *Encoder) { e.Status("a1", "NO", "", "a\r\nb é") }},
		{"a1 NO - [ALERT] x\r\n", func(e *Encoder) { e.Status("a1", "NO", "", "[ALERT] x") }},
		{"a1 NO [X y] z\r\n", func(e *Encoder) { e.Status("a1", "NO", "X\r\n y", "z") }},
		{"+ \r\n", func(e *Encoder) { e.Continue("") }},
		{"+ go\r\n", func(e *Encoder) { e.Continue("go") }},
		{"* 7 FETCH (FLAGS (\\Seen x) UID 4294967295 MODSEQ (9223372036854775807))\r\n", func(e *Encoder) {
			e.Raw("* ")
			e.Number(7)
			e.Raw(" FETCH (FLAGS ")
			e.Flags([]string{`\Seen`, "x"})
			e.Raw(" UID ")
			e.Number(1<<32 - 1)
			e.Raw(" MODSEQ (")
			e.Number64(1<<63 - 1)
			e.Raw("))")
			e.CRLF()
		}},
		{`(NIL "a" "b" x)`, func(e *Encoder) {
			e.List(4, func(i int) {
				[]func(){
					func() { e.NString("z", false) },
					func() { e.NString("a", true) },
					func() { e.String("b") },
					func() { e.Atom("x") },
				}[i]()
			})
		}},
		{"() NIL 1:3,5", func(e *Encoder) {
			e.List(0, nil)
			e.SP()
			e.Nil()
			e.SP()
			e.Numbers(Ranges{{1, 3}, {5, 5}})
		}},
		{"~{3}\r\n\x00\r\n", func(e *Encoder) { e.LiteralBytes([]byte("\x00\r\n"), true) }},
		{`"07-Feb-1994 21:52:25 -0800"`, func(e *Encoder) {
			e.DateTime(time.Date(1994, 2, 7, 21, 52, 25, 0, time.FixedZone("", -8*3600)))
		}},
	} {
		if got := written(t, c.f); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func TestLiteralIsExactlyAsLongAsAnnounced(t *testing.T) {
	body := strings.Repeat("0123456789", 10_000)
	for _, r := range []io.Reader{
		strings.NewReader(body),
		iotest.OneByteReader(strings.NewReader(body)),
		iotest.DataErrReader(strings.NewReader(body)),
		strings.NewReader(body + "more"),
	} {
		got := written(t, func(e *Encoder) {
			if err := e.Literal(r, int64(len(body)), false); err != nil {
				t.Error(err)
			}
			e.Raw(")")
		})
		if got != "{100000}\r\n"+body+")" {
			t.Errorf("%d octets: %.40q", len(got), got)
		}
	}
}

func TestLiteralThatEndsEarlyBreaksTheConnection(t *testing.T) {
	for _, c := range []struct {
		r    io.Reader
		want error
	}{
		{strings.NewReader("abc"), io.ErrUnexpectedEOF},
		{iotest.ErrReader(io.ErrClosedPipe), io.ErrClosedPipe},
		{noProgress{}, io.ErrNoProgress},
	} {
		var out bytes.Buffer
		e := NewEncoder(&out, new(Buffers))
		if err := e.Literal(c.r, 4, false); !errors.Is(err, c.want) {
			t.Errorf("%v, want %v", err, c.want)
		}
		e.Raw("* 1 EXPUNGE\r\n")
		if err := e.Flush(); !errors.Is(err, c.want) || strings.Contains(out.String(), "EXPUNGE") {
			t.Errorf("afterwards: %v, %q", err, out.String())
		}
	}
}

type noProgress struct{}

func (noProgress) Read([]byte) (int, error) { return 0, nil }

// failing takes n octets, then fails.
type failing struct{ n int }

func (f *failing) Write(p []byte) (int, error) {
	if len(p) > f.n {
		return f.n, io.ErrClosedPipe
	}
	f.n -= len(p)
	return len(p), nil
}

func TestErrorOfTheConnectionSticks(t *testing.T) {
	e := NewEncoder(&failing{n: 20_000}, new(Buffers))
	for range 10_000 {
		e.String("0123456789")
		e.Raw(strings.Repeat("x", 100))
		_ = e.Literal(strings.NewReader("abc"), 3, false)
	}
	if err := e.Flush(); !errors.Is(err, io.ErrClosedPipe) || e.Err() == nil {
		t.Errorf("%v", err)
	}
	var out bytes.Buffer
	e.Reset(&out)
	e.Raw("ok")
	if err := e.Flush(); err != nil || out.String() != "ok" {
		t.Errorf("after Reset: %v, %q", err, out.String())
	}
}

func TestWritesOfEverySizeKeepTheirOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var out, want bytes.Buffer
		e := NewEncoder(&out, new(Buffers))
		for i := range rapid.IntRange(1, 20).Draw(t, "writes") {
			p := bytes.Repeat([]byte{byte('a' + i)}, rapid.IntRange(0, 2*writeSize).Draw(t, "size"))
			want.Write(p)
			switch rapid.IntRange(0, 3).Draw(t, "how") {
			case 0:
				e.Raw(string(p))
			case 1:
				_, _ = e.Write(p)
			case 2:
				_, _ = e.Write(append(e.AvailableBuffer(), p...))
			case 3:
				_ = e.Flush()
				_, _ = e.Write(p)
			}
		}
		if err := e.Flush(); err != nil || !bytes.Equal(out.Bytes(), want.Bytes()) {
			t.Fatalf("%d octets of %d, %v", out.Len(), want.Len(), err)
		}
	})
}

func TestWhatIsWrittenIsReadAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })).Draw(t, "s")
		s = strings.ReplaceAll(s, "\x00", "")
		utf8ok := rapid.Bool().Draw(t, "UTF-8")
		var out bytes.Buffer
		out.Write(AppendString(nil, s, utf8ok))
		out.WriteByte(' ')
		out.Write(AppendAstring(nil, s, utf8ok))
		out.WriteString("\r\n")
		d := NewDecoder(&out, new(Buffers))
		d.UTF8 = utf8ok
		d.OnLiteral = func(int64, bool, bool) error { return nil }
		err := d.Wait()
		one, err1 := d.String()
		err2 := d.SP()
		two, err3 := d.Astring()
		if err := errors.Join(err, err1, err2, err3, d.CRLF()); err != nil || one != s || two != s {
			t.Fatalf("%q was read as %q and %q, %v", s, one, two, err)
		}
	})
}

func TestDateTimeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		minutes := rapid.IntRange(-23*60-59, 23*60+59).Draw(t, "zone")
		at := time.Unix(rapid.Int64Range(-62_135_000_000, 253_402_000_000).Draw(t, "at"), 0).
			In(time.FixedZone("", minutes*60))
		b := AppendDateTime(nil, at)
		got, ok := ParseDateTime(string(b[1 : len(b)-1]))
		_, offset := got.Zone()
		if !ok || !got.Equal(at) || offset != minutes*60 {
			t.Fatalf("%v was written %s and read %v, %t", at, b, got, ok)
		}
	})
}

func TestDateTimeOfOddTimes(t *testing.T) {
	for _, c := range []struct {
		t    time.Time
		want string
	}{
		{time.Date(12345, 1, 2, 3, 4, 5, 0, time.UTC), `"02-Jan-9999 03:04:05 +0000"`},
		{time.Date(-5, 1, 2, 3, 4, 5, 0, time.UTC), `"02-Jan-0000 03:04:05 +0000"`},
		{time.Date(1900, 1, 2, 3, 4, 5, 0, time.FixedZone("LMT", 53*60+28)), `"02-Jan-1900 03:03:37 +0053"`},
	} {
		if got := string(AppendDateTime(nil, c.t)); got != c.want {
			t.Errorf("%v: %s, want %s", c.t, got, c.want)
		}
	}
}

func TestFetchFlagsAllocatesNothing(t *testing.T) {
	e := NewEncoder(io.Discard, new(Buffers))
	flags := []string{`\Seen`, `\Answered`, "$Label1"}
	if n := testing.AllocsPerRun(1000, func() { fetchFlags(e, 12345, 67890, flags) }); n != 0 {
		t.Errorf("%v allocations for one line", n)
	}
}

// fetchFlags writes what FETCH (UID FLAGS) answers for one message.
func fetchFlags(e *Encoder, seq, uid uint32, flags []string) {
	b := append(e.AvailableBuffer(), "* "...)
	b = AppendNumber(b, seq)
	b = append(b, " FETCH (UID "...)
	b = AppendNumber(b, uid)
	b = append(b, " FLAGS "...)
	b = AppendFlags(b, flags)
	b = append(b, ")\r\n"...)
	_, _ = e.Write(b)
}

// BenchmarkFetchFlags50000 writes the answer to FETCH 1:* (UID FLAGS) of a
// mailbox with 50,000 messages.
func BenchmarkFetchFlags50000(b *testing.B) {
	e := NewEncoder(io.Discard, new(Buffers))
	flags := []string{`\Seen`, `\Answered`, "$Label1"}
	b.ReportAllocs()
	for b.Loop() {
		for n := range uint32(50_000) {
			fetchFlags(e, n+1, n+70_000, flags)
		}
		_ = e.Flush()
	}
}

// again yields the same octets for ever.
type again struct {
	s string
	i int
}

func (r *again) Read(p []byte) (int, error) {
	n := copy(p, r.s[r.i:])
	r.i = (r.i + n) % len(r.s)
	return n, nil
}

func BenchmarkParseCommand(b *testing.B) {
	d := NewDecoder(&again{s: "a0042 UID FETCH 1:500,700,900:* (UID FLAGS RFC822.SIZE)\r\n"}, new(Buffers))
	b.ReportAllocs()
	item := func() error { _, err := d.Word(); return err }
	for b.Loop() {
		err := d.Wait()
		_, err1 := d.Tag()
		err2 := d.SP()
		err3 := d.ExpectWord("UID")
		err4 := d.SP()
		err5 := d.ExpectWord("FETCH")
		err6 := d.SP()
		_, err7 := d.NumSet()
		err8 := d.SP()
		err9 := d.List(item)
		if err := errors.Join(err, err1, err2, err3, err4, err5, err6, err7, err8, err9, d.CRLF()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseNumSet(b *testing.B) {
	set := []byte(strings.Repeat("1:*,5,", MaxRanges/2-1) + "7")
	b.ReportAllocs()
	for b.Loop() {
		s, err := ParseNumSet(set)
		if err != nil {
			b.Fatal(err)
		}
		s.Normalize(100_000)
	}
}
