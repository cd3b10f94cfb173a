package imapd

import (
	"errors"
	"fmt"
	"time"

	"mailbox/internal/listen"
)

// Config is the section [imapd] of the configuration. Sizes are octets,
// durations those of time.ParseDuration; who decodes the file turns "5m" and
// "50MiB" into them. In all fields but the first three zero means the default.
type Config struct {
	Listen         []string      `toml:"listen"`          // addresses with STARTTLS
	ListenTLS      []string      `toml:"listen_tls"`      // addresses with TLS from the start
	PlaintextLogin bool          `toml:"plaintext_login"` // passwords without TLS, on loopback only
	AppendLimit    int64         `toml:"append_limit"`    // largest message taken; 50 MiB
	IdleTimeout    time.Duration `toml:"idle_timeout"`    // silence tolerated after login; 30 minutes (RFC 3501 section 5.4)
	LoginTimeout   time.Duration `toml:"login_timeout"`   // from the greeting to the login; 1 minute
	WriteTimeout   time.Duration `toml:"write_timeout"`   // for a client to take 16 KiB; 2 minutes
	Connections    int           `toml:"connections"`     // at a time, from everywhere; 1,000
	PerAddress     int           `toml:"per_address"`     // at a time, from one address; 50
	MaxBad         int           `toml:"max_bad"`         // commands answered BAD before BYE; 20
	MaxLogins      int           `toml:"max_logins"`      // failed logins before BYE; 3
}

// DefaultConfig returns what holds where the file says nothing.
func DefaultConfig() Config {
	c := Config{Listen: []string{":143"}, ListenTLS: []string{":993"}}
	return c.withDefaults()
}

func (c Config) withDefaults() Config {
	setDefault(&c.AppendLimit, 50<<20)
	setDefault(&c.IdleTimeout, 30*time.Minute)
	setDefault(&c.LoginTimeout, time.Minute)
	setDefault(&c.WriteTimeout, 2*time.Minute)
	setDefault(&c.Connections, 1000)
	setDefault(&c.PerAddress, 50)
	setDefault(&c.MaxBad, 20)
	setDefault(&c.MaxLogins, 3)
	return c
}

func (c *Config) limits() listen.Limits {
	return listen.Limits{Total: c.Connections, Address: c.PerAddress, Network: 2 * c.PerAddress}
}

func setDefault[T comparable](p *T, def T) {
	var zero T
	if *p == zero {
		*p = def
	}
}

// Validate returns everything that is wrong, in one error (errors.Join).
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("imapd."+format, args...)) }
	errs = append(errs, listen.CheckAddresses("imapd.listen", 143, c.Listen), listen.CheckAddresses("imapd.listen_tls", 993, c.ListenTLS))
	if c.PlaintextLogin {
		errs = append(errs, listen.CheckPlaintext("imapd.plaintext_login", c.Listen))
	}
	if c.AppendLimit < 64<<10 || c.AppendLimit > 1<<32-1 {
		bad("append_limit: %d is not between 64KiB and 4GiB", c.AppendLimit)
	}
	if c.IdleTimeout < 30*time.Minute {
		bad("idle_timeout: %s is below 30m, the least that RFC 3501 section 5.4 allows", c.IdleTimeout)
	}
	for key, d := range map[string]time.Duration{"login_timeout": c.LoginTimeout, "write_timeout": c.WriteTimeout} {
		if d < time.Second {
			bad("%s: %s is below 1s", key, d)
		}
	}
	for key, n := range map[string]int{"connections": c.Connections, "per_address": c.PerAddress, "max_bad": c.MaxBad, "max_logins": c.MaxLogins} {
		if n < 1 {
			bad("%s: %d is below 1", key, n)
		}
	}
	return errors.Join(errs...)
}
