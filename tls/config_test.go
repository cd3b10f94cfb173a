package tls

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestValidate: every mistake, each at its key.
func TestValidate(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	secret := file("secret", "c2VjcmV0\n", 0o640)
	public := file("public", "c2VjcmV0\n", 0o644)
	updates := func(c *Config) {
		c.Challenges, c.DNSProvider, c.DNSServer, c.DNSKeyName, c.DNSKeyFile = []string{"dns-01"}, "rfc2136", "192.0.2.53", "key", secret
	}
	for name, c := range map[string]struct {
		change func(*Config)
		want   []string // keys
	}{
		"default":                 {func(c *Config) {}, nil},
		"unknown mode":            {func(c *Config) { c.Mode = "certbot" }, []string{"mode"}},
		"files without files":     {func(c *Config) { c.Mode = "files" }, []string{"cert", "key"}},
		"files without key":       {func(c *Config) { c.Mode, c.Cert = "files", secret }, []string{"key"}},
		"a directory":             {func(c *Config) { c.Mode, c.Cert = "files", dir }, nil},
		"files, but not the mode": {func(c *Config) { c.Cert = secret }, []string{"mode"}},
		"plain http":              {func(c *Config) { c.Directory = "http://ca.example/dir" }, []string{"directory"}},
		"no URL, no address":      {func(c *Config) { c.Directory, c.Email = "le", "me" }, []string{"directory", "email"}},
		"roots without any":       {func(c *Config) { c.CAFile = secret }, []string{"ca_file"}},
		"half an account":         {func(c *Config) { c.EABKid = "k" }, []string{"eab_kid"}},
		"an account":              {func(c *Config) { c.EABKid, c.EABKeyFile = "k", secret }, nil},
		"an account for all":      {func(c *Config) { c.EABKid, c.EABKeyFile = "k", public }, []string{"eab_key_file"}},
		"no challenge":            {func(c *Config) { c.Challenges = nil }, []string{"challenges"}},
		"unknown challenge":       {func(c *Config) { c.Challenges = []string{"email-01"} }, []string{"challenges"}},
		"dns-01 and another":      {func(c *Config) { updates(c); c.Challenges = []string{"dns-01", "http-01"} }, []string{"challenges"}},
		"a provider unused":       {func(c *Config) { c.DNSProvider = "cloudflare" }, []string{"dns_provider"}},
		"no provider":             {func(c *Config) { c.Challenges = []string{"dns-01"} }, []string{"dns_provider"}},
		"updates":                 {updates, nil},
		"updates, nothing said":   {func(c *Config) { c.Challenges, c.DNSProvider = []string{"dns-01"}, "rfc2136" }, []string{"dns_key_file", "dns_key_name", "dns_server"}},
		"updates, MD5":            {func(c *Config) { updates(c); c.DNSKeyAlgorithm = "hmac-md5" }, []string{"dns_key_algorithm"}},
		"updates, key for all":    {func(c *Config) { updates(c); c.DNSKeyFile = public }, []string{"dns_key_file"}},
		"cloudflare": {func(c *Config) {
			c.Challenges, c.DNSProvider, c.DNSTokenFile = []string{"dns-01"}, "cloudflare", secret
		}, nil},
		"cloudflare, no token": {func(c *Config) { c.Challenges, c.DNSProvider = []string{"dns-01"}, "cloudflare" }, []string{"dns_token_file"}},
	} {
		cfg := DefaultConfig()
		c.change(&cfg)
		var got []string
		if err := cfg.Validate(); err != nil {
			for _, line := range strings.Split(err.Error(), "\n") {
				key, _, _ := strings.Cut(strings.TrimPrefix(line, "tls."), ":")
				got = append(got, key)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: wrong are %v, not %v: %v", name, got, c.want, cfg.Validate())
		}
	}
}

// TestUpdateServer: an address without a port is that of DNS.
func TestUpdateServer(t *testing.T) {
	for in, want := range map[string]string{"192.0.2.53": "192.0.2.53:53", "ns.example:5353": "ns.example:5353", "2001:db8::1": "[2001:db8::1]:53", "[2001:db8::1]:5353": "[2001:db8::1]:5353"} {
		if got := (Config{DNSServer: in}).updateServer(); got != want {
			t.Errorf("%s is %s", in, got)
		}
	}
}
