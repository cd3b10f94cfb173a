package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"mailbox/admin"
	"mailbox/admin/pull"
)

// An imapImport are the flags of an import over IMAP.
type imapImport struct {
	*options
	user     string
	aside    string
	dryRun   bool
	follow   bool
	labels   string
	token    bool
	password passwordSource
	puller   pull.Puller
}

func newImportIMAPCommand(o *options) *cobra.Command {
	m := &imapImport{options: o}
	c := newCommand("imap SOURCE", "Bring mail in from another IMAP server", cobra.ExactArgs(1), func(c *cobra.Command, args []string) error {
		if err := m.source(args[0]); err != nil {
			return &usageError{err}
		}
		return m.run(c)
	})
	c.Long = `Bring mail in from another IMAP server, which is only read, never changed. SOURCE
is imaps://USER@HOST for TLS, imap://USER@HOST for STARTTLS; a port may follow,
and an @ in USER may stay as it is. The password is asked for.

With --follow it goes on: what comes to the old server, and what is done to the
mail there, is done here as well, until this command is interrupted. Then it
looks once more and reports, mailbox by mailbox, whether both have the same.`
	c.Example = `  mailbox import imap imaps://alice@example.org@imap.old.example --user alice@example.org
  mailbox import imap imaps://alice@gmail.com@imap.gmail.com --user alice@example.org --labels keywords --follow`
	c.Flags().StringVar(&m.user, "user", "", "whose mail it becomes: an `address`")
	c.MarkFlagRequired("user") //nolint:errcheck // there is such a flag
	c.Flags().BoolVar(&m.dryRun, "dry-run", false, "only say what would come")
	c.Flags().BoolVar(&m.follow, "follow", false, "go on until interrupted")
	c.Flags().BoolVar(&m.puller.Remove, "remove", false, "what was pulled and is gone at the source is removed here too")
	c.Flags().StringVar(&m.labels, "labels", "folders", "what becomes of Gmail's labels: folders or keywords")
	c.Flags().IntVar(&m.puller.Connections, "connections", 3, "how many connections are used at a time")
	c.Flags().DurationVar(&m.puller.Poll, "poll", time.Minute, "with --follow, how often all mailboxes are looked at")
	c.Flags().BoolVar(&m.token, "token", false, "what is asked for is an OAuth 2.0 access token")
	c.MarkFlagsMutuallyExclusive("dry-run", "follow")
	asideFlag(c, &m.aside)
	m.password.flag(c)
	return c
}

// source understands SOURCE.
func (m *imapImport) source(text string) error {
	u, err := url.Parse(text)
	scheme, rest, ok := strings.Cut(text, "://")
	at := strings.LastIndexByte(rest, '@')
	if !ok || at <= 0 || at == len(rest)-1 || err != nil && !strings.Contains(rest[:at], "@") {
		return errors.New("SOURCE is imaps://USER@HOST or imap://USER@HOST")
	}
	if u != nil && u.User != nil {
		if _, secret := u.User.Password(); secret {
			return errors.New("no password in SOURCE, where others could see it: it is asked for")
		}
	}
	m.puller.User, m.puller.Address = rest[:at], strings.TrimSuffix(rest[at+1:], "/")
	if user, err := url.PathUnescape(m.puller.User); err == nil {
		m.puller.User = user
	}
	switch scheme {
	case "imaps":
		m.puller.Security = pull.ImplicitTLS
	case "imap":
		m.puller.Security = pull.StartTLS
	case "imap+plain": // refused unless the source is on this machine
		m.puller.Security = pull.Plaintext
	default:
		return fmt.Errorf("SOURCE begins with imaps:// or imap://, not %s://", scheme)
	}
	keywords, err := parseLabels(m.labels)
	if keywords {
		m.puller.Labels = pull.LabelsAsKeywords
	}
	return err
}

