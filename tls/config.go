package tls

import (
	"errors"
	"fmt"
)

// Config is the section [tls] of the configuration.
type Config struct {
	Mode string `toml:"mode"` // "self-signed" or "files"
	Cert string `toml:"cert"` // PEM file: our certificate, then those that signed it
	Key  string `toml:"key"`  // PEM file
}

// DefaultConfig returns what holds where the file says nothing.
func DefaultConfig() Config { return Config{Mode: "self-signed"} }

// Validate returns everything that is wrong, in one error (errors.Join).
func (c Config) Validate() error {
	var errs []error
	switch c.Mode {
	case "self-signed":
		if c.Cert != "" || c.Key != "" {
			errs = append(errs, errors.New(`tls.mode: cert and key are given, but mode is "self-signed"; make it "files"`))
		}
	case "files":
		if c.Cert == "" {
			errs = append(errs, errors.New(`tls.cert: mode "files" needs the file of the certificate`))
		}
		if c.Key == "" {
			errs = append(errs, errors.New(`tls.key: mode "files" needs the file of the key`))
		}
	case "acme":
		errs = append(errs, errors.New(`tls.mode: "acme" is not part of this version; use "files" with a certificate of yours, or "self-signed"`))
	default:
		errs = append(errs, fmt.Errorf(`tls.mode: %q is none of "files", "self-signed"`, c.Mode))
	}
	return errors.Join(errs...)
}
