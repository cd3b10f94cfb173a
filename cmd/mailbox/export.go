package main

import (
	"errors"

	"github.com/spf13/cobra"

	"mailbox/admin/archive"
	"mailbox/admin/imapsql"
)

func newExportCommand(o *options) *cobra.Command {
	c := newGroup("export", "Write mail out, for another server or program", newExportIMAPSQLCommand(o))
	c.Long = `Write the mail of a user, or of all, in a form that other programs read. The
server may be running or not. Nothing is changed here.`
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
