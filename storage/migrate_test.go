package storage

import (
	"database/sql"
	"os"
	"path/filepath"
	"testing"
)

// older makes a store as the first version left it, with one account.
func older(t *testing.T, dir string) {
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
	if err := migrateOne(ctx, conn, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(ctx, `INSERT INTO account (name, salt, iterations, created) VALUES ('old@home.example', x'00', 1, 0)`); err != nil {
		t.Fatal(err)
	}
}

// TestUpgrade: a store of an earlier version is brought up to date after a
// whole copy of it was made; half a copy, which a crash left, does not count.
func TestUpgrade(t *testing.T) {
	dir := t.TempDir()
	older(t, dir)
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
