package msa

import (
	"errors"
	"fmt"
	"time"

	"mailbox/internal/listen"
)

// Config is the section [msa] of the configuration. Sizes are octets, durations
// those of time.ParseDuration.
type Config struct {
	Listen           []string      `toml:"listen"`             // addresses of port 587, with STARTTLS
	ListenTLS        []string      `toml:"listen_tls"`         // addresses of port 465, with TLS from the start
	PlaintextLogin   bool          `toml:"plaintext_login"`    // passwords without TLS, on loopback only
	MaxSize          int64         `toml:"max_size"`           // largest message taken
	MaxRecipients    int           `toml:"max_recipients"`     // of one message
	RecipientsPerDay int           `toml:"recipients_per_day"` // elsewhere, that an account may write to on a day (UTC); 0 means no limit
	MaxCommands      int           `toml:"max_commands"`       // between two messages of a connection
	MaxErrors        int           `toml:"max_errors"`         // replies of 5xx before the connection ends
	IdleTimeout      time.Duration `toml:"idle_timeout"`       // silence tolerated
	Connections      int           `toml:"connections"`        // at a time, from everywhere
	PerAddress       int           `toml:"per_address"`        // at a time, from one address
}

// DefaultConfig returns what holds where the file says nothing.
func DefaultConfig() Config {
	return Config{
		Listen: []string{":587"}, ListenTLS: []string{":465"}, MaxSize: 50 << 20, MaxRecipients: 1000, RecipientsPerDay: 1000,
		MaxCommands: 1000, MaxErrors: 20, IdleTimeout: 5 * time.Minute, Connections: 1000, PerAddress: 50,
	}
}

// Validate returns everything that is wrong, in one error (errors.Join).
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("msa."+format, args...)) }
	errs = append(errs, listen.CheckAddresses("msa.listen", 587, c.Listen), listen.CheckAddresses("msa.listen_tls", 465, c.ListenTLS))
	if c.PlaintextLogin {
		errs = append(errs, listen.CheckPlaintext("msa.plaintext_login", c.Listen))
	}
	if c.MaxSize < 64<<10 || c.MaxSize > 1<<30 {
		bad("max_size: %d is not between 64KiB (RFC 5321 section 4.5.3.1.7) and 1GiB", c.MaxSize)
	}
	if c.MaxRecipients < 100 {
		bad("max_recipients: %d is below 100, the least that RFC 5321 section 4.5.3.1.8 allows", c.MaxRecipients)
	}
	if c.RecipientsPerDay < 0 {
		bad("recipients_per_day: %d is below 0, which means no limit", c.RecipientsPerDay)
	}
	for _, limit := range []struct {
		key string
		n   int
	}{{"max_commands", c.MaxCommands}, {"max_errors", c.MaxErrors}, {"connections", c.Connections}, {"per_address", c.PerAddress}} {
		if limit.n < 1 {
			bad("%s: %d is below 1", limit.key, limit.n)
		}
	}
	if c.IdleTimeout < 10*time.Second {
		bad("idle_timeout: %s is below 10s; RFC 5321 section 4.5.3.2 asks for 5m", c.IdleTimeout)
	}
	return errors.Join(errs...)
}

// limits gives an IPv6 /64 twice as much as one address.
func (c *Config) limits() listen.Limits {
	return listen.Limits{Total: c.Connections, Address: c.PerAddress, Network: 2 * c.PerAddress}
}
