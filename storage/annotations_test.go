package storage

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// entries lists annotations in one line.
func entries(t testing.TB, db *DB, a AccountID, m MailboxID) string {
	t.Helper()
	list, err := db.Annotations(ctx, a, m)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, n := range list {
		fmt.Fprintf(&out, "%s=%s ", n.Entry, n.Value)
	}
	return out.String()
}

// TestAnnotations: they go with their mailbox, whatever its name, and belong to
// their account; a change that breaks a bound changes nothing.
func TestAnnotations(t *testing.T) {
	db := open(t)
	a, b := account(t, db, "ann"), account(t, db, "bob")
	if _, err := db.CreateMailbox(ctx, a, "one/below", ""); err != nil {
		t.Fatal(err)
	}
	one := named(t, db, a, "one").ID
	set := func(m MailboxID, list ...Annotation) error { return db.SetAnnotations(ctx, a, m, list) }
	for _, m := range []MailboxID{one, 0} {
		if err := set(m, Annotation{"/private/x", []byte("1")}, Annotation{"/private/y", []byte{}}, Annotation{"/private/x", []byte("2")}); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.RenameMailbox(ctx, a, "one", "two"); err != nil {
		t.Fatal(err)
	}
	if got := entries(t, db, a, named(t, db, a, "two").ID); got != "/private/x=2 /private/y= " {
		t.Errorf("after RENAME: %q", got)
	}
	if got := entries(t, db, b, one) + entries(t, db, b, 0); got != "" {
		t.Errorf("another account sees %q", got)
	}
	if err := db.SetAnnotations(ctx, b, one, []Annotation{{"/private/x", []byte("3")}}); !errors.Is(err, ErrNonexistent) {
		t.Errorf("another account sets: %v", err)
	}
	var many []Annotation
	for i := range maxAnnotations {
		many = append(many, Annotation{fmt.Sprintf("/private/n%d", i), []byte("v")})
	}
	if err := set(one, many...); !errors.Is(err, ErrLimit) {
		t.Errorf("too many: %v", err)
	}
	large := []byte(strings.Repeat("v", MaxAnnotation))
	if err := set(one, Annotation{"/private/x", nil}, Annotation{"/a", large}, Annotation{"/b", large}, Annotation{"/c", large}, Annotation{"/d", large}); !errors.Is(err, ErrLimit) {
		t.Errorf("too large together: %v", err)
	}
	if err := set(one, Annotation{"/private/x", append(large, 'v')}); !errors.Is(err, ErrInvalid) {
		t.Errorf("too large: %v", err)
	}
	if got := entries(t, db, a, one); got != "/private/x=2 /private/y= " {
		t.Errorf("after changes that failed: %q", got)
	}
	if err := set(one, Annotation{"/private/x", nil}, Annotation{"/private/none", nil}); err != nil || entries(t, db, a, one) != "/private/y= " {
		t.Errorf("removed: %v %q", err, entries(t, db, a, one))
	}
	if seen, err := db.Verify(ctx, func(Problem) {}); err != nil || seen.Annotations != 3 {
		t.Errorf("verify counts %d, %v", seen.Annotations, err)
	}
	if err := db.DeleteMailbox(ctx, a, "two"); err != nil { // its name stays
		t.Fatal(err)
	}
	if got := entries(t, db, a, one); got != "" {
		t.Errorf("after DELETE: %q", got)
	}
	if err := db.RemoveAccount(ctx, a); err != nil {
		t.Fatal(err)
	}
	if got := entries(t, db, a, 0); got != "" {
		t.Errorf("after the account: %q", got)
	}
}
