package smtpd

import (
	"bytes"
	"strconv"
	"strings"
	"time"
)

// takeRelease takes HOLDFOR and HOLDUNTIL off a MAIL command, and keeps the
// time that they name (RFC 4865). The error is a *Status.
func (c *Conn) takeRelease(line []byte, now time.Time) ([]byte, error) {
	c.release = time.Time{}
	if c.cfg.MaxRelease == 0 {
		return line, nil
	}
	kept := line[:0:0]
	for i, f := range bytes.Split(bytes.TrimRight(line, "\r\n"), []byte{' '}) {
		name, value, _ := strings.Cut(string(f), "=")
		hold := strings.EqualFold(name, "HOLDFOR")
		if !hold && !strings.EqualFold(name, "HOLDUNTIL") {
			if i > 0 {
				kept = append(kept, ' ')
			}
			kept = append(kept, f...)
			continue
		}
		if !c.release.IsZero() {
			return nil, Reply(501, "5.5.4", "one of HOLDFOR and HOLDUNTIL, once")
		}
		until, err := releaseTime(hold, value, now)
		switch {
		case err != nil || until.Before(now):
			return nil, Reply(501, "5.5.4", "malformed time of release, or one that has passed")
		case until.Sub(now) > c.cfg.MaxRelease:
			return nil, Reply(554, "5.6.0", "release is too far in the future")
		}
		c.release = until
	}
	return append(kept, "\r\n"...), nil
}

func releaseTime(hold bool, value string, now time.Time) (time.Time, error) {
	if !hold {
		return time.Parse(time.RFC3339, value)
	}
	seconds, err := strconv.ParseUint(value, 10, 31)
	return now.Add(time.Duration(seconds) * time.Second), err
}

// hasParam tells whether a command has a parameter without a value.
func hasParam(line []byte, name string) bool {
	for _, f := range bytes.Fields(line) {
		if strings.EqualFold(string(f), name) {
			return true
		}
	}
	return false
}
