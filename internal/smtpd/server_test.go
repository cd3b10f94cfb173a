package smtpd

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// nobody is a Session that takes everything and keeps nothing.
type nobody struct{}

func (nobody) Mail(context.Context, Mail) error { return nil }
func (nobody) Rcpt(context.Context, Rcpt) error { return nil }
func (nobody) Data(_ context.Context, _ Envelope, r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return err
}

func serve(t *testing.T, cfg Config) (*Server, string) {
	t.Helper()
	s := &Server{NewSession: func(*Conn) Session { return nobody{} }, Log: slog.New(slog.DiscardHandler)}
	s.Configure(cfg)
	return s, listenOn(t, s)
}

func listenOn(t *testing.T, s *Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		s.Shutdown(ctx)
	})
	return l.Addr().String()
}

func testConfig() Config {
	return Config{Hostname: "mx.home.example", MaxSize: 1 << 20, MaxRecipients: 100, MaxCommands: 100, MaxErrors: 10, Idle: 200 * time.Millisecond}
}

// conversation sends text and returns all that the server says until it closes.
func conversation(t *testing.T, addr, text string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(c, text)
	all, err := io.ReadAll(c)
	if err != nil {
		t.Fatalf("%v after %q", err, all)
	}
	return string(all)
}

// TestSilence: who says nothing for too long is told so, before, between and
// inside messages; nothing that follows is read as commands.
func TestSilence(t *testing.T) {
	_, addr := serve(t, testConfig())
	const begin = "EHLO client.example\r\nMAIL FROM:<a@client.example>\r\nRCPT TO:<b@home.example>\r\n"
	for said, want := range map[string]string{
		"":                             "421 4.4.2 ",
		begin:                          "421 4.4.2 ",
		begin + "DATA\r\nX: 1\r\nhalf": "421 4.4.2 ",
		begin + "BDAT 100\r\nhalf":     "421 4.4.2 ",
		"NOO":                          "421 4.4.2 ",
	} {
		lines := strings.Split(strings.TrimSpace(conversation(t, addr, said)), "\r\n")
		if last := lines[len(lines)-1]; !strings.HasPrefix(last, want) {
			t.Errorf("silent after %q: %q", said, lines)
		}
	}
}

// A counting listener counts what its connections write.
type counting struct {
	net.Listener
	writes atomic.Int64
}

func (l *counting) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return countingConn{c, l}, err
}

type countingConn struct {
	net.Conn
	l *counting
}

func (c countingConn) Write(p []byte) (int, error) {
	c.l.writes.Add(1)
	return c.Conn.Write(p)
}

// TestPipelined: the replies to commands that came together go out together
// (RFC 2920 section 3.2).
func TestPipelined(t *testing.T) {
	s := &Server{NewSession: func(*Conn) Session { return nobody{} }, Log: slog.New(slog.DiscardHandler)}
	s.Configure(testConfig())
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &counting{Listener: inner}
	go s.Serve(l)
	t.Cleanup(func() { s.Shutdown(context.Background()) })
	c, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	r := bufio.NewReader(c)
	for n, group := range []struct{ said, last string }{
		{"", "220 "},
		{"EHLO x\r\nMAIL FROM:<a@client.example>\r\nRCPT TO:<b@home.example>\r\nRCPT TO:<c@home.example>\r\nDATA\r\n", "354 "},
		{"X: 1\r\n\r\n.\r\nNOOP\r\nHELP\r\nQUIT\r\n", "221 "},
	} {
		io.WriteString(c, group.said)
		for line := ""; !strings.HasPrefix(line, group.last); {
			if line, err = r.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		if got := l.writes.Load(); got != int64(n+1) {
			t.Errorf("after %q: %d writes, not %d", group.said, got, n+1)
		}
	}
}

// TestReconfigure: connections to come get the new configuration, those that
// are open keep theirs.
func TestReconfigure(t *testing.T) {
	cfg := testConfig()
	cfg.Idle = time.Minute
	s, addr := serve(t, cfg)
	old, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	b := make([]byte, 1000)
	n, _ := old.Read(b)
	if !strings.HasPrefix(string(b[:n]), "220 mx.home.example") {
		t.Fatalf("%q", b[:n])
	}
	cfg.Hostname, cfg.MaxSize = "new.home.example", 77_777
	s.Configure(cfg)
	if got := conversation(t, addr, "EHLO x\r\nQUIT\r\n"); !strings.HasPrefix(got, "220 new.home.example") || !strings.Contains(got, "SIZE 77777") {
		t.Errorf("a new connection: %q", got)
	}
	io.WriteString(old, "EHLO x\r\nQUIT\r\n")
	rest, _ := io.ReadAll(old)
	if !strings.Contains(string(rest), "250-mx.home.example") || !strings.Contains(string(rest), "SIZE 1048576") {
		t.Errorf("an old connection: %q", rest)
	}
}

// TestPace: a message may be slow, but not for ever.
func TestPace(t *testing.T) {
	now := time.Now()
	r := rate{since: now}
	for i := range 20 {
		now = now.Add(time.Minute)
		if err := r.add(70<<10, now); err != nil {
			t.Fatalf("at 1.2 KiB a second, after %d minutes: %v", i+1, err)
		}
	}
	var err error
	for range 6 {
		now = now.Add(time.Minute)
		if err = r.add(10<<10, now); err != nil {
			break
		}
	}
	if err != errSlow {
		t.Errorf("at 170 octets a second: %v", err)
	}
	var idle rate
	if err := idle.add(1, now); err != nil {
		t.Errorf("outside of a message: %v", err)
	}
}
