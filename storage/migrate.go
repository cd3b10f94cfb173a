package storage

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// migrate brings the schema up to date, after a backup of what was there. A
// database of a later version is refused, and left as it is.
func migrate(ctx context.Context, conn *sql.Conn, file string) error {
	var version int
	if err := conn.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	switch {
	case version > len(migrations):
		return fmt.Errorf("the database has schema version %d, this program knows only up to %d: install the version of mailbox that wrote it, or a later one",
			version, len(migrations))
	case version == len(migrations):
		return nil
	case version > 0:
		if err := backup(ctx, conn, fmt.Sprintf("%s.v%d", file, version)); err != nil {
			return fmt.Errorf("backup before the upgrade: %w", err)
		}
	}
	for v := version; v < len(migrations); v++ {
		if err := migrateOne(ctx, conn, v); err != nil {
			return fmt.Errorf("upgrade schema to version %d: %w", v+1, err)
		}
	}
	return nil
}

// backup copies the database to a file, unless that is there. A file of that
// name is whole and on the disk.
func backup(ctx context.Context, conn *sql.Conn, file string) error {
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	half := file + ".new"
	if err := os.Remove(half); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := conn.ExecContext(ctx, "VACUUM INTO ?", half); err != nil {
		return err
	}
	f, err := os.Open(half)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(half, file); err != nil {
		return err
	}
	return syncDir(filepath.Dir(file))
}

func migrateOne(ctx context.Context, conn *sql.Conn, v int) error {
	t, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer t.Rollback()
	if _, err := t.ExecContext(ctx, migrations[v]); err != nil {
		return err
	}
	if v == 0 {
		secret := make([]byte, 32)
		rand.Read(secret)
		if _, err := t.ExecContext(ctx, `INSERT INTO server (key, value) VALUES ('secret', ?)`, secret); err != nil {
			return err
		}
	}
	if _, err := t.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", v+1)); err != nil {
		return err
	}
	return t.Commit()
}
