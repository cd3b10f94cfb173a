package storage

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"
)

var ctx = context.Background()

// openAt opens the store in a directory, with home.example as its domain.
func openAt(t testing.TB, dir string) *DB {
	t.Helper()
	db, err := Open(ctx, Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.SetDomains([]string{"home.example", "bücher.example"}, ""); err != nil {
		t.Fatal(err)
	}
	return db
}

// open opens a store that is checked and closed at the end.
func open(t testing.TB) *DB {
	t.Helper()
	db := openAt(t, t.TempDir())
	t.Cleanup(func() {
		for _, p := range problems(t, db) {
			t.Errorf("verify: %s", p)
		}
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return db
}

func problems(t testing.TB, db *DB) (found []Problem) {
	t.Helper()
	if _, err := db.Verify(ctx, func(p Problem) { found = append(found, p) }); err != nil {
		t.Errorf("verify: %v", err)
	}
	return found
}

func account(t testing.TB, db *DB, name string) AccountID {
	t.Helper()
	salt, n := NewSalt()
	id, err := db.CreateAccount(ctx, Account{Name: name + "@home.example", Salt: salt, Iterations: n}, Credential{StoredKey: []byte{1}, ServerKey: []byte{2}})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func spool(t testing.TB, db *DB, text string) *Spooled {
	t.Helper()
	s := db.NewSpool()
	if _, err := io.WriteString(s, text); err != nil {
		t.Fatal(err)
	}
	m, err := s.Finish(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func letter(n int) string {
	return fmt.Sprintf("Subject: letter %d\r\n\r\nhello\r\n", n)
}

// deliver files a text for accounts.
func deliver(t testing.TB, db *DB, text, mailbox string, to ...AccountID) {
	t.Helper()
	if err := db.Deliver(ctx, delivery(spool(t, db, text), mailbox, to...)); err != nil {
		t.Fatal(err)
	}
}

func delivery(m *Spooled, mailbox string, to ...AccountID) *Delivery {
	d := &Delivery{Message: m, Received: time.Unix(1_790_000_000, 0)}
	for _, a := range to {
		d.To = append(d.To, Target{Account: a, Mailbox: mailbox})
	}
	return d
}

func named(t testing.TB, db *DB, a AccountID, name string) Mailbox {
	t.Helper()
	m, err := db.Mailbox(ctx, a, name)
	if err != nil {
		t.Fatalf("mailbox %s: %v", name, err)
	}
	return m
}

// uids lists a mailbox as its index has it.
func uids(t testing.TB, db *DB, a AccountID, m MailboxID) []UID {
	t.Helper()
	x, err := db.Index(ctx, a, m)
	if err != nil {
		t.Fatal(err)
	}
	list := []UID{}
	x.All(func(_ int, e Entry) bool {
		list = append(list, e.UID)
		return true
	})
	return list
}

// text reads a message back.
func text(t testing.TB, db *DB, a AccountID, m MailboxID, uid UID) string {
	t.Helper()
	rows, err := db.Messages(ctx, a, m, []UID{uid}, 0)
	if err != nil || len(rows) != 1 {
		t.Fatalf("message %d: %d rows, %v", uid, len(rows), err)
	}
	b, err := db.OpenBlob(ctx, rows[0].Blob)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var out strings.Builder
	if _, err := io.Copy(&out, io.NewSectionReader(b, 0, b.Size)); err != nil {
		t.Fatal(err)
	}
	return out.String()
}
