package storage

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// found waits until a word is found in that many emails.
func found(t *testing.T, db *DB, a AccountID, word string, want int) {
	t.Helper()
	var n int
	for until := time.Now().Add(10 * time.Second); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		n = 0
		if hits := db.SearchText(ctx, a, TextQuery{Header: true, Text: word}); hits != nil {
			for e := range uint32(hits.last) + 1 {
				if holds, _ := hits.Holds(e); holds {
					n++
				}
			}
		}
		if n == want {
			return
		}
	}
	t.Errorf("%q is in %d, want %d", word, n, want)
}

// TestSearchIndex: texts are indexed behind the mail, for their account only,
// and forgotten with it.
func TestSearchIndex(t *testing.T) {
	db := open(t)
	a, b := account(t, db, "alice"), account(t, db, "bob")
	deliver(t, db, "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nContent-Type: text/html\r\n\r\n<b>Love</b> letter", "INBOX", a)
	deliver(t, db, "Subject: contract\r\n\r\nlove\r\n", "INBOX", a, b)
	found(t, db, a, "love", 2)
	found(t, db, b, "love", 1)
	found(t, db, a, "GRÜSSE", 0)
	found(t, db, a, "grüße", 1)
	found(t, db, b, "grüße", 0)
	m := named(t, db, a, "INBOX").ID
	if _, err := db.StoreFlags(ctx, a, m, []UID{1}, FlagChange{Flags: Deleted}); err != nil {
		t.Fatal(err)
	}
	if err := db.Expunge(ctx, a, m, nil); err != nil {
		t.Fatal(err)
	}
	found(t, db, a, "love", 1)
	found(t, db, a, "grüße", 0)
}

// TestSearchIndexRebuilt: an index that was not closed, or is garbage, is built anew.
func TestSearchIndexRebuilt(t *testing.T) {
	dir := t.TempDir()
	db := openAt(t, dir)
	a := account(t, db, "alice")
	deliver(t, db, "\r\nlove\r\n", "INBOX", a)
	found(t, db, a, "love", 1)
	file := filepath.Join(dir, "search.db")
	for name, harm := range map[string]func() error{
		"none": func() error { return nil },
		"gone": func() error { return os.Remove(file) },
		"garbage": func() error {
			return os.WriteFile(file, slices.Repeat([]byte("garbage "), 10_000), 0o600)
		},
		"cut": func() error { return os.Truncate(file, 5000) },
	} {
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if err := harm(); err != nil {
			t.Fatal(err)
		}
		db = openAt(t, dir)
		found(t, db, a, "love", 1)
		t.Log(name)
	}
	// As a crash leaves it: not closed, and without what the disk had not got.
	if _, err := db.search.db.ExecContext(ctx, `DELETE FROM email WHERE rowid > 0`); err != nil {
		t.Fatal(err)
	}
	found(t, db, a, "love", 0)
	db.search.cancel()
	db.search.done.Wait()
	again, err := newSearchIndex(dir, db.log, searchSource{db})
	if err != nil {
		t.Fatal(err)
	}
	db.search.db.Close()
	db.search = again
	found(t, db, a, "love", 1)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
