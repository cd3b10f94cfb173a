package mta

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"mailbox/storage"
)

// A Route is a section [[mta.routes]]: mail for some goes through a smarthost,
// not to the hosts that the DNS names.
type Route struct {
	Domains      []string `toml:"domains"`       // of recipients: "example.org", "*.example.org"; none means all
	Senders      []string `toml:"senders"`       // "alice@example.org", "example.org"; none means all, reports of ours too
	Host         string   `toml:"host"`          // "smtp.example.net:587"
	TLS          string   `toml:"tls"`           // "starttls", "tls", "optional" or "none"; "" is "starttls"
	User         string   `toml:"user"`          // login; "" is none
	PasswordFile string   `toml:"password_file"` // its first line is the password
}

// validate returns everything that is wrong, in one error.
func (r Route) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("mta.routes: "+format, args...)) }
	if _, err := ParseHost(r.Host); err != nil {
		bad("host: %w", err)
	}
	switch r.TLS {
	case "", "starttls", "tls", "optional", "none":
	default:
		bad("tls: %q is none of \"starttls\", \"tls\", \"optional\", \"none\"", r.TLS)
	}
	for _, p := range slices.Concat(r.Domains, r.Senders) {
		if _, err := path.Match(p, ""); err != nil {
			bad("%q is no pattern such as \"example.org\" or \"*.example.org\"", p)
		}
	}
	if r.User == "" {
		return errors.Join(errs...)
	}
	if r.TLS == "none" || r.TLS == "optional" {
		bad("user: a password is not sent without TLS; set tls to \"starttls\" or \"tls\"")
	}
	if _, err := r.password(); err != nil {
		bad("password_file: %w", err)
	}
	return errors.Join(errs...)
}

// password reads the file anew each time, so that it may be changed.
func (r Route) password() (string, error) {
	st, err := os.Stat(r.PasswordFile)
	if err != nil {
		return "", err
	}
	if st.Mode().Perm()&0o007 != 0 {
		return "", fmt.Errorf("%s can be read by everybody; chmod 640 it", r.PasswordFile)
	}
	text, err := os.ReadFile(r.PasswordFile)
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimRight(line, "\r"), err
}

// fits tells whether the route is for mail of a sender to a domain.
func (r Route) fits(sender, domain string) bool {
	return anyMatch(r.Domains, domain) && (anyMatch(r.Senders, sender) || anyMatch(r.Senders, sender[strings.LastIndexByte(sender, '@')+1:]))
}

func anyMatch(patterns []string, s string) bool {
	for _, p := range patterns {
		if ok, _ := path.Match(strings.ToLower(strings.TrimPrefix(p, "@")), strings.ToLower(s)); ok {
			return true
		}
	}
	return len(patterns) == 0
}

// ParseHost brings "host:port" or "host", which means port 25, to its one form.
func ParseHost(s string) (string, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		host, port = strings.Trim(s, "[]"), "25"
	}
	n, err := strconv.ParseUint(port, 10, 16)
	host, ok := cleanHost(host)
	if err != nil || n == 0 || !ok {
		return "", fmt.Errorf("%q is not a host such as \"smtp.example.net:587\"", s)
	}
	return net.JoinHostPort(host, strconv.FormatUint(n, 10)), nil
}

// cleanHost brings a domain or an IP address to its one form.
func cleanHost(host string) (string, bool) {
	if a, err := netip.ParseAddr(host); err == nil {
		name := a.Zone() == "" || interfaceName.MatchString(a.Zone())
		return a.String(), name
	}
	clean, err := storage.ParseAddress("x@" + host)
	return strings.TrimPrefix(clean, "x@"), err == nil && !strings.Contains(host, "@")
}

// interfaceName is what may follow a link-local address (RFC 4007 section 11).
var interfaceName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,32}$`)

// A Destination is where messages go that may share a connection.
type Destination struct {
	Domain     string // whose hosts the DNS names; or an address literal, "[192.0.2.1]"
	Host       string // "host:port" instead; "" is none
	User       string // login there
	Here       bool   // our own mailboxes
	RequireTLS bool   // RFC 8689
}

func (d Destination) String() string {
	switch {
	case d.Here:
		return "here"
	case d.Host != "":
		return d.Host
	}
	return d.Domain
}

// destination is where a recipient's message goes: where the operator wants
// it, to our own mailboxes, through the first route that fits, or where the
// DNS says.
func (c *Config) destination(e storage.QueueEntry, local func(domain string) bool) Destination {
	d := Destination{Domain: e.Domain, RequireTLS: e.TLS}
	switch {
	case e.Route != "":
		d.Domain, d.Host = "", e.Route
		if i := slices.IndexFunc(c.Routes, func(r Route) bool { return r.at(e.Route) }); i >= 0 {
			d.User = c.Routes[i].User
		}
	case local(e.Domain):
		return Destination{Here: true}
	default:
		for _, r := range c.Routes {
			if r.fits(e.Sender, e.Domain) {
				d.Domain = ""
				d.Host, _ = ParseHost(r.Host) // it was validated
				d.User = r.User
				break
			}
		}
	}
	return d
}

// route is how to speak to a host that was named: as its route for that login
// says, and as to any other where there is none.
func (c *Config) route(d Destination) Route {
	for _, r := range c.Routes {
		if r.at(d.Host) && r.User == d.User {
			return r
		}
	}
	return Route{Host: d.Host, TLS: "optional"}
}

// at tells whether the route leads to a host.
func (r Route) at(host string) bool {
	h, _ := ParseHost(r.Host)
	return h == host
}
