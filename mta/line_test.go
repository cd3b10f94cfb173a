package mta

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// newSession returns a session over a connection, before the greeting.
func newSession(nc net.Conn) *session25 {
	r := &Remote{Hostname: "mx.home.example", Log: slog.New(slog.DiscardHandler)}
	cfg := DefaultConfig()
	r.Configure(cfg)
	return &session25{
		r: r, line: &line{Conn: nc, timeout: cfg.Timeout},
		hop: hop{host: "host.example", addr: netip.MustParseAddrPort("192.0.2.1:25")},
	}
}

// converse sends a message over a connection.
func converse(nc net.Conn, m *Outbound) []Result {
	c := newSession(nc)
	results := make([]Result, len(m.To))
	if fail := c.greet(context.Background(), security{then: true}); fail != nil {
		c.abort()
		fillAll(results, fail)
		return results
	}
	defer c.Close()
	results, _ = c.Send(context.Background(), m)
	return results
}

// A slowConn reads little at a time, after a pause.
type slowConn struct {
	net.Conn
	pause time.Duration
}

func (c *slowConn) Read(p []byte) (int, error) {
	time.Sleep(c.pause)
	return c.Conn.Read(p[:min(len(p), 4096)])
}

// TestPatience: a host may take its time as RFC 5321 section 4.5.3.2 has it,
// for every answer anew, and no longer; a message may go slowly, but not so
// slowly that it never ends.
func TestPatience(t *testing.T) {
	for name, c := range map[string]struct {
		waits map[string]time.Duration // before the answer
		pause time.Duration            // before 4 KiB of the message are read
		want  string
	}{
		"slow": {map[string]time.Duration{
			"greeting": 4 * time.Minute, "EHLO": 4 * time.Minute, "MAIL": 4 * time.Minute, "RCPT": 4 * time.Minute, "DATA": time.Minute, ".": 9 * time.Minute,
		}, time.Second, "ok"},
		"late greeting": {map[string]time.Duration{"greeting": 6 * time.Minute}, 0, "greeting 4.4.2"},
		"late EHLO":     {map[string]time.Duration{"EHLO": 6 * time.Minute}, 0, "ehlo 4.4.2"},
		"late MAIL":     {map[string]time.Duration{"MAIL": 6 * time.Minute}, 0, "mail 4.4.2"},
		"late RCPT":     {map[string]time.Duration{"RCPT": 6 * time.Minute}, 0, "rcpt 4.4.2"},
		"late DATA":     {map[string]time.Duration{"DATA": 3 * time.Minute}, 0, "data 4.4.2"},
		"late end":      {map[string]time.Duration{".": 11 * time.Minute}, 0, "data 4.4.2"},
		"stops reading": {nil, 4 * time.Minute, "data 4.4.2"},
		"too slow":      {nil, 10 * time.Second, "data 4.4.2"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				slow := &slowConn{Conn: theirs}
				h := &remoteHost{done: make(chan struct{})}
				h.answers(func(stage, line string) string {
					time.Sleep(c.waits[stage])
					slow.pause = 0
					if stage == "DATA" {
						slow.pause = c.pause
					}
					return ""
				})
				var host sync.WaitGroup
				defer host.Wait()
				host.Go(func() {
					defer theirs.Close()
					(&hostConn{h: h, Conn: slow}).serve()
				})
				res := converse(ours, newMail(strings.Repeat("0123456789\r\n", 1<<18), "bob@there.example"))
				wantOutcome(t, res[0], c.want)
				if took := len(h.received()); took > 0 && res[0].Failure != nil && c.waits["."] == 0 {
					t.Errorf("%d messages arrived", took)
				}
			})
		})
	}
}

// TestTrickle: octets that come one by one do not buy more time.
func TestTrickle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		var host sync.WaitGroup
		defer host.Wait()
		host.Go(func() {
			defer theirs.Close()
			for range 1000 {
				if _, err := io.WriteString(theirs, "2"); err != nil {
					return
				}
				time.Sleep(time.Minute)
			}
		})
		wantOutcome(t, converse(ours, newMail(shortMail, "bob@there.example"))[0], "greeting 4.4.2")
	})
}

// An oracle answers each of our turns with octets that it had ready.
type oracle struct {
	net.Conn
	answers [][]byte
	turn    int // of answers
	reading bool
	unread  []byte
	said    bytes.Buffer // by us
	after   int          // the answer to the message's end; 0 is none
}

