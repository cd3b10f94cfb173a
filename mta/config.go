package mta

import (
	"errors"
	"fmt"
	"time"

	"mailbox/internal/listen"
	"mailbox/storage"
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

	TrustedSealers []string `toml:"trusted_sealers"` // domains whose ARC seals are believed
	Blocklists     []string `toml:"blocklists"`      // zones of DNS blocklists (RFC 5782)

	PrivateDestinations bool            `toml:"private_destinations"` // hosts of others may have loopback, private or link-local addresses
	Retry               []time.Duration `toml:"retry"`                // waits between attempts; the last one repeats
	DelayNotice         time.Duration   `toml:"delay_notice"`         // age at which the sender is told that a message is late; 0 means never
	Expire              time.Duration   `toml:"expire"`               // age at which it is given up
	Timeout             time.Duration   `toml:"timeout"`              // longest wait for one answer, where RFC 5321 asks for more
	SendConnections     int             `toml:"send_connections"`     // outgoing, at a time
	PerDestination      int             `toml:"per_destination"`      // outgoing, at a time, to one destination
	Routes              []Route         `toml:"routes"`               // smarthosts; the first one that fits is taken
}

// DefaultConfig returns what holds where the file says nothing.
func DefaultConfig() Config {
	return Config{
		Listen: []string{":25"}, MaxSize: 50 << 20, MaxRecipients: 100, MaxCommands: 1000, MaxErrors: 20,
		IdleTimeout: 5 * time.Minute, Connections: 1000, PerAddress: 20, PerNetwork: 40,
		Retry: []time.Duration{
			5 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour,
		},
		DelayNotice: 4 * time.Hour, Expire: 5 * 24 * time.Hour, Timeout: 10 * time.Minute, SendConnections: 300, PerDestination: 20,
	}
}

// Validate returns everything that is wrong, in one error (errors.Join).
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("mta."+format, args...)) }
	errs = append(errs, listen.CheckAddresses("mta.listen", 25, c.Listen))
	if c.MaxSize < 64<<10 || c.MaxSize > 1<<30 {
		bad("max_size: %d is not between 64KiB (RFC 5321 section 4.5.3.1.7) and 1GiB", c.MaxSize)
	}
	if c.MaxRecipients < 100 {
		bad("max_recipients: %d is below 100, the least that RFC 5321 section 4.5.3.1.8 allows", c.MaxRecipients)
	}
	for _, limit := range []struct {
		key string
		n   int
	}{{"max_commands", c.MaxCommands}, {"max_errors", c.MaxErrors}, {"connections", c.Connections}, {"per_address", c.PerAddress}, {"per_network", c.PerNetwork}, {"send_connections", c.SendConnections}, {"per_destination", c.PerDestination}} {
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
	for _, list := range []struct {
		key   string
		names []string
	}{{"trusted_sealers", c.TrustedSealers}, {"blocklists", c.Blocklists}} {
		for _, name := range list.names {
			if _, err := storage.ParseAddress("x@" + name); err != nil {
				bad("%s: %q is not a domain", list.key, name)
			}
		}
	}
	if _, err := prefixes(c.Proxies); err != nil {
		bad("proxies: %w", err)
	}
	return errors.Join(append(errs, c.validateQueue())...)
}

// validateQueue returns what is wrong with how mail is sent.
func (c Config) validateQueue() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("mta."+format, args...)) }
	if len(c.Retry) == 0 {
		bad("retry: no wait is given, such as [\"5m\", \"1h\"]")
	}
	for _, d := range c.Retry {
		if d < time.Second {
			bad("retry: %s is below 1s", d)
		}
	}
	if c.DelayNotice < 0 {
		bad("delay_notice: %s is below 0s", c.DelayNotice)
	}
	if c.Expire < time.Minute {
		bad("expire: %s is below 1m; RFC 5321 section 4.5.4.1 asks for 4 to 5 days", c.Expire)
	}
	if c.Timeout < time.Second || c.Timeout > 10*time.Minute {
		bad("timeout: %s is not between 1s and 10m", c.Timeout)
	}
	for _, r := range c.Routes {
		errs = append(errs, r.validate())
	}
	return errors.Join(errs...)
}
