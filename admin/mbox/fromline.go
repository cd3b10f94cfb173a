package mbox

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxFromLine is how long a From_ line may be.
const maxFromLine = 1024

var fromPrefix = []byte("From ")

// A fromLine is what parts messages: who sent the next one, and when it came.
type fromLine struct {
	sender string
	at     time.Time
}

// parseFromLine reads a From_ line, whose date is that of asctime, in UTC, but
// may have a zone before or behind the year.
func parseFromLine(line []byte) (f fromLine, ok bool) {
	if !bytes.HasPrefix(line, fromPrefix) || len(line) > maxFromLine {
		return f, false
	}
	words := strings.Fields(string(line[len(fromPrefix):]))
	for i := range words {
		if at, ok := asctime(words[i:]); ok {
			return fromLine{strings.Join(words[:i], " "), at}, true
		}
	}
	return f, false
}

var (
	weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}
	months   = []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}
	zones    = map[string]int{"EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7, "CET": 1, "CEST": 2}
)

// asctime reads a date at the beginning of words.
func asctime(words []string) (at time.Time, ok bool) {
	if len(words) < 5 || !slices.Contains(weekdays, strings.ToLower(strings.TrimSuffix(words[0], ","))) {
		return at, false
	}
	month := slices.Index(months, strings.ToLower(words[1]))
	day, err := strconv.Atoi(words[2])
	if month < 0 || err != nil || day < 1 || day > 31 {
		return at, false
	}
	clock, err := time.Parse("15:04:05", words[3])
	if err != nil {
		if clock, err = time.Parse("15:04", words[3]); err != nil {
			return at, false
		}
	}
	zone := time.UTC
	year, found := fourDigits(words[4])
	if !found {
		if len(words) < 6 {
			return at, false
		}
		zone = parseZone(words[4])
		if year, found = fourDigits(words[5]); !found {
			return at, false
		}
	} else if len(words) > 5 {
		zone = parseZone(words[5])
	}
	return time.Date(year, time.Month(month+1), day, clock.Hour(), clock.Minute(), clock.Second(), 0, zone), true
}

func fourDigits(s string) (int, bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	return int(n), err == nil && len(s) == 4
}

// parseZone reads "+0100" or the name of a zone. What is not known is UTC.
func parseZone(s string) *time.Location {
	if at, err := time.Parse("-0700", s); err == nil {
		_, offset := at.Zone()
		return zone(offset)
	}
	return zone(zones[strings.ToUpper(s)] * 3600)
}

func zone(offset int) *time.Location {
	if offset == 0 {
		return time.UTC
	}
	return time.FixedZone("", offset)
}

// formatFromLine returns the From_ line that a Writer writes.
func formatFromLine(v Variant, at time.Time) string {
	if at.IsZero() {
		at = time.Unix(0, 0)
	}
	return "From " + v.String() + "@z " + at.UTC().Format(time.ANSIC) + "\n"
}

// wrote reports the variant that a Writer named in its From_ lines.
func (f fromLine) wrote() (Variant, bool) {
	name, ok := strings.CutSuffix(f.sender, "@z")
	if v, err := ParseVariant(name); ok && err == nil && v != Detect {
		return v, true
	}
	return Detect, false
}
