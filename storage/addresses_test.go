package storage

import (
	"errors"
	"fmt"
	"testing"
)

func TestResolve(t *testing.T) {
	db := open(t)
	alice, bob := account(t, db, "alice"), account(t, db, "bob")
	alias := func(address string, targets ...string) {
		t.Helper()
		if err := db.AddAlias(ctx, Alias{Address: address, Targets: targets}); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.AddAddress(ctx, bob, "robert@bücher.example"); err != nil {
		t.Fatal(err)
	}
	alias("staff@home.example", "alice@home.example", "bob@home.example")
	alias("all@home.example", "staff@home.example", "alice+all@home.example")
	alias("loop1@home.example", "loop2@home.example", "bob@home.example")
	alias("loop2@home.example", "loop1@home.example")
	alias("only-loop@home.example", "only-loop2@home.example")
	alias("only-loop2@home.example", "only-loop@home.example")
	alias("tagged+x@home.example", "bob@home.example")
	for i := range 12 {
		to := fmt.Sprintf("nest%d@home.example", i+1)
		if i == 11 {
			to = "alice@home.example"
		}
		alias(fmt.Sprintf("nest%d@home.example", i), to)
	}
	for address, want := range map[string]string{
		"alice@home.example":               "[alice ]",
		"ALICE@Home.Example":               "[alice ]",
		`"alice"@home.example`:             "[alice ]",
		"alice+lists@home.example":         "[alice lists]",
		"alice+a+b@home.example":           "[alice a+b]",
		"robert@xn--bcher-kva.example":     "[bob ]",
		"Robert@BÜCHER.example":            "[bob ]",
		"staff@home.example":               "[alice ] [bob ]",
		"all@home.example":                 "[alice all] [bob ]",
		"loop1@home.example":               "[bob ]",
		"only-loop@home.example":           "not found",
		"tagged+x@home.example":            "[bob ]",
		"nobody@home.example":              "not found",
		"postmaster@home.example":          "[alice ]",
		"abuse@bücher.example":             "[alice ]",
		"alice@bücher.example":             "not found",
		"x@elsewhere.example":              "foreign",
		"alice@home.example@elsewhere.ex":  "foreign",
		"x%elsewhere.example@home.example": "not found",
		"":                                 "not found",
		"nest3@home.example":               "[alice ]",
	} {
		if got := resolved(db, address, alice, bob); got != want {
			t.Errorf("%s leads to %s, not %s", address, got, want)
		}
	}
	if _, err := db.Resolve(ctx, "nest0@home.example"); !errors.Is(err, ErrLimit) {
		t.Errorf("eleven aliases deep: %v", err)
	}
	alias("@home.example", "bob@home.example")
	if got := resolved(db, "nobody@home.example", alice, bob); got != "[bob ]" {
		t.Errorf("catch-all: %s", got)
	}
	if got := resolved(db, "alice+x@home.example", alice, bob); got != "[alice x]" {
		t.Errorf("a user beside a catch-all: %s", got)
	}
	if err := db.SetDomains([]string{"home.example"}, "bob@home.example"); err != nil {
		t.Fatal(err)
	}
	if got := resolved(db, "postmaster@home.example", alice, bob); got != "[bob ]" {
		t.Errorf("postmaster of the configuration: %s", got)
	}
}

func resolved(db *DB, address string, alice, bob AccountID) string {
	r, err := db.Resolve(ctx, address)
	switch {
	case errors.Is(err, ErrForeign):
		return "foreign"
	case errors.Is(err, ErrNotFound):
		return "not found"
	case err != nil:
		return err.Error()
	}
	s := ""
	for i, to := range r.Local {
		if i > 0 {
			s += " "
		}
		s += fmt.Sprintf("[%s %s]", map[AccountID]string{alice: "alice", bob: "bob"}[to.Account], to.Tag)
	}
	return s
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"a@b.c", `"x y"@b.c`, "@b.c", "a@@b.c", "Ä@BÜ.example", "a+b@c.d", "\x00@b.c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		once, err := ParseAddress(s)
		if err != nil {
			return
		}
		if twice, err := ParseAddress(once); err != nil || twice != once {
			t.Fatalf("%q became %q, then %q: %v", s, once, twice, err)
		}
	})
}

func FuzzCleanName(f *testing.F) {
	for _, s := range []string{"INBOX", "inbox/x", "a//b", "é", "e\u0301", "a/b/c", "*", "\x7f"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		once, err := CleanName(s)
		if err != nil {
			return
		}
		if twice, err := CleanName(once); err != nil || twice != once {
			t.Fatalf("%q became %q, then %q: %v", s, once, twice, err)
		}
	})
}
