package tls

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/url"
	"os"
	"slices"
	"strings"
)

// LetsEncrypt is the directory (RFC 8555 section 7.1.1) of the default CA.
const LetsEncrypt = "https://acme-v02.api.letsencrypt.org/directory"

// Config is the section [tls] of the configuration. The keys from Directory on
// are for mode "acme". What is secret stands in files of its own.
type Config struct {
	Mode            string   `toml:"mode"`              // "acme", "files" or "self-signed"
	Cert            string   `toml:"cert"`              // PEM file (our certificate, then those that signed it), or where another program keeps certificates
	Key             string   `toml:"key"`               // PEM file; "" where cert is a directory or acme.json
	AcceptTerms     bool     `toml:"accept_terms"`      // the CA's terms of service; without it no CA is asked
	Directory       string   `toml:"directory"`         // URL of the CA
	CAFile          string   `toml:"ca_file"`           // PEM file: the roots that the CA's own server is signed by; "" means the system's
	Email           string   `toml:"email"`             // told to the CA, which may write to it; "" tells none
	EABKid          string   `toml:"eab_kid"`           // external account binding (RFC 8555 section 7.3.4)
	EABKeyFile      string   `toml:"eab_key_file"`      // its MAC key, base64url
	Challenges      []string `toml:"challenges"`        // "http-01" and "tls-alpn-01", or "dns-01" alone
	DNSProvider     string   `toml:"dns_provider"`      // for dns-01: "rfc2136" or "cloudflare"
	DNSServer       string   `toml:"dns_server"`        // rfc2136: who takes updates of the zone
	DNSKeyName      string   `toml:"dns_key_name"`      // rfc2136: TSIG key (RFC 8945)
	DNSKeyAlgorithm string   `toml:"dns_key_algorithm"` // rfc2136
	DNSKeyFile      string   `toml:"dns_key_file"`      // rfc2136: the TSIG key, base64
	DNSTokenFile    string   `toml:"dns_token_file"`    // cloudflare: a token that may edit the zone
}

// DefaultConfig returns what holds where the file says nothing.
func DefaultConfig() Config {
	return Config{
		Mode: "acme", Directory: LetsEncrypt,
		Challenges: []string{http01, tlsALPN01}, DNSKeyAlgorithm: "hmac-sha256",
	}
}

// The challenges of RFC 8555 sections 8.3 and 8.4, and of RFC 8737.
const (
	http01    = "http-01"
	tlsALPN01 = "tls-alpn-01"
	dns01     = "dns-01"
)

// tsigAlgorithms are those of RFC 8945 section 6 that are safe.
var tsigAlgorithms = [...]string{"hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"}

// Validate returns everything that is wrong, in one error (errors.Join).
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("tls."+format, args...)) }
	if c.Mode != "files" && (c.Cert != "" || c.Key != "") {
		bad("mode: cert and key are given, but mode is %q; make it \"files\"", c.Mode)
	}
	switch c.Mode {
	case "self-signed":
	case "files":
		if c.Cert == "" {
			bad("cert: mode \"files\" needs the file of the certificate")
		}
		if c.Key == "" && !holdsKeys(c.Cert) {
			bad("key: mode \"files\" needs the file of the key")
		}
	case "acme":
		c.validateCA(bad)
		c.validateChallenges(bad)
	default:
		bad("mode: %q is none of \"acme\", \"files\", \"self-signed\"", c.Mode)
	}
	return errors.Join(errs...)
}

func (c Config) validateCA(bad func(string, ...any)) {
	if u, err := url.Parse(c.Directory); err != nil || u.Scheme != "https" || u.Host == "" {
		bad("directory: %q is not a URL that begins with https://", c.Directory)
	}
	if a, err := mail.ParseAddress(c.Email); c.Email != "" && (err != nil || a.Address != c.Email) {
		bad("email: %q is not an address", c.Email)
	}
	if c.CAFile != "" {
		if _, err := readRoots(c.CAFile); err != nil {
			bad("ca_file: %w", err)
		}
	}
	if (c.EABKid == "") != (c.EABKeyFile == "") {
		bad("eab_kid: the CA gives a key ID and a key; eab_kid and eab_key_file go together")
		return
	}
	if c.EABKeyFile == "" {
		return
	}
	if key, err := readSecret(c.EABKeyFile); err != nil {
		bad("eab_key_file: %w", err)
	} else if _, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(key, "=")); err != nil {
		bad("eab_key_file: %s is not base64url", c.EABKeyFile)
	}
}

func (c Config) validateChallenges(bad func(string, ...any)) {
	if len(c.Challenges) == 0 {
		bad("challenges: none is given, and a CA gives no certificate without one")
	}
	for _, ch := range c.Challenges {
		switch ch {
		case http01, tlsALPN01:
		case dns01:
			if len(c.Challenges) > 1 {
				bad("challenges: \"dns-01\" stands alone: it needs no other")
			}
		default:
			bad("challenges: %q is none of \"http-01\", \"tls-alpn-01\", \"dns-01\"", ch)
		}
	}
	if !slices.Contains(c.Challenges, dns01) {
		if c.DNSProvider != "" {
			bad("dns_provider: only the challenge \"dns-01\" uses it; add challenges = [\"dns-01\"]")
		}
		return
	}
	switch c.DNSProvider {
	case "rfc2136":
		c.validateUpdates(bad)
	case "cloudflare":
		if _, err := readSecret(c.DNSTokenFile); err != nil {
			bad("dns_token_file: %w", err)
		}
	default:
		bad("dns_provider: %q is none of \"rfc2136\", \"cloudflare\"", c.DNSProvider)
	}
}

func (c Config) validateUpdates(bad func(string, ...any)) {
	if c.DNSServer == "" {
		bad("dns_server: which server takes updates of the zone?")
	}
	if c.DNSKeyName == "" {
		bad("dns_key_name: updates are signed; what is the key called?")
	}
	if !slices.Contains(tsigAlgorithms[:], c.DNSKeyAlgorithm) {
		bad("dns_key_algorithm: %q is none of \"%s\"", c.DNSKeyAlgorithm, strings.Join(tsigAlgorithms[:], "\", \""))
	}
	if key, err := readSecret(c.DNSKeyFile); err != nil {
		bad("dns_key_file: %w", err)
	} else if _, err := base64.StdEncoding.DecodeString(key); err != nil {
		bad("dns_key_file: %s is not base64", c.DNSKeyFile)
	}
}

// has tells whether a challenge may be used.
func (c Config) has(challenge string) bool { return slices.Contains(c.Challenges, challenge) }

// updateServer is DNSServer with its port.
func (c Config) updateServer() string {
	if _, _, err := net.SplitHostPort(c.DNSServer); err == nil {
		return c.DNSServer
	}
	return net.JoinHostPort(strings.Trim(c.DNSServer, "[]"), "53")
}

// readSecret returns the first line of a file that not everybody may read.
func readSecret(file string) (string, error) {
	if file == "" {
		return "", errors.New("no file is given")
	}
	st, err := os.Stat(file)
	if err != nil {
		return "", err
	}
	if st.Mode()&0o004 != 0 {
		return "", fmt.Errorf("%s can be read by everybody; chmod 640 it", file)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	if line == "" {
		return "", fmt.Errorf("%s is empty", file)
	}
	return strings.TrimSpace(line), nil
}
