package admin

import (
	"context"
	"testing"
)

// TestCommandPanics: a command that panics is answered, counted, and ends
// nothing else.
func TestCommandPanics(t *testing.T) {
	a := api(t)
	a.Sessions = (*fake)(nil) // to make it panic
	c := InProcess(a.Handler())
	if err := c.Call(context.Background(), "session/list", struct{}{}, &[]Session{}); err == nil {
		t.Error("a command that panicked was answered")
	}
	if n := a.Panics(); n != 1 {
		t.Errorf("%d panics were counted", n)
	}
	if err := c.Call(context.Background(), "user/add", NewUser{Address: "alice@home.example", Password: "wonderland 7"}, &User{}); err != nil {
		t.Error(err)
	}
}
