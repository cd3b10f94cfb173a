package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"mailbox/admin/archive"
	"mailbox/admin/maildir"
	"mailbox/admin/mbox"
)

// keptMail is a message as both sides have it.
type keptMail struct {
	Received string
	Flags    []string
	Content  string
}

// keptMails are mail for Dovecot to keep, by mailbox. Dovecot adds an empty line
// to an mbox's message that has no body.
var keptMails = map[string][]keptMail{
	"INBOX": {
		{"2020-01-02T03:04:05Z", []string{`\Seen`, `\Answered`, "$Forwarded"}, "Subject: one\r\n\r\ntext\r\n"},
		{"2019-01-02T03:04:05Z", []string{"Kind", `\Flagged`, `\Draft`, `\Deleted`}, "Subject: two\r\n\r\n>From a\r\n\xff\r\n"},
		{"2019-01-02T03:04:05Z", nil, "Subject: three\r\n\r\nx\r\n"},
	},
	"Entwürfe": {{"2021-01-02T03:04:05Z", []string{`\Draft`}, "Subject: four\r\n\r\n.\r\n\r\n\r\n"}},
	"R&D/a b":  {{"2022-01-02T03:04:05Z", nil, "Subject: five\r\n\r\nx\r\n"}},
}

func sortedFlags(flags []string) []string {
	var kept []string
	for _, f := range flags {
		if f != `\Recent` {
			kept = append(kept, f)
		}
	}
	slices.Sort(kept)
	return kept
}

// dovecot runs Dovecot's IMAP over what location names, below a directory.
func dovecot(t *testing.T, dir, location string) *imapclient.Client {
	t.Helper()
	const imapBinary = "/usr/lib/dovecot/imap"
	if _, err := os.Stat(imapBinary); err != nil {
		program(t, "dovecot") // skips, or fails
	}
	conf := filepath.Join(t.TempDir(), "dovecot.conf")
	settings := fmt.Sprintf("protocols = imap\nlog_path = /dev/stderr\nfirst_valid_uid = 1\nbase_dir = %[1]s/run\nstate_dir = %[1]s/state\nstats_writer_socket_path =\n", dir)
	if err := os.WriteFile(conf, []byte(settings), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(imapBinary, "-c", conf, "-o", "mail_location="+location)
	cmd.Env = []string{"HOME=" + dir, "USER=nobody"}
	if os.Getuid() == 0 { // which Dovecot refuses to serve
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		for d := filepath.Dir(conf); d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
			_ = os.Chmod(d, 0o755)
		}
		must(t, "", "chown", "-R", "65534:65534", dir)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := net.Pipe()
	cmd.Stdout = theirs
	var log strings.Builder
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = io.Copy(in, theirs)
		in.Close()
	}()
	client := imapclient.New(ours, nil)
	t.Cleanup(func() {
		client.Close()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("Dovecot: %s", log.String())
		}
	})
	if err := client.WaitGreeting(); err != nil {
		t.Fatalf("Dovecot: %v\n%s", err, log.String())
	}
	return client
}

// inDovecot fetches all messages of a mailbox.
func inDovecot(t *testing.T, c *imapclient.Client, mailbox string) (got []keptMail) {
	t.Helper()
	selected, err := c.Select(mailbox, nil).Wait()
	if err != nil {
		t.Fatalf("SELECT %s: %v", mailbox, err)
	}
	if selected.NumMessages == 0 {
		return nil
	}
	section := &imap.FetchItemBodySection{Peek: true}
	all, err := c.Fetch(imap.SeqSet{{Start: 1, Stop: selected.NumMessages}}, &imap.FetchOptions{Flags: true, InternalDate: true, BodySection: []*imap.FetchItemBodySection{section}}).Collect()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		var flags []string
		for _, f := range m.Flags {
			flags = append(flags, string(f))
		}
		got = append(got, keptMail{m.InternalDate.UTC().Format(time.RFC3339), sortedFlags(flags), string(m.FindBodySection(section))})
	}
	return got
}

