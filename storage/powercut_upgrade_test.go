package storage

import (
	"bytes"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"

	"mailbox/internal/crashfs"
)

const olderVersion = 6 // one whose messages an upgrade writes anew

// olderText is the message n of the store that is upgraded.
func olderText(n int) []byte {
	text := make([]byte, n*n*n*n)
	rand.NewChaCha8([32]byte{byte(n)}).Read(text) //nolint:errcheck // never fails
	return text
}

const olderTexts = 20

// TestPowerCutUpgrade: whenever the power goes during an upgrade, the next start
// finds everything; a copy of the old database that has its name is whole. It
// makes 20 states of the disk, with MAILBOX_LONG 200.
func TestPowerCutUpgrade(t *testing.T) {
	states := 20
	if os.Getenv("MAILBOX_LONG") != "" {
		states = 200
	}
	seed := loadSeed(t)
	disk := crashfs.Mount(t)
	run := func(what string) {
		t.Helper()
		load := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestPowerCutUpgradeLoad$")
		load.Env = append(os.Environ(), "MAILBOX_POWERCUT_DISK="+disk.Dir(), "MAILBOX_POWERCUT_DO="+what)
		if out, err := load.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", what, err, out)
		}
	}
	run("make")
	before := disk.Len()
	run("upgrade")
	random := rand.New(rand.NewPCG(seed, 1<<32))
	copies := 0
	for range states {
		at := before + random.IntN(disk.Len()+1-before)
		dir := inMemory(t)
		if err := disk.PowerCut(at, random, "data", dir); err != nil {
			t.Fatal(err)
		}
		copies += checkOldCopy(t, dir)
		checkUpgraded(t, dir)
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			t.Fatalf("the power was cut after %d of %d changes, of which the upgrade has those from %d on", at, disk.Len(), before)
		}
	}
	t.Logf("%d states in the %d changes of an upgrade; %d of them had a copy of the old database", states, disk.Len()-before, copies)
}

// TestPowerCutUpgradeLoad makes or upgrades the store, in a process of its own.
func TestPowerCutUpgradeLoad(t *testing.T) {
	disk := os.Getenv("MAILBOX_POWERCUT_DISK")
	if disk == "" || os.Getenv("MAILBOX_POWERCUT_DO") == "" {
		t.Skip("is run by TestPowerCutUpgrade")
	}
	dir := filepath.Join(disk, "data")
	if os.Getenv("MAILBOX_POWERCUT_DO") == "upgrade" {
		if err := openAt(t, dir).Close(); err != nil {
			t.Fatal(err)
		}
		return
	}
	if err := makeDir(dir); err != nil {
		t.Fatal(err)
	}
	zip, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	older(t, dir, olderVersion, func(conn *sql.Conn) error {
		for n := range olderTexts {
			text := olderText(n)
			if _, err := conn.ExecContext(ctx, `INSERT INTO blob (id, size, sha256, data) VALUES (?, ?, x'00', ?)`, n+1, len(text), zip.EncodeAll(text, []byte{})); err != nil {
				return err
			}
		}
		return nil
	})
	if err := syncDir(dir); err != nil {
		t.Fatal(err)
	}
}

// checkUpgraded opens what a power cut left, which upgrades it.
func checkUpgraded(t *testing.T, dir string) {
	t.Helper()
	db, err := Open(ctx, Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Error(err)
		return
	}
	defer db.Close()
	if all, err := db.Accounts(ctx); err != nil || len(all) != 1 {
		t.Errorf("%d accounts, %v", len(all), err)
	}
	for n := range olderTexts {
		blob, err := db.OpenBlob(ctx, BlobID(n+1))
		if err != nil {
			t.Errorf("message %d: %v", n, err)
			continue
		}
		got := make([]byte, blob.Size)
		if _, err := blob.ReadAt(got, 0); err != nil && err != io.EOF || !bytes.Equal(got, olderText(n)) {
			t.Errorf("message %d has other octets: %v", n, err)
		}
	}
}

// checkOldCopy looks into the copy of the old database, and returns how many there are.
func checkOldCopy(t *testing.T, dir string) int {
	t.Helper()
	file := filepath.Join(dir, fmt.Sprintf("mailbox.db.v%d", olderVersion))
	if _, err := os.Stat(file); err != nil {
		return 0
	}
	db, err := sql.Open("sqlite", dsn(file, "ro"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var sound string
	var texts int
	if err := db.QueryRow(`PRAGMA integrity_check`).Scan(&sound); err != nil || sound != "ok" {
		t.Errorf("the copy of the old database: %s, %v", sound, err)
	}
	if err := db.QueryRow(`SELECT count(*) FROM blob WHERE data IS NOT NULL`).Scan(&texts); err != nil || texts != olderTexts {
		t.Errorf("the copy of the old database has %d messages, %v", texts, err)
	}
	return 1
}
