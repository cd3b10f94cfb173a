package storage

import (
	"bytes"
	"database/sql"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// older makes a store as that version left it, with one account, and what more says.
func older(t *testing.T, dir string, version int, more func(*sql.Conn) error) {
	t.Helper()
	db, err := sql.Open("sqlite", dsn(filepath.Join(dir, "mailbox.db"), "rwc", "journal_mode(WAL)"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for v := range version {
		if err := migrateOne(ctx, conn, v); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.ExecContext(ctx, `INSERT INTO account (name, salt, iterations, created) VALUES ('old@home.example', x'00', 1, 0)`); err != nil {
		t.Fatal(err)
	}
	if err := more(conn); err != nil {
		t.Fatal(err)
	}
}

// TestUpgrade: a store of an earlier version is brought up to date after a
// whole copy of it was made; half a copy, which a crash left, does not count.
func TestUpgrade(t *testing.T) {
	dir := t.TempDir()
	older(t, dir, 1, func(*sql.Conn) error { return nil })
	backup := filepath.Join(dir, "mailbox.db.v1")
	if err := os.WriteFile(backup+".new", []byte("half a copy"), 0o600); err != nil {
		t.Fatal(err)
	}
	db := openAt(t, dir)
	if all, err := db.Accounts(ctx); err != nil || len(all) != 1 || all[0].Name != "old@home.example" {
		t.Errorf("after the upgrade: %+v %v", all, err)
	}
	if _, err := db.QueueEntries(ctx); err != nil {
		t.Errorf("the tables of the new version: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(backup + ".new"); err == nil {
		t.Error("half a copy is left")
	}
	old, err := sql.Open("sqlite", dsn(backup, "ro"))
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	var version int
	var name string
	if err := old.QueryRow(`PRAGMA user_version`).Scan(&version); err != nil || version != 1 {
		t.Errorf("the copy is of version %d, %v", version, err)
	}
	if err := old.QueryRow(`SELECT name FROM account`).Scan(&name); err != nil || name != "old@home.example" {
		t.Errorf("the copy has account %q, %v", name, err)
	}
}

// TestUpgradePieces: what messages had in their rows is there after the upgrade
// that parts it, whatever its length, compressed without the dictionary as it is.
func TestUpgradePieces(t *testing.T) {
	dir := t.TempDir()
	zip, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	random := make([]byte, 200_000)
	rand.NewChaCha8([32]byte{}).Read(random) //nolint:errcheck // never fails
	wanted := 0
	lengths := []int{0, 1, 480, 487, 488, 999, 3985, 3986, 3987, 3988, 3989, 4100, 200_000}
	older(t, dir, 6, func(conn *sql.Conn) error {
		for i, n := range lengths {
			data := zip.EncodeAll(random[:n], []byte{})
			wanted += len(appendPieces(nil, data))
			if _, err := conn.ExecContext(ctx, `INSERT INTO blob (id, size, sha256, data) VALUES (?, ?, x'00', ?)`, i+1, n, data); err != nil {
				return err
			}
		}
		_, err := conn.ExecContext(ctx, `INSERT INTO blob (id, size, sha256) VALUES (999, 1, x'00')`) // in a file
		return err
	})
	db := openAt(t, dir)
	defer db.Close()
	for i, n := range lengths {
		blob, err := db.OpenBlob(ctx, BlobID(i+1))
		if err != nil {
			t.Fatalf("%d octets: %v", n, err)
		}
		got := make([]byte, n)
		if _, err := blob.ReadAt(got, 0); n > 0 && err != nil || !bytes.Equal(got, random[:n]) {
			t.Errorf("%d octets are others: %v", n, err)
		}
	}
	if _, err := db.OpenBlob(ctx, 999); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what is in a file: %v", err)
	}
	var pieces, longest int
	if err := db.readDB.QueryRow(`SELECT count(*), max(length(data)) FROM piece`).Scan(&pieces, &longest); err != nil || pieces != wanted || longest < 200_000 {
		t.Errorf("%d pieces of up to %d octets instead of %d, %v", pieces, longest, wanted, err)
	}
}
