package smtpd

import (
	"bufio"
	"bytes"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// octets is a connection on which the peer has said all it will say, in pieces.
type octets struct {
	net.Conn
	in    []byte
	piece int
}

func (o *octets) Read(p []byte) (int, error) {
	if len(o.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p, o.in[:min(len(o.in), max(1, o.piece))])
	o.in = o.in[n:]
	return n, nil
}

func (o *octets) Write(p []byte) (int, error)      { return len(p), nil }
func (o *octets) SetReadDeadline(time.Time) error  { return nil }
func (o *octets) SetWriteDeadline(time.Time) error { return nil }

// bodyOf reads a message from what a peer says, with a buffer of that size.
func bodyOf(said string, piece, buffer int, limit int64) (text, rest string, err error) {
	c := &Conn{Conn: &octets{in: []byte(said), piece: piece}, cfg: &Config{Idle: time.Minute, MaxSize: limit}, log: slog.New(slog.DiscardHandler)}
	c.br = bufio.NewReaderSize(c.Conn, max(64, piece/4))
	c.body = newBody(c, limit)
	var out bytes.Buffer
	_, err = io.CopyBuffer(struct{ io.Writer }{&out}, struct{ io.Reader }{c.body}, make([]byte, max(1, buffer)))
	left, _ := io.ReadAll(c.br)
	return out.String(), string(left), err
}

func TestBody(t *testing.T) {
	for said, want := range map[string]string{
		".\r\nQUIT\r\n":                         "|QUIT\r\n",
		"a\r\n.\r\nrest":                        "a\r\n|rest",
		"..\r\n.\r\n":                           ".\r\n|",
		"...x\r\n.\r\n":                         "..x\r\n|",
		".x\r\n\r\n.\r\n":                       "x\r\n\r\n|",
		"a.\r\n.\r\n":                           "a.\r\n|",
		strings.Repeat("x", 9000) + "\r\n.\r\n": strings.Repeat("x", 9000) + "\r\n|",
	} {
		for _, buffer := range []int{1, 2, 3, 7, 4096} {
			for _, piece := range []int{1, 2, 5, 1000} {
				text, rest, err := bodyOf(said, piece, buffer, 1<<20)
				if err != nil || text+"|"+rest != want {
					t.Errorf("%q in pieces of %d, buffer %d: %q, left %q, %v", said, piece, buffer, text, rest, err)
				}
			}
		}
	}
	for said, want := range map[string]error{
		"a\n.\r\n": errBare, "a\r.\r\n": errBare, ".\n": errBare, ".\rx\r\n.\r\n": errBare, "a\r\r\n.\r\n": errBare, "a\r\n.\n": errBare,
		strings.Repeat("x", 30) + "\r\n.\r\n": errTooLarge,
	} {
		if _, _, err := bodyOf(said, 3, 4, 20); err != want {
			t.Errorf("%q: %v instead of %v", said, err, want)
		}
	}
	if _, _, err := bodyOf("a\r\n.", 3, 4, 20); err == nil || err == io.EOF {
		t.Errorf("cut off: %v", err)
	}
}

// FuzzBody: a message ends at CRLF.CRLF and nowhere else, however it comes in.
func FuzzBody(f *testing.F) {
	f.Add("a\r\n.\r\nrest", 3, 4)
	f.Add(".\rX\r\n.\r\n", 1, 1)
	f.Add("a\n.\r\n", 2, 2)
	f.Fuzz(func(t *testing.T, said string, piece, buffer int) {
		text, rest, err := bodyOf(said, piece%100, buffer%100, 1<<20)
		all, restAll, errAll := bodyOf(said, len(said), 4096, 1<<20)
		if (err == nil) != (errAll == nil) || err == nil && (text != all || rest != restAll) {
			t.Fatalf("%q %q %v, in one piece %q %q %v", text, rest, err, all, restAll, errAll)
		}
		whole := "\r\n" + said
		end := strings.Index(whole, "\r\n.\r\n")
		clean := func(s string) bool { return !strings.ContainsAny(strings.ReplaceAll(s, "\r\n", ""), "\r\n") }
		if legal := end >= 0 && clean(whole[:end]+"\r\n"); (err == nil) != legal {
			t.Fatalf("%q: %v", said, err)
		}
		if err == nil && text != strings.TrimPrefix(strings.ReplaceAll(whole[:end]+"\r\n", "\r\n.", "\r\n"), "\r\n") {
			t.Fatalf("%q became %q", said, text)
		}
	})
}

func BenchmarkBody(b *testing.B) {
	said := strings.Repeat(strings.Repeat("x", 74)+"\r\n", 14_000) + ".\r\n"
	b.SetBytes(int64(len(said)))
	for b.Loop() {
		if _, _, err := bodyOf(said, 64<<10, 32<<10, 2<<20); err != nil {
			b.Fatal(err)
		}
	}
}

// TestLines: what is to be sent on has no bare CR or LF, wherever reads are cut.
func TestLines(t *testing.T) {
	for text, good := range map[string]bool{
		"": true, "a": true, "a\r\nb\r\n": true, "\r\n": true, "\r\n\r\n": true, "a\r\n.\r\n": true,
		"a\nb": false, "\n": false, "a\rb": false, "a\r": false, "a\r\r\n": false, "a\r\n\n": false, "\r\nb\rc": false,
	} {
		for _, r := range []io.Reader{strings.NewReader(text), iotest.OneByteReader(strings.NewReader(text)), iotest.DataErrReader(strings.NewReader(text))} {
			got, err := io.ReadAll(Lines(r))
			if good != (err == nil) || good && string(got) != text {
				t.Errorf("%q: %q, %v", text, got, err)
			}
		}
	}
}
