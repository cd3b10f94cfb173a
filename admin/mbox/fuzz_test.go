package mbox

import (
	"strings"
	"testing"
)

// FuzzReader: whatever a file holds, it is read to its end, and every octet of
// it is accounted for but notes, quotes and From_ lines.
func FuzzReader(f *testing.F) {
	f.Add("From mboxrd@z Thu Jan  2 03:04:05 2020\nStatus: RO\nA: b\n\n>From x\n\n", uint8(0))
	f.Add("From a Thu Jan  2 03:04:05 2020\nContent-Length: 3\n\nxyz\n\nFrom b Thu Jan  2 03:04 2020\n\n\ny", uint8(3))
	f.Add("\x00\n\nFrom - Thu Jan 02 03:04:05 2020\r\nX-Mozilla-Status: 1007\r\nX-Mozilla-Keys: a\r\n\r\nx\ny\r\n\r\n", uint8(1))
	f.Add("From x\nX-Keywords: a,b\n c\nX-Gmail-Labels: =?utf-8?q?a?=\n\n\n", uint8(2))
	f.Fuzz(func(t *testing.T, text string, v uint8) {
		mails, _ := readText(t, text, Variant(v)%CL2+1)
		total := 0
		for _, m := range mails {
			total += len(m.Content)
		}
		if total > 2*len(text) {
			t.Fatalf("%d octets of %q", total, text)
		}
		readText(t, text, Detect)
	})
}

func FuzzFromLine(f *testing.F) {
	f.Add("From nobody@vm  Wed Jan 01 09:00:00 2020")
	f.Add("From 17@xxx Mon Apr 01 12:00:00 +0000 2024")
	f.Add("From a b Mon, Apr 1 12:00 PST 2024 remote from x")
	f.Fuzz(func(t *testing.T, line string) {
		from, ok := parseFromLine([]byte(line))
		if !ok {
			return
		}
		again, ok := parseFromLine([]byte(formatFromLine(RD, from.at)))
		if year := from.at.UTC().Year(); ok != (year >= 0 && year <= 9999) || ok && !again.at.Equal(from.at) {
			t.Fatalf("%q: %v, then %v, %v", line, from.at, again.at, ok)
		}
	})
}

func FuzzLabels(f *testing.F) {
	f.Add(`Inbox,"a, ""b",=?UTF-8?Q?Ge=C3=B6ffnet?=,\`)
	f.Fuzz(func(t *testing.T, value string) {
		for _, label := range gmailLabels(value) {
			if strings.TrimSpace(label) == "" {
				t.Fatalf("%q: %q", value, label)
			}
		}
	})
}
