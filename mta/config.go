package mta

import (
	"errors"
	"fmt"
	"net"
	"time"
)

// Config is the section [mta] of the configuration. Sizes are octets, durations
// those of time.ParseDuration.
type Config struct {
	Listen        []string      `toml:"listen"`         // addresses of port 25
	MaxSize       int64         `toml:"max_size"`       // largest message taken
	MaxRecipients int           `toml:"max_recipients"` // of one message
	MaxCommands   int           `toml:"max_commands"`   // between two messages of a connection
	MaxErrors     int           `toml:"max_errors"`     // replies of 5xx before the connection ends
	IdleTimeout   time.Duration `toml:"idle_timeout"`   // silence tolerated
	GreetDelay    time.Duration `toml:"greet_delay"`    // before the greeting; who speaks first is refused
	Connections   int           `toml:"connections"`    // at a time, from everywhere
	PerAddress    int           `toml:"per_address"`    // at a time, from one address
	PerNetwork    int           `toml:"per_network"`    // at a time, from one IPv6 /64
	Proxies       []string      `toml:"proxies"`        // networks whose connections begin with a PROXY header
}

// DefaultConfig returns what holds where the file says nothing.
func DefaultConfig() Config {
	return Config{
		Listen: []string{":25"}, MaxSize: 50 << 20, MaxRecipients: 100, MaxCommands: 1000, MaxErrors: 20,
		IdleTimeout: 5 * time.Minute, Connections: 1000, PerAddress: 20, PerNetwork: 40,
	}
}

// Validate returns everything that is wrong, in one error (errors.Join).
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("mta."+format, args...)) }
	for _, a := range c.Listen {
		if _, _, err := net.SplitHostPort(a); err != nil {
			bad("listen: %q is not an address such as \":25\" or \"127.0.0.1:25\"", a)
		}
	}
	if c.MaxSize < 64<<10 || c.MaxSize > 1<<30 {
		bad("max_size: %d is not between 64KiB (RFC 5321 section 4.5.3.1.7) and 1GiB", c.MaxSize)
	}
	if c.MaxRecipients < 100 {
		bad("max_recipients: %d is below 100, the least that RFC 5321 section 4.5.3.1.8 allows", c.MaxRecipients)
	}
	for _, limit := range []struct {
		key string
		n   int
	}{{"max_commands", c.MaxCommands}, {"max_errors", c.MaxErrors}, {"connections", c.Connections}, {"per_address", c.PerAddress}, {"per_network", c.PerNetwork}} {
		if limit.n < 1 {
			bad("%s: %d is below 1", limit.key, limit.n)
		}
	}
	if c.IdleTimeout < 10*time.Second {
		bad("idle_timeout: %s is below 10s; RFC 5321 section 4.5.3.2 asks for 5m", c.IdleTimeout)
	}
	if c.GreetDelay < 0 || c.GreetDelay > time.Minute {
		bad("greet_delay: %s is not between 0s and 1m; senders wait 5m at most (RFC 5321 section 4.5.3.2.1)", c.GreetDelay)
	}
	if _, err := prefixes(c.Proxies); err != nil {
		bad("proxies: %w", err)
	}
	return errors.Join(errs...)
}
