package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// mayImport is the architecture: each package of ours, and the only ones of
// ours that it may name. cmd/mailbox wires them all, and may name any.
var mayImport = map[string][]string{
	"internal/dns":         {},
	"internal/dns/dnstest": {},
	"internal/message":     {},
	"internal/listen":      {},
	"internal/login":       {},
	"internal/dialogue":    {},
	"internal/dovecottest": {},
	"internal/crashfs":     {},
	"internal/loadtest":    {},
	"internal/siege":       {},
	"internal/smtpd":       {"internal/listen"},
	"internal/mailauth":    {"internal/dns", "internal/message"},
	"imapd/wire":           {},
	"mda/sieve":            {"internal/message"},
	"mda/junk":             {"internal/message"},
	"storage":              {"internal/message"},
	"tls":                  {},
	"tls/acmetest":         {},
	"mta":                  {"storage", "internal/smtpd", "internal/listen", "internal/mailauth", "internal/dns", "internal/message"},
	"msa":                  {"storage", "internal/smtpd", "internal/listen", "internal/login", "internal/mailauth", "internal/message"},
	"mda":                  {"storage", "mda/sieve", "mda/junk", "internal/message"},
	"imapd":                {"storage", "imapd/wire", "internal/login", "internal/listen", "internal/message"},
	"web":                  {"storage", "internal/login", "internal/listen"},
	"admin":                {"storage", "admin/archive", "admin/pull", "internal/dns", "internal/login", "internal/mailauth", "internal/message"},
	"admin/archive":        {},
	"admin/mbox":           {"admin/archive", "imapd/wire"}, // names of files may be in modified UTF-7
	"admin/maildir":        {"admin/archive", "imapd/wire"}, // its names are in modified UTF-7
	"admin/imapsql":        {"admin/archive"},
	"admin/pull":           {"admin/archive", "imapd/wire"}, // names in modified UTF-7, sets of UIDs
	"cmd/mailbox":          nil,
}

// testsMayImport is what tests may name besides.
var testsMayImport = []string{"internal/dialogue", "internal/dovecottest", "internal/crashfs", "internal/siege", "internal/dns/dnstest", "tls/acmetest", "internal/listen", "storage", "internal/message"}

func TestImportsPointDown(t *testing.T) {
	root := filepath.Join("..", "..")
	seen := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && d.Name() != ".." || d.Name() == "tools" || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		room := filepath.ToSlash(strings.TrimPrefix(filepath.Dir(path), root+string(filepath.Separator)))
		seen[room] = true
		allowed, known := mayImport[room]
		if !known {
			t.Errorf("%s: the room %s is not in the table of the architecture", path, room)
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range f.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			ours, ok := strings.CutPrefix(name, "mailbox/")
			if !ok || room == "cmd/mailbox" || slices.Contains(allowed, ours) || ours == room {
				continue
			}
			if strings.HasSuffix(path, "_test.go") && slices.Contains(testsMayImport, ours) {
				continue
			}
			t.Errorf("%s: %s may not import %s", path, room, ours)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !seen["cmd/mailbox"] || !seen["storage"] {
		t.Fatalf("walked past the rooms: saw %v", seen)
	}
}
