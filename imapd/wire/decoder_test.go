package wire

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// decoderOf returns a Decoder for s, which accepts every literal, and has
// begun its first command.
func decoderOf(t testing.TB, s string) *Decoder {
	t.Helper()
	d := NewDecoder(strings.NewReader(s), new(Buffers))
	d.OnLiteral = func(int64, bool, bool) error { return nil }
	if err := d.Wait(); err != nil {
		t.Fatalf("Wait: %v", err)
	}
	return d
}

// atEnd checks that d is at the end of its command.
func atEnd(t *testing.T, d *Decoder) {
	t.Helper()
	if err := d.CRLF(); err != nil {
		t.Errorf("behind the primitive: %v", err)
	}
}

// primitives are the methods that read one value, by name.
var primitives = map[string]func(*Decoder) (string, error){
	"tag":     (*Decoder).Tag,
	"atom":    (*Decoder).Atom,
	"word":    (*Decoder).Word,
	"astring": (*Decoder).Astring,
	"string":  (*Decoder).String,
	"quoted":  (*Decoder).Quoted,
	"mailbox": (*Decoder).Mailbox,
	"pattern": (*Decoder).ListMailbox,
	"flag":    (*Decoder).Flag,
	"flags": func(d *Decoder) (string, error) {
		f, err := d.FlagList()
		return strings.Join(f, "|"), err
	},
	"store": func(d *Decoder) (string, error) {
		f, err := d.StoreFlags()
		return strings.Join(f, "|"), err
	},
	"nstring": func(d *Decoder) (string, error) {
		s, ok, err := d.NString()
		return fmt.Sprintf("%s %t", s, ok), err
	},
	"number":   func(d *Decoder) (string, error) { n, err := d.Number(); return fmt.Sprint(n), err },
	"nznumber": func(d *Decoder) (string, error) { n, err := d.NZNumber(); return fmt.Sprint(n), err },
	"number64": func(d *Decoder) (string, error) { n, err := d.Number64(); return fmt.Sprint(n), err },
	"upto9":    func(d *Decoder) (string, error) { n, err := d.NumberUpTo(9); return fmt.Sprint(n), err },
	"set":      func(d *Decoder) (string, error) { n, err := d.NumSet(); return n.String(), err },
	"date": func(d *Decoder) (string, error) {
		date, err := d.Date()
		return date.Format(time.DateOnly), err
	},
	"datetime": func(d *Decoder) (string, error) {
		date, err := d.DateTime()
		return date.Format(time.RFC3339), err
	},
	"literal": func(d *Decoder) (string, error) {
		l, err := d.LiteralReader()
		if err != nil {
			return "", err
		}
		b, err := io.ReadAll(l)
		return string(b), err
	},
	"line": func(d *Decoder) (string, error) { b, err := d.Line(); return string(b), err },
	"list": func(d *Decoder) (string, error) {
		var all []string
		var item func() error
		item = func() error {
			if c, err := d.Peek(); err != nil {
				return err
			} else if c == '(' {
				return d.List(item)
			}
			s, err := d.Astring()
			all = append(all, s)
			return err
		}
		err := d.List(item)
		return strings.Join(all, "|"), err
	},
}

