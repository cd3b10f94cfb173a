package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// library has a script bring its copy of a scene's mailbox up to date, after it
// has done what a plan says, and returns what is in it.
func (s *scene) library(args ...string) contents {
	s.t.Helper()
	got := contents{}
	for line := range strings.Lines(s.program(args[0], args[1:]...)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) != 3 {
			s.t.Fatalf("%q", line)
		}
		got[entry{f[0], f[1], flagList(strings.Fields(f[2])...)}]++
	}
	return got
}

// libraryAgrees has a script of ours, which uses a library of somebody else's,
// keep a copy of a scene's mailbox.
func libraryAgrees(t *testing.T, name, script string) {
	t.Helper()
	file, err := filepath.Abs(filepath.Join("testdata", script))
	if err != nil {
		t.Fatal(err)
	}
	s := newScene(t)
	args := []string{name, file, s.port, s.ca, testPassword, filepath.Join(s.home, "cache")}
	s.agree(s.library(args...), keeper{})
	s.changeOnServer()
	s.agree(s.library(append(args, s.script(s.plan()))...), keeper{})
}

func TestPerlIMAPClient(t *testing.T) {
	program(t, "perl")
	libraryAgrees(t, "perl", "imapclient.pl")
}

// TestImapFlow needs "npm ci" in testdata/imapflow.
func TestImapFlow(t *testing.T) {
	program(t, "node")
	if _, err := os.Stat("testdata/imapflow/node_modules"); err != nil && os.Getenv("MAILBOX_REQUIRE_PROGRAMS") == "" {
		t.Skip("SKIPPED: imapflow is not installed")
	}
	libraryAgrees(t, "node", "imapflow/sync.mjs")
}
