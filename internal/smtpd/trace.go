package smtpd

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"
)

// A Trace is what the trace fields say of a message (RFC 5321 section 4.4).
type Trace struct {
	Envelope
	From     netip.Addr // of the peer; not valid: the peer is not named at all
	TLS      *tls.ConnectionState
	Hostname string // ours
	ID       string
	At       time.Time
}

// ReturnPath renders the field that the last server puts on top; it is never
// sent on.
func (t Trace) ReturnPath() []byte {
	return fmt.Appendf(nil, "Return-Path: <%s>\r\n", Path(t.Envelope.From))
}

// Received renders the field. The recipient is named only where there is one,
// so that nobody learns of the others, and where it is ASCII: the field shall
// not be what makes the message need SMTPUTF8 elsewhere.
func (t Trace) Received() []byte {
	b := []byte("Received:")
	if t.From.IsValid() {
		b = fmt.Appendf(b, " from %s (%s)\r\n\t", heloName(t.Helo), literal(t.From))
	} else {
		b = append(b, ' ')
	}
	b = fmt.Appendf(b, "by %s with %s", t.Hostname, t.Protocol)
	if t.TLS != nil {
		b = fmt.Appendf(b, "\r\n\t(%s %s)", strings.ReplaceAll(tls.VersionName(t.TLS.Version), " ", ""), tls.CipherSuiteName(t.TLS.CipherSuite))
	}
	b = fmt.Appendf(b, "\r\n\tid %s", t.ID)
	if len(t.To) == 1 && isASCII(t.To[0].Address) {
		b = fmt.Appendf(b, "\r\n\tfor <%s>", Path(t.To[0].Address))
	}
	return fmt.Appendf(b, "; %s\r\n", t.At.Format("Mon, 2 Jan 2006 15:04:05 -0700"))
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf })
}

// literal is an address as RFC 5321 section 4.1.3 writes it.
func literal(a netip.Addr) string {
	if a.Is4() {
		return "[" + a.String() + "]"
	}
	return "[IPv6:" + a.WithZone("").String() + "]"
}

// heloName is the name that the peer gave itself, if that is one.
func heloName(s string) string {
	if s == "" || len(s) > 255 || !utf8.ValidString(s) {
		return "unknown"
	}
	for _, r := range s {
		if r <= ' ' || r == 0x7f || strings.ContainsRune(`()<>@,;\"`, r) {
			return "unknown"
		}
	}
	return s
}

// Path writes an address as it stands between angle brackets: a local part
// that is no dot-string is quoted (RFC 5321 section 4.1.2).
func Path(address string) string {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return address
	}
	local := address[:at]
	if !strings.ContainsAny(local, " \t()<>[]:;@\\,\"") && !strings.HasPrefix(local, ".") && !strings.HasSuffix(local, ".") && !strings.Contains(local, "..") {
		return address
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(local) + `"` + address[at:]
}