func TestPrimitiveAcceptsTheGrammar(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"tag", "a001", "a001"},
		{"tag", "A.]", "A.]"},
		{"atom", "a+b[c", "a+b[c"},
		{"word", "rfc822.size", "RFC822.SIZE"},
		{"word", "Fetch", "FETCH"},
		{"astring", "a]b", "a]b"},
		{"astring", `"a \"b\" \\ (c) {3}"`, `a "b" \ (c) {3}`},
		{"astring", `""`, ""},
		{"astring", "{0}\r\n", ""},
		{"astring", "{3}\r\na\nb", "a\nb"},
		{"astring", "{3+}\r\n\xff\r\n", "\xff\r\n"},
		{"astring", "{03+}\nabc", "abc"},
		{"string", "{5+}\r\n{3+}\r", "{3+}\r"},
		{"mailbox", "inBOX", "inBOX"},
		{"mailbox", "&AOk-", "&AOk-"},
		{"pattern", "a/%*]", "a/%*]"},
		{"pattern", `""`, ""},
		{"flag", `\sEEN`, `\Seen`},
		{"flag", `\Custom`, `\Custom`},
		{"flag", "$Junk", "$Junk"},
		{"flags", `()`, ""},
		{"flags", `(\deleted $MDNSent a)`, `\Deleted|$MDNSent|a`},
		{"store", `\Seen x`, `\Seen|x`},
		{"store", `(x)`, `x`},
		{"nstring", "nIL", " false"},
		{"nstring", `"NIL"`, "NIL true"},
		{"number", "0", "0"},
		{"number", "4294967295", "4294967295"},
		{"number", "007", "7"},
		{"nznumber", "10", "10"},
		{"number64", "9223372036854775807", "9223372036854775807"},
		{"upto9", "9", "9"},
		{"set", "1", "1"},
		{"set", "*:4,7:1,*", "*:4,7:1,*"},
		{"set", "$", "$"},
		{"date", "1-feb-1994", "1994-02-01"},
		{"date", `"29-Feb-2024"`, "2024-02-29"},
		{"datetime", `" 7-Feb-1994 21:52:25 -0800"`, "1994-02-07T21:52:25-08:00"},
		{"datetime", `"17-Jul-1996 02:44:25 +0000"`, "1996-07-17T02:44:25Z"},
		{"datetime", `"31-Dec-2016 23:59:60 +0000"`, "2017-01-01T00:00:00Z"},
		{"literal", "{4}\r\na\x00\r\n", "a\x00\r\n"},
		{"literal", "~{4+}\r\n\x00\x00\x00\x00", "\x00\x00\x00\x00"},
		{"list", "()", ""},
		{"list", "(a (b {1+}\r\nc) \"d\")", "a|b|c|d"},
	} {
		for _, end := range []string{"\r\n", "\n"} {
			d := decoderOf(t, c.in+end)
			got, err := primitives[c.name](d)
			if err != nil || got != c.want {
				t.Errorf("%s of %q: %q, %v; want %q", c.name, c.in, got, err, c.want)
				continue
			}
			atEnd(t, d)
		}
	}
}

