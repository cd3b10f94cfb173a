package storage

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestVanished: whoever knew a mailbox at some modseq learns exactly what went
// since, and nothing of other mailboxes and accounts.
func TestVanished(t *testing.T) {
	db := open(t)
	a, b := account(t, db, "alice"), account(t, db, "bob")
	for i := range 6 {
		deliver(t, db, letter(i), "INBOX", a, b)
	}
	inbox, archive := named(t, db, a, "INBOX").ID, named(t, db, a, "Archive").ID
	others := named(t, db, b, "INBOX").ID
	at := func() ModSeq { return named(t, db, a, "INBOX").Changed }
	expunge := func(a AccountID, m MailboxID, uids ...UID) {
		t.Helper()
		if _, err := db.StoreFlags(ctx, a, m, uids, FlagChange{Op: AddFlags, Flags: Deleted}); err != nil {
			t.Fatal(err)
		}
		if err := db.Expunge(ctx, a, m, uids); err != nil {
			t.Fatal(err)
		}
	}
	start := at()
	expunge(b, others, 1, 2)
	expunge(a, inbox, 5)
	first := at()
	if _, err := db.Move(ctx, a, inbox, []UID{2, 3}, archive); err != nil {
		t.Fatal(err)
	}
	expunge(a, archive, 1)
	last := at()
	for _, c := range []struct {
		account     AccountID
		after, upTo ModSeq
		want        []UID
	}{
		{a, 0, last, []UID{2, 3, 5}},
		{a, start, last, []UID{2, 3, 5}},
		{a, start, first, []UID{5}},
		{a, first, last, []UID{2, 3}},
		{a, last, last + 100, nil},
		{b, 0, last, nil},
	} {
		got, err := db.Vanished(ctx, c.account, inbox, c.after, c.upTo)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v %v", c, got, err)
		}
	}
	var plan []string
	rows, err := db.readDB.QueryContext(ctx, `EXPLAIN QUERY PLAN `+vanishedQuery, inbox, 0, last, a)
	plan, err = collect(rows, err, func(scan func(...any) error) (s string, err error) {
		var skip int
		return s, scan(&skip, &skip, &skip, &s)
	})
	if err != nil || !strings.Contains(fmt.Sprint(plan), "expunged_mailbox (mailbox=? AND modseq>? AND modseq<?)") {
		t.Errorf("the index is not used: %q %v", plan, err)
	}
}
