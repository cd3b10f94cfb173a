package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"

	"mailbox/admin"
	"mailbox/internal/loadtest"
)

func newBenchCommand(o *options) *cobra.Command {
	var dir string
	var messages int
	c := newCommand("bench", "Measure what the server can do on this machine", cobra.NoArgs, func(c *cobra.Command, args []string) error {
		if messages < loadtest.MinMessages {
			return &usageError{fmt.Errorf("--messages: %d is below %d", messages, loadtest.MinMessages)}
		}
		return o.bench(c, dir, messages)
	})
	c.Long = `Measure how fast mail comes in, is sent, read and found on this machine, beside
how often its disk can write and fsync. It takes a minute or two, and needs no
configuration and no root.

The server runs as a process of its own, on loopback addresses, with the limits
raised that would refuse so many connections. The load runs on the same machine
and takes its share of the processors; what the server alone needs is told as
CPU. Nothing leaves the machine.

The mail is kept on the disk of the configured data directory where that can be
written, else in the current directory; a running server and its mail are left
alone. 10,000 messages take about 400 MB, which are free again at the end.`
	c.Flags().StringVar(&dir, "dir", "", "measure the disk of this `directory`")
	c.Flags().IntVar(&messages, "messages", 10_000, "size of the large mailbox; the other counts follow it")
	return c
}

// A benchReport is what bench prints as JSON.
type benchReport struct {
	Version    string            `json:"version"`
	Processors int               `json:"processors"`
	Results    []loadtest.Result `json:"results"`
}

func (o *options) bench(c *cobra.Command, dir string, messages int) (err error) {
	// A terminal that goes away, and a reader, end it as Ctrl-C does.
	ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	if dir, err = o.benchDir(dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	test, err := newBenchTest(ctx, fail, dir)
	if err != nil {
		return err
	}
	test.Messages = messages
	report := benchReport{Version: version(), Processors: runtime.NumCPU()}
	if !o.json {
		say(c, "Mailbox %s on %d processors, in %s\n", report.Version, report.Processors, dir)
	}
	err = test.Run(ctx, func(r loadtest.Result) {
		report.Results = append(report.Results, r)
		if !o.json {
			printResult(c.OutOrStdout(), r)
		}
	})
	if err == nil && o.json {
		err = o.print(c, report, nil)
	}
	return err
}

// benchDir makes the directory that everything is in.
func (o *options) benchDir(parent string) (string, error) {
	const pattern = "mailbox-bench-"
	if parent == "" {
		if cfg, err := loadConfig(o.config); err == nil {
			if dir, err := os.MkdirTemp(cfg.Data, pattern); err == nil {
				return dir, nil
			}
		}
	}
	parent, err := filepath.Abs(parent) // "" is the current directory
	if err != nil {
		return "", err
	}
	return os.MkdirTemp(parent, pattern)
}

func printResult(w io.Writer, r loadtest.Result) {
	fmt.Fprintf(w, "%-45s", r.What)
	for i, f := range r.Figures {
		fmt.Fprint(w, "  ")
		if i > 0 || f.Name != "rate" {
			fmt.Fprint(w, f.Name, " ")
		}
		fmt.Fprint(w, formatFigure(f.Value), " ", f.Unit)
	}
	fmt.Fprintln(w)
}

// formatFigure keeps three digits, or more before the point.
func formatFigure(v float64) string {
	decimals := 0
	for limit := 100.0; v < limit && decimals < 3; limit /= 10 {
		decimals++
	}
	return strconv.FormatFloat(v, 'f', decimals, 64)
}

// benchConfig has no limit that the load would meet.
const benchConfig = `hostname = "mail.bench.test"
domains = ["bench.test"]
data = %q
[mta]
listen = [%q]
per_address = 1000
[msa]
listen = [%q]
listen_tls = []
plaintext_login = true
per_address = 1000
[imapd]
listen = [%q]
listen_tls = []
plaintext_login = true
per_address = 1000
[dns]
servers = [%q]
[web]
listen = []
listen_tls = []
[tls]
mode = "self-signed"
[admin]
socket = %q
`

// newBenchTest configures a server with one user, all in dir.
func newBenchTest(ctx context.Context, fail context.CancelCauseFunc, dir string) (*loadtest.Test, error) {
	t := &loadtest.Test{User: "alice@bench.test", Password: rand.Text(), Dir: dir, Database: filepath.Join(dir, "data", "mailbox.db")}
	for address, port := range map[*string]int{&t.SMTP: 2025, &t.Submission: 2587, &t.IMAP: 2143} {
		var err error
		if *address, err = freeAddress(port); err != nil {
			return nil, err
		}
	}
	resolver, err := loadtest.ServeDNS(ctx)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "mailbox.toml")
	text := fmt.Sprintf(benchConfig, filepath.Dir(t.Database), t.SMTP, t.Submission, t.IMAP, resolver, filepath.Join(dir, "admin.sock"))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	cfg, err := loadConfig(file)
	if err != nil {
		return nil, err
	}
	t.Server = &benchServer{fail: fail, config: file, log: filepath.Join(dir, "log")}
	return t, offline(ctx, cfg, func(client *admin.Client) error {
		return client.Call(ctx, "user/add", admin.NewUser{Address: t.User, Password: t.Password}, &admin.User{})
	})
}
