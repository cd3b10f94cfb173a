package dialogue

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"time"
)

// What stands for more than a word in the input of a fuzzer that speaks SMTP.
const (
	lastChunk = 0xfc // BDAT n LAST, where n is the next octet, and the n octets behind that
	oneChunk  = 0xfd // BDAT n
	pause     = 0xfe // the next octets are a write of their own
)

const maxSMTP = 16 << 10

// SMTPWords are those of fuzzers that speak SMTP to home.example, where alice
// and bob are users.
func SMTPWords() Words {
	return Words{
		"\r\n.\r\n", "\r\n", "EHLO x\r\n", "HELO x\r\n", "MAIL FROM:<", "RCPT TO:<", "DATA\r\n", "BDAT ", " LAST\r\n", "RSET\r\n",
		"NOOP\r\n", "QUIT\r\n", "VRFY ", "EXPN ", "HELP\r\n", "STARTTLS\r\n", "AUTH ", "PLAIN", "LOGIN", "SCRAM-SHA-256",
		"-PLUS", "=\r\n", "*\r\n", ">", "alice@home.example", "bob@home.example", "a@client.example", "x@elsewhere.example", "<Postmaster>", "+tag",
		`"a b"@home.example`, "@relay.example:", " SIZE=", " BODY=8BITMIME", " BODY=BINARYMIME", " SMTPUTF8", " REQUIRETLS", " RET=HDRS", " ENVID=", " NOTIFY=SUCCESS,DELAY",
		" NOTIFY=NEVER", " ORCPT=rfc822;", " HOLDFOR=60", " HOLDUNTIL=", " AUTH=<>", "\r\n..", "\n.\n", "\r.\r", "\r\n.\n", "From: alice@home.example\r\n",
		"From: ", "Sender: ", "Resent-From: ", "Date: ", "Message-ID: ", "Received: from a by b\r\n", "Authentication-Results: mx.home.example; ", "Bcc: ", "Return-Path: <>\r\n", "Subject: ",
		"Content-Type: multipart/mixed; boundary=b\r\n", "--b\r\n", "Content-Type: message/rfc822\r\n", "Content-Transfer-Encoding: base64\r\n", "=?utf-8?q?", "?=", "alice@home.example\x00wonderland 7",
		"AGFsaWNlQGhvbWUuZXhhbXBsZQB3b25kZXJsYW5kIDc=", "biwsbj1hbGljZUBob21lLmV4YW1wbGUscj1hYmM=", "staff@home.example", "@home.example",
	}
}

// SMTPWrites are what a server is sent for the input of a fuzzer.
func (w Words) SMTPWrites(in []byte) []string {
	return strings.Split(w.Script(in, maxSMTP, func(b byte, rest []byte) (string, int) {
		if b == pause {
			return "\xfe", 0
		}
		if b != lastChunk && b != oneChunk || len(rest) == 0 {
			return "", 0
		}
		n := min(int(rest[0]), len(rest)-1)
		command := "BDAT " + strconv.Itoa(n)
		if b == lastChunk {
			command += " LAST"
		}
		return command + "\r\n" + string(rest[1:1+n]), 1 + n
	}), "\xfe")
}

// Converse connects from one of millions of addresses of loopback, so that none
// is held to what another did. It reads the greeting, sends what is to be sent,
// ends it and returns all that the server says until it hangs up, which it must
// within a time.
func Converse(addr string, writes []string, within time.Duration) (said string, err error) {
	from := net.IPv4(127, byte(1+rand.IntN(250)), byte(rand.IntN(256)), byte(1+rand.IntN(250)))
	nc, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: from}}).Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer nc.Close()
	if err := nc.SetDeadline(time.Now().Add(within)); err != nil {
		return "", err
	}
	greeting := make([]byte, 4)
	if _, err := io.ReadFull(nc, greeting); err != nil {
		return "", err
	}
	go func() {
		for _, text := range writes {
			if _, err := io.WriteString(nc, text); err != nil {
				return // the server has hung up, and said why
			}
		}
		nc.(interface{ CloseWrite() error }).CloseWrite() //nolint:errcheck // the read tells
	}()
	rest, err := io.ReadAll(nc)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return "", errors.New("the server does not hang up")
	}
	return string(greeting) + string(rest), nil
}
