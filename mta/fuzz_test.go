package mta

import (
	"context"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"mailbox/internal/dialogue"
	"mailbox/internal/siege"
	"mailbox/storage"
)

// What one run of a fuzzer may cost, and all may leave behind.
const (
	runTime   = 20 * time.Second
	runOctets = 64 << 20  // allocated in a run, most of them free again at once
	leftHeap  = 164 << 20 // octets in use after many runs, more than after the first; the fuzzer itself holds 100 MiB at times
	leftTasks = 50        // goroutines more than at the begin
	checkAll  = 1000      // runs from one thorough look to the next
)

// A recorder remembers what was delivered.
type recorder struct {
	Deliverer
	texts []string
}

func (r *recorder) Deliver(ctx context.Context, m *Message) ([]string, error) {
	text, err := io.ReadAll(io.NewSectionReader(m, 0, m.Size))
	if err != nil {
		return nil, err
	}
	filed, err := r.Deliverer.Deliver(ctx, m)
	if err == nil {
		r.texts = append(r.texts, string(text))
	}
	return filed, err
}

// A fuzzing is a server that is sent what a fuzzer thinks of.
type fuzzing struct {
	*fixture
	delivered *recorder
	messages  int64 // in the mailbox
	runs      int
	tasks     int   // goroutines at the begin
	heap      int64 // in use after the first runs
}

func newFuzzing(f *testing.F) *fuzzing {
	z := &fuzzing{delivered: &recorder{}}
	z.fixture = newFixtureOf(f, func(s *Server) {
		z.delivered.Deliverer = s.Deliver
		s.Deliver = z.delivered
		s.TLS = newAuthority(f).config(f, "mx.home.example")
	}, func(c *Config) { c.MaxErrors, c.MaxSize = 200, 64<<10 })
	z.tasks = runtime.NumGoroutine()
	return z
}

// run speaks to the server. Whatever is said to it, it answers in whole
// replies, stores each message that it has acknowledged, as it was sent, once,
// and nothing else, and nothing is left of the connection.
func (z *fuzzing) run(t *testing.T, writes []string) {
	z.delivered.texts = nil
	before := siege.Allocated()
	said, err := dialogue.Converse(z.addr, writes, runTime)
	if err != nil {
		t.Fatal(err)
	}
	sent := strings.Join(writes, "")
	messages, err := dialogue.Transfers(sent, said, 2*64<<10)
	siege.Await(t, func() bool { return z.server.Stats().Open == 0 })
	z.messages += int64(len(z.delivered.texts))
	if err != nil {
		t.Fatalf("%v\n%q\n%s", err, sent, said)
	}
	if len(messages) != len(z.delivered.texts) {
		t.Fatalf("%d messages were acknowledged, %d delivered:\n%q\n%s", len(messages), len(z.delivered.texts), sent, said)
	}
	for i, text := range messages {
		if stored := z.delivered.texts[i]; !strings.HasSuffix(stored, withoutHead(text)) || !isForged(text) && !strings.HasSuffix(stored, text) {
			t.Fatalf("%q was stored as %q", text, stored)
		}
	}
	if n := siege.Allocated() - before; n > runOctets {
		t.Errorf("%d octets were allocated", n)
	}
	z.checkRemains(t)
}

// isForged tells whether fields of a message may be taken away.
func isForged(text string) bool {
	return strings.Contains(strings.ToLower(text), "authentication-results")
}

// withoutHead is what comes behind the first empty line.
func withoutHead(text string) string {
	_, body, _ := strings.Cut("\r\n"+text, "\r\n\r\n")
	return body
}

// checkRemains looks for what should have gone with the connection.
func (z *fuzzing) checkRemains(t *testing.T) {
	if n := z.server.Stats().Panics + z.db.Panics(); n > 0 {
		t.Fatal("panic")
	}
	box, err := z.db.Mailbox(context.Background(), z.alice, "INBOX")
	if err != nil || box.Messages != z.messages {
		t.Fatalf("%d messages are stored, not %d (%v)", box.Messages, z.messages, err)
	}
	queued, err := z.db.Queue(context.Background(), storage.QueueFilter{}, 1)
	if err != nil || len(queued) > 0 {
		t.Fatalf("port 25 relays: %+v, %v", queued, err)
	}
	if z.runs++; z.runs%checkAll != 0 {
		return
	}
	if _, err := z.db.Verify(context.Background(), func(p storage.Problem) { t.Error(p) }); err != nil {
		t.Error(err)
	}
	siege.Await(t, func() bool { return runtime.NumGoroutine() < z.tasks+leftTasks })
	now := siege.InUse()
	if z.heap == 0 {
		z.heap = now
	}
	if now > z.heap+leftHeap {
		t.Fatalf("%d octets in use after %d runs, %d at the begin", now, z.runs, z.heap)
	}
}

// FuzzMTA says arbitrary things to port 25.
func FuzzMTA(f *testing.F) {
	words := dialogue.SMTPWords()
	for _, s := range []string{
		"EHLO x\r\nMAIL FROM:<a@client.example>\r\nRCPT TO:<alice@home.example>\r\nDATA\r\nSubject: a\r\n\r\n..b\r\n.\r\nQUIT\r\n",
		"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<alice@home.example>\r\nBDAT 5\r\nX: 1\r\nBDAT 0\r\nRSET\r\nMAIL FROM:<>\r\nRCPT TO:<alice+tag@home.example>\r\nBDAT 3 LAST\r\na\nbNOOP\r\n",
		"HELO x\r\nMAIL FROM:<a@client.example> SIZE=5 BODY=8BITMIME\r\nRCPT TO:<Postmaster>\r\nDATA\r\nAuthentication-Results: mx.home.example; none\r\n\r\n\r\n.\r\nDATA\r\nQUIT\r\n",
	} {
		f.Add(words.Unscript(s))
	}
	words.AddDialogues(f, "../testdata/dialogues/m[ts]a_*.txt", func(string) string { return "AGFsaWNlQGhvbWUuZXhhbXBsZQB3b25kZXJsYW5kIDc=" }, func(in []byte) { f.Add(in) })
	z := newFuzzing(f)
	f.Fuzz(func(t *testing.T, in []byte) { z.run(t, words.SMTPWrites(in)) })
}
