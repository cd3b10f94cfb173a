package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"mailbox/admin/archive"
	"mailbox/admin/imapsql"
	"mailbox/admin/maildir"
	"mailbox/admin/mbox"
)

func newExportCommand(o *options) *cobra.Command {
	c := newGroup("export", "Write mail out, for another server or program", newExportMboxCommand(o), newExportMaildirCommand(o), newExportIMAPSQLCommand(o))
	c.Long = `Write the mail of a user, or of all, in a form that other programs read. The
server may be running or not. Nothing is changed here.`
	return c
}

func newExportMboxCommand(o *options) *cobra.Command {
	m := &mailExport{options: o}
	var variant string
	var force bool
	c := newCommand("mbox DEST", "Write mboxes", cobra.ExactArgs(1), func(c *cobra.Command, args []string) error {
		v, err := mbox.ParseVariant(variant)
		if err != nil {
			return &usageError{fmt.Errorf("--variant: %w", err)}
		}
		return m.run(c, func(address string) (archive.Writer, error) {
			w, err := mbox.Create(m.place(args[0], address))
			if err != nil {
				return nil, err
			}
			w.Variant, w.Force = v, force
			return w, nil
		})
	})
	c.Long = `Write a directory DEST with an mbox for each folder: a.mbox, and a/b.mbox for what
is below it. An export that is repeated replaces the files of the one before.`
	c.Example = "  mailbox export mbox ~/mail --user alice@example.org"
	m.flags(c)
	c.Flags().StringVar(&variant, "variant", "mboxrd", "mboxo, mboxrd, mboxcl or mboxcl2")
	c.Flags().BoolVar(&force, "force", false, "replace files that no export has written")
	return c
}

func newExportMaildirCommand(o *options) *cobra.Command {
	m := &mailExport{options: o}
	c := newCommand("maildir DEST", "Write Maildirs", cobra.ExactArgs(1), func(c *cobra.Command, args []string) error {
		return m.run(c, func(address string) (archive.Writer, error) { return maildir.Create(m.place(args[0], address)) })
	})
	c.Long = `Write a Maildir DEST with its subfolders in the layout Maildir++, with the keywords
and subscriptions as Dovecot keeps them. An export that is repeated adds what is
new.`
	c.Example = "  mailbox export maildir ~/Maildir --user alice@example.org"
	m.flags(c)
	return c
}

func newExportIMAPSQLCommand(o *options) *cobra.Command {
	m := &mailExport{options: o}
	c := newCommand("imapsql DEST", "Write a store for maddy", cobra.ExactArgs(1), func(c *cobra.Command, args []string) error {
		var store *imapsql.Store // of all users
		err := m.run(c, func(address string) (_ archive.Writer, err error) {
			if store == nil {
				if store, err = imapsql.Create(args[0]); err != nil {
					return nil, err
				}
			}
			return store.User(address)
		})
		if store != nil {
			err = errors.Join(err, store.Close())
		}
		return err
	})
	c.Long = `Write a store for maddy, in a directory DEST that has none: imapsql.db, and the
messages in files beside it. Passwords are not written: maddy keeps them
elsewhere. Messages that maddy's library does not take are named and kept aside.`
	c.Example = "  mailbox export imapsql /var/lib/maddy --all"
	m.flags(c)
	return c
}
