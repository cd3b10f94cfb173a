package message

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

// TestFind numbers parts as RFC 9051 section 6.4.5.1 does.
func TestFind(t *testing.T) {
	text := strings.ReplaceAll(`Content-Type: multipart/mixed; boundary=a

--a

one
--a
Content-Type: message/rfc822

Content-Type: multipart/mixed; boundary=b

--b

two.one
--b
Content-Type: multipart/mixed; boundary=c

--c

two.two.one
--c--
--b--
--a
Content-Type: message/rfc822

Subject: x

three
--a--
`, "\n", "\r\n")
	root := build(text, 1000).Root
	for _, packed := range []bool{false, true} {
		if packed {
			var err error
			if root, err = UnmarshalParts(MarshalParts(root)); err != nil {
				t.Fatal(err)
			}
		}
		for path, want := range map[string]string{
			"\x01": "one", "\x02\x01": "two.one", "\x02\x02\x01": "two.two.one", "\x03\x01": "three", "\x03": "Subject: x\r\n\r\nthree",
			"\x00": "none", "\x04": "none", "\x01\x01": "none", "\x02\x03": "none", "\x03\x02": "none", "\x03\x01\x01": "none",
		} {
			var numbers []int
			for _, n := range []byte(path) {
				numbers = append(numbers, int(n))
			}
			got := "none"
			if p := root.Find(numbers...); p != nil {
				got = text[p.BodyOffset:p.End]
			}
			if got != want {
				t.Errorf("part %v is %q, not %q", numbers, got, want)
			}
		}
	}
	single := build("Subject: x\r\n\r\nbody", 100).Root
	if single.Find(1) != single || single.Find(2) != nil || single.Find(1, 1) != nil || single.Find() != single {
		t.Error("part 1 of a message without parts is the message's own body")
	}
}

// TestBounds: beyond the bounds are opaque bytes, and no time is lost.
func TestBounds(t *testing.T) {
	deep := strings.Repeat("Content-Type: message/rfc822\r\n\r\n", 100_000)
	levels := 0
	for p := build(deep, 1<<20).Root; len(p.Children) > 0; p = p.Children[0] {
		levels++
	}
	if levels > maxDepth {
		t.Errorf("%d levels", levels)
	}
	wide := "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\n\r\nx\r\n", 50_000)
	if n := len(build(wide, 1<<20).Root.Children); n > maxParts {
		t.Errorf("%d parts", n)
	}
	long := strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 5000) + "\r\nbody"
	m := build(long, 1<<20)
	if got := long[m.Root.BodyOffset:]; got != "body" {
		t.Errorf("the body behind a long header is %.20q", got)
	}
	size := 0
	for _, f := range m.Header() {
		size += len(f.Raw)
	}
	if size > maxHeader {
		t.Errorf("%d octets of header are kept", size)
	}
	hostile := "From: " + strings.Repeat("(", 100_000) + strings.Repeat(`"`, 100_000) + strings.Repeat("<", 100_000) + "\r\n\r\n"
	build(hostile, 1<<20).Envelope()
	build("Subject: "+strings.Repeat("=?a?q?", 100_000)+"\r\n\r\n", 1<<20).Envelope()
	DecodeWords(strings.Repeat("=?a?q?", 20_000))
	if n := strings.Count(string(build("To: "+strings.Repeat("a@b,", 5000)+"\r\n\r\n", 1<<20).Envelope()), `"b"`); n != maxAddresses {
		t.Errorf("%d addresses", n)
	}
}

// TestParameterFlood: a hundred parameters of a field are read, also where they
// are pieces of one (RFC 2231), and no more.
func TestParameterFlood(t *testing.T) {
	field := "Content-Disposition: attachment"
	for i := range 101 {
		field += fmt.Sprintf("; filename*%d=y", i)
	}
	m := build(field+strings.Repeat("; filename*0=z", 10_000)+"\r\n\r\n", 1<<20)
	if m.Root.Filename != strings.Repeat("y", 100) {
		t.Errorf("the file is called %.200q", m.Root.Filename)
	}
	got := string(m.BodyStructure())
	if !strings.Contains(got, `"FILENAME*99"`) || strings.Contains(got, `"FILENAME*100"`) {
		t.Errorf("%.4000s", got)
	}
}

