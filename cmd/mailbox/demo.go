package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"mailbox/internal/login"
	"mailbox/mta"
	"mailbox/storage"
)

const demoDomain = "demo.test"

func newDemoCommand() *cobra.Command {
	var data string
	c := &cobra.Command{
		Use:   "demo",
		Short: "Run everything on loopback with ready accounts",
		Long: `Run the whole server on loopback addresses, with the accounts alice and bob and
a message in each INBOX. It needs no configuration and no root. Nothing leaves
the machine: what is sent outside is caught in the account sandbox.

The mail is kept in a temporary directory and is gone at the end, unless --data
names a directory. Ctrl-C ends it.`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, args []string) error {
			return demo(c.Context(), data, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	c.Flags().StringVar(&data, "data", "", "keep the mail in this `directory`")
	return c
}

// demo runs the server until ctx is done.
func demo(ctx context.Context, data string, out, errOut io.Writer) error {
	if data == "" {
		dir, err := os.MkdirTemp("", "mailbox-demo-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		data = dir
	}
	data, err := filepath.Abs(data)
	if err != nil {
		return err
	}
	cfg, err := demoConfig(data)
	if err != nil {
		return err
	}
	log, level, err := newLogger(errOut, cfg.Log)
	if err != nil {
		return err
	}
	s, err := start(ctx, cfg, log, level, func(db *storage.DB) mta.Carrier { return sandbox{db} })
	if err != nil {
		return err
	}
	defer s.shutdown()
	var users []demoUser
	for _, name := range []string{"alice", "bob", "sandbox"} {
		u, err := s.demoUser(ctx, name+"@"+demoDomain)
		if err != nil {
			return fmt.Errorf("account %s: %w", name, err)
		}
		users = append(users, u)
	}
	printDemo(out, s, cfg, users)
	select {
	case <-ctx.Done():
		return nil
	case <-s.db.Failed():
		return s.db.Failure()
	}
}

// demoConfig puts every service on loopback, at its usual port plus 1000 where
// that is free.
func demoConfig(data string) (config, error) {
	cfg := defaultConfig()
	cfg.Hostname, cfg.Domains, cfg.Data = "mail."+demoDomain, []string{demoDomain}, data
	cfg.Admin.Socket = filepath.Join(data, "admin.sock")
	cfg.TLS.Mode = "self-signed"
	cfg.Log.Level = "warn"
	cfg.DNS.Servers = []string{"127.0.0.1:1"}                     // nobody answers there: questions do not leave this machine either
	cfg.IMAPD.PlaintextLogin, cfg.MSA.PlaintextLogin = true, true // they listen on loopback only
	for _, l := range []struct {
		at   *[]string
		port int
	}{
		{&cfg.MTA.Listen, 1025},
		{&cfg.MSA.Listen, 1587},
		{&cfg.MSA.ListenTLS, 1465},
		{&cfg.IMAPD.Listen, 1143},
		{&cfg.IMAPD.ListenTLS, 1993},
		{&cfg.Web.Listen, 1080},
		{&cfg.Web.ListenTLS, 1443},
	} {
		a, err := freeAddress(l.port)
		if err != nil {
			return cfg, err
		}
		*l.at = []string{a}
	}
	if len(cfg.Admin.Socket) > 107 {
		return cfg, fmt.Errorf("--data: %s is too long for the socket in it", data)
	}
	return cfg, cfg.validate()
}

// freeAddress is the port on loopback, or any where that is taken.
func freeAddress(port int) (string, error) {
	for _, p := range []int{port, 0} {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p))
		if err != nil && p != 0 && errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			return "", err
		}
		return l.Addr().String(), l.Close()
	}
	return "", errors.New("no free port on 127.0.0.1")
}

type demoUser struct{ address, password string }

