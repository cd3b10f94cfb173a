package storage

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestFullDisk: when nothing more can be stored, everything can be read and
// deleted, whatever the messages are that filled the disk; until there is room
// nothing else is written, and then mail is taken again.
func TestFullDisk(t *testing.T) {
	for _, size := range []int{4_000, 60_000, 400_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			dir := smallDisk(t, 64<<20)
			ballast(t, dir, 36<<20)
			db := openAt(t, dir)
			defer func() { db.Close() }()
			a := account(t, db, "alice")
			inbox, trash := named(t, db, a, "INBOX"), named(t, db, a, "Trash")
			w := &worker{db: db, random: rand.New(rand.NewPCG(1, 2))}
			file := func() error {
				return stopped(func() error {
					m := w.letter(size)
					defer m.Close()
					return db.Deliver(ctx, delivery(m, "INBOX", a))
				})
			}
			for full := 0; full < 3; {
				err := file()
				if errors.Is(err, ErrNoSpace) {
					full++
				} else if err != nil {
					t.Fatal(err)
				}
			}
			if err := db.Close(); err != nil {
				t.Logf("close: %v", err)
			}
			db = openAt(t, dir)
			w.db = db
			all := uids(t, db, a, inbox.ID)
			if len(all) < 20 {
				t.Fatalf("only %d messages fit", len(all))
			}
			text(t, db, a, inbox.ID, all[0])
			if _, err := db.Move(ctx, a, inbox.ID, all[:10], trash.ID); err != nil {
				t.Errorf("move: %v", err)
			}
			if _, err := db.StoreFlags(ctx, a, inbox.ID, all[10:], FlagChange{Op: AddFlags, Flags: Deleted}); err != nil {
				t.Errorf("store: %v", err)
			}
			if err := db.Expunge(ctx, a, inbox.ID, nil); err != nil {
				t.Errorf("expunge: %v", err)
			}
			if got := len(uids(t, db, a, inbox.ID)); got != 0 {
				t.Errorf("%d messages are left", got)
			}
			db.blobs.unlinkDue(time.Now().Add(2 * unlinkDelay))
			for until := time.Now().Add(20 * time.Second); ; {
				err := file()
				if err == nil {
					break
				}
				if !errors.Is(err, ErrNoSpace) || time.Now().After(until) {
					t.Fatalf("no mail is taken after all was deleted: %v", err)
				}
				time.Sleep(10 * time.Millisecond)
			}
			select {
			case <-db.Failed():
				t.Errorf("the store is broken: %v", db.Failure())
			default:
			}
			for _, p := range problems(t, db) {
				t.Errorf("verify: %s", p)
			}
		})
	}
}

// ballast takes room.
func ballast(t *testing.T, dir string, size int64) {
	t.Helper()
	f, err := os.Create(filepath.Join(filepath.Dir(dir), "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := syscall.Fallocate(int(f.Fd()), 0, 0, size); err != nil {
		t.Fatal(err)
	}
}

// smallDisk mounts a disk of so many octets.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Skipf("SKIPPED: mounting a small disk needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return filepath.Join(dir, "data")
}
