package web

import (
	"errors"
	"fmt"
	"time"

	"mailbox/internal/listen"
)

// Config is the section [web] of the configuration. In all fields but the
// first two zero means the default.
type Config struct {
	Listen       []string      `toml:"listen"`          // addresses of HTTP
	ListenTLS    []string      `toml:"listen_tls"`      // addresses of HTTPS
	MTASTS       string        `toml:"mta_sts"`         // mode of our policy (RFC 8461 section 5): "enforce", "testing" or "none"
	MTASTSMaxAge time.Duration `toml:"mta_sts_max_age"` // how long senders remember it; a week
	Connections  int           `toml:"connections"`     // at a time, from everywhere; 500
	PerAddress   int           `toml:"per_address"`     // at a time, from one address; 20
}

// maxPolicyAge is the largest max_age (RFC 8461 section 3.2).
const maxPolicyAge = 31557600 * time.Second

// DefaultConfig returns what holds where the file says nothing.
func DefaultConfig() Config {
	return Config{Listen: []string{":80"}, ListenTLS: []string{":443"}}.withDefaults()
}

func (c Config) withDefaults() Config {
	setDefault(&c.MTASTS, "testing")
	setDefault(&c.MTASTSMaxAge, 7*24*time.Hour)
	setDefault(&c.Connections, 500)
	setDefault(&c.PerAddress, 20)
	return c
}

func setDefault[T comparable](p *T, def T) {
	var zero T
	if *p == zero {
		*p = def
	}
}

func (c Config) limits() listen.Limits {
	return listen.Limits{Total: c.Connections, Address: c.PerAddress, Network: 2 * c.PerAddress}
}

// Validate returns everything that is wrong, in one error (errors.Join).
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("web."+format, args...)) }
	errs = append(errs, listen.CheckAddresses("web.listen", 80, c.Listen), listen.CheckAddresses("web.listen_tls", 443, c.ListenTLS))
	switch c.MTASTS {
	case "enforce", "testing", "none":
	default:
		bad("mta_sts: %q is none of \"enforce\", \"testing\", \"none\"", c.MTASTS)
	}
	if c.MTASTSMaxAge < time.Hour || c.MTASTSMaxAge > maxPolicyAge {
		bad("mta_sts_max_age: %s is not between 1h and %s (RFC 8461 section 3.2)", c.MTASTSMaxAge, maxPolicyAge)
	}
	if c.Connections < 1 {
		bad("connections: %d is below 1", c.Connections)
	}
	if c.PerAddress < 1 {
		bad("per_address: %d is below 1", c.PerAddress)
	}
	return errors.Join(errs...)
}