// TestDovecotReadsExports: what we write, Dovecot shows equal.
func TestDovecotReadsExports(t *testing.T) {
	for name, c := range map[string]struct {
		create    func(dir string) (archive.Writer, error)
		location  string
		separator string
		suffix    string
	}{
		"Maildir": {func(dir string) (archive.Writer, error) { return maildir.Create(dir) }, "maildir:%s", ".", ""},
		"mboxcl2": {func(dir string) (archive.Writer, error) {
			w, err := mbox.Create(dir)
			if err == nil {
				w.Variant = mbox.CL2
			}
			return w, err
		}, "mbox:%s:UTF-8:INBOX=%[1]s/INBOX.mbox", "/", ".mbox"},
		"mboxrd": {func(dir string) (archive.Writer, error) { return mbox.Create(dir) }, "mbox:%s:UTF-8:INBOX=%[1]s/INBOX.mbox", "/", ".mbox"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			w, err := c.create(filepath.Join(dir, "mail"))
			if err != nil {
				t.Fatal(err)
			}
			for mailbox, list := range keptMails {
				if err := w.Mailbox(t.Context(), archive.Mailbox{Name: mailbox, Subscribed: true}); err != nil {
					t.Fatal(err)
				}
				for _, l := range list {
					at, _ := time.Parse(time.RFC3339, l.Received)
					if err := w.Message(t.Context(), &archive.Message{Received: at, Flags: l.Flags, Content: strings.NewReader(l.Content)}); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			client := dovecot(t, dir, fmt.Sprintf(c.location, filepath.Join(dir, "mail")))
			for mailbox, list := range keptMails {
				theirs := mailbox
				if mailbox != "INBOX" {
					theirs = strings.ReplaceAll(mailbox, "/", c.separator) + c.suffix
				}
				var want []keptMail
				for _, l := range list {
					if name == "mboxrd" { // Dovecot knows no quotes
						l.Content = strings.ReplaceAll(l.Content, "\r\n>From ", "\r\n>>From ")
					}
					want = append(want, keptMail{l.Received, sortedFlags(l.Flags), l.Content})
				}
				if got := inDovecot(t, client, theirs); !reflect.DeepEqual(got, want) {
					t.Errorf("%s:\nDovecot has %q\n  we wrote %q", mailbox, got, want)
				}
			}
		})
	}
}

// TestDovecotsMail: what Dovecot keeps, we read equal, with its subscriptions.
func TestDovecotsMail(t *testing.T) {
	readMaildir := func(dir string) (archive.Reader, error) { return maildir.Open(dir) }
	readMbox := func(dir string) (archive.Reader, error) { return mbox.Open(dir, mbox.Options{}) }
	for name, c := range map[string]struct {
		open      func(dir string) (archive.Reader, error)
		location  string
		separator string
	}{
		"Maildir++": {readMaildir, "maildir:%s", "."},
		"fs":        {readMaildir, "maildir:%s:LAYOUT=fs", "/"},
		"mbox":      {readMbox, "mbox:%s:INBOX=%[1]s/inbox", "/"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			mail := filepath.Join(dir, "mail")
			client := dovecot(t, dir, fmt.Sprintf(c.location, mail))
			for mailbox, list := range keptMails {
				theirs := strings.ReplaceAll(mailbox, "/", c.separator)
				if mailbox != "INBOX" {
					if err := client.Create(theirs, nil).Wait(); err != nil {
						t.Fatal(err)
					}
				}
				for _, l := range list {
					at, _ := time.Parse(time.RFC3339, l.Received)
					var flags []imap.Flag
					for _, f := range l.Flags {
						flags = append(flags, imap.Flag(f))
					}
					a := client.Append(theirs, int64(len(l.Content)), &imap.AppendOptions{Time: at, Flags: flags})
					_, _ = io.WriteString(a, l.Content)
					a.Close()
					if _, err := a.Wait(); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := client.Subscribe("R&D" + c.separator + "a b").Wait(); err != nil {
				t.Fatal(err)
			}
			if err := client.Logout().Wait(); err != nil {
				t.Fatal(err)
			}
			r, err := c.open(mail)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			boxes, err := r.Mailboxes(t.Context())
			if err != nil || len(boxes) != len(keptMails) {
				t.Fatalf("mailboxes: %v, %v", boxes, err)
			}
			for _, b := range boxes {
				var want []keptMail
				for _, l := range keptMails[b.Name] {
					want = append(want, keptMail{l.Received, sortedFlags(l.Flags), l.Content})
				}
				if got := inArchive(t, r, b.Name); !reflect.DeepEqual(got, want) {
					t.Errorf("%s:\n  we read %q\nit was %q", b.Name, got, want)
				}
				if b.Subscribed != (b.Name == "R&D/a b") {
					t.Errorf("subscribed: %+v", b)
				}
			}
		})
	}
}

// inArchive reads all messages of a mailbox.
func inArchive(t *testing.T, r archive.Reader, mailbox string) (got []keptMail) {
	t.Helper()
	err := r.Messages(context.Background(), mailbox, func(m *archive.Message) error {
		if m.Err != nil || m.Loss != nil {
			t.Errorf("%s: %v, %v", m.Place, m.Err, m.Loss)
			return nil
		}
		content, err := io.ReadAll(m.Content)
		got = append(got, keptMail{m.Received.UTC().Format(time.RFC3339), sortedFlags(m.Flags), string(content)})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}