// demoUser makes an account with a welcome message; one that is there from an
// earlier run gets a new password.
func (s *server) demoUser(ctx context.Context, address string) (demoUser, error) {
	u := demoUser{address, strings.ToLower(rand.Text()[:12])}
	acc, _, err := s.db.AccountByLogin(ctx, address)
	switch {
	case err == nil:
		stored, key := login.NewCredential(u.password, acc.Salt, acc.Iterations)
		return u, s.db.PutCredential(ctx, acc.ID, storage.Credential{StoredKey: stored, ServerKey: key})
	case !errors.Is(err, storage.ErrNotFound):
		return u, err
	}
	salt, iterations := storage.NewSalt()
	stored, key := login.NewCredential(u.password, salt, iterations)
	id, err := s.db.CreateAccount(ctx, storage.Account{Name: address, Salt: salt, Iterations: iterations}, storage.Credential{StoredKey: stored, ServerKey: key})
	if err != nil {
		return u, err
	}
	return u, s.welcome(ctx, id, address)
}

const welcomeText = "From: Mailbox <postmaster@" + demoDomain + `>
To: <%s>
Subject: Welcome to your own mail
Date: %s
Message-ID: <%s@` + demoDomain + `>
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8

This message came the way all mail comes: it was filed in one transaction,
and it was on the disk before anybody was told of it.

Send another to port 25 of this demo, and watch it arrive.
`

func (s *server) welcome(ctx context.Context, id storage.AccountID, address string) error {
	now := time.Now()
	text := fmt.Sprintf(welcomeText, address, now.Format(time.RFC1123Z), rand.Text())
	spool := s.db.NewSpool()
	if _, err := io.WriteString(spool, strings.ReplaceAll(text, "\n", "\r\n")); err != nil {
		spool.Discard()
		return err
	}
	m, err := spool.Finish(nil)
	if err != nil {
		return err
	}
	defer m.Close() //nolint:errcheck // its bytes are in the store
	return s.db.Deliver(ctx, &storage.Delivery{Message: m, Received: now, To: []storage.Target{{Account: id, Mailbox: "INBOX"}}})
}

// printDemo says where everything is, and what to try.
func printDemo(out io.Writer, s *server, cfg config, users []demoUser) {
	address := func(service string) string { return s.addresses(service)[0].String() }
	smtp, imap, imaps := address("mta"), address("imapd"), address("imapd/tls")
	submission, submissions := address("msa"), address("msa/tls")
	_, port, _ := net.SplitHostPort(imaps)
	alice, box := users[0], users[2]
	fmt.Fprintf(out, `Mailbox is running. Ctrl-C ends it.

  SMTP   %s   (STARTTLS)      mail comes in here
  SMTP   %s   (STARTTLS)      users send here, after login
  SMTPS  %s
  IMAP   %s   (STARTTLS)      mail is read here
  IMAPS  %s
  HTTPS  %s                  MTA-STS policy, /healthz

  CA     %s
  Data   %s

`, smtp, submission, submissions, imap, imaps, address("web/tls"), s.certs.CAFile(), cfg.Data)
	for _, u := range users {
		fmt.Fprintf(out, "  %-18s password %s\n", u.address, u.password)
	}
	fmt.Fprintf(out, `
Send a message:

  printf 'From: you@example.org\r\nSubject: Hello\r\n\r\nIt works.\r\n' |
    curl -sS smtp://%[1]s --mail-from you@example.org --mail-rcpt %[2]s -T -

Read the newest one:

  curl -sS -u %[2]s:%[3]s 'imap://%[4]s/INBOX;MAILINDEX=*'

The same over TLS:

  curl -sS -u %[2]s:%[3]s --cacert %[5]s \
    --resolve %[6]s:%[7]s:127.0.0.1 'imaps://%[6]s:%[7]s/INBOX;MAILINDEX=*'

Send one out as alice. It does not leave this machine: the sandbox has it.

  printf 'From: %[2]s\r\nSubject: Out\r\n\r\nFar away.\r\n' |
    curl -sS smtp://%[8]s -u %[2]s:%[3]s --mail-from %[2]s --mail-rcpt carol@example.org -T -

  curl -sS -u %[9]s:%[10]s 'imap://%[4]s/INBOX;MAILINDEX=*'

Watch mail arrive (send some from another terminal; Ctrl-C ends it):

  { printf 'a LOGIN %[2]s %[3]s\r\nb SELECT INBOX\r\nc IDLE\r\n'; cat; } | curl -N --no-progress-meter -T . telnet://%[4]s

`, smtp, alice.address, alice.password, imap, s.certs.CAFile(), cfg.Hostname, port, submission, box.address, box.password)
}
