package main

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailbox/internal/dialogue"
)

// TestDialogues plays every file of testdata/dialogues against the real
// program. One alone: go test ./cmd/mailbox -run TestDialogues/mta_bdat
func TestDialogues(t *testing.T) {
	s := newSite(t)
	s.set("", `postmaster = "full@home.example"`)
	s.set("mta", `max_size = "1MiB"`)
	s.run(testPassword, "admin", "user", "add", "full@home.example", "--password-stdin", "--quota", "1B")
	s.run("", "admin", "alias", "add", "staff@home.example", "alice@home.example", "bob@home.example")
	s.start()
	files, err := filepath.Glob("../../testdata/dialogues/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no dialogues: %v", err)
	}
	player := dialogue.Player{Dial: s.dial, TLS: s.clientTLS(), Vars: dialogueVars()}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := player.Play(file, string(text)); err != nil {
				t.Error(err)
			}
		})
	}
	if out, err := s.try("", "verify"); err != nil {
		t.Errorf("afterwards: %v\n%s", err, out)
	}
}

// dialogueVars are what dialogues write as ${NAME}.
func dialogueVars() map[string]string {
	encode := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	days := func(n int) string { return time.Now().AddDate(0, 0, n).UTC().Format(time.RFC3339) }
	return map[string]string{
		"PASSWORD": testPassword, "PASSWORD64": encode(testPassword),
		"ALICE":     encode("\x00alice@home.example\x00" + testPassword), // as AUTH PLAIN takes it
		"BOB":       encode("\x00bob@home.example\x00" + testPassword),
		"YESTERDAY": days(-1), "TOMORROW": days(1), "IN_31_DAYS": days(31),
	}
}
