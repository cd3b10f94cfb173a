package imapd

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
)

// TestBinaryLarge: a part that is far larger than any buffer comes out as it
// went in, whole and in pieces.
func TestBinaryLarge(t *testing.T) {
	f := newFixture(t, nil)
	c := f.login()
	want := make([]byte, 700_001)
	for i := range want {
		want[i] = byte(i * i >> 3)
	}
	var text strings.Builder
	text.WriteString("Content-Transfer-Encoding: base64\r\n\r\n")
	encoded := base64.StdEncoding.EncodeToString(want)
	for len(encoded) > 0 {
		n := min(76, len(encoded))
		text.WriteString(encoded[:n] + "\r\n")
		encoded = encoded[n:]
	}
	c.upload("INBOX", "", text.String())
	c.ok("SELECT INBOX")
	wantAll(t, c.ok("FETCH 1 BINARY.SIZE[1]"), fmt.Sprintf("BINARY.SIZE[1] %d)", len(want)))
	for _, cut := range []struct{ from, n int }{{0, len(want)}, {0, 1}, {299_999, 65_537}, {len(want) - 1, 10}, {len(want), 10}, {1 << 40, 1}} {
		got := c.ok(fmt.Sprintf("FETCH 1 BINARY.PEEK[1]<%d.%d>", cut.from, cut.n))
		part := want[min(cut.from, len(want)):min(cut.from+cut.n, len(want))]
		literal := fmt.Sprintf("<%d> {%d}\r\n", cut.from, len(part))
		if bytes.IndexByte(part, 0) >= 0 {
			literal = fmt.Sprintf("<%d> ~{%d}\r\n", cut.from, len(part))
		}
		if !strings.Contains(got, literal+string(part)+")") {
			t.Errorf("<%d.%d> is wrong: %.80q", cut.from, cut.n, got)
		}
	}
}

// TestBinaryParts: what each kind of part gives.
func TestBinaryParts(t *testing.T) {
	f := newFixture(t, nil)
	c := f.login()
	inner := "Subject: in\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\na=3Db=\r\nc\r\n"
	whole := "Content-Type: multipart/mixed; boundary=x\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
		"--x\r\nContent-Type: message/rfc822\r\n\r\n" + inner + "\r\n" +
		"--x\r\nContent-Transfer-Encoding: Quoted-Printable\r\n\r\n=00=zz\r\n--x--\r\n"
	c.upload("INBOX", "", whole)
	c.ok("SELECT INBOX")
	for spec, want := range map[string]string{
		"":    fmt.Sprintf("{%d}\r\n%s", len(whole), whole), // a message is no encoded part
		"1":   fmt.Sprintf("{%d}\r\n%s", len(inner), inner),
		"1.1": "{6}\r\na=bc\r\n",
		"2":   "~{4}\r\n\x00=zz", // what is not well encoded stays
		"3":   "NIL",
		"1.2": "NIL",
	} {
		if got := c.ok("FETCH 1 BINARY.PEEK[" + spec + "]"); !strings.Contains(got, "BINARY["+spec+"] "+want+")") {
			t.Errorf("BINARY[%s]: %q", spec, got)
		}
	}
	if strings.Contains(c.ok("FETCH 1 (BINARY.SIZE[2] FLAGS)"), `\Seen`) {
		t.Error("BINARY.SIZE or PEEK made the message seen")
	}
	wantAll(t, c.ok("UID FETCH 1 BINARY[2]"), `FLAGS (\Seen`)
	c.fails("FETCH 1 BINARY[1]<0.0>", "BAD")
}
