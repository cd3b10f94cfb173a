package storage

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

func keysOf(t *testing.T, db *DB, a AccountID, numbers ...uint32) (all []EmailKey) {
	t.Helper()
	every := KeySent | KeySentDay | KeyReceived | KeySize | KeyID | KeySubject | KeyFrom | KeyTo | KeyCc
	err := db.EmailKeys(ctx, a, numbers, every, func(k *EmailKey) {
		e := *k
		e.Refs = append([]byte(nil), k.Refs...)
		all = append(all, e)
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestEmailKeys: emails have their sort keys, those of an earlier version of
// the store too, and of their account only.
func TestEmailKeys(t *testing.T) {
	dir := t.TempDir()
	db := openAt(t, dir)
	a, b := account(t, db, "alice"), account(t, db, "bob")
	deliver(t, db, "From: Bob <BOB@x>\r\nTo: a@x\r\nSubject: Re: Hi\r\nDate: Sun, 1 Feb 2026 23:30:00 -0800\r\nMessage-ID: <2@x>\r\nReferences: <0@x> <1@x>\r\n\r\n", "INBOX", a)
	deliver(t, db, "\r\nhello", "INBOX", a, b)
	all := keysOf(t, db, a, 1, 2)
	if len(all) != 2 || len(keysOf(t, db, a, 1, 1_000_000)) != 1 || len(keysOf(t, db, b, 1, 2)) != 1 {
		t.Fatalf("keys of %+v", all)
	}
	first, second := all[0], all[1]
	if first.Subject != "hi" || !first.Reply || first.From != "bob" || first.To != "a" || first.ID != hashID("<2@x>") ||
		first.Sent != time.Date(2026, 2, 2, 7, 30, 0, 0, time.UTC).Unix() || first.SentDay != time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC).Unix()/86400 {
		t.Errorf("first %+v", first)
	}
	var refs []int64
	for id := range first.EachRef {
		refs = append(refs, id)
	}
	if fmt.Sprint(refs) != fmt.Sprint([]int64{hashID("<0@x>"), hashID("<1@x>")}) {
		t.Errorf("refers to %v", refs)
	}
	if second.Sent != second.Received || second.SentDay != NoSentDay || second.ID != 0 || second.Subject != "" {
		t.Errorf("second %+v", second)
	}
	if err := db.writer.do(ctx, func(t *tx) error { // as it was before there were keys
		if err := t.exec(`DELETE FROM email_key`); err != nil {
			return err
		}
		return t.exec(`DELETE FROM server WHERE key = 'email_keys'`)
	}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = openAt(t, filepath.Clean(dir))
	defer db.Close()
	if again := keysOf(t, db, a, 1, 2); fmt.Sprint(again) != fmt.Sprint(all) {
		t.Errorf("after the upgrade %+v, not %+v", again, all)
	}
	if p := problems(t, db); len(p) > 0 {
		t.Error(p)
	}
}
