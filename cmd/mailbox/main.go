// Mailbox is a complete mail server for a personal domain.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	syscall.Umask(0o077) // what we write is for nobody else
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run executes one command and returns the exit status: 0 done, 1 failed, 2
// wrong usage.
func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	cmd := newRootCommand()
	cmd.SetArgs(args)
	cmd.SetIn(in)
	cmd.SetOut(out)
	cmd.SetErr(errOut)
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(errOut, "mailbox:", err)
	var usage *usageError
	if errors.As(err, &usage) {
		return 2
	}
	return 1
}

// A usageError is a command line that cannot be understood.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// options are the flags that every command has.
type options struct {
	config string
	json   bool
}

func newRootCommand() *cobra.Command {
	o := &options{}
	root := &cobra.Command{
		Use:           "mailbox",
		Short:         "A complete mail server for your own domain, in one binary",
		Long:          rootHelp,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          usage(cobra.NoArgs),
		RunE:          showHelp,
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return &usageError{fmt.Errorf("%w; see \"%s --help\"", err, c.CommandPath())}
	})
	root.PersistentFlags().StringVar(&o.config, "config", defaultConfigFile, "configuration `file`")
	root.PersistentFlags().BoolVar(&o.json, "json", false, "print JSON where something is listed")
	root.AddCommand(
		newServeCommand(o),
		newDemoCommand(),
		newBenchCommand(o),
		newVerifyCommand(o),
		newConfigCommand(o),
		newAdminCommand(o),
		newImportCommand(o),
		newExportCommand(o),
		newVersionCommand(),
		newManCommand(),
	)
	return root
}

const rootHelp = `Mailbox is the whole of mail for your own domain: it takes what comes, lets any
IMAP client read it, and sends what you write.

Try it without installing anything:

    mailbox demo

Run it: describe your server in ` + defaultConfigFile + `, add yourself, start.

    mailbox config check
    mailbox admin user add you@example.org
    mailbox serve`

// usage marks what a check of arguments finds as wrong usage.
func usage(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return &usageError{fmt.Errorf("%w; see \"%s --help\"", err, c.CommandPath())}
		}
		return nil
	}
}

// showHelp is what a command that only groups others does.
func showHelp(c *cobra.Command, args []string) error { return c.Help() }

// newGroup makes a command that only holds others.
func newGroup(name, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: name, Short: short, Args: usage(cobra.NoArgs), RunE: showHelp}
	c.AddCommand(commands...)
	return c
}