func TestContent(t *testing.T) {
	for text, want := range map[string]string{
		"Content-Transfer-Encoding: base64\r\n\r\nR3L8\r\n3w==\r\n":                        "Grüß",
		"Content-Transfer-Encoding: BASE64\r\n\r\n!!R3Jl#b\n g==":                          "Gren",
		"Content-Transfer-Encoding: quoted-printable\r\n\r\na=3D=\r\nb=  \r\nc=ZZ=":        "a=bc=ZZ",
		"Content-Type: text/plain; charset=utf-8\r\n\r\nGr\xc3\xbc\xff":                    "Grüÿ",
		"Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n\x1b$B$\"\x1b(B":             "あ",
		"Content-Type: text/plain; charset=x-nobody-knows\r\n\r\nGr\xfc":                   "Grü",
		"Content-Type: text/html\r\n\r\n<p>a&amp;b<br>c<script>x</script><style>y</style>": "\na&b\nc",
		"Content-Type: image/png\r\n\r\nabc":                                               "",
	} {
		m := build(text, 7)
		got, err := io.ReadAll(m.Root.Text(strings.NewReader(text)))
		if err != nil || string(got) != want {
			t.Errorf("%q has the text %q, not %q (%v)", text, got, want, err)
		}
	}
}

func TestDates(t *testing.T) {
	for s, want := range map[string]string{
		"Tue, 24 Nov 2026 10:00:00 +0100":           "2026-11-24T10:00:00+01:00",
		"24 Nov 26 10:00 EST":                       "2026-11-24T10:00:00-05:00",
		"Tue, 24 Nov 2026 10:00:00 GMT (a comment)": "2026-11-24T10:00:00Z",
		"yesterday": "none", "": "none", "32 Nov 2026 10:00:00 +0000": "none",
	} {
		got := "none"
		if d, ok := ParseDate(s); ok {
			got = d.Format("2006-01-02T15:04:05Z07:00")
		}
		if got != want {
			t.Errorf("%q is %s, not %s", s, got, want)
		}
	}
}

func BenchmarkBuilder(b *testing.B) {
	small := "From: a@client.example\r\nTo: alice@home.example\r\nSubject: benchmark\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\r\n" +
		strings.Repeat("All work and no play makes Jack a dull boy.\r\n", 40) + "--b\r\nContent-Type: text/html\r\n\r\n" + strings.Repeat("<p>All work and no play\r\n", 80) + "--b--\r\n"
	large := "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\r\n" + strings.Repeat(strings.Repeat("QUJD", 19)+"\r\n", 14_000) + "--b--\r\n"
	for name, text := range map[string]string{"4KiB": small, "1MiB": large} {
		b.Run(name, func(b *testing.B) {
			in := []byte(text)
			b.SetBytes(int64(len(in)))
			b.ReportAllocs()
			for b.Loop() {
				builder := NewBuilder()
				builder.Write(in)
				m := builder.Finish(nil)
				m.Envelope()
				m.BodyStructure()
			}
		})
	}
}

// TestMarshalledStrings: strings of every length come back, cut to 255 octets;
// what an earlier version wrote is read, whatever octets it has.
func TestMarshalledStrings(t *testing.T) {
	for _, n := range []int{0, 1, 127, 128, 254, 255, 256, 1000} {
		name := strings.Repeat("\xff", n)
		p, err := UnmarshalParts(MarshalParts(&Part{Type: "text", Subtype: "x-odd", Charset: "utf-8", Filename: name}))
		if err != nil || p.Filename != name[:min(n, 255)] || p.Type != "text" || p.Subtype != "x-odd" || p.Charset != "utf-8" {
			t.Errorf("%d octets: %+v, %v", n, p, err)
		}
	}
	first := append([]byte("\x01\x00\x10\x20\x01\x04text\x05plain\x05utf-8\x00\x90"), strings.Repeat("\x81", 0x90)+"\x00"...)
	p, err := UnmarshalParts(first)
	if err != nil || p.Type != "text" || p.Subtype != "plain" || p.Charset != "utf-8" || p.Filename != strings.Repeat("\x81", 0x90) || p.End != 0x30 {
		t.Errorf("version 1: %+v, %v", p, err)
	}
}
