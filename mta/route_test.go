package mta

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailbox/storage"
)

func TestDestinationOf(t *testing.T) {
	c := &Config{Routes: []Route{
		{Senders: []string{"alice@home.example"}, Host: "Smart.example:587", User: "alice"},
		{Senders: []string{"@home.example"}, Domains: []string{"*.slow.example", "slow.example"}, Host: "smart.example:587", User: "house"},
		{Senders: []string{"other.example"}, Host: "other.example"},
		{Domains: []string{"direct.example"}, Host: "[2001:DB8::1]:2525"},
	}}
	local := func(domain string) bool { return domain == "home.example" }
	for name, e := range map[string]struct {
		entry storage.QueueEntry
		want  Destination
	}{
		"nothing fits":      {storage.QueueEntry{Sender: "bob@home.example", Domain: "x.example"}, Destination{Domain: "x.example"}},
		"TLS":               {storage.QueueEntry{Sender: "bob@home.example", Domain: "x.example", TLS: true}, Destination{Domain: "x.example", RequireTLS: true}},
		"ours":              {storage.QueueEntry{Sender: "alice@home.example", Domain: "home.example"}, Destination{Here: true}},
		"ours, but named":   {storage.QueueEntry{Domain: "home.example", Route: "10.0.0.1:25"}, Destination{Host: "10.0.0.1:25"}},
		"by sender":         {storage.QueueEntry{Sender: "Alice@home.example", Domain: "x.example"}, Destination{Host: "smart.example:587", User: "alice"}},
		"by both":           {storage.QueueEntry{Sender: "bob@home.example", Domain: "a.slow.example"}, Destination{Host: "smart.example:587", User: "house"}},
		"sender's domain":   {storage.QueueEntry{Sender: "x@other.example", Domain: "x.example"}, Destination{Host: "other.example:25"}},
		"no part of a name": {storage.QueueEntry{Sender: "x@another.example", Domain: "x.example"}, Destination{Domain: "x.example"}},
		"report of ours":    {storage.QueueEntry{Domain: "slow.example"}, Destination{Domain: "slow.example"}},
		"by domain":         {storage.QueueEntry{Domain: "direct.example"}, Destination{Host: "[2001:db8::1]:2525"}},
		"named":             {storage.QueueEntry{Domain: "x.example", Route: "smart.example:587"}, Destination{Host: "smart.example:587", User: "alice"}},
	} {
		if got := c.destination(e.entry, local); got != e.want {
			t.Errorf("%s: %+v, want %+v", name, got, e.want)
		}
	}
	if got := c.route(Destination{Host: "smart.example:587", User: "house"}); got.User != "house" {
		t.Errorf("the route of another login: %+v", got)
	}
	if got := c.route(Destination{Host: "10.0.0.1:25"}); got.TLS != "optional" || got.User != "" {
		t.Errorf("a host without a route: %+v", got)
	}
}

func TestParseHost(t *testing.T) {
	for in, want := range map[string]string{
		"smtp.example": "smtp.example:25", "SMTP.Example.:587": "smtp.example:587", "127.0.0.1": "127.0.0.1:25", "127.0.0.1:0025": "127.0.0.1:25",
		"[::1]:25": "[::1]:25", "::1": "[::1]:25", "[::1]": "[::1]:25", "[2001:0DB8::0:1]:25": "[2001:db8::1]:25", "bücher.example:1": "xn--bcher-kva.example:1",
		"": "", ":25": "", "a:": "", "a:0": "", "a:65536": "", "a:b": "", "a:b:c": "", "x@y:25": "", "a b:25": "", "a\r\n:25": "", "<a>": "",
	} {
		got, err := ParseHost(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q is %q (%v), want %q", in, got, err, want)
		}
	}
}

func FuzzParseHost(f *testing.F) {
	for _, s := range []string{"smtp.example:587", "[::1]:25", "fe80::1%eth0", "x@y", "[a]:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseHost(s)
		if err != nil {
			return
		}
		if again, err := ParseHost(got); again != got || err != nil {
			t.Errorf("%q became %q, and that %q (%v)", s, got, again, err)
		}
		if strings.ContainsAny(got, " \r\n\x00@<>") {
			t.Errorf("%q became %q", s, got)
		}
	})
}

func TestRouteValidate(t *testing.T) {
	open := filepath.Join(t.TempDir(), "open")
	if err := os.WriteFile(open, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	closed := passwordFile(t, "sesame")
	for name, c := range map[string]struct {
		route Route
		want  []string
	}{
		"good":            {Route{Host: "smart.example:587", User: "a", PasswordFile: closed, Domains: []string{"*.example"}}, nil},
		"no host":         {Route{}, []string{"host"}},
		"all at once":     {Route{Host: "a:b", TLS: "perhaps", Domains: []string{"["}, Senders: []string{"["}}, []string{"host", "perhaps", `"["`}},
		"password in air": {Route{Host: "a", TLS: "optional", User: "a", PasswordFile: closed}, []string{"without TLS"}},
		"open password":   {Route{Host: "a", User: "a", PasswordFile: open}, []string{"everybody"}},
		"no password":     {Route{Host: "a", User: "a"}, []string{"password_file"}},
	} {
		err := c.route.validate()
		if (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v", name, err)
		}
		for _, w := range c.want {
			if err != nil && !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q does not say %q", name, err, w)
			}
		}
	}
}
