package msa

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"mailbox/internal/dialogue"
	"mailbox/internal/siege"
)

// What one run of a fuzzer may cost.
const (
	runTime   = 20 * time.Second
	runOctets = 64 << 20 // allocated in a run, most of them free again at once
)

const asAlice = "AGFsaWNlQGhvbWUuZXhhbXBsZQB3b25kZXJsYW5kIDc=" // as AUTH PLAIN takes it

// A recorder remembers what was submitted.
type recorder struct {
	Submitter
	texts []string
}

func (r *recorder) Submit(ctx context.Context, m *Message) ([]string, error) {
	text, err := io.ReadAll(io.NewSectionReader(m, 0, m.Size))
	if err != nil {
		return nil, err
	}
	filed, err := r.Submitter.Submit(ctx, m)
	if err == nil {
		r.texts = append(r.texts, string(text))
	}
	return filed, err
}

// A fuzzing is a server that is sent what a fuzzer thinks of.
type fuzzing struct {
	*fixture
	submitted *recorder
}

func newFuzzing(f *testing.F) *fuzzing {
	z := &fuzzing{fixture: newFixture(f, func(c *Config) { c.MaxErrors, c.MaxSize, c.RecipientsPerDay = 200, 64<<10, 0 })}
	z.submitted = &recorder{Submitter: z.server.Submit}
	z.server.Submit = z.submitted
	return z
}

// run speaks to the server. Whatever is said to it, it answers in whole
// replies, and submits each message that it has acknowledged, with the body
// that was sent, once, and nothing else.
func (z *fuzzing) run(t *testing.T, writes []string) {
	z.submitted.texts = nil
	before := siege.Allocated()
	said, err := dialogue.Converse(z.clear, writes, runTime)
	if err != nil {
		t.Fatal(err)
	}
	siege.Await(t, func() bool { return z.server.Stats().Open == 0 })
	sent := strings.Join(writes, "")
	messages, err := dialogue.Transfers(sent, said, 2*64<<10)
	if err != nil {
		t.Fatalf("%v\n%q\n%s", err, sent, said)
	}
	if len(messages) != len(z.submitted.texts) {
		t.Fatalf("%d messages were acknowledged, %d submitted:\n%q\n%s", len(messages), len(z.submitted.texts), sent, said)
	}
	for i, text := range messages {
		_, body, _ := strings.Cut("\r\n"+text, "\r\n\r\n")
		if stored := z.submitted.texts[i]; !strings.HasSuffix(stored, body) {
			t.Fatalf("%q was submitted as %q", text, stored)
		}
	}
	if n := siege.Allocated() - before; n > runOctets {
		t.Errorf("%d octets were allocated", n)
	}
	if z.server.Stats().Panics+z.db.Panics() > 0 {
		t.Fatal("panic")
	}
}

// FuzzSubmission says arbitrary things to port 587, before and after a login.
func FuzzSubmission(f *testing.F) {
	words := dialogue.SMTPWords()
	add := func(in []byte) {
		f.Add(false, in)
		f.Add(true, in)
	}
	add(words.Unscript("MAIL FROM:<alice@home.example>\r\nRCPT TO:<bob@home.example>\r\nRCPT TO:<x@elsewhere.example>\r\nBDAT 27 LAST\r\nFrom: alice@home.example\r\n\r\nx"))
	words.AddDialogues(f, "../testdata/dialogues/msa_*.txt", func(name string) string {
		if name == "PASSWORD" {
			return password
		}
		return asAlice
	}, add)
	z := newFuzzing(f)
	f.Fuzz(func(t *testing.T, loggedIn bool, in []byte) {
		writes := words.SMTPWrites(in)
		if loggedIn {
			writes = append([]string{"EHLO x\r\nAUTH PLAIN " + asAlice + "\r\n"}, writes...)
		}
		z.run(t, writes)
	})
}
