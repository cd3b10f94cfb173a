package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mailbox/imapd"
	"mailbox/internal/dns"
	"mailbox/msa"
	"mailbox/mta"
	"mailbox/storage"
	"mailbox/tls"
	"mailbox/web"
)

const defaultConfigFile = "/etc/mailbox/mailbox.toml"

// config is the whole configuration file: what concerns all rooms, and a
// section for each room, which knows and checks its own keys.
type config struct {
	Hostname   string        `toml:"hostname"`
	Domains    []string      `toml:"domains"`
	Data       string        `toml:"data"`
	Postmaster string        `toml:"postmaster"`
	MTA        mta.Config    `toml:"mta"`
	MSA        msa.Config    `toml:"msa"`
	IMAPD      imapd.Config  `toml:"imapd"`
	Web        web.Config    `toml:"web"`
	Admin      adminConfig   `toml:"admin"`
	TLS        tls.Config    `toml:"tls"`
	DNS        dns.Config    `toml:"dns"`
	Log        logConfig     `toml:"log"`
	Metrics    metricsConfig `toml:"metrics"`
}

type adminConfig struct {
	Socket string `toml:"socket"`
}

type logConfig struct {
	Level  string `toml:"level"`  // "debug", "info", "warn", "error"
	Format string `toml:"format"` // "auto", "text", "json"
}

type metricsConfig struct {
	Listen []string `toml:"listen"`
}

// defaultConfig is what holds where the file says nothing.
func defaultConfig() config {
	return config{
		Data:  "/var/lib/mailbox",
		MTA:   mta.DefaultConfig(),
		MSA:   msa.DefaultConfig(),
		IMAPD: imapd.DefaultConfig(),
		Web:   web.DefaultConfig(),
		Admin: adminConfig{Socket: "/run/mailbox/admin.sock"},
		TLS:   tls.DefaultConfig(),
		Log:   logConfig{Level: "info", Format: "auto"},
	}
}

// loadConfig reads and checks a file. The error names every mistake with its
// line, one on each line.
func loadConfig(file string) (config, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return config{}, fmt.Errorf("there is no configuration at %s; name yours with --config, or try the server with \"mailbox demo\"", file)
	}
	if err != nil {
		return config{}, err
	}
	c, err := parseConfig(string(text))
	if err != nil {
		return config{}, inFile(file, string(text), err)
	}
	return c, nil
}

// parseConfig reads a configuration. Its errors begin with the key that is wrong.
func parseConfig(text string) (config, error) {
	c := defaultConfig()
	if err := decodeTOML(text, &c); err != nil {
		return config{}, err
	}
	if err := c.validate(); err != nil {
		return config{}, err
	}
	return c, nil
}

// validate returns everything that is wrong, in one error (errors.Join).
func (c config) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if _, err := storage.ParseAddress("x@" + c.Hostname); err != nil || !strings.Contains(c.Hostname, ".") {
		bad("hostname: %q is not the full name of this machine, such as \"mail.example.org\"", c.Hostname)
	}
	if len(c.Domains) == 0 {
		bad("domains: no domain is given; mail for whom?")
	}
	for _, d := range c.Domains {
		if _, err := storage.ParseAddress("x@" + d); err != nil {
			bad("domains: %q is not a domain", d)
		}
	}
	if !filepath.IsAbs(c.Data) {
		bad("data: %q is not an absolute path", c.Data)
	}
	if c.Postmaster != "" {
		if _, err := storage.ParseAddress(c.Postmaster); err != nil {
			bad("postmaster: %q is not an address", c.Postmaster)
		}
	}
	if !filepath.IsAbs(c.Admin.Socket) || len(c.Admin.Socket) > 107 {
		bad("admin.socket: %q is not an absolute path of at most 107 octets", c.Admin.Socket)
	}
	if _, err := parseLevel(c.Log.Level); err != nil {
		bad("log.level: %w", err)
	}
	switch c.Log.Format {
	case "auto", "text", "json":
	default:
		bad("log.format: %q is none of \"auto\", \"text\", \"json\"", c.Log.Format)
	}
	for _, a := range c.Metrics.Listen {
		if _, _, err := net.SplitHostPort(a); err != nil {
			bad("metrics.listen: %q is not an address such as \"127.0.0.1:9100\"", a)
		}
	}
	if c.TLS.Mode == "acme" && c.TLS.AcceptTerms && len(c.answered()) == 0 {
		bad("tls.challenges: web listens nowhere, so nobody answers the CA; use challenges = [\"dns-01\"], or mode \"files\" with your web server's certificate")
	}
	return errors.Join(errors.Join(errs...), c.MTA.Validate(), c.MSA.Validate(), c.IMAPD.Validate(), c.Web.Validate(), c.TLS.Validate(), c.DNS.Validate())
}

// answered are the challenges of a CA that somebody answers here.
func (c config) answered() []string {
	return slices.DeleteFunc(slices.Clone(c.TLS.Challenges), func(ch string) bool {
		return ch == "http-01" && len(c.Web.Listen) == 0 || ch == "tls-alpn-01" && len(c.Web.ListenTLS) == 0
	})
}

// certificates is the section [tls] as it holds beside [web].
func (c config) certificates() tls.Config {
	t := c.TLS
	if answered := c.answered(); len(answered) > 0 {
		t.Challenges = answered
	}
	return t
}

// names are those that certificates must be for, that of this machine first.
func (c config) names() []string {
	names := []string{c.Hostname}
	if len(c.Web.ListenTLS) > 0 {
		for _, d := range c.Domains {
			names = append(names, web.Names(d)...)
		}
	}
	return names
}

// needRestart names the keys that differ and that a reload cannot change.
func (c config) needRestart(newer config) []string {
	var keys []string
	for _, k := range []struct{ key, old, new string }{
		{"hostname", c.Hostname, newer.Hostname}, {"data", c.Data, newer.Data}, {"admin.socket", c.Admin.Socket, newer.Admin.Socket},
	} {
		if k.old != k.new {
			keys = append(keys, k.key)
		}
	}
	return keys
}
