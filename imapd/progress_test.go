package imapd

import (
	"bufio"
	"errors"
	"net"
	"strings"
	"testing"
	"time"
)

// TestSearchProgress: a SEARCH that reads messages says how far it is.
func TestSearchProgress(t *testing.T) {
	f := newFixture(t, func(s *Server) { s.progress = 1 })
	c := f.login()
	for range 3 {
		c.upload("INBOX", "", hello)
	}
	c.ok("SELECT INBOX")
	got := c.ok("SEARCH TEXT we") // two letters are read, whatever the index has
	wantAll(t, got, `("t`+found(t, `\("t(\d+)" 3 3\)`, got)+`" 3 3)] `, "* SEARCH 1 2 3\n")
	wantAll(t, c.ok("SEARCH RETURN (MAX) TEXT we"), `" 1 3)] `, `" 3 3)] `, " MAX 3\n") // from the last on
	if at := strings.Index(got, "* SEARCH"); at < strings.LastIndex(got, "INPROGRESS") {
		t.Errorf("progress after the result: %s", got)
	}
}

// TestPatiently: while the store works the client hears of it; a panic there
// ends the connection as any other does.
func TestPatiently(t *testing.T) {
	f := newFixture(t, func(s *Server) { s.progress = time.Millisecond })
	f.login() // the server has begun
	here, there := net.Pipe()
	defer here.Close()
	c := newConn(f.server, there)
	c.tag = "a]1"
	heard := make(chan string, 1)
	go func() {
		r := bufio.NewReader(here)
		l, _ := r.ReadString('\n')
		heard <- l
		for {
			if _, err := r.ReadString('\n'); err != nil {
				return
			}
		}
	}()
	want := errors.New("done")
	var line string
	err := c.patiently(func() error {
		line = <-heard
		return want
	})
	if err != want || line != "* OK [INPROGRESS (\"a]1\" NIL NIL)] still at work\r\n" {
		t.Errorf("%v, %q", err, line)
	}
	defer func() {
		if recover() == nil {
			t.Error("the panic is lost")
		}
	}()
	c.patiently(func() error { panic("in the store") })
}
