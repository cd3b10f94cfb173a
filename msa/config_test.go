package msa

import (
	"strings"
	"testing"
	"time"
)

// TestConfig: everything that is wrong is told at once, by its key; passwords
// without TLS are for listeners that no other machine reaches.
func TestConfig(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	wrong := Config{Listen: []string{"587"}, ListenTLS: []string{"mail.home.example"}, RecipientsPerDay: -1, IdleTimeout: time.Second}
	err := wrong.Validate()
	for _, key := range []string{"listen", "listen_tls", "max_size", "max_recipients", "recipients_per_day", "max_commands", "max_errors", "connections", "per_address", "idle_timeout"} {
		if err == nil || !strings.Contains(err.Error(), "msa."+key+": ") {
			t.Errorf("%s is not among %v", key, err)
		}
	}
	for address, ok := range map[string]bool{
		"127.0.0.1:587": true, "127.1.2.3:2525": true, "[::1]:587": true,
		":587": false, "0.0.0.0:587": false, "[::]:587": false, "192.0.2.1:587": false, "localhost:587": false, "127.0.0.1.example:587": false,
	} {
		c := DefaultConfig()
		c.PlaintextLogin, c.Listen = true, []string{"127.0.0.1:1", address}
		if err := c.Validate(); (err == nil) != ok {
			t.Errorf("passwords without TLS on %s: %v", address, err)
		}
	}
}
