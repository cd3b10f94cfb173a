package main

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// keysOf lists all keys of a struct of the configuration, with their values.
func keysOf(prefix string, v reflect.Value, keys map[string]any) {
	for i := range v.NumField() {
		name := prefix + v.Type().Field(i).Tag.Get("toml")
		if f := v.Field(i); f.Kind() == reflect.Struct {
			keysOf(name+".", f, keys)
		} else {
			keys[name] = f.Interface()
		}
	}
}

var commentedKey = regexp.MustCompile(`(?m)^#([a-z_]+ = )`)

// TestExampleConfig: mailbox.toml has every key, no other, each explained, and
// each with its real default.
func TestExampleConfig(t *testing.T) {
	raw, err := os.ReadFile("../../mailbox.toml")
	if err != nil {
		t.Fatal(err)
	}
	asShipped, err := parseConfig(string(raw))
	if err != nil {
		t.Fatalf("as it is shipped: %v", err)
	}
	text := commentedKey.ReplaceAllString(string(raw), "$1")
	spelled := defaultConfig()
	if err := decodeTOML(text, &spelled); err != nil {
		t.Fatalf("with all keys set: %v", err)
	}
	if fmt.Sprintf("%+v", asShipped) != fmt.Sprintf("%+v", spelled) {
		t.Errorf("a value that is spelled out is not the default:\n%+v\n%+v", spelled, asShipped)
	}
	keys := map[string]any{}
	keysOf("", reflect.ValueOf(defaultConfig()), keys)
	lines := strings.Split(text, "\n")
	for key := range keys {
		line := lineOf(text, key)
		if line == 0 {
			t.Errorf("%s is not in mailbox.toml", key)
			continue
		}
		at := line - 2
		for at > 0 && strings.Contains(lines[at], " = ") && !strings.HasPrefix(lines[at], "#") { // one comment may be for several keys
			at--
		}
		if !strings.HasPrefix(lines[at], "# ") {
			t.Errorf("mailbox.toml:%d: %s is not explained", line, key)
		}
	}
}

// TestConfigErrors: all mistakes at once, each with its line.
func TestConfigErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mailbox.toml")
	text := `hostname = "mail.example.org"
domains = []
data = "relative"
colour = "blue"
[mta]
listen = ["25"]
max_size = "1KiB"
max_recipients = "many"
[imapd]
listen = [":143"]
plaintext_login = true
[tls]
mode = "acme"
accept_terms = true
challenges = ["http-01"]
[web]
listen = []
[smtp]
listen = [":587"]
`
	check := func(text string, want ...string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := loadConfig(file)
		if err == nil {
			t.Fatal("no error")
		}
		got := strings.Split(strings.ReplaceAll(err.Error(), file, "F"), "\n")
		for _, w := range want {
			if !slices.ContainsFunc(got, func(g string) bool { return strings.HasPrefix(g, w) }) {
				t.Errorf("no error begins with %q in\n%s", w, strings.Join(got, "\n"))
			}
		}
		if len(got) != len(want) {
			t.Errorf("%d errors instead of %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
		}
	}
	check(text, "F:4: colour: no such key", "F:8: mta.max_recipients: many is not", "F:18: smtp: no such key")
	text = strings.NewReplacer("colour = \"blue\"\n", "\n", "\"many\"", "100", "[smtp]\nlisten = [\":587\"]\n", "").Replace(text)
	check(text, "F:2: domains:", "F:3: data:", "F:6: mta.listen:", "F:7: mta.max_size:", "F:11: imapd.plaintext_login:", "F:15: tls.challenges: web listens nowhere")
	check("hostname = \"mail.example.org\ndomains", "F:1: ")
}
