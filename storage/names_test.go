package storage

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// existing lists the names of the mailboxes of an account, but for those that
// it was made with.
func existing(t *testing.T, db *DB, a AccountID) []string {
	t.Helper()
	all, err := db.Mailboxes(ctx, a)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, m := range all {
		if m.SpecialUse == "" && m.Name != "INBOX" {
			name := m.Name
			if !m.Exists {
				name = "(" + name + ")"
			}
			names = append(names, name)
		}
	}
	return names
}

// TestMailboxNames plays the life of mailboxes: parents, children, names that
// look like patterns.
func TestMailboxNames(t *testing.T) {
	db := open(t)
	a, b := account(t, db, "alice"), account(t, db, "bob")
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	create := func(name string) Mailbox {
		t.Helper()
		m, err := db.CreateMailbox(ctx, a, name, "")
		do(err)
		return m
	}
	is := func(want ...string) {
		t.Helper()
		if got := existing(t, db, a); !slices.Equal(got, want) {
			t.Errorf("mailboxes are %q, not %q", got, want)
		}
	}
	create("a_b/c")
	create("aXb/c")
	create("ab")
	is("aXb", "aXb/c", "a_b", "a_b/c", "ab")
	before := named(t, db, a, "a_b/c")
	deliver(t, db, letter(1), "a_b/c", a)
	do(db.RenameMailbox(ctx, a, "a_b", "z/y"))
	is("aXb", "aXb/c", "ab", "z", "z/y", "z/y/c")
	after := named(t, db, a, "z/y/c")
	if after.ID != before.ID || after.UIDValidity != before.UIDValidity || text(t, db, a, after.ID, 1) != letter(1) {
		t.Errorf("a renamed mailbox is %+v, was %+v", after, before)
	}
	do(db.DeleteMailbox(ctx, a, "z/y"))
	is("aXb", "aXb/c", "ab", "z", "(z/y)", "z/y/c")
	if err := db.DeleteMailbox(ctx, a, "z/y"); !errors.Is(err, ErrNonexistent) {
		t.Errorf("deleted twice: %v", err)
	}
	if again := create("z/y"); again.UIDValidity <= after.UIDValidity {
		t.Errorf("a name that came back has UIDVALIDITY %d", again.UIDValidity)
	}
	do(db.DeleteMailbox(ctx, a, "z/y"))
	do(db.DeleteMailbox(ctx, a, "z/y/c"))
	is("aXb", "aXb/c", "ab", "z")
	for from, to := range map[string]string{"aXb": "aXb/c/d", "z": "ab", "nowhere": "x", "aXb/c": "INBOX"} {
		if err := db.RenameMailbox(ctx, a, from, to); err == nil {
			t.Errorf("%s was renamed to %s", from, to)
		}
	}
	if _, err := db.CreateMailbox(ctx, a, "AXB", ""); err != nil {
		t.Errorf("names other than INBOX are case-sensitive: %v", err)
	}
	if _, err := db.CreateMailbox(ctx, a, "inbox", ""); !errors.Is(err, ErrExists) {
		t.Errorf("inbox: %v", err)
	}
	for _, bad := range []string{"", "a//b", "a\x01b", "a*", strings.Repeat("x", 256), strings.Repeat("a/", 20) + "a", "a/\x7f"} {
		if _, err := db.CreateMailbox(ctx, a, bad, ""); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if got := existing(t, db, b); len(got) != 0 {
		t.Errorf("bob sees %q", got)
	}
}

// TestRenameInbox moves the messages and leaves the children.
func TestRenameInbox(t *testing.T) {
	db := open(t)
	a := account(t, db, "alice")
	if _, err := db.CreateMailbox(ctx, a, "INBOX/child", ""); err != nil {
		t.Fatal(err)
	}
	deliver(t, db, letter(1), "INBOX", a)
	if err := db.RenameMailbox(ctx, a, "INBOX", "old"); err != nil {
		t.Fatal(err)
	}
	if m := named(t, db, a, "INBOX"); m.Messages != 0 {
		t.Errorf("INBOX has %d messages", m.Messages)
	}
	old := named(t, db, a, "old")
	if text(t, db, a, old.ID, 1) != letter(1) {
		t.Error("the message did not move")
	}
	if got := existing(t, db, a); !slices.Equal(got, []string{"INBOX/child", "old"}) {
		t.Errorf("mailboxes are %q", got)
	}
}

// TestRenameNameAlone: a name that is only subscribed is no mailbox that could
// be renamed (RFC 9051 section 6.3.6), and its subscription stays.
func TestRenameNameAlone(t *testing.T) {
	db := open(t)
	a := account(t, db, "alice")
	if err := db.Subscribe(ctx, a, "lost", true); err != nil {
		t.Fatal(err)
	}
	if err := db.RenameMailbox(ctx, a, "lost", "found"); !errors.Is(err, ErrNonexistent) {
		t.Errorf("renamed: %v", err)
	}
	if got := existing(t, db, a); !slices.Equal(got, []string{"(lost)"}) {
		t.Errorf("names are %q", got)
	}
}

// TestRenameIntoLeftPlaces: a mailbox may get a name that another one of the
// same tree leaves.
func TestRenameIntoLeftPlaces(t *testing.T) {
	db := open(t)
	a := account(t, db, "alice")
	for _, name := range []string{"a/b/b/x", "a/b/x"} {
		if _, err := db.CreateMailbox(ctx, a, name, ""); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range []error{db.DeleteMailbox(ctx, a, "a"), db.RenameMailbox(ctx, a, "a/b", "a")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := existing(t, db, a); !slices.Equal(got, []string{"a", "a/b", "a/b/x", "a/x"}) {
		t.Errorf("mailboxes are %q", got)
	}
}

// TestRenameOverSubscription: a name that is only subscribed stands in the way
// of no mailbox, whether it is renamed or taken.
func TestRenameOverSubscription(t *testing.T) {
	db := open(t)
	a := account(t, db, "alice")
	for _, name := range []string{"from/mail", "into/sub"} {
		if _, err := db.CreateMailbox(ctx, a, name, ""); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range []error{db.Subscribe(ctx, a, "from/sub", true), db.DeleteMailbox(ctx, a, "into"), db.RenameMailbox(ctx, a, "from", "into")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := existing(t, db, a); !slices.Equal(got, []string{"into", "into/mail", "into/sub"}) {
		t.Errorf("mailboxes are %q", got)
	}
	if !named(t, db, a, "into/sub").Subscribed {
		t.Error("the subscription is lost")
	}
}

// TestOneProcess: a second process does not get the store; a newer schema is
// refused in words.
func TestOneProcess(t *testing.T) {
	dir := t.TempDir()
	db := openAt(t, dir)
	if _, err := Open(ctx, Options{Dir: dir, Log: db.log}); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("a second process: %v", err)
	}
	if err := db.writer.do(ctx, func(t *tx) error { return t.exec(`PRAGMA user_version = 999`) }); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(ctx, Options{Dir: dir, Log: db.log}); err == nil || !strings.Contains(err.Error(), "knows only up to") {
		t.Errorf("a newer schema: %v", err)
	}
}
