package tls

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// maxFound bounds the certificates that are looked at in a directory.
const maxFound = 1000

// holdsKeys tells whether a path is where another program keeps certificates
// with their keys: a directory, or Traefik's acme.json.
func holdsKeys(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir() || strings.HasSuffix(path, ".json")
}

// A pairFile is a certificate with its key, in one file or two.
type pairFile struct{ cert, key string }

// found lists the certificates that cert and key of mode "files" name: a pair
// of files, or what stands in a directory or up to two levels below it.
func (c Config) found() []pairFile {
	if c.Key != "" || !holdsKeys(c.Cert) {
		return []pairFile{{c.Cert, c.Key}}
	}
	if strings.HasSuffix(c.Cert, ".json") {
		return []pairFile{{c.Cert, c.Cert}}
	}
	var all []pairFile
	for _, below := range []string{"", "*", "*/*"} {
		for _, name := range []string{"fullchain.pem", "fullchain.cer", "*.crt"} {
			files, err := filepath.Glob(filepath.Join(c.Cert, below, name))
			if err != nil { // a pattern that is none: the directory's name has one of *?[\ in it
				continue
			}
			for _, f := range files {
				all = append(all, pairFile{f, keyBeside(f)})
			}
		}
	}
	return all[:min(len(all), maxFound)]
}

// keyBeside is where the program that keeps a certificate keeps its key.
func keyBeside(cert string) string {
	dir, name := filepath.Split(cert)
	switch name {
	case "fullchain.pem": // certbot: live/NAME/fullchain.pem, privkey.pem
		return dir + "privkey.pem"
	case "fullchain.cer": // acme.sh: NAME/fullchain.cer or NAME_ecc/fullchain.cer, NAME.key
		return dir + strings.TrimSuffix(filepath.Base(dir), "_ecc") + ".key"
	}
	return strings.TrimSuffix(cert, ".crt") + ".key" // Caddy: certificates/CA/NAME/NAME.crt, NAME.key
}

// seen is how all files of a configuration look now.
func (c Config) seen() []fileState {
	if c.Mode != "files" {
		return nil
	}
	var all []fileState
	for _, f := range c.found() {
		all = append(all, stat(f.cert), stat(f.key))
	}
	return all
}

// choose loads the certificates of mode "files", and the best one for each
// name: one that is for it and good the longest. The first name must have one
// where there is a choice; the others may share its.
func (c Config) choose(names []string, now time.Time) (*set, error) {
	var all []*tls.Certificate
	var errs []error
	files := c.found()
	for _, f := range files {
		certs, err := f.load()
		if err != nil {
			errs = append(errs, fmt.Errorf("certificate %s with key %s: %w", f.cert, f.key, err))
		}
		all = append(all, certs...)
	}
	all = slices.DeleteFunc(all, func(cert *tls.Certificate) bool {
		if now.After(cert.Leaf.NotAfter) {
			errs = append(errs, fmt.Errorf("certificate %s: that for %s has expired at %s", c.Cert, strings.Join(namesOf(cert.Leaf), ", "), cert.Leaf.NotAfter))
			return true
		}
		return false
	})
	s := &set{byName: map[string]*tls.Certificate{}}
	for _, cert := range all {
		for _, name := range names {
			best := s.byName[name]
			if cert.Leaf.VerifyHostname(name) == nil && (best == nil || cert.Leaf.NotAfter.After(best.Leaf.NotAfter)) {
				s.byName[name] = cert
			}
		}
	}
	s.first = s.byName[names[0]]
	if s.first == nil && len(files) == 1 && len(all) == 1 {
		s.first = all[0] // there is no other: the operator means it
	}
	if s.first == nil {
		return nil, errors.Join(append(errs, fmt.Errorf("%s has no certificate for %s", c.Cert, names[0]))...)
	}
	return s, nil
}

// load reads the certificates of a file.
func (f pairFile) load() ([]*tls.Certificate, error) {
	if f.cert == f.key && strings.HasSuffix(f.cert, ".json") {
		return loadTraefik(f.cert)
	}
	cert, err := loadPair(f.cert, f.key)
	if err != nil {
		return nil, err
	}
	return []*tls.Certificate{cert}, nil
}

// loadTraefik reads acme.json: certificates and keys (PEM in base64) below the
// name of each resolver. Those that cannot be read are left out.
func loadTraefik(file string) ([]*tls.Certificate, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var resolvers map[string]struct {
		Certificates []struct {
			Certificate []byte `json:"certificate"`
			Key         []byte `json:"key"`
		}
	}
	if err := json.Unmarshal(text, &resolvers); err != nil {
		return nil, err
	}
	var all []*tls.Certificate
	var errs []error
	for name, r := range resolvers {
		for _, c := range r.Certificates {
			cert, err := pair(c.Certificate, c.Key)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", name, err))
				continue
			}
			all = append(all, cert)
		}
	}
	return all, errors.Join(errs...)
}
