package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// An oddity makes messages that nobody should send, and that somebody does.
type oddity struct{ *rand.Rand }

func (o oddity) pick(list ...string) string { return list[o.IntN(len(list))] }

// message is one of the kinds, most of them broken in some way.
func (o oddity) message() string {
	switch o.IntN(14) {
	case 0:
		return ""
	case 1:
		return o.noise(o.IntN(2000))
	case 2:
		return o.pick("no header at all", "\r\n", "\r\n\r\n", ".\r\n", "..", "\r\n.\r\n", "X", ":", ": \r\n", " folded\r\n", "\n", "a\nb", "\x00")
	case 3:
		return o.header() + "\r\n" + strings.Repeat("y", 1+o.IntN(300_000))
	case 4:
		return o.header() + "\r\n" + strings.Repeat(o.noise(50)+"\r\n", o.IntN(200))
	case 5:
		return strings.Repeat(o.field(), 1+o.IntN(300)) + "\r\n"
	case 6:
		return o.header() + o.nested(1+o.IntN(110))
	case 7:
		return "Subject: " + strings.Repeat(o.pick("long ", "=?utf-8?q?=C3=9F?= ", "\r\n\t", "é"), 1+o.IntN(3000)) + "\r\n\r\nbody\r\n"
	case 8:
		return strings.ReplaceAll(o.header()+o.entity(0), "\r\n", "\n")
	case 9:
		return o.header() + "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\n\r\nx\r\n", o.IntN(400))
	default:
		text := o.header() + o.entity(0)
		if o.IntN(3) == 0 {
			text = text[:o.IntN(len(text)+1)]
		}
		return text
	}
}

func (o oddity) noise(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(o.IntN(256))
	}
	return string(b)
}

func (o oddity) header() string {
	var b strings.Builder
	for range o.IntN(8) {
		b.WriteString(o.field())
	}
	return b.String()
}

func (o oddity) field() string {
	name := o.pick("From", "To", "Cc", "Subject", "Date", "Message-ID", "In-Reply-To", "References", "X-Odd", "Sender", "Reply-To", "Bcc", "subject", "FROM", "")
	value := o.pick(
		"alice@home.example", `"Quoted \" name" <a@b>`, "undisclosed-recipients:;", "A group: a@b, c@d;, e@f", "<@route,@other:u@h>",
		"(comment (nested)) a@b (trailing", "=?iso-8859-1?q?J=F6rg?= <j@b>", "=?utf-8?b?not base64?=", "=?x?y?z?=", "Grüße \xff\xfe",
		"Tue, 24 Nov 2026 10:00:00 +0000", "yesterday", `unterminated "quote`, "<", "a@b,,,c@d", "\x00\x01", strings.Repeat("a@b, ", o.IntN(1500)),
		"", " ", "{5}", "\\", `"`, "one\r\n two\r\n\tthree", o.noise(o.IntN(60)),
	)
	return name + o.pick(": ", ":", " : ", "\t:") + value + o.pick("\r\n", "\r\n", "\r\n", "\n")
}

func (o oddity) entity(depth int) string {
	switch o.IntN(9) {
	case 0:
		if depth < 5 {
			return o.multipart(depth)
		}
		fallthrough
	case 1:
		if depth < 5 {
			return "Content-Type: message/" + o.pick("rfc822", "global", "RFC822", "partial; id=1", "delivery-status") +
				o.pick("", "\r\nContent-Transfer-Encoding: base64") + "\r\n\r\n" + o.header() + o.entity(depth+1)
		}
		fallthrough
	case 2:
		return "Content-Transfer-Encoding: base64\r\nContent-Type: application/octet-stream; name*0*=utf-8''%e2%82; name*1*=%ac\r\n\r\n" + o.pick("QUJD\r\n", "====", "A", o.noise(30))
	case 3:
		return "Content-Type: text/html; charset=" + o.pick("utf-8", "iso-2022-jp", "x-unknown", `"`, "windows-1252") + "\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p>a=\r\nb=ZZ<!-- <b"
	case 4:
		return "Content-Type: " + o.pick("text", "/", "text/", "text/plain;;;", "multipart/mixed", `multipart/mixed; boundary=""`, "a/b; c", "TEXT/PLAIN; =x", "\x80/\x81") + "\r\n\r\nbody"
	case 5:
		return "Content-Disposition: " + o.pick("attachment; filename=x", "inline", ";", `attachment; filename="unterminated`) + "\r\nContent-Language: de, en\r\nContent-ID: <x>\r\nContent-MD5: q\r\n\r\nbody"
	default:
		return "\r\n" + o.pick("plain\r\n", "", "no end", "\r\n\r\n\r\n", "--\r\n--b\r\n")
	}
}

func (o oddity) multipart(depth int) string {
	boundary := o.pick("b", "b", "bb", "=_x", fmt.Sprint("n", depth), strings.Repeat("z", 80), "with space")
	var b strings.Builder
	fmt.Fprintf(&b, "Content-Type: multipart/%s; boundary=%q\r\n\r\n%s", o.pick("mixed", "digest", "alternative", "x"), boundary, o.pick("", "preamble\r\n"))
	for range o.IntN(5) {
		b.WriteString("--" + boundary + o.pick("\r\n", "\r\n", " \t\r\n", "\n", "x\r\n"))
		b.WriteString(o.entity(depth + 1))
		b.WriteString(o.pick("\r\n", "\r\n", "", "\n"))
	}
	b.WriteString(o.pick("--"+boundary+"--\r\n", "--"+boundary+"--", "", "--"+boundary))
	return b.String() + o.pick("", "epilogue\r\n")
}

// nested is a multipart in a multipart and so on.
func (o oddity) nested(depth int) string {
	var b strings.Builder
	for i := range depth {
		fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=d%d\r\n\r\n--d%d\r\n", i, i)
	}
	b.WriteString("\r\ndeep\r\n")
	for i := depth - 1; i >= 0 && o.IntN(20) > 0; i-- {
		fmt.Fprintf(&b, "\r\n--d%d--\r\n", i)
	}
	return b.String()
}

// incompressible is text of n octets in lines that no compressor makes much smaller.
func (oddity) incompressible(n int) string {
	random := rand.New(rand.NewPCG(uint64(n), 3))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('!' + 1 + random.IntN(90))
		if i%70 == 0 || i%70 == 69 {
			b[i] = "\n\r"[i%70/69]
		}
	}
	b[0], b[n-1] = 'x', 'x'
	return string(b)
}
