package storage

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestPull: what was pulled is remembered with the message, and comes once.
// What changes at the source changes here, and nothing else does.
func TestPull(t *testing.T) {
	db := open(t)
	a := account(t, db, "alice")
	inbox := named(t, db, a, "INBOX")
	o := Origin{"alice@old.example:993", "INBOX", 7}
	pull := func(text string, uid uint32, flags ...string) Pull {
		m := spool(t, db, text)
		f, k, _ := ParseFlags(flags)
		return Pull{Pulled{UID: uid, Mailbox: "In", Size: m.Size, SHA256: m.SHA256[:], Flags: flags}, Upload{Message: m, Received: time.Unix(1e9, 0), Flags: f, Keywords: k}}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(db.Pull(ctx, a, inbox.ID, o, []Pull{pull("one", 1, `\Seen`), pull("two", 2, "blue"), pull("three", 3)}))
	must(db.Pull(ctx, a, inbox.ID, o, []Pull{pull("three", 3), pull("four", 4)}))
	known := func(o Origin) (all []Pulled) {
		must(db.Pulled(ctx, a, o, func(p Pulled) error {
			all = append(all, p)
			return nil
		}))
		return all
	}
	all := known(o)
	if len(all) != 4 || all[1].Flags[0] != "blue" || all[3].UID != 4 || all[3].Mailbox != "In" || all[0].Size != 3 {
		t.Fatalf("remembered: %+v", all)
	}
	// The mailbox is numbered anew there: what is here is only remembered.
	anew := Origin{o.Source, o.Mailbox, 8}
	must(db.Pull(ctx, a, inbox.ID, anew, []Pull{{Pulled: Pulled{UID: 9, Email: all[0].Email, Size: 3, SHA256: all[0].SHA256}}}))
	if got := known(anew); len(got) != 1 || got[0].Email != all[0].Email {
		t.Errorf("numbered anew: %+v", got)
	}

	_, err := db.StoreFlags(ctx, a, inbox.ID, []UID{1}, FlagChange{Op: AddFlags, Flags: Flagged, Keywords: []string{"mine"}})
	must(err)
	must(db.ChangePulled(ctx, a, o, []PullChange{
		{UID: 1, Flags: []string{`\Answered`, "red"}}, {UID: 2, Gone: true}, {UID: 3, Gone: true, Remove: true}, {UID: 99, Gone: true},
	}))
	x, err := db.Index(ctx, a, inbox.ID)
	must(err)
	var now []string
	x.All(func(_ int, e Entry) bool {
		now = append(now, strings.Join(append(e.Flags.Names(), x.Keywords(e.Keywords)...), " "))
		return true
	})
	if want := []string{`\Answered \Flagged mine red`, "blue", ""}; !slices.Equal(now, want) {
		t.Errorf("flags are %q, want %q", now, want)
	}
	if got := known(o); len(got) != 2 || got[0].UID != 1 || !slices.Equal(got[0].Flags, []string{`\Answered`, "red"}) || got[1].UID != 4 {
		t.Errorf("remembered after the changes: %+v", got)
	}
	b := account(t, db, "bob")
	if err := db.Pull(ctx, b, inbox.ID, o, nil); !errors.Is(err, ErrNonexistent) {
		t.Errorf("into a mailbox of another: %v", err)
	}
	must(db.RemoveAccount(ctx, a))
	if got := known(o); len(got) != 0 {
		t.Errorf("remembered without the account: %+v", got)
	}
}
