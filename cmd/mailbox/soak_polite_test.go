package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	netsmtp "net/smtp"
	"regexp"
	"strings"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

const (
	soakPause = 400 * time.Millisecond // of a client, on average
	soakKept  = 20                     // messages that a client leaves in a mailbox
	soakReuse = 10                     // messages that are sent over one connection
)

// polite is a client that behaves. Its methods work until ctx ends; they never
// leave anything half done.
type polite struct {
	*throng
	user   int
	random *rand.Rand
}

// pause waits a little. It returns false when it is time to end.
func (p *polite) pause(ctx context.Context) bool {
	select {
	case <-time.After(time.Duration(p.random.Int64N(int64(2 * soakPause)))):
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

func (p *polite) address(n int) string { return p.throng.user(n) + "@" + p.s.domain }

// text is a message; some are so large that the store has a file for them.
func (p *polite) text(id string) string {
	words := 5
	if p.random.IntN(20) == 0 {
		words = 20_000
	}
	return fmt.Sprintf("X-Id: %s\r\nFrom: %s\r\nSubject: soak\r\n\r\n%s\r\n%s", id, p.address(p.user), word(id), strings.Repeat("all work and no play\r\n", words))
}

// word is a word that only one message has.
func word(id string) string { return strings.ReplaceAll(id, ".", "z") + "z" }

// deliver sends to the user as a stranger.
func (p *polite) deliver(ctx context.Context) error {
	for p.pause(ctx) {
		began := time.Now()
		c, err := netsmtp.Dial(p.s.smtp)
		if err != nil {
			return err
		}
		for range soakReuse {
			id := p.begin(p.user, "INBOX")
			if err := sendOne(c, p.text(id), p.address(p.user)); err != nil {
				return fmt.Errorf("deliver: %w", err)
			}
			p.acknowledged(id)
			p.waited("deliver", began)
			if !p.pause(ctx) {
				break
			}
			began = time.Now()
		}
		c.Quit() //nolint:errcheck // what matters was answered
	}
	return nil
}

// submit sends to another user.
func (p *polite) submit(ctx context.Context) error {
	to := (p.user + 1) % soakUsers
	for p.pause(ctx) {
		began := time.Now()
		c, err := smtp.DialTLS(p.s.submissions, p.s.clientTLS())
		if err != nil {
			return err
		}
		if err := c.Auth(sasl.NewPlainClient("", p.address(p.user), testPassword)); err != nil {
			return fmt.Errorf("login for submission: %w", err)
		}
		p.waited("login", began)
		for range soakReuse {
			began = time.Now()
			id := p.begin(to, "INBOX")
			if err := c.SendMail(p.address(p.user), []string{p.address(to)}, strings.NewReader(p.text(id))); err != nil {
				return fmt.Errorf("submit: %w", err)
			}
			p.acknowledged(id)
			p.waited("submit", began)
			if !p.pause(ctx) {
				break
			}
		}
		c.Quit() //nolint:errcheck // what matters was answered
	}
	return nil
}

// login returns a client that has selected a mailbox.
func (p *polite) login(mailbox string) (*reader, error) {
	nc, err := p.s.dial("imaps")
	if err != nil {
		return nil, err
	}
	r := &reader{polite: p, imapClient: &imapClient{t: p.s.t, nc: nc, r: bufio.NewReader(nc)}}
	if _, err := r.tryResponse(); err != nil {
		return nil, err
	}
	if _, err := r.run("", fmt.Sprintf("LOGIN %s %q", p.address(p.user), testPassword)); err != nil {
		return nil, err
	}
	if _, err := r.run("", "SELECT "+mailbox); err != nil {
		return nil, err
	}
	return r, r.news(time.Time{})
}

// read is told of what comes, fetches it, and expunges what is old.
func (p *polite) read(ctx context.Context) error {
	r, err := p.login("INBOX")
	if err != nil {
		return err
	}
	defer r.nc.Close()
	for ctx.Err() == nil {
		at, err := r.idle(ctx)
		if err != nil {
			return fmt.Errorf("idle: %w", err)
		}
		if err := r.news(at); err != nil {
			return err
		}
		if err := r.expunge(); err != nil {
			return err
		}
	}
	_, err = r.run("", "LOGOUT")
	return err
}

// keep puts messages into a mailbox, finds them, and changes their flags.
func (p *polite) keep(ctx context.Context) error {
	r, err := p.login("Archive")
	if err != nil {
		return err
	}
	defer r.nc.Close()
	for p.pause(ctx) {
		id := p.begin(p.user, "Archive")
		text := p.text(id)
		if _, err := r.run("append", fmt.Sprintf("APPEND Archive {%d+}\r\n%s", len(text), text)); err != nil {
			return err
		}
		p.acknowledged(id)
		if err := r.news(time.Time{}); err != nil {
			return err
		}
		uid := r.kept[len(r.kept)-1].uid
		if _, err := r.run("store", fmt.Sprintf(`UID STORE %s +FLAGS (\Flagged soaked)`, uid)); err != nil {
			return err
		}
		found, err := r.run("search", "UID SEARCH TEXT "+word(id))
		if err != nil {
			return err
		}
		if strings.TrimSpace(found) != "* SEARCH "+uid {
			return fmt.Errorf("search for %s, which is %s: %q", word(id), uid, found)
		}
		got, err := r.run("fetch", fmt.Sprintf("UID FETCH %s (FLAGS BODY.PEEK[])", uid))
		if err != nil {
			return err
		}
		if !strings.Contains(got, text) || !strings.Contains(got, `\Flagged`) || !strings.Contains(got, "soaked") {
			return fmt.Errorf("fetch of %s: %q", id, short(got))
		}
		if err := r.expunge(); err != nil {
			return err
		}
	}
	_, err = r.run("", "LOGOUT")
	return err
}

// A reader is a client's IMAP session, with what it knows of the mailbox.
type reader struct {
	*polite
	*imapClient
	kept []keptMessage // in the order of UIDs
}

type keptMessage struct{ uid, id string }

// run executes a command that must succeed, and notes how long it took.
func (r *reader) run(what, command string) (untagged string, err error) {
	began := time.Now()
	untagged, tagged, err := r.try(command)
	if err == nil && !strings.HasPrefix(tagged, "OK") {
		err = fmt.Errorf("%q", tagged)
	}
	if err != nil {
		return "", fmt.Errorf("%.60q: %w", command, err)
	}
	if what != "" {
		r.waited(what, began)
	}
	return untagged, nil
}

var soaked = regexp.MustCompile(`UID (\d+) BODY\[HEADER\.FIELDS \(X-Id\)\] \{\d+\}\r\nX-Id: (\S+)\r\n`)

// news fetches what is new. at is when an idle client was told of it.
func (r *reader) news(at time.Time) error {
	from, known := "1", ""
	if len(r.kept) > 0 {
		known = r.kept[len(r.kept)-1].uid
		from = known
	}
	got, err := r.run("", "UID FETCH "+from+":* BODY.PEEK[HEADER.FIELDS (X-Id)]")
	if err != nil {
		return err
	}
	for _, m := range soaked.FindAllStringSubmatch(got, -1) {
		if m[1] == known {
			continue
		}
		r.kept = append(r.kept, keptMessage{m[1], m[2]})
		if !at.IsZero() {
			r.told(m[2], at)
		}
	}
	return nil
}

// idle waits for a message, or for the end, and returns when it heard of one.
func (r *reader) idle(ctx context.Context) (at time.Time, err error) {
	if _, err := io.WriteString(r.nc, "i IDLE\r\n"); err != nil {
		return at, err
	}
	done := func() { io.WriteString(r.nc, "DONE\r\n") } //nolint:errcheck // the reads below tell
	stop := func() bool { return false }                // until the continuation, which comes first
	for {
		line, err := r.tryResponse()
		switch {
		case err != nil:
			return at, err
		case strings.HasPrefix(line, "+"):
			stop = context.AfterFunc(ctx, done)
		case strings.HasSuffix(line, " EXISTS\r\n") && at.IsZero():
			at = time.Now()
			if stop() {
				done()
			}
		case strings.HasPrefix(line, "i OK"):
			return at, nil
		case strings.HasPrefix(line, "i "), strings.HasPrefix(line, "* BYE"):
			return at, fmt.Errorf("%q", line)
		}
	}
}

// expunge takes the oldest messages away when there are many.
func (r *reader) expunge() error {
	if len(r.kept) <= 2*soakKept {
		return nil
	}
	old := r.kept[:len(r.kept)-soakKept]
	set := old[0].uid + ":" + old[len(old)-1].uid
	if _, err := r.run("", "UID STORE "+set+` +FLAGS.SILENT (\Deleted)`); err != nil {
		return err
	}
	if _, err := r.run("expunge", "UID EXPUNGE "+set); err != nil {
		return err
	}
	for _, m := range old {
		r.gone(m.id)
	}
	r.kept = append([]keptMessage(nil), r.kept[len(old):]...)
	return nil
}
