package smtpd

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
)

// mail looks at the parameters of MAIL before go-smtp does. It returns the
// line without those that go-smtp does not know.
func (c *Conn) mail(line []byte, arg string) ([]byte, *Status) {
	path, params := cutPath(arg)
	switch {
	case anyTwice(params):
		return nil, errTwice
	case tooLarge(params):
		return nil, errTooLarge
	case c.cfg.RequireTLS && c.state == nil && hasParam(params, "REQUIRETLS"): // RFC 8689 section 2
		return nil, Reply(530, "5.7.0", "REQUIRETLS needs TLS")
	}
	kept, bad := c.takeRelease(params, time.Now())
	if bad != nil || len(kept) == len(params) {
		return line, bad
	}
	return []byte("MAIL " + strings.Join(append([]string{path}, kept...), " ") + "\r\n"), nil
}

// cutPath parts what follows MAIL or RCPT into the path, with the FROM or TO
// before it, and the parameters. In a quoted local part anything may stand.
func cutPath(arg string) (path string, params []string) {
	start := strings.IndexByte(arg, ':') + 1
	for start < len(arg) && arg[start] == ' ' {
		start++
	}
	bracket, quoted := strings.HasPrefix(arg[start:], "<"), false
	for i := start; i < len(arg); i++ {
		switch c := arg[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && bracket && c == '>':
			return arg[:i+1], strings.Fields(arg[i+1:])
		case !quoted && !bracket && (c == ' ' || c == '\t'):
			return arg[:i], strings.Fields(arg[i:])
		}
	}
	return arg, nil
}

var errTwice = Reply(501, "5.5.4", "a parameter is given twice")

// anyTwice tells whether a parameter stands twice, where go-smtp would take
// one of them.
func anyTwice(params []string) bool {
	for i, p := range params {
		name, _, _ := strings.Cut(p, "=")
		if hasParam(params[:i], name) {
			return true
		}
	}
	return false
}

// hasParam tells whether a parameter is given, with a value or without.
func hasParam(params []string, name string) bool {
	return slices.ContainsFunc(params, func(p string) bool {
		n, _, _ := strings.Cut(p, "=")
		return strings.EqualFold(n, name)
	})
}

// tooLarge tells whether MAIL declares a size that go-smtp cannot count.
func tooLarge(params []string) bool {
	for _, p := range params {
		if name, n, ok := strings.Cut(p, "="); ok && strings.EqualFold(name, "SIZE") && len(n) > 9 {
			return strings.Trim(n, "0123456789") == ""
		}
	}
	return false
}

// takeRelease takes HOLDFOR and HOLDUNTIL off the parameters of MAIL, and
// keeps the time that they name (RFC 4865 section 4).
func (c *Conn) takeRelease(params []string, now time.Time) (kept []string, bad *Status) {
	c.release = time.Time{}
	if c.cfg.MaxRelease == 0 {
		return params, nil
	}
	for _, p := range params {
		name, value, _ := strings.Cut(p, "=")
		hold := strings.EqualFold(name, "HOLDFOR")
		if !hold && !strings.EqualFold(name, "HOLDUNTIL") {
			kept = append(kept, p)
			continue
		}
		if !c.release.IsZero() {
			return nil, Reply(501, "5.5.4", "there may be one of HOLDFOR and HOLDUNTIL")
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
	return kept, nil
}

func releaseTime(hold bool, value string, now time.Time) (time.Time, error) {
	if !hold {
		return time.Parse(time.RFC3339, value)
	}
	seconds, err := strconv.ParseUint(value, 10, 31)
	if err == nil && seconds == 0 {
		err = errors.New("no seconds to hold")
	}
	return now.Add(time.Duration(seconds) * time.Second), err
}
