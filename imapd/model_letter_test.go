package imapd

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// dice draw a number below n: from rapid, who can then make a failure smaller,
// or from a seed.
type dice func(n int) int

// oneIn is rarely true, and false where the dice are at their smallest.
func (d dice) oneIn(n int) bool { return d(n) == n-1 }

func pick[T any](d dice, from ...T) T { return from[d(len(from))] }

// some picks a part of a list, in its order.
func some[T any](d dice, from ...T) (part []T) {
	for _, v := range from {
		if d(2) == 1 {
			part = append(part, v)
		}
	}
	return part
}

// A letter is the content of messages, with what SEARCH, SORT and THREAD are to
// find in it.
type letter struct {
	header, body, text string // text is both
	from, subject      string
	base               string // subject without what replies put before it, in small letters
	sent               time.Time
	id                 int
	answers            *letter // nil for most

	emailID, threadID string // as they were told; "" until then
}

func newLetter(d dice, before []*letter) *letter {
	l := &letter{
		id: len(before) + 1, from: pick(d, "ann", "bob", "Cid"), subject: pick(d, "Plan", "Re: plan", "Rain", "re: [list] Rain", "Sun"),
		sent: time.Date(2024, 2, 1+d(4), d(24), 0, 0, 0, time.FixedZone("", 3600*(d(5)-2))),
		body: strings.Repeat(pick(d, "water ", "Needle ", "")+"in the hay\r\n", 1+d(4)),
	}
	references := ""
	if len(before) > 0 && d(3) == 1 {
		l.answers = before[len(before)-1-d(min(5, len(before)))]
		references = fmt.Sprintf("References: <%d@far.example>\r\n", l.answers.id)
	}
	l.base = strings.ToLower(l.subject[strings.LastIndexByte(l.subject, ' ')+1:])
	l.header = fmt.Sprintf("From: %s@far.example\r\nTo: alice@home.example\r\nSubject: %s\r\nDate: %s\r\nMessage-ID: <%d@far.example>\r\n%s\r\n",
		l.from, l.subject, l.sent.Format(time.RFC1123Z), l.id, references)
	l.text = l.header + l.body
	return l
}

// receivedDate is an INTERNALDATE.
func receivedDate(d dice) time.Time {
	return time.Date(2024, 3, 1+d(5), d(24), d(60), 0, 0, time.FixedZone("", 3600*(d(5)-2)))
}

const dateTime = "02-Jan-2006 15:04:05 -0700"

// newFlags are flags to be set, keywords in both cases among them.
func newFlags(d dice) []string {
	flags := some(d, `\Seen`, `\Answered`, `\Flagged`, `\Deleted`, `\Draft`)
	if d(2) == 1 {
		flags = append(flags, pick(d, "blue", "Blue", "red", "$Label1", "$label1"))
	}
	slices.Sort(flags)
	return flags
}
