package main

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
)

// A correspondence makes the mail of a scene, always the same.
type correspondence struct{ oddity }

func newCorrespondence() correspondence {
	return correspondence{oddity{rand.New(rand.NewPCG(2000, 1))}}
}

// letter is a message as programs write them today, or did once.
func (c correspondence) letter(number int) string {
	header := fmt.Sprintf("From: %s\r\nTo: alice@home.example\r\nSubject: %s no. %04d\r\nDate: %s\r\nMessage-ID: <%d@client.example>\r\n",
		c.pick("Bob <bob@client.example>", "=?utf-8?q?J=C3=B6rg?= <joerg@client.example>", "\"Doe, Jane\" <jane@client.example>", "list@client.example"),
		c.pick("Re: lunch", "=?utf-8?b?R3LDvMOfZQ==?=", "Grüße aus Köln", "[list] Re: Fwd: the \"plan\"", "日本語"), number,
		fmt.Sprintf("%d %s 20%02d %02d:%02d:00 +0200", 1+number%28, c.pick("Jan", "Jun", "Dec"), 10+number%15, number%24, number%60), number)
	if number > 0 && c.IntN(3) == 0 {
		header += fmt.Sprintf("In-Reply-To: <%d@client.example>\r\nReferences: <%d@client.example>\r\n", number-1, number-1)
	}
	const mime = "MIME-Version: 1.0\r\n"
	switch c.IntN(8) {
	case 0:
		return header + mime + "Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGr\xfc\xdfe\r\n" + c.prose()
	case 1:
		return header + mime + "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGrüße, 世界\r\n" + c.prose()
	case 2:
		return header + mime + "Content-Type: multipart/alternative; boundary=\"=_b\"\r\n\r\n--=_b\r\nContent-Type: text/plain\r\n\r\n" + c.prose() +
			"\r\n--=_b\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p>Gr=C3=BC=C3=9Fe=\r\n</p>" + c.prose() + "\r\n--=_b--\r\n"
	case 3:
		size := 1_000 + c.IntN(20_000)
		if number%100 == 50 {
			size = 400_000
		}
		return header + mime + "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n" + c.prose() + "\r\n--b\r\nContent-Type: application/pdf\r\n" +
			"Content-Disposition: attachment; filename*=utf-8''Gr%C3%BC%C3%9Fe.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n" + c.attachment(size) + "\r\n--b--\r\n"
	case 4:
		return header + mime + "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\n" + c.prose() + "\r\n--b--\r\n"
	case 5:
		return header + "\r\nFrom the begin\r\n.\r\n..dots\r\n>From quoted\r\ntrailing  \r\n\r\nno line end" // as APPEND takes it
	default:
		return header + "\r\n" + c.prose()
	}
}

func (c correspondence) prose() string {
	return strings.Repeat(c.pick("All work and no play makes Jack a dull boy.\r\n", "\r\n", "> > quoted  \r\n", "-- \r\nJack\r\n"), 1+c.IntN(60))
}

func (c correspondence) attachment(size int) string {
	text := base64.StdEncoding.EncodeToString([]byte(c.noise(size)))
	var b strings.Builder
	for len(text) > 76 {
		b.WriteString(text[:76] + "\r\n")
		text = text[76:]
	}
	return b.String() + text
}

// any is a letter, or something worse. NUL is left out: IMAP4rev1 has no way
// to say it, and many programs none to store it.
func (c correspondence) any(number int) string {
	if c.IntN(8) > 0 {
		return c.letter(number)
	}
	if text := strings.ReplaceAll(c.message(), "\x00", "0"); text != "" {
		return text
	}
	return "\r\n"
}
