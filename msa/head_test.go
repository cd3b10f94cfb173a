package msa

import (
	"bufio"
	"bytes"
	"io"
	"net/mail"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"mailbox/internal/message"
	"mailbox/internal/smtpd"
)

// readAll completes a message as a session does.
func readAll(text string) (*head, string, error) {
	in := bufio.NewReaderSize(smtpd.Lines(strings.NewReader(text)), 64) // fields longer than the buffer
	h, err := readHead(in)
	if err != nil {
		return nil, "", err
	}
	rest, err := io.ReadAll(in)
	return h, string(h.complete("alice@home.example", time.Unix(1e9, 0).UTC())) + string(h.begun) + string(rest), err
}

// TestComplete: what is missing is added, what must not leave is taken away,
// and everything else is as it came.
func TestComplete(t *testing.T) {
	const date, id = "Date: Sun, 09 Sep 2001 01:46:40 +0000\r\n", "Message-ID: <*@home.example>\r\n"
	star := regexp.MustCompile(`<[A-Z0-9]+@`)
	for name, c := range map[string]struct{ in, out string }{
		"complete":        {"Date: x\r\nMessage-Id:\r\n <a@b>\r\n\r\nbody", "Date: x\r\nMessage-Id:\r\n <a@b>\r\n\r\nbody"},
		"both missing":    {"Subject: x\r\n\r\nbody\r\n", date + id + "Subject: x\r\n\r\nbody\r\n"},
		"date missing":    {"MESSAGE-ID: <a@b>\r\n\r\n", date + "MESSAGE-ID: <a@b>\r\n\r\n"},
		"resent is other": {"Resent-Date: x\r\nResent-Message-ID: y\r\n\r\n", date + id + "Resent-Date: x\r\nResent-Message-ID: y\r\n\r\n"},
		"bcc":             {"Bcc: a\r\nX: 1\r\nBCC: b,\r\n c\r\n\td\r\nbcc :e\r\nBcc\t: f\r\nBcc:\r\n\r\nBcc: stays\r\n", date + id + "X: 1\r\n\r\nBcc: stays\r\n"},
		"resent-bcc":      {"Resent-Bcc: a,\r\n b\r\nX: 1\r\n\r\n", date + id + "X: 1\r\n\r\n"},
		"return-path":     {"Return-Path: <x@y>\r\nX: 1\r\n\r\n", date + id + "X: 1\r\n\r\n"},
		"not bcc":         {"X-Bcc: a\r\nBccc: b\r\n\r\n", date + id + "X-Bcc: a\r\nBccc: b\r\n\r\n"},
		"no body":         {"X: 1\r\n", date + id + "X: 1\r\n"},
		"no line end":     {"X: 1\r\nBcc: a", date + id + "X: 1\r\n"},
		"no empty line":   {"X: 1\r\nThis is the body: no field\r\nBcc: stays", date + id + "X: 1\r\n\r\nThis is the body: no field\r\nBcc: stays"},
		"nothing":         {"", date + id},
		"only a body":     {"\r\nbody", date + id + "\r\nbody"},
		"continues none":  {" x\r\nBcc: a", date + id + "\r\n x\r\nBcc: a"},
		"long":            {"X: " + strings.Repeat("y", 1000) + "\r\nBcc: " + strings.Repeat("z", 1000) + "\r\n\r\n", date + id + "X: " + strings.Repeat("y", 1000) + "\r\n\r\n"},
		"long first line": {strings.Repeat("y", 1000) + "\r\nBcc: a", date + id + "\r\n" + strings.Repeat("y", 1000) + "\r\nBcc: a"},
	} {
		_, out, err := readAll(c.in)
		out = star.ReplaceAllString(out, "<*@")
		if err != nil || out != c.out {
			t.Errorf("%s: %q %v\nwanted %q", name, out, err, c.out)
		}
	}
	if _, _, err := readAll("X: " + strings.Repeat("y", maxHead) + "\r\n\r\n"); smtpd.ReplyCode(err) != "552 5.3.4" {
		t.Errorf("an endless header: %v", err)
	}
}

