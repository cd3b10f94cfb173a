package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/user"
	"strconv"
	"syscall"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"mailbox/admin"
	"mailbox/storage"
)

func newAdminCommand(o *options) *cobra.Command {
	c := newGroup("admin", "Manage users, aliases, sessions, the queue, certificates, and whom to trust",
		newUserCommand(o), newAliasCommand(o), newMailboxCommand(o), newSessionCommand(o), newQueueCommand(o),
		newPolicyCommand(o), newExplainCommand(o), newDKIMCommand(o), newCertCommand(o), newLogLevelCommand(o), newProfileCommand(o))
	c.Long = `Manage users, aliases, sessions, the queue, certificates, whom to trust,
and the keys that sign mail.

The commands ask the running server over its socket. Where none runs they do
the same on its data directory. They need the configuration, and the rights of
root or of the server's user.`
	return c
}

// ask runs one command of the API.
func (o *options) ask(c *cobra.Command, command string, in, out any) error {
	return o.withClient(c, func(client *admin.Client) error {
		return client.Call(c.Context(), command, in, out)
	})
}

// withClient gives do a client: of the running server, or of the store itself
// where none runs.
func (o *options) withClient(c *cobra.Command, do func(*admin.Client) error) error {
	cfg, err := loadConfig(o.config)
	if err != nil {
		return err
	}
	client, err := admin.Dial(cfg.Admin.Socket)
	if errors.Is(err, admin.ErrNoServer) {
		return offline(c.Context(), cfg, do)
	}
	if err != nil {
		return err
	}
	return do(client)
}

// offline gives do a client of the API on the store itself. Root becomes the
// owner of the data first, so that the server can read what is written.
func offline(ctx context.Context, cfg config, do func(*admin.Client) error) error {
	if err := becomeOwner(cfg.Data); err != nil {
		return err
	}
	db, err := storage.Open(ctx, storage.Options{Dir: cfg.Data, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	err = db.SetDomains(cfg.Domains, cfg.Postmaster)
	if err == nil {
		err = do(admin.InProcess((&admin.API{DB: db}).Handler()))
	}
	return errors.Join(err, db.Close())
}

// becomeOwner makes a process of root one of the owner of a directory.
func becomeOwner(dir string) error {
	st, err := os.Stat(dir)
	if os.Geteuid() != 0 || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	owner, ok := st.Sys().(*syscall.Stat_t)
	if !ok || owner.Uid == 0 {
		return nil
	}
	groups := []int{int(owner.Gid)}
	if u, err := user.LookupId(strconv.Itoa(int(owner.Uid))); err == nil {
		ids, _ := u.GroupIds() // those that are unknown give no rights
		for _, id := range ids {
			if n, err := strconv.Atoi(id); err == nil {
				groups = append(groups, n)
			}
		}
	}
	err = syscall.Setgroups(groups)
	if err == nil {
		err = syscall.Setgid(int(owner.Gid))
	}
	if err == nil {
		err = syscall.Setuid(int(owner.Uid))
	}
	if err != nil {
		return fmt.Errorf("become the owner of %s: %w", dir, err)
	}
	return nil
}

// print writes v as JSON where that was asked for, else by text.
func (o *options) print(c *cobra.Command, v any, text func(w io.Writer)) error {
	if o.json {
		e := json.NewEncoder(c.OutOrStdout())
		e.SetIndent("", "  ")
		return e.Encode(v)
	}
	w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
	text(w)
	return w.Flush()
}

// newCommand makes a command that takes arguments and has no subcommands.
func newCommand(use, short string, args cobra.PositionalArgs, run func(c *cobra.Command, args []string) error) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: usage(args), RunE: run}
}

func say(c *cobra.Command, format string, args ...any) {
	fmt.Fprintf(c.OutOrStdout(), format+"\n", args...)
}
