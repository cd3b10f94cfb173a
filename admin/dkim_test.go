package admin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"mailbox/storage"
)

// refreshed counts how often the signers were told.
type refreshed struct {
	times int
	err   error
}

func (r *refreshed) Refresh(context.Context) error {
	r.times++
	return r.err
}

// keysOf says which keys a domain has: "mb202611r rsa signs".
func keysOf(t *testing.T, c *Client, domain string) (all []DKIMKey, text string) {
	t.Helper()
	if err := c.Call(context.Background(), "dkim/list", DKIMDomain{domain}, &all); err != nil {
		t.Fatal(err)
	}
	for _, k := range all {
		text += fmt.Sprintf("%s %s %s; ", k.Selector, k.Algorithm, k.State)
	}
	return all, text
}

// TestDKIMKeys leads keys of a domain through their life.
func TestDKIMKeys(t *testing.T) {
	a := api(t)
	told := &refreshed{}
	a.Signers = told
	c := InProcess(a.Handler())
	ctx := context.Background()
	call := func(command string, in any, out any) {
		t.Helper()
		before := told.times
		if err := c.Call(ctx, "dkim/"+command, in, out); err != nil {
			t.Fatalf("%s: %v", command, err)
		}
		if command != "remove" && told.times == before {
			t.Errorf("%s: the signers were not told", command)
		}
	}
	is := func(want string) {
		t.Helper()
		if _, got := keysOf(t, c, "home.example"); got != want {
			t.Errorf("keys:\n%s\nwant:\n%s", got, want)
		}
	}
	var made []DKIMKey
	call("add", NewDKIMKeys{Domain: "Home.Example", Selector: "First"}, &made)
	is("firstr rsa signs; firste ed25519 signs; ")
	if len(made) != 2 || made[0].Name != "firstr._domainkey.home.example" || !strings.HasPrefix(made[0].Value, "v=DKIM1; k=rsa; p=") ||
		strings.ReplaceAll(made[0].Zone, `" "`, "") != `"`+made[0].Value+`"` || !strings.Contains(made[0].Zone, `" "`) || made[0].Signs.IsZero() || made[0].Created.IsZero() {
		t.Errorf("made %+v", made)
	}
	month := time.Now().UTC().Format("mb200601")
	call("rotate", DKIMDomain{"home.example"}, &made)
	is("firstr rsa signs; firste ed25519 signs; " + month + "r rsa waits; " + month + "e ed25519 waits; ")
	if len(made) != 2 || made[0].State != "waits" {
		t.Errorf("a rotation made %+v", made)
	}
	stored, err := a.DB.DKIMKeys(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.DB.StartDKIMKey(ctx, stored[2].ID); err != nil {
		t.Fatal(err)
	}
	is("firstr rsa retired; firste ed25519 signs; " + month + "r rsa signs; " + month + "e ed25519 waits; ")
	if all, _ := keysOf(t, c, ""); !all[0].Needed.Equal(all[0].Retired.Add(7 * 24 * time.Hour)) {
		t.Errorf("the record of %+v is needed until another time", all[0])
	}
	var one DKIMKey
	call("retire", DKIMKeyRef{"home.example", strings.ToUpper(month) + "E"}, &one)
	if one.State != "retired" || !one.Needed.IsZero() {
		t.Errorf("the record of a key that never signed is needed: %+v", one)
	}
	call("remove", DKIMKeyRef{"home.example", "firstr"}, &one)
	call("add", NewDKIMKeys{Domain: "home.example", Algorithms: []string{"ed25519"}}, &made)
	is("firste ed25519 signs; " + month + "r rsa signs; " + month + "e ed25519 retired; " + month + "e2 ed25519 waits; ")
	call("add", NewDKIMKeys{Domain: "home.example", Selector: "mine", Algorithms: []string{"rsa"}}, &made)
	if len(made) != 1 || made[0].Selector != "mine" || made[0].State != "waits" {
		t.Errorf("made %+v", made)
	}
	for _, k := range stored {
		all, _ := keysOf(t, c, "")
		if text := fmt.Sprintf("%+v", all); strings.Contains(text, "PRIVATE") || strings.Contains(text, string(k.Private)) {
			t.Error("a private key is shown")
		}
	}
}

// TestDKIMRefuses: what cannot be done is told in words, and changes nothing.
func TestDKIMRefuses(t *testing.T) {
	a := api(t)
	c := InProcess(a.Handler())
	ctx := context.Background()
	refuses := func(command string, in any, want string) {
		t.Helper()
		_, before := keysOf(t, c, "")
		if err := c.Call(ctx, "dkim/"+command, in, &struct{}{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s %+v: %v, want %q", command, in, err, want)
		}
		if _, after := keysOf(t, c, ""); after != before {
			t.Errorf("%s %+v made of %q %q", command, in, before, after)
		}
	}
	refuses("rotate", DKIMDomain{"home.example"}, "no key that signs")
	if err := c.Call(ctx, "dkim/add", NewDKIMKeys{Domain: "home.example", Selector: "s", Algorithms: []string{"ed25519"}}, &[]DKIMKey{}); err != nil {
		t.Fatal(err)
	}
	if err := c.Call(ctx, "dkim/add", NewDKIMKeys{Domain: "home.example", Selector: "se", Algorithms: []string{"ed25519"}}, &[]DKIMKey{}); err != nil {
		t.Fatal(err)
	}
	refuses("add", NewDKIMKeys{Domain: "far.example"}, "not among the domains")
	refuses("add", NewDKIMKeys{Domain: "sub.home.example"}, "not among the domains")
	refuses("add", NewDKIMKeys{Domain: ""}, "no domain")
	refuses("add", NewDKIMKeys{Domain: "home.example", Algorithms: []string{"rsa", "dsa"}}, `"dsa" is neither rsa nor ed25519`)
	refuses("add", NewDKIMKeys{Domain: "home.example", Selector: "S"}, "already exists") // the second one is, so the first one is not made
	for _, selector := range []string{"a b", "-a", "a.", ".a", "ä", "a\n", "a;b", strings.Repeat("x", 64), strings.Repeat("x.", 120) + "x"} {
		refuses("add", NewDKIMKeys{Domain: "home.example", Selector: selector, Algorithms: []string{"rsa"}}, "is not letters")
	}
	refuses("rotate", DKIMDomain{"home.example"}, "waits for its DNS record already")
	refuses("rotate", DKIMDomain{"far.example"}, "not among the domains")
	refuses("list", DKIMDomain{"far example"}, "no domain")
	refuses("remove", DKIMKeyRef{"home.example", "s"}, "retire it first")
	refuses("remove", DKIMKeyRef{"home.example", "none"}, "not found")
	refuses("retire", DKIMKeyRef{"", "s"}, "not found")
	a.Signers = &refreshed{err: errors.New("disk on fire")}
	if err := c.Call(ctx, "dkim/retire", DKIMKeyRef{"home.example", "s"}, &DKIMKey{}); err == nil || !strings.Contains(err.Error(), "not yet in use: disk on fire") {
		t.Errorf("retire with signers in trouble: %v", err)
	}
	refuses("retire", DKIMKeyRef{"home.example", "s"}, "retired before")
	if err := a.DB.AddDKIMKey(ctx, storage.DKIMKey{Domain: "old.example", Selector: "s", Algorithm: "rsa", Private: []byte("scribble")}); err != nil {
		t.Fatal(err)
	}
	if err := c.Call(ctx, "dkim/list", DKIMDomain{"old.example"}, &[]DKIMKey{}); err == nil || !strings.Contains(err.Error(), "DKIM key s of old.example: private key") {
		t.Errorf("list of a key that is none: %v", err)
	}
}

// TestMakeMissingKeys: a domain gets keys once, and not again after all of
// them were retired.
func TestMakeMissingKeys(t *testing.T) {
	a := api(t)
	c := InProcess(a.Handler())
	ctx := context.Background()
	for i, want := range []int{2, 0, 0} {
		made, err := a.MakeMissingKeys(ctx, "home.example")
		if err != nil || len(made) != want {
			t.Errorf("made %+v, %v; want %d", made, err, want)
		}
		if i == 1 {
			for _, k := range mustKeys(t, c) {
				if err := c.Call(ctx, "dkim/retire", DKIMKeyRef{k.Domain, k.Selector}, &DKIMKey{}); err != nil {
					t.Error(err)
				}
			}
		}
	}
	if _, err := a.MakeMissingKeys(ctx, "far.example"); err == nil {
		t.Error("keys were made for a domain that is not ours")
	}
}

func mustKeys(t *testing.T, c *Client) []DKIMKey {
	t.Helper()
	all, _ := keysOf(t, c, "")
	return all
}