func (m *imapImport) run(c *cobra.Command) error {
	secret, err := m.password.readOnce(c, m.puller.User+" at "+m.puller.Address)
	if err != nil {
		return err
	}
	m.puller.Password = secret
	if m.token {
		m.puller.Password, m.puller.Token = "", secret
	}
	m.puller.Aside = m.aside
	m.puller.Log = slog.New(slog.NewTextHandler(c.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	return m.withClient(c, func(client *admin.Client) error {
		sign := newProgressSign(c)
		m.puller.Progress = func(p pull.Progress) {
			sign.update(admin.Progress{
				Mailbox: p.Mailbox, Messages: int64(p.Messages), Bytes: p.Bytes,
				AllMessages: int64(p.TotalMessages), AllBytes: p.TotalBytes,
			})
		}
		report, err := m.pull(c, client)
		sign.close()
		if report == nil {
			return err
		}
		return errors.Join(m.print(c, report, func(w io.Writer) { m.report(w, report) }), err, m.unequal(report, err))
	})
}

// pull pulls into the account of the user, for as long as is asked for.
func (m *imapImport) pull(c *cobra.Command, client *admin.Client) (report *pull.Report, err error) {
	if m.puller.Destination, err = admin.NewPullDestination(c.Context(), client, m.user); err != nil {
		return nil, err
	}
	switch {
	case m.dryRun:
		return m.puller.Preview(c.Context())
	case m.follow:
		return m.followUntilStopped(c)
	}
	return m.puller.Pull(c.Context())
}

// followUntilStopped follows until the command is interrupted. A second
// interruption ends it at once.
func (m *imapImport) followUntilStopped(c *cobra.Command) (*pull.Report, error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(c.Context()))
	defer cancel()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	stop, done := make(chan struct{}), make(chan struct{})
	defer close(done)
	go func() {
		for first := true; ; first = false {
			select {
			case <-done:
				return
			case <-signals:
			}
			if !first {
				cancel()
				return
			}
			fmt.Fprintln(c.ErrOrStderr(), "A last look; interrupt again to end at once.")
			close(stop)
		}
	}()
	return m.puller.Follow(ctx, stop)
}

// report prints what was done, and whether both sides are the same.
func (m *imapImport) report(w io.Writer, r *pull.Report) {
	added := "ADDED"
	if m.dryRun {
		added = "WOULD ADD"
	}
	fmt.Fprintf(w, "MAILBOX\t%s\tCHANGED\tGONE\tAT SOURCE\tHERE\tSHA-256\n", added)
	for _, b := range r.Mailboxes {
		name := b.Name
		if b.Source != b.Name {
			name += " (from " + b.Source + ")"
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%s\t%s\t%s\n", plain(name), b.Added, b.Changed, b.Gone, tally(b.AtSource), tally(b.Here), verdict(b, m.dryRun))
	}
	for _, b := range r.Mailboxes {
		if why := cmp.Or(b.Skipped, b.Error); why != "" {
			fmt.Fprintf(w, "%s: %s\n", plain(b.Source), plain(why))
		}
		for _, f := range b.Failures {
			fmt.Fprintf(w, "%s: UID %d, %s: %s", plain(b.Source), f.UID, formatSize(f.Size), plain(f.Reason))
			if f.Aside != "" {
				fmt.Fprintf(w, "; what there is of it: %s", f.Aside)
			}
			fmt.Fprintln(w)
		}
		for _, d := range b.Differences {
			fmt.Fprintf(w, "%s: UID %d: %s\n", plain(b.Source), d.UID, plain(d.What))
		}
	}
}

func tally(t pull.Tally) string { return fmt.Sprintf("%d, %s", t.Messages, formatSize(t.Bytes)) }

// verdict is the sum of all messages, where it is the same on both sides.
func verdict(b pull.MailboxReport, preview bool) string {
	switch {
	case b.Skipped != "":
		return "skipped"
	case preview:
		return ""
	case b.AtSource != b.Here:
		return "differs"
	}
	return b.Here.Sum.String()[:16]
}

// unequal makes an error of what is not here as it is there.
func (m *imapImport) unequal(r *pull.Report, err error) error {
	if m.dryRun || err != nil || r.Equal() {
		return nil
	}
	return errors.New("not everything is here as it is at the source; what differs is named above")
}
