package admin

import (
	"context"
	"strings"
	"testing"
)

// TestPolicies: a policy is kept in one form, and replaced by the next one for
// the same sender.
func TestPolicies(t *testing.T) {
	c := InProcess(api(t).Handler())
	ctx := context.Background()
	for _, p := range []Policy{
		{Sender: "Spam.Example", Action: "reject", Note: "sold our address"}, {Sender: "Aunt@Far.Example", Action: "junk"}, {Sender: "aunt@far.example", Action: "accept"},
	} {
		if err := c.Call(ctx, "policy/add", p, &None{}); err != nil {
			t.Fatal(err)
		}
	}
	list := func() (all string) {
		var policies []Policy
		if err := c.Call(ctx, "policy/list", None{}, &policies); err != nil {
			t.Fatal(err)
		}
		for _, p := range policies {
			if p.Created.IsZero() {
				t.Errorf("%s was never made", p.Sender)
			}
			all += p.Sender + " " + p.Action + " " + p.Note + "; "
		}
		return all
	}
	if got, want := list(), "aunt@far.example accept ; spam.example reject sold our address; "; got != want {
		t.Errorf("listed: %q, want %q", got, want)
	}
	for _, bad := range []struct {
		policy Policy
		want   string
	}{
		{Policy{Sender: "far.example", Action: "burn"}, "none of accept, junk, reject"},
		{Policy{Sender: "two words", Action: "junk"}, "is no domain"},
		{Policy{Sender: "a@b@", Action: "junk"}, "a@b@"},
		{Policy{Sender: "far.example", Action: "junk", Note: strings.Repeat("x", 501)}, "longer than 500"},
	} {
		if err := c.Call(ctx, "policy/add", bad.policy, &None{}); err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("%.100v: %v, want %q", bad.policy, err, bad.want)
		}
	}
	if err := c.Call(ctx, "policy/remove", PolicyRef{"SPAM.example"}, &None{}); err != nil {
		t.Error(err)
	}
	if err := c.Call(ctx, "policy/remove", PolicyRef{"spam.example"}, &None{}); err == nil || !strings.Contains(err.Error(), "not found") {
		t.Errorf("removed twice: %v", err)
	}
	if got, want := list(), "aunt@far.example accept ; "; got != want {
		t.Errorf("left: %q, want %q", got, want)
	}
}