func (o *oracle) Read(p []byte) (int, error) {
	if !o.reading {
		o.reading = true
		if bytes.HasSuffix(o.said.Bytes(), []byte("\r\n.\r\n")) && o.after == 0 {
			o.after = o.turn
		}
		if o.turn < len(o.answers) {
			o.unread = append(o.unread, o.answers[o.turn]...)
		}
		o.turn++
	}
	if len(o.unread) == 0 {
		return 0, io.EOF
	}
	n := copy(p, o.unread)
	o.unread = o.unread[n:]
	return n, nil
}

func (o *oracle) Write(p []byte) (int, error) {
	o.reading = false
	return o.said.Write(p)
}

func (*oracle) Close() error                     { return nil }
func (*oracle) SetDeadline(time.Time) error      { return nil }
func (*oracle) SetWriteDeadline(time.Time) error { return nil }

// FuzzHost: whatever a host says, nothing breaks, only what we mean to say is
// said, and only a 2xx in answer to the end of the message is success.
func FuzzHost(f *testing.F) {
	for _, s := range []string{
		"220 hi\r\n|250-x\r\n250 8BITMIME\r\n|250 ok\r\n|250 ok\r\n|354 go\r\n|250 taken\r\n|221 bye\r\n",
		"220 hi\r\n|250-x\r\n250-size 1000\r\n250 DSN\r\n|250 ok\r\n|550 no\r\n|250 ok\r\n|221 bye\r\n",
		"220 hi\r\n|500 x\r\n|250 x\r\n|250\r\n|251 \r\n|354 \r\n|250\r\n",
		"220 hi\r\n250 x\r\n250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n",
		"220-a\r\n220 b\r\n|250 x\r\n|250 ok\r\n|250 ok\r\n354 go\r\n|250 ok\r\n|250 ok\r\n",
		"220 hi\n|250 x\n|250 5.-1.9999999999 ok\n|421 4.3.2\n|354 go\n|554 5.7.1\x00 no\n",
		"220 hi\r\n|250 STARTTLS\r\n|220 go\r\n|\x16\x03\x03\x00\x02",
		"220 hi\r\n|250-x\r\n250 STARTTLS\r\n|220 go\r\n|\x16\x03\x03\x00\x02\x02\x00",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		o := &oracle{answers: bytes.Split(script, []byte("|"))}
		for i, a := range o.answers {
			o.answers[i] = a[:min(len(a), 4096)] // so that all of it is seen at once
		}
		m := newMail("Subject: x\r\n\r\n.dot\r\n", "bob@there.example")
		res := converse(o, m)[0]
		if res.Failure != nil {
			if f := res.Failure; f.Stage == "" || f.Reply == "" || !statusLike(f.Status) || strings.ContainsAny(f.Reply, "\r\n\x00\x1b") {
				t.Errorf("failure is %+v", f)
			}
			return
		}
		if o.after == 0 || o.after >= len(o.answers) || !bytes.HasPrefix(o.answers[o.after], []byte("2")) {
			t.Errorf("success, though the message was answered by %d of %q", o.after, o.answers)
		}
		if !bytes.Contains(o.said.Bytes(), []byte("\r\nDATA\r\nSubject: x\r\n\r\n..dot\r\n.\r\n")) {
			t.Errorf("success, but we said %q", o.said.String())
		}
	})
}

// statusLike tells whether s is a status of a failure (RFC 3463 section 2).
func statusLike(s string) bool {
	words := strings.Split(s, ".")
	if len(words) != 3 || words[0] != "4" && words[0] != "5" {
		return false
	}
	for _, w := range words[1:] {
		if len(w) < 1 || len(w) > 3 || strings.Trim(w, "0123456789") != "" {
			return false
		}
	}
	return true
}

// TestOneLine: what a host says stays one line, and says nothing to a terminal.
func TestOneLine(t *testing.T) {
	for in, want := range map[string]string{
		"a\nb\tc":                     "a b c",
		"a\r\nb":                      "a? b",
		"\x1b[31m\u009b\x00\u202e":    "?[31m???",
		"gr\u00fc\u00dfe \xff":        "gr\u00fc\u00dfe \ufffd",
		strings.Repeat("\u00fc", 501): strings.Repeat("\u00fc", 500) + " \u2026",
	} {
		if got := oneLine(in); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}
