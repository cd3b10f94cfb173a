package tls

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A keeper writes a certificate the way another program does, and returns what
// "cert" in the configuration names.
type keeper func(t *testing.T, dir, name string, cert, key []byte) string

func put(t *testing.T, file string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

var keepers = map[string]keeper{
	"certbot": func(t *testing.T, dir, name string, cert, key []byte) string {
		t.Helper()
		version := "1"
		if _, err := os.Stat(filepath.Join(dir, "archive", name, "fullchain1.pem")); err == nil {
			version = "2"
		}
		for file, content := range map[string][]byte{"fullchain": cert, "privkey": key} {
			put(t, filepath.Join(dir, "archive", name, file+version+".pem"), content)
			link := filepath.Join(dir, "live", name, file+".pem")
			os.MkdirAll(filepath.Dir(link), 0o700)
			os.Remove(link)
			if err := os.Symlink(filepath.Join("../../archive", name, file+version+".pem"), link); err != nil {
				t.Fatal(err)
			}
		}
		return filepath.Join(dir, "live")
	},
	"certbot, one": func(t *testing.T, dir, name string, cert, key []byte) string {
		t.Helper()
		put(t, filepath.Join(dir, name, "fullchain.pem"), cert)
		put(t, filepath.Join(dir, name, "privkey.pem"), key)
		return filepath.Join(dir, "mail.home.example")
	},
	"acme.sh": func(t *testing.T, dir, name string, cert, key []byte) string {
		t.Helper()
		put(t, filepath.Join(dir, name+"_ecc", "fullchain.cer"), cert)
		put(t, filepath.Join(dir, name+"_ecc", name+".cer"), []byte("not the chain"))
		put(t, filepath.Join(dir, name+"_ecc", name+".key"), key)
		return dir
	},
	"Caddy": func(t *testing.T, dir, name string, cert, key []byte) string {
		t.Helper()
		put(t, filepath.Join(dir, "certificates", "ca-directory", name, name+".crt"), cert)
		put(t, filepath.Join(dir, "certificates", "ca-directory", name, name+".key"), key)
		put(t, filepath.Join(dir, "certificates", "ca-directory", name, name+".json"), []byte("{}"))
		return filepath.Join(dir, "certificates")
	},
	"Traefik": func(t *testing.T, dir, name string, cert, key []byte) string {
		t.Helper()
		file := filepath.Join(dir, "acme.json")
		type certificate struct {
			Domain           map[string]any `json:"domain"`
			Certificate, Key []byte
		}
		var store map[string]map[string][]certificate
		if text, err := os.ReadFile(file); err == nil {
			if err := json.Unmarshal(text, &store); err != nil {
				t.Fatal(err)
			}
		} else {
			store = map[string]map[string][]certificate{"resolver": {}, "empty": nil}
		}
		store["resolver"]["Certificates"] = append(store["resolver"]["Certificates"], certificate{map[string]any{"main": name}, cert, key})
		text, err := json.Marshal(store)
		if err != nil {
			t.Fatal(err)
		}
		put(t, file, text)
		return file
	},
}

// TestOthersKeep: what other programs keep is found and followed, and each
// name gets its own.
func TestOthersKeep(t *testing.T) {
	for program, keep := range keepers {
		t.Run(program, func(t *testing.T) {
			dir, ca := t.TempDir(), authority{t.TempDir()}
			path := ""
			issued := func(name string, later time.Duration) {
				t.Helper()
				root, err := ca.open(time.Now())
				if err != nil {
					t.Fatal(err)
				}
				private, err := makeKey(filepath.Join(t.TempDir(), "key"))
				if err != nil {
					t.Fatal(err)
				}
				key, cert, err := issue(root, private, []string{name}, time.Now().Add(later))
				if err != nil {
					t.Fatal(err)
				}
				path = keep(t, dir, name, cert, key)
			}
			issued("mail.home.example", 0)
			issued("other.example", time.Hour)
			issued("mta-sts.home.example", 0)
			names := []string{"mail.home.example", "mta-sts.home.example", "autoconfig.home.example"}
			m := manager(t, Config{Mode: "files", Cert: path}, t.TempDir(), names...)
			got := m.current.Load()
			if got.of("").Leaf.DNSNames[0] != "mail.home.example" || got.of("autoconfig.home.example") != got.first {
				t.Errorf("the first is for %v", got.first.Leaf.DNSNames)
			}
			if program != "certbot, one" && got.of("MTA-STS.home.example.").Leaf.DNSNames[0] != "mta-sts.home.example" {
				t.Errorf("mta-sts has %v", got.of("mta-sts.home.example").Leaf.DNSNames)
			}
			before := got.first.Leaf.SerialNumber
			issued("mail.home.example", time.Minute)
			m.refresh(time.Now())
			if after := m.current.Load().first.Leaf.SerialNumber; after.Cmp(before) == 0 {
				t.Error("the renewed certificate was not taken")
			}
			if list := m.Certificates(); list[0].Source != "files" || list[0].NextKey != "" {
				t.Errorf("%+v", list)
			}
		})
	}
}

// TestNothingToFind: where there is no certificate for us, the error says so.
func TestNothingToFind(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []Config{
		{Mode: "files", Cert: dir},
		{Mode: "files", Cert: filepath.Join(dir, "acme.json")},
		{Mode: "files", Cert: filepath.Join(dir, "[")},
		{Mode: "files", Cert: keepers["Caddy"](t, dir, "mail.home.example", []byte("torn"), nil)},
	} {
		if m, err := New(c, Options{Dir: t.TempDir(), Names: []string{"mail.home.example"}}); err == nil {
			m.Close()
			t.Errorf("%+v was taken", c)
		}
	}
}

// FuzzTraefik: whatever stands in acme.json, there is an error or certificates
// with their keys.
func FuzzTraefik(f *testing.F) {
	for _, text := range []string{
		"", "null", "{}", `{"r":null}`, `{"r":{"Certificates":null}}`, `{"r":{"Certificates":[{"certificate":"LS0t","key":"LS0t"}]}}`, `{"r":{"Certificates":[{"certificate":7}]}}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		file := filepath.Join(t.TempDir(), "acme.json")
		put(t, file, text)
		certs, _ := loadTraefik(file)
		for _, c := range certs {
			if c.Leaf == nil || c.PrivateKey == nil {
				t.Errorf("%+v", c)
			}
		}
	})
}
