package main

import (
	"cmp"

	"github.com/spf13/cobra"

	"mailbox/admin/archive"
	"mailbox/admin/imapsql"
)

func newImportCommand(o *options) *cobra.Command {
	c := newGroup("import", "Bring mail in from elsewhere", newImportIMAPCommand(o), newImportIMAPSQLCommand(o))
	c.Long = `Bring mail in, with its dates, flags, keywords, folders and subscriptions. The
server may be running or not. What is there already, by folder, date, size and
hash, does not come twice: an import that was cut goes on when it is run again.
Messages that cannot be read are named, and what there is of them is kept aside.`
	return c
}

func newImportIMAPSQLCommand(o *options) *cobra.Command {
	m := &mailImport{options: o}
	var src imapsql.Source
	c := newCommand("imapsql SOURCE", "Bring mail in from a store of maddy's", cobra.ExactArgs(1), func(c *cobra.Command, args []string) error {
		src.Path = args[0]
		src.User = cmp.Or(src.User, m.user)
		return m.run(c, func() (archive.Reader, error) { return imapsql.Open(c.Context(), src) })
	})
	c.Long = `Bring mail in from a store of maddy's. SOURCE is maddy's state directory, the
database in it, or the DSN of a PostgreSQL database. A SQLite database is copied
first, and may be in use.`
	c.Example = "  mailbox import imapsql /var/lib/maddy --user alice@example.org"
	m.flags(c)
	c.Flags().StringVar(&src.User, "source-user", "", "whose mail it is there; default: the same `address`")
	c.Flags().StringVar(&src.Messages, "messages", "", "`directory` of the messages; default: messages beside the database")
	return c
}
