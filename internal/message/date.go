package message

import (
	"strconv"
	"strings"
	"time"
)

var months = []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}

// zones are the names of RFC 5322 section 4.3, in hours east of UTC.
var zones = map[string]int{"ut": 0, "gmt": 0, "utc": 0, "z": 0, "est": -5, "edt": -4, "cst": -6, "cdt": -5, "mst": -7, "mdt": -6, "pst": -8, "pdt": -7}

// ParseDate reads the value of a Date field (RFC 5322 section 3.3, with the
// obsolete forms and the common mistakes). ok is false for what is no date;
// an unknown zone is UTC (RFC 5322 section 4.3).
func ParseDate(s string) (t time.Time, ok bool) {
	s = stripComments(s)
	if len(s) > 200 {
		return time.Time{}, false
	}
	f := strings.FieldsFunc(s, func(r rune) bool { return r <= ' ' || r == ',' || r == '-' && !strings.Contains(s, " -") })
	day := 0
	for day < len(f) && !isNumber(f[day]) { // the day of the week, whatever it is called
		day++
	}
	if day > 1 || len(f) < day+4 {
		return time.Time{}, false
	}
	f = f[day:]
	d, err := strconv.Atoi(f[0])
	m := 0
	for i, name := range months {
		if len(f[1]) >= 3 && strings.EqualFold(f[1][:3], name) {
			m = i + 1
		}
	}
	y, yerr := strconv.Atoi(f[2])
	if err != nil || yerr != nil || m == 0 || d < 1 || d > 31 || y < 0 || y > 9999 {
		return time.Time{}, false
	}
	if len(f[2]) == 2 && y < 50 { // RFC 5322 section 4.3
		y += 2000
	} else if len(f[2]) <= 3 {
		y += 1900
	}
	clock := strings.Split(f[3], ":")
	var n [3]int
	if len(clock) < 2 || len(clock) > 3 {
		return time.Time{}, false
	}
	for i, c := range clock {
		if n[i], err = strconv.Atoi(c); err != nil || n[i] < 0 || n[i] > 60 {
			return time.Time{}, false
		}
	}
	if n[0] > 24 {
		return time.Time{}, false
	}
	offset := 0
	if len(f) > 4 {
		offset = zoneOffset(f[4])
	}
	return time.Date(y, time.Month(m), d, n[0], n[1], n[2], 0, time.FixedZone("", offset)), true
}

func isNumber(s string) bool { return s != "" && s[0] >= '0' && s[0] <= '9' }

// zoneOffset is in seconds east of UTC.
func zoneOffset(s string) int {
	if h, ok := zones[strings.ToLower(s)]; ok {
		return h * 3600
	}
	sign := 1
	switch {
	case strings.HasPrefix(s, "-"):
		sign = -1
	case !strings.HasPrefix(s, "+"):
		return 0
	}
	n, err := strconv.Atoi(strings.ReplaceAll(s[1:], ":", ""))
	if err != nil || n < 0 || n > 2359 || n%100 > 59 {
		return 0
	}
	return sign * (n/100*3600 + n%100*60)
}

// stripComments takes comments out (RFC 5322 section 3.2.2).
func stripComments(s string) string {
	if !strings.Contains(s, "(") {
		return s
	}
	var b strings.Builder
	for s != "" {
		at := strings.IndexByte(s, '(')
		if at < 0 {
			b.WriteString(s)
			break
		}
		b.WriteString(s[:at] + " ")
		s = skipSpace(s[at:])
	}
	return b.String()
}