func TestPrimitiveRefusesTheRest(t *testing.T) {
	for _, c := range []struct{ name, in string }{
		{"tag", "+a"},
		{"tag", "*"},
		{"tag", ""},
		{"tag", " a"},
		{"atom", "]"},
		{"atom", "\xc3\xa9"},
		{"word", "["},
		{"word", strings.Repeat("a", 65)},
		{"astring", ""},
		{"astring", "%"},
		{"astring", "~{1+}\r\nx"},
		{"astring", "{1+}\r\n\x00"},
		{"string", "a"},
		{"string", "NIL"},
		{"string", "{}"},
		{"string", "{+}"},
		{"string", "{-1}"},
		{"string", "{1}x"},
		{"string", "{1 }"},
		{"string", "{ 1}"},
		{"string", "{1-}"},
		{"string", "{1{1}"},
		{"string", "~a"},
		{"quoted", `"a`},
		{"quoted", `"\a"`},
		{"quoted", "\"a\x00\""},
		{"quoted", "\"a\rb\""},
		{"quoted", "\"\xc3\xa9\""},
		{"flag", `\`},
		{"flag", `\*`},
		{"flags", `(a  b)`},
		{"flags", `(a `},
		{"flags", `a`},
		{"flags", `( a)`},
		{"flags", `(a )`},
		{"store", `a (b)`},
		{"nstring", "nix"},
		{"number", "4294967296"},
		{"number", "-1"},
		{"number", "a"},
		{"nznumber", "0"},
		{"nznumber", "01"},
		{"number64", "9223372036854775808"},
		{"number64", "99999999999999999999999"},
		{"upto9", "10"},
		{"set", "0"},
		{"set", "01"},
		{"set", "1,"},
		{"set", ",1"},
		{"set", "1:"},
		{"set", ":1"},
		{"set", "1:2:3"},
		{"set", "1,,2"},
		{"set", "**"},
		{"set", "$,1"},
		{"set", "4294967296"},
		{"date", "30-Feb-2024"},
		{"date", "29-Feb-2023"},
		{"date", "0-Jan-2023"},
		{"date", "1-Jux-2023"},
		{"date", "1-Jan-23"},
		{"date", `"1-Jan-2023`},
		{"datetime", `"7-Feb-1994 21:52:25 -0800"`},
		{"datetime", `"07-Feb-1994 24:52:25 -0800"`},
		{"datetime", `"07-Feb-1994 21:60:25 -0800"`},
		{"datetime", `"07-Feb-1994 21:52:61 -0800"`},
		{"datetime", `"07-Feb-1994 21:52:25 00800"`},
		{"datetime", `"07-Feb-1994 21:52:25 -0860"`},
		{"datetime", `07-Feb-1994 21:52:25 -0800`},
		{"list", "(" + strings.Repeat("(", 20) + "a)"},
	} {
		d := decoderOf(t, c.in+"\r\nz NOOP\r\n")
		got, err := primitives[c.name](d)
		if err == nil {
			if end, _ := d.AtEnd(); end {
				t.Errorf("%s of %q: accepted as %q", c.name, c.in, got)
			}
			err = syntaxf("stopped early")
		}
		var syntax *SyntaxError
		if !errors.As(err, &syntax) {
			t.Errorf("%s of %q: %v is no SyntaxError", c.name, c.in, err)
		}
		checkText(t, err)
		next(t, d, "z NOOP")
	}
}

// checkText checks that the text of an error can stand in a response.
func checkText(t *testing.T, err error) {
	t.Helper()
	for _, r := range err.Error() {
		if r < ' ' || r > '~' {
			t.Errorf("text of an error has %q: %q", r, err)
		}
	}
}

// next skips the current command and checks that the next line is want.
func next(t *testing.T, d *Decoder, want string) {
	t.Helper()
	if err := d.SkipLine(); err != nil {
		t.Errorf("SkipLine: %v", err)
		return
	}
	if err := d.Wait(); err != nil {
		t.Errorf("Wait: %v", err)
		return
	}
	if line, err := d.Line(); err != nil || string(line) != want {
		t.Errorf("next line %q, %v; want %q", line, err, want)
	}
}

func TestQuotedUTF8NeedsToBeEnabled(t *testing.T) {
	d := decoderOf(t, "\"\u00e9\U0001F600\"\r\n\"\xe9\"\r\n")
	d.UTF8 = true
	if s, err := d.Quoted(); err != nil || s != "\u00e9\U0001F600" {
		t.Errorf("%q, %v", s, err)
	}
	next(t, d, "\"\xe9\"")
	d = decoderOf(t, "\"\xe9\"\r\n")
	d.UTF8 = true
	if s, err := d.Quoted(); err == nil {
		t.Errorf("invalid UTF-8 accepted: %q", s)
	}
}

func TestCarriageReturnAloneEndsNothing(t *testing.T) {
	d := decoderOf(t, "a\rb\r\nnext\r\n")
	if _, err := d.Tag(); err != nil {
		t.Fatal(err)
	}
	var syntax *SyntaxError
	if err := d.CRLF(); !errors.As(err, &syntax) {
		t.Errorf("CRLF: %v", err)
	}
	next(t, d, "next")
}

func TestSkipLineFindsTheNextCommand(t *testing.T) {
	refused := errors.New("refused")
	for _, c := range []struct {
		name, in string
		read     func(d *Decoder) error
	}{
		{"nothing read", "a b c\r\n", nil},
		{"literal without waiting", "a {5+}\r\nx\r\ny{\r\n", nil},
		{"two of them", "a {5+}\r\nx\r\ny{ {2+}\r\n\r\n end\r\n", nil},
		{"binary", "a ~{5+}\r\n\x00\r\n\r\n\r\n", nil},
		{"long line before a literal", "a " + strings.Repeat("x", 9000) + " {5+}\r\n\r\nx\r\n\r\n", nil},
		{"client waits", "a {5}\r\n", nil},
		{"bare LF", "a {3+}\n\n\n\n\n", nil},
		{"inside the header", "{5+}\r\nab\r\n \r\n", func(d *Decoder) error { return d.Expect('{') }},
		{"refused, waiting", "{5}\r\n", readLiteral},
		{"refused, not waiting", "{5+}\r\nab\r\nc {1+}\r\n\n\r\n", readLiteral},
		{"half read", "{9000+}\r\n" + strings.Repeat("\n", 9000) + "\r\n", func(d *Decoder) error {
			d.OnLiteral = func(int64, bool, bool) error { return nil }
			l, err := d.LiteralReader()
			if err != nil {
				return err
			}
			_, err = io.ReadFull(l, make([]byte, 4500))
			return err
		}},
		{"too large for memory", "{5+}\r\nabcde\r\n", func(d *Decoder) error {
			d.SetLimits(Limits{Literal: 4})
			_, err := d.String()
			return err
		}},
		{"at its end", "a\r\n", func(d *Decoder) error { _, err := d.Line(); return err }},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := NewDecoder(iotest.OneByteReader(strings.NewReader(c.in+"next\r\n")), new(Buffers))
			d.OnLiteral = func(int64, bool, bool) error { return refused }
			if err := d.Wait(); err != nil {
				t.Fatal(err)
			}
			if c.read != nil {
				_ = c.read(d)
			}
			next(t, d, "next")
		})
	}
}

