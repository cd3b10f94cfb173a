package storage

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// TestReplace: a message comes and another goes, or neither; the feed tells
// both, and the store is whole afterwards (open looks).
func TestReplace(t *testing.T) {
	db := open(t)
	a := account(t, db, "ann")
	inbox, drafts := named(t, db, a, "INBOX"), named(t, db, a, "Drafts")
	for i := range 3 {
		deliver(t, db, letter(i), "INBOX", a)
	}
	uids(t, db, a, inbox.ID) // from here on the picture in memory follows
	replace := func(old UID, to MailboxID, text string) (UID, error) {
		_, uid, err := db.Replace(ctx, a, inbox.ID, old, to, Upload{Message: spool(t, db, text), Received: time.Now(), Keywords: []string{"k"}})
		return uid, err
	}
	if uid, err := replace(2, inbox.ID, letter(7)); uid != 4 || err != nil {
		t.Errorf("in place: %d %v", uid, err)
	}
	if uid, err := replace(1, drafts.ID, strings.Repeat("large ", 100_000)); uid != 1 || err != nil {
		t.Errorf("elsewhere: %d %v", uid, err)
	}
	if _, err := replace(2, drafts.ID, letter(8)); !errors.Is(err, ErrExpunged) {
		t.Errorf("what is gone: %v", err)
	}
	if err := db.SetQuota(ctx, a, 100); err != nil {
		t.Fatal(err)
	}
	if _, err := replace(3, drafts.ID, strings.Repeat("large ", 100_000)); !errors.Is(err, ErrOverQuota) {
		t.Errorf("over quota: %v", err)
	}
	if got := uids(t, db, a, inbox.ID); len(got) != 2 || got[0] != 3 || got[1] != 4 {
		t.Errorf("INBOX has %v", got)
	}
	if got := uids(t, db, a, drafts.ID); len(got) != 1 || named(t, db, a, "Drafts").Messages != 1 {
		t.Errorf("Drafts has %v", got)
	}
}

// TestOnDisk: a small message that waited in a file is stored as that.
func TestOnDisk(t *testing.T) {
	db := open(t)
	a := account(t, db, "ann")
	inbox := named(t, db, a, "INBOX")
	var list []Upload
	for _, s := range []string{letter(1), letter(2)} {
		sp := db.NewSpool()
		sp.OnDisk()
		if _, err := sp.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
		m, err := sp.Finish(nil)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		if m.Memory() > 2<<10 {
			t.Errorf("it takes %d octets of memory", m.Memory())
		}
		list = append(list, Upload{Message: m, Received: time.Now()})
	}
	_, uids, err := db.Append(ctx, a, inbox.ID, list)
	if err != nil || len(uids) != 2 {
		t.Fatal(uids, err)
	}
	if got := text(t, db, a, inbox.ID, 2); got != letter(2) {
		t.Errorf("came back as %q", got)
	}
}