// FuzzComplete: every field but the unwanted ones is kept byte for byte and in
// order, no Bcc is left however it is written, what is added is added once, the
// body is as it came, and whoever reads the outcome finds the same header.
func FuzzComplete(f *testing.F) {
	for _, s := range []string{
		"From: a@b\r\nBcc: c@d\r\n e@f\r\nbcc : g\r\n\r\nbody", "Bcc\t:x\r\n\r\n", "Date: x\r\nMessage-ID: <y@z>\r\n\r\n", "X: 1\r\nno field\r\nBcc: x",
		"\r\n", "", " x", "X:", "X: 1\r\n \r\n\tz\r\n\r\n", "Bcc: a", ":\r\n", "a\x00b: c\r\n\r\n", "Resent-BCC:a\r\n\r\n", "\xc3: x\r\n\r\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		h, out, err := readAll(in)
		if err != nil {
			return
		}
		if again, twice, err := readAll(out); err != nil || twice != out || len(again.fields) != len(message.ParseHeader([]byte(out))) {
			t.Fatalf("%q became %q, then %q: %v", in, out, twice, err)
		}
		isUnwanted := func(f message.Field) bool {
			name, _, _ := bytes.Cut(f.Raw, []byte{':'})
			return slices.Contains([]string{"bcc", "resent-bcc", "return-path"}, strings.ToLower(strings.Trim(string(name), " \t\r\n")))
		}
		var want, got []string
		var names []string
		for _, f := range h.fields {
			if !isUnwanted(f) {
				want = append(want, string(f.Raw))
			}
			names = append(names, strings.ToLower(f.Name))
		}
		added := 0
		for _, name := range []string{"date", "message-id"} {
			if !slices.Contains(names, name) {
				added++
			}
		}
		header := message.ParseHeader([]byte(out))
		for i, f := range header {
			if isUnwanted(f) {
				t.Fatalf("%q left %q", in, f.Raw)
			}
			if i >= added {
				got = append(got, string(f.Raw))
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%q: %q, not %q", in, got, want)
		}
		b := message.NewBuilder()
		b.Write([]byte(out))
		if built := b.Finish(nil).Header(); len(built) != len(header) {
			t.Fatalf("%q: %d fields for one reader, %d for the other", out, len(built), len(header))
		}
		var raw int
		for _, f := range h.fields {
			raw += len(f.Raw)
		}
		if body := strings.TrimPrefix(in[raw:], "\r\n"); !strings.HasSuffix(out, body) {
			t.Fatalf("%q: the body is not %q", out, body)
		}
	})
}

// FuzzParseMailboxes: what we take for the addresses of a field, the library of
// Go takes for them too, or it takes the field for none at all (its encoded-words
// and its domains are stricter). What a display name shows is found.
func FuzzParseMailboxes(f *testing.F) {
	for _, header := range fields {
		f.Add(valueOf(header))
	}
	for _, row := range forged {
		f.Add(valueOf(row[4:]))
	}
	f.Fuzz(func(t *testing.T, s string) {
		list, said, err := parseMailboxes(s)
		if err != nil {
			return
		}
		if len(list) == 0 {
			t.Fatalf("%q has no address", s)
		}
		for _, a := range list {
			if at := strings.LastIndexByte(a, '@'); at < 0 || !isDotAtom(a[:at]) || !isDotAtom(a[at+1:]) {
				t.Fatalf("%q: %q is no address", s, a)
			}
		}
		theirs, err := mail.ParseAddressList(s)
		if err != nil {
			return
		}
		var addresses []string
		for _, a := range theirs {
			addresses = append(addresses, a.Address)
			if shown, err := mail.ParseAddress(a.Name); err == nil && strings.Contains(shown.Address[strings.LastIndexByte(shown.Address, '@'):], ".") && len(said) == 0 {
				t.Fatalf("%q shows %q", s, a.Name)
			}
		}
		if !slices.Equal(addresses, list) {
			t.Fatalf("%q: %q, and for others %q", s, list, addresses)
		}
	})
}

func valueOf(header string) string {
	line, _, _ := strings.Cut(strings.ReplaceAll(header, "\r\n ", " "), "\r\n")
	_, value, _ := strings.Cut(line, ":")
	return value
}
