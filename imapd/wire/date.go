package wire

import (
	"time"
)

// months are the months as IMAP writes them, three octets each.
const months = "JanFebMarAprMayJunJulAugSepOctNovDec"

// dateTimeSize is the length of a date-time without its quotes.
const dateTimeSize = len("02-Jan-2006 15:04:05 -0700")

// Date reads a date of SEARCH, with or without quotes, and returns its
// midnight in UTC (RFC 9051 section 9, date). A day that the month does not
// have is a SyntaxError.
func (d *Decoder) Date() (time.Time, error) {
	quoted, err := d.Accept('"')
	if err != nil {
		return time.Time{}, err
	}
	tok, err := d.some(wordChar, "a date")
	if err != nil {
		return time.Time{}, err
	}
	t, ok := parseDay(tok)
	if !ok {
		return time.Time{}, syntaxf("malformed date %+q", tok[:min(len(tok), maxWord)])
	}
	if quoted {
		return t, d.Expect('"')
	}
	return t, nil
}

// DateTime reads a date-time of APPEND (RFC 9051 section 9, date-time). The
// result has the zone offset that was given. A second of 60 is taken as the
// first of the next minute.
func (d *Decoder) DateTime() (time.Time, error) {
	s, err := d.Quoted()
	if err != nil {
		return time.Time{}, err
	}
	t, ok := ParseDateTime(s)
	if !ok {
		return time.Time{}, syntaxf("malformed date-time %+q", s[:min(len(s), maxWord)])
	}
	return t, nil
}

// ParseDateTime converts a date-time, given without its quotes.
func ParseDateTime(s string) (time.Time, bool) {
	if len(s) != dateTimeSize || s[11] != ' ' || s[14] != ':' || s[17] != ':' || s[20] != ' ' {
		return time.Time{}, false
	}
	day := s[:11]
	if day[0] == ' ' {
		day = day[1:] // date-day-fixed
	}
	t, ok := parseDay([]byte(day))
	hour, ok1 := twoDigits(s[12:14], 23)
	minute, ok2 := twoDigits(s[15:17], 59)
	second, ok3 := twoDigits(s[18:20], 60)
	zoneHour, ok4 := twoDigits(s[22:24], 23)
	zoneMinute, ok5 := twoDigits(s[24:26], 59)
	if !ok || !ok1 || !ok2 || !ok3 || !ok4 || !ok5 {
		return time.Time{}, false
	}
	offset := zoneHour*3600 + zoneMinute*60
	switch s[21] {
	case '-':
		offset = -offset
	case '+':
	default:
		return time.Time{}, false
	}
	zone := time.UTC
	if offset != 0 {
		zone = time.FixedZone("", offset)
	}
	return time.Date(t.Year(), t.Month(), t.Day(), hour, minute, second, 0, zone), true
}

// AppendDateTime appends t as a date-time with its quotes, in t's zone. Part
// minutes of the zone are dropped, with the time of day adjusted; years
// outside of 0 to 9999, which the format does not have, are written as the
// nearest of these.
func AppendDateTime(b []byte, t time.Time) []byte {
	_, offset := t.Zone()
	if part := offset % 60; part != 0 {
		offset -= part
		t = t.In(time.FixedZone("", offset))
	}
	b = append(b, '"')
	b = appendDay(b, t)
	hour, minute, second := t.Clock()
	b = appendTwo(append(b, ' '), hour)
	b = appendTwo(append(b, ':'), minute)
	b = appendTwo(append(b, ':'), second)
	if offset < 0 {
		b = append(b, ' ', '-')
		offset = -offset
	} else {
		b = append(b, ' ', '+')
	}
	b = appendTwo(b, min(offset/3600, 23))
	b = appendTwo(b, offset/60%60)
	return append(b, '"')
}

// appendDay appends the date of t with two digits for the day, which a
// date-day-fixed may be, and a date-day too.
func appendDay(b []byte, t time.Time) []byte {
	year, month, day := t.Date()
	year = min(max(year, 0), 9999)
	b = append(appendTwo(b, day), '-')
	b = append(b, months[3*month-3:3*month]...)
	b = append(b, '-')
	return appendTwo(appendTwo(b, year/100), year%100)
}

// appendTwo appends n, which is below 100, as two digits.
func appendTwo(b []byte, n int) []byte { return append(b, byte('0'+n/10), byte('0'+n%10)) }

// parseDay converts a date-text: one or two digits, month, four digits.
func parseDay(s []byte) (time.Time, bool) {
	if len(s) == len("2-Jan-2006") {
		s = append([]byte{'0'}, s...)
	}
	if len(s) != len("02-Jan-2006") || s[2] != '-' || s[6] != '-' {
		return time.Time{}, false
	}
	day, ok := twoDigits(s[:2], 31)
	century, ok1 := twoDigits(s[7:9], 99)
	rest, ok2 := twoDigits(s[9:11], 99)
	if !ok || !ok1 || !ok2 {
		return time.Time{}, false
	}
	for m := time.January; m <= time.December; m++ {
		if equalFold(s[3:6], months[3*m-3:3*m]) {
			t := time.Date(century*100+rest, m, day, 0, 0, 0, 0, time.UTC)
			return t, t.Month() == m && t.Day() == day
		}
	}
	return time.Time{}, false
}

// twoDigits converts two digits to a number that is at most limit.
func twoDigits[S string | []byte](s S, limit int) (int, bool) {
	if classes[s[0]]&digit == 0 || classes[s[1]]&digit == 0 {
		return 0, false
	}
	n := int(s[0]-'0')*10 + int(s[1]-'0')
	return n, n <= limit
}
