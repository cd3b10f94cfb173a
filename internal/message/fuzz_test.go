package message

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// seeds are messages that each go another way through the builder.
var seeds = []string{
	"",
	"\r\n",
	"no header",
	"Subject: x\n\nbare\n",
	"Subject: x\r\n folded\r\n\r\nbody\r\n",
	"Content-Type: multipart/mixed; boundary=b\r\n\r\npre\r\n--b\r\n\r\none\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>two\r\n--b--\r\nepilogue",
	"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: multipart/digest; boundary=bb\r\n\r\n--bb\r\n\r\nSubject: in\r\n\r\ntext\r\n--bb--\r\n--b--",
	"Content-Type: message/rfc822\r\n\r\nContent-Type: message/rfc822\r\n\r\nFrom: a@b\r\n\r\nx",
	"Content-Type: message/rfc822\r\n",
	"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n--b\r\n--b--",
	"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n--b\r\n\n--b--",
	"Content-Type: multipart/mixed; boundary=b\n\n--b--\n",
	"--b\r\nContent-Type: multipart/mixed; boundary=\"\"\r\n\r\n",
	"From: =?utf-8?q?J=C3=B6?= <a@b>, g: c@d, e;\r\nTo: \x80@\xff\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\n\r\n",
	"Content-Type: text/plain; charset*=utf-8''utf-8; x*0=a; x*1*=%41\r\nContent-Transfer-Encoding: base64\r\n\r\nQUJD\r\n",
}

func build(text string, pieces int) *Message {
	b := NewBuilder()
	for i := 0; i < len(text); i += pieces {
		b.Write([]byte(text[i:min(len(text), i+pieces)])) //nolint:errcheck // it never fails
	}
	return b.Finish(nil)
}

func FuzzBuilder(f *testing.F) {
	for _, s := range seeds {
		f.Add(s, 3)
	}
	f.Fuzz(func(t *testing.T, text string, pieces int) {
		m := build(text, max(1, len(text)))
		if m.Size != int64(len(text)) || m.Root.Offset != 0 || m.Root.End != m.Size {
			t.Fatalf("size %d, root %d to %d, of %d octets", m.Size, m.Root.Offset, m.Root.End, len(text))
		}
		checkPart(t, m.Root, text)
		other := build(text, max(1, pieces%50))
		if a, b := outline(m.Root), outline(other.Root); a != b {
			t.Fatalf("in one piece\n%s\nin pieces of %d\n%s", a, max(1, pieces%50), b)
		}
		packed, err := UnmarshalParts(MarshalParts(m.Root))
		if err != nil {
			t.Fatalf("parts do not come back: %v\n%s", err, outline(m.Root))
		}
		if a, b := outline(m.Root), outline(packed); a != b {
			t.Fatalf("parts were\n%s\nand came back as\n%s", a, b)
		}
		structure := m.BodyStructure()
		for _, rendered := range [][]byte{m.Envelope(), structure, Body(structure)} {
			if valueLen(rendered) != len(rendered) || len(rendered) == 0 || bytes.IndexByte(rendered, 0) >= 0 {
				t.Fatalf("not one IMAP value: %q", rendered)
			}
		}
		r := strings.NewReader(text)
		if n := len([]rune(Preview(r, packed))); n > previewLen {
			t.Fatalf("preview of %d characters", n)
		}
		if err := Text(r, packed, func([]byte) bool { return true }); err != nil {
			t.Fatal(err)
		}
	})
}

// checkPart checks that parts lie in one another, in order, and that their
// lines are counted right.
func checkPart(t *testing.T, p *Part, text string) {
	t.Helper()
	if p.Offset > p.BodyOffset || p.BodyOffset > p.End || p.End > int64(len(text)) {
		t.Fatalf("part from %d over %d to %d of %d", p.Offset, p.BodyOffset, p.End, len(text))
	}
	if n := strings.Count(text[p.BodyOffset:p.End], "\n"); int64(n) != p.Lines {
		t.Fatalf("%d lines counted in %q, which has %d", p.Lines, text[p.BodyOffset:p.End], n)
	}
	at := p.BodyOffset
	for _, c := range p.Children {
		if c.Offset < at || c.End > p.End {
			t.Fatalf("part from %d to %d, in one from %d to %d", c.Offset, c.End, at, p.End)
		}
		at = c.End
		checkPart(t, c, text)
	}
	for _, f := range p.header {
		if text[f.Offset:f.Offset+int64(len(f.Raw))] != string(f.Raw) {
			t.Fatalf("field %q does not stand at %d", f.Raw, f.Offset)
		}
	}
}

// outline writes a tree as text.
func outline(p *Part) string {
	var b strings.Builder
	var walk func(p *Part, indent string)
	walk = func(p *Part, indent string) {
		fmt.Fprintf(&b, "%s%s/%s %d %d %d lines %d", indent, p.Type, p.Subtype, p.Offset, p.BodyOffset, p.End, p.Lines)
		for name, s := range map[string]string{"charset": p.Charset} {
			if s != "" {
				fmt.Fprintf(&b, " %s=%q", name, s[:min(len(s), 255)])
			}
		}
		if p.Encoding != "" {
			fmt.Fprintf(&b, " encoding=%s", p.Encoding)
		}
		if p.Filename != "" {
			fmt.Fprintf(&b, " filename=%q", p.Filename[:min(len(p.Filename), 255)])
		}
		b.WriteByte('\n')
		for _, c := range p.Children {
			walk(c, indent+"  ")
		}
	}
	walk(p, "")
	return b.String()
}

func FuzzUnmarshalParts(f *testing.F) {
	for _, s := range seeds {
		f.Add(MarshalParts(build(s, 100).Root))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := UnmarshalParts(b)
		if err != nil {
			return
		}
		again, err := UnmarshalParts(MarshalParts(p))
		if err != nil || !reflect.DeepEqual(p, again) {
			t.Fatalf("%+v became %+v: %v", p, again, err)
		}
	})
}

func FuzzBody(f *testing.F) {
	for _, s := range seeds {
		f.Add(build(s, 100).BodyStructure())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if out := Body(b); len(out) > len(b) {
			t.Fatalf("%q grew to %q", b, out)
		}
	})
}

func FuzzWords(f *testing.F) {
	f.Add("=?utf-8?q?J=C3?= =?utf-8?q?=B6rg?= x")
	f.Add("=?iso-2022-jp?b?GyRCJCIbKEI=?=")
	f.Add("\xff=?x?=?=")
	f.Fuzz(func(t *testing.T, s string) {
		if out := DecodeWords(s); !strings.Contains(s, "=?") && strings.ToValidUTF8(out, "") != out {
			t.Fatalf("%q became %q, which is not UTF-8", s, out)
		}
		ParseAddresses(s)
		ParseDate(s)
		joinParams(parseParams(s))
	})
}