func readLiteral(d *Decoder) error { _, err := d.LiteralReader(); return err }

func TestSkipLineGivesUp(t *testing.T) {
	for _, in := range []string{
		"a {1000+}\r\n" + strings.Repeat("x", 1000) + "\r\n",
		"a {9223372036854775807+}\r\nx\r\n",
		"a {99999999999999999999999999999999999999999999999999+}\r\nx\r\n",
		"a " + strings.Repeat("{0+}\r\n", 1000) + "\r\n",
		strings.Repeat("x", 1000) + "\r\n",
	} {
		d := decoderOf(t, in)
		d.SetLimits(Limits{Skip: 999})
		if err := d.SkipLine(); !errors.Is(err, ErrUnskippable) {
			t.Errorf("%.40q: %v", in, err)
		}
	}
}

func TestUnreadLiteralIsNeverSyntax(t *testing.T) {
	d := decoderOf(t, "{7+}\r\nDELETE \r\n")
	if _, err := d.LiteralReader(); err != nil {
		t.Fatal(err)
	}
	if w, err := d.Word(); err == nil {
		t.Errorf("the literal was read as the word %s", w)
	}
}

func TestRefusalIsReturnedAsItIs(t *testing.T) {
	tooBig := errors.New("too big")
	d := decoderOf(t, "{70}\r\nnext\r\n")
	d.OnLiteral = func(size int64, nonSync, binary bool) error {
		if size != 70 || nonSync || binary {
			t.Errorf("OnLiteral(%d, %t, %t)", size, nonSync, binary)
		}
		return tooBig
	}
	if _, err := d.Astring(); err != tooBig {
		t.Errorf("%v", err)
	}
	if _, err := d.Peek(); err == nil {
		t.Error("the command goes on behind a refused literal")
	}
	next(t, d, "next")
}

func TestLimitsOfACommand(t *testing.T) {
	small := Limits{Line: 100, Literal: 10, Command: 25, Depth: 3}
	for _, c := range []struct {
		name, in string
		good     bool
	}{
		{"astring", strings.Repeat("a", 99), true},
		{"astring", strings.Repeat("a", 100), false},
		{"astring", strings.Repeat("a", 10000), false},
		{"quoted", `"` + strings.Repeat("a", 97) + `"`, true},
		{"quoted", `"` + strings.Repeat("a", 99) + `"`, false},
		{"list", "(" + strings.Repeat("a ", 60) + "a)", false},
		{"astring", "{10+}\r\n0123456789", true},
		{"astring", "{11+}\r\n01234567890", false},
		{"list", "({10+}\r\n0123456789 {10+}\r\n0123456789 {5+}\r\n01234)", true},
		{"list", "({10+}\r\n0123456789 {10+}\r\n0123456789 {6+}\r\n012345)", false},
		{"list", "(((a)))", true},
		{"list", "((((a))))", false},
		{"list", "(" + strings.Repeat("{0+}\r\n ", 20) + "a)", false},
		{"literal", "{9223372036854775807}", false},
		{"line", strings.Repeat("a", 101), false},
	} {
		d := decoderOf(t, c.in+"\r\nnext\r\n")
		d.SetLimits(small)
		_, err := primitives[c.name](d)
		var limit *LimitError
		switch {
		case c.good && err != nil:
			t.Errorf("%s of %q: %v", c.name, c.in, err)
		case !c.good && !errors.As(err, &limit):
			t.Errorf("%s of %.40q: %v is no LimitError", c.name, c.in, err)
		default:
			next(t, d, "next")
		}
	}
}

