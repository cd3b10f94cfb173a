package admin

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mailbox/storage"
)

var quiet = slog.New(slog.DiscardHandler)

// fake are sessions that a test made up.
type fake struct {
	list   []Session
	killed string
}

func (f *fake) Sessions() []Session { return f.list }
func (f *fake) Kill(id string) bool {
	f.killed = id
	return id == "7"
}

func api(t testing.TB) *API {
	t.Helper()
	db, err := storage.Open(context.Background(), storage.Options{Dir: t.TempDir(), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := db.SetDomains([]string{"home.example"}, ""); err != nil {
		t.Fatal(err)
	}
	return &API{DB: db, Sessions: &fake{list: []Session{{ID: "7", Account: "alice@home.example"}, {ID: "8"}}}, Level: &slog.LevelVar{}, Log: quiet}
}

// TestSocket: the same client gets the same answers over the socket and in the
// process; a dead socket is replaced, a live one is not.
func TestSocket(t *testing.T) {
	a := api(t)
	path := filepath.Join(t.TempDir(), "sub", "admin.sock")
	if _, err := Dial(path); !errors.Is(err, ErrNoServer) {
		t.Errorf("no socket: %v", err)
	}
	dead, err := net.Listen("unix", filepath.Join(t.TempDir(), "dead.sock"))
	if err != nil {
		t.Fatal(err)
	}
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	dead.Close()
	if _, err := Dial(dead.Addr().String()); !errors.Is(err, ErrNoServer) {
		t.Errorf("dead socket: %v", err)
	}
	if l, err := Listen(dead.Addr().String(), quiet); err != nil {
		t.Errorf("in place of a dead socket: %v", err)
	} else {
		l.Close()
	}
	l, err := Listen(path, quiet)
	if err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o660 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	srv := NewServer(a.Handler(), quiet)
	go srv.Serve(l)
	defer srv.Close()
	if _, err := Listen(path, quiet); err == nil || !strings.Contains(err.Error(), "another server answers") {
		t.Errorf("a second server: %v", err)
	}
	over, err := Dial(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	var u User
	if err := over.Call(ctx, "user/add", NewUser{Address: "Alice@home.example", Password: "wonderland 7"}, &u); err != nil || u.Address != "alice@home.example" {
		t.Errorf("%+v %v", u, err)
	}
	var list []User
	if err := InProcess(a.Handler()).Call(ctx, "user/list", None{}, &list); err != nil || len(list) != 1 {
		t.Errorf("%+v %v", list, err)
	}
	if err := over.Call(ctx, "user/show", UserRef{"nobody@home.example"}, &u); err == nil || !strings.Contains(err.Error(), "nobody@home.example: not found") {
		t.Errorf("unknown user: %v", err)
	}
	if err := over.Call(ctx, "user/remove", UserRef{"alice@home.example"}, &None{}); err != nil || a.Sessions.(*fake).killed != "7" {
		t.Errorf("remove: %v, session %q was ended", err, a.Sessions.(*fake).killed)
	}
}

// TestBadRequests: what is no request of ours gets a clear refusal.
func TestBadRequests(t *testing.T) {
	h := api(t).Handler()
	c := &http.Client{Transport: handlerTransport{h}}
	for _, r := range []struct {
		method, path, body string
		code               int
	}{
		{"GET", "/user/list", "", http.StatusMethodNotAllowed},
		{"POST", "/user/dance", "{}", http.StatusNotFound},
		{"POST", "/user/list", "", http.StatusBadRequest},
		{"POST", "/user/add", `{"address":"a@home.example","colour":"blue"}`, http.StatusBadRequest},
		{"POST", "/user/add", `{"address":"` + strings.Repeat("a", 2<<20) + `"}`, http.StatusBadRequest},
		{"POST", "/user/add", `{"address":"a@elsewhere.example","password":"wonderland 7"}`, http.StatusBadRequest},
		{"POST", "/user/add", `{"address":"a@home.example","password":""}`, http.StatusBadRequest},
		{"POST", "/session/kill", `{"id":"9"}`, http.StatusNotFound},
		{"POST", "/cert/list", `{}`, http.StatusServiceUnavailable},
		{"POST", "/cert/renew", `{"new_key":true}`, http.StatusServiceUnavailable},
		{"POST", "/log-level", `{"level":"loud"}`, http.StatusBadRequest},
	} {
		req, err := http.NewRequest(r.method, "http://mailbox"+r.path, strings.NewReader(r.body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		if res.StatusCode != r.code {
			t.Errorf("%s %s %.60s: %d %s", r.method, r.path, r.body, res.StatusCode, body)
		}
	}
}

// TestWhoMayCome is the rule of the socket.
func TestWhoMayCome(t *testing.T) {
	for _, c := range []struct {
		p  peer
		ok bool
	}{
		{peer{uid: 0, gid: 0}, true},
		{peer{uid: 100, gid: 5}, true},
		{peer{uid: 7, gid: 200}, true},
		{peer{uid: 7, gid: 7, groups: []int{1, 200}}, true},
		{peer{uid: 7, gid: 7, groups: []int{1, 100}}, false},
		{peer{uid: -1, gid: -1}, false},
	} {
		if mayCome(c.p, 100, 200) != c.ok {
			t.Errorf("%+v: %v", c.p, !c.ok)
		}
	}
	if got := groupsOf(os.Getpid()); len(got) == 0 {
		if own, _ := os.Getgroups(); len(own) > 0 {
			t.Errorf("own groups %v were not found", own)
		}
	}
}
