package mta

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"mailbox/internal/smtpd"
)

// A trace is what the trace fields say of a message (RFC 5321 section 4.4).
type trace struct {
	smtpd.Envelope
	addr     netip.Addr
	tls      *tls.ConnectionState
	hostname string
	id       string
	at       time.Time
}

// fields renders Return-Path and Received. The recipient is named only where
// there is one, so that nobody learns of the others.
func (t trace) fields() []byte {
	b := fmt.Appendf(nil, "Return-Path: <%s>\r\n", path(t.From))
	b = fmt.Appendf(b, "Received: from %s (%s)\r\n", heloName(t.Helo), literal(t.addr))
	b = fmt.Appendf(b, "\tby %s with %s", t.hostname, t.Protocol)
	if t.tls != nil {
		b = fmt.Appendf(b, "\r\n\t(%s %s)", strings.ReplaceAll(tls.VersionName(t.tls.Version), " ", ""), tls.CipherSuiteName(t.tls.CipherSuite))
	}
	b = fmt.Appendf(b, "\r\n\tid %s", t.id)
	if len(t.To) == 1 {
		b = fmt.Appendf(b, "\r\n\tfor <%s>", path(t.To[0]))
	}
	return fmt.Appendf(b, "; %s\r\n", t.at.Format("Mon, 2 Jan 2006 15:04:05 -0700"))
}

// literal is an address as RFC 5321 section 4.1.3 writes it.
func literal(a netip.Addr) string {
	switch {
	case !a.IsValid():
		return "local"
	case a.Is4():
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

// path writes an address as it stands between angle brackets: a local part
// that is no dot-string is quoted (RFC 5321 section 4.1.2).
func path(address string) string {
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