func TestLimitsStartAnewWithEachCommand(t *testing.T) {
	d := NewDecoder(strings.NewReader(strings.Repeat("0123456789 {5+}\r\nabcde\r\n", 100)), new(Buffers))
	d.SetLimits(Limits{Line: 20, Literal: 5, Command: 5})
	d.OnLiteral = func(int64, bool, bool) error { return nil }
	for i := range 100 {
		if err := d.Wait(); err != nil {
			t.Fatal(i, err)
		}
		_, err1 := d.Atom()
		err2 := d.SP()
		_, err3 := d.String()
		if err := errors.Join(err1, err2, err3, d.CRLF()); err != nil {
			t.Fatal(i, err)
		}
	}
	if err := d.Wait(); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

func TestStreamThatEndsInsideACommand(t *testing.T) {
	for _, c := range []struct{ name, in string }{
		{"atom", "abc"},
		{"quoted", `"abc`},
		{"astring", "{5"},
		{"astring", "{5+}\r\nabc"},
		{"literal", "{5+}\r\nabc"},
		{"literal", "{50000+}\r\nabc"},
		{"line", "abc"},
	} {
		d := decoderOf(t, c.in)
		if _, err := primitives[c.name](d); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s of %q: %v", c.name, c.in, err)
		}
		if err := d.SkipLine(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("SkipLine after %s of %q: %v", c.name, c.in, err)
		}
	}
}

func TestIdleDecoderHoldsNoBuffer(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	d := NewDecoder(server, new(Buffers))
	for _, line := range []string{"a NOOP\r\n", strings.Repeat("b", 9000) + "\r\n"} {
		_ = server.SetReadDeadline(time.Now().Add(time.Millisecond))
		if err := d.Wait(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("Wait: %v", err)
		}
		if d.buf != nil || d.tok != nil {
			t.Error("a buffer is held while nothing is there to read")
		}
		_ = server.SetReadDeadline(time.Time{})
		go func() { _, _ = io.WriteString(client, line) }()
		if err := d.Wait(); err != nil {
			t.Fatal(err)
		}
		if got, err := d.Line(); err != nil || string(got) != line[:len(line)-2] {
			t.Errorf("%q, %v", got, err)
		}
	}
}

func TestBytesBehindSTARTTLSAreSeenAndForgotten(t *testing.T) {
	d := decoderOf(t, "a STARTTLS\r\nb LOGIN x y\r\n")
	if _, err := d.Line(); err != nil {
		t.Fatal(err)
	}
	if err := d.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := string(d.Unread()); d.Buffered() != 13 || got != "b LOGIN x y\r\n" {
		t.Errorf("Buffered %d, Unread %q", d.Buffered(), got)
	}
	d.Reset(strings.NewReader("c NOOP\r\n"))
	next(t, d, "c NOOP")
}

func TestWaitInsideACommandIsAnError(t *testing.T) {
	d := decoderOf(t, "a b\r\n")
	if err := d.Wait(); err == nil {
		t.Error("Wait twice")
	}
}

func TestBuffersForgetWhatTheyHeld(t *testing.T) {
	var bufs Buffers
	p := bufs.getRead()
	copy(p[:], "password")
	bufs.putRead(p)
	if p[0] != 0 {
		t.Error("a buffer was given back with its content")
	}
}

func TestParseNumberAtItsLimit(t *testing.T) {
	for _, c := range []struct {
		in    string
		limit uint64
		ok    bool
	}{
		{"18446744073709551615", math.MaxUint64, true},
		{"18446744073709551616", math.MaxUint64, false},
		{"3", 3, true},
		{"4", 3, false},
		{"0", 0, true},
		{"255", 255, true},
		{"256", 255, false},
	} {
		if _, ok := parseNumber([]byte(c.in), c.limit); ok != c.ok {
			t.Errorf("%s up to %d: %t", c.in, c.limit, ok)
		}
	}
}
