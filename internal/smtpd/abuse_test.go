package smtpd

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// keeper is a Session that remembers the messages it got.
type keeper struct {
	nobody
	mu    sync.Mutex
	began []string // whose messages were begun
	kept  []string // those that came to their end, with their text
}

func (k *keeper) Data(_ context.Context, e Envelope, r io.Reader) error {
	k.mu.Lock()
	k.began = append(k.began, e.From)
	k.mu.Unlock()
	text, err := io.ReadAll(r)
	if err == nil {
		k.mu.Lock()
		k.kept = append(k.kept, e.From+" "+string(text))
		k.mu.Unlock()
	}
	return err
}

// TestChunksThatWereGivenUp: what is given up before its first octet came is
// never taken for a part of the next transaction.
func TestChunksThatWereGivenUp(t *testing.T) {
	for range 200 {
		k := &keeper{}
		s := &Server{NewSession: func(*Conn) Session { return k }, Log: slog.New(slog.DiscardHandler)}
		s.Configure(testConfig())
		all := conversation(t, listenOn(t, s), "EHLO x\r\nMAIL FROM:<first@x.example>\r\nRCPT TO:<a@b.example>\r\nBDAT 0\r\nRSET\r\n"+
			"MAIL FROM:<second@x.example>\r\nRCPT TO:<a@b.example>\r\nBDAT 2 LAST\r\nokQUIT\r\n")
		if fmt.Sprint(k.kept) != "[second@x.example ok]" {
			t.Fatalf("kept %q:\n%s", k.kept, all)
		}
		if n := strings.Count(fmt.Sprint(k.began), "second"); n != 1 {
			t.Fatalf("the second message was begun %d times", n)
		}
	}
}

// TestChunksWithoutEnd: who gives up one message after the other is let go.
func TestChunksWithoutEnd(t *testing.T) {
	_, addr := serve(t, testConfig())
	begun := "MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nBDAT 1\r\nx"
	for how, end := range map[string]string{"RSET": "RSET\r\n", "EHLO": "EHLO x\r\n", "too large": "BDAT 1500000\r\n" + strings.Repeat("x", 1500000)} {
		all := conversation(t, addr, "EHLO x\r\n"+strings.Repeat(begun+end, maxGivenUp)+"QUIT\r\n")
		if !strings.Contains(all, "\r\n221 ") {
			t.Errorf("%s, %d times: %s", how, maxGivenUp, all)
		}
		all = conversation(t, addr, "EHLO x\r\n"+strings.Repeat(begun+end, maxGivenUp+1)+"QUIT\r\n")
		if !strings.HasSuffix(all, "421 4.7.0 too many messages were not ended\r\n") {
			t.Errorf("%s, once more: %s", how, all)
		}
	}
}

// TestNothingAfterTheEnd: who was told that the connection ends is not listened
// to any more.
func TestNothingAfterTheEnd(t *testing.T) {
	s, addr := serve(t, testConfig())
	const open = "EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n"
	for end, last := range map[string]string{"QUIT\r\n": "221 2.0.0 Bye\r\n", strings.Repeat("x\r\n", 20): "500 5.5.1 Too many errors. Quiting now\r\n"} {
		for _, more := range []string{"NOOP\r\n", "MAIL FROM:<>\r\n", "DATA\r\nx\r\n.\r\n", "BDAT 1 LAST\r\nx", "QUIT\r\n", "x\r\n"} {
			if all := conversation(t, addr, open+end+strings.Repeat(more, 5)); !strings.HasSuffix(all, last) || strings.Count(all, last) != 1 {
				t.Errorf("%q behind %q: %s", more, end, all)
			}
		}
	}
	if s.Stats().Panics > 0 {
		t.Error("panic")
	}
}

// trickle sends a beginning at once, and then something every so often, until
// the server hangs up. It tells how long that took, and what the server said.
func trickle(t *testing.T, beginning, something string, pause time.Duration) (took time.Duration, said string) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{NewSession: func(*Conn) Session { return nobody{} }, Log: slog.New(slog.DiscardHandler)}
		cfg := testConfig()
		cfg.Idle = 5 * time.Minute
		s.Configure(cfg)
		l := &handoff{ready: make(chan net.Conn), closed: make(chan struct{})}
		go s.Serve(l)
		near, far := net.Pipe()
		l.ready <- far
		began := time.Now()
		var writer sync.WaitGroup
		defer writer.Wait()
		writer.Go(func() {
			defer near.Close()
			io.WriteString(near, beginning)
			for time.Since(began) < 24*time.Hour {
				time.Sleep(pause)
				if _, err := io.WriteString(near, something); err != nil {
					return
				}
			}
		})
		all, _ := io.ReadAll(near)
		took, said = time.Since(began), string(all)
		s.Shutdown(context.Background())
	})
	return took, said
}

// TestSlowWriter: who sends a little now and then is not silent, and still does
// not hold a connection for long: not in a command, nor in a message, nor in
// chunks of an octet each.
func TestSlowWriter(t *testing.T) {
	const message = "EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n"
	for name, c := range map[string]struct{ beginning, something, want string }{
		"a command":          {"", "x", "421 4.4.2 "},
		"a line too long":    {strings.Repeat("x", 3000), "x", "421 4.4.2 "},
		"a message":          {message + "DATA\r\n", "x", "451 4.4.2 "},
		"a chunk":            {message + "BDAT 100000\r\n", "x", "451 4.4.2 "},
		"chunks of an octet": {message, "BDAT 1\r\nx", "451 4.4.2 "},
	} {
		took, said := trickle(t, c.beginning, c.something, time.Minute)
		lines := strings.Split(strings.TrimSpace(said), "\r\n")
		if last := lines[len(lines)-1]; took > 15*time.Minute || !strings.HasPrefix(last, c.want) {
			t.Errorf("%s: after %v the server says %q", name, took, last)
		}
	}
}
