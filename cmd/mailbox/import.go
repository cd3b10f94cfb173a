package main

import (
	"cmp"
	"fmt"

	"github.com/spf13/cobra"

	"mailbox/admin/archive"
	"mailbox/admin/imapsql"
	"mailbox/admin/maildir"
	"mailbox/admin/mbox"
)

func newImportCommand(o *options) *cobra.Command {
	c := newGroup("import", "Bring mail in from elsewhere", newImportMboxCommand(o), newImportMaildirCommand(o), newImportIMAPCommand(o), newImportIMAPSQLCommand(o))
	c.Long = `Bring mail in, with its dates, flags, keywords, folders and subscriptions. The
server may be running or not. What is there already, by folder, date, size and
hash, does not come twice: an import that was cut goes on when it is run again.
Messages that cannot be read are named, and what there is of them is kept aside.`
	return c
}

func newImportMboxCommand(o *options) *cobra.Command {
	m := &mailImport{options: o}
	var opts mbox.Options
	var variant, labels string
	c := newCommand("mbox SOURCE", "Bring mail in from an mbox, or a directory of them", cobra.ExactArgs(1), func(c *cobra.Command, args []string) (err error) {
		if opts.Variant, err = mbox.ParseVariant(variant); err != nil {
			return &usageError{fmt.Errorf("--variant: %w", err)}
		}
		if m.keywords, err = parseLabels(labels); err != nil {
			return err
		}
		return m.run(c, func() (archive.Reader, error) { return mbox.Open(args[0], opts) })
	})
	c.Long = `Bring mail in from an mbox: a file, which is one folder, or a directory, as mutt,
Thunderbird, Apple Mail and Dovecot have it. mboxo, mboxrd, mboxcl and mboxcl2 are
told apart. Flags come from Status, X-Status, X-Keywords and Mozilla's fields;
from Google's Takeout, each message comes into a folder for each of its labels.`
	c.Example = "  mailbox import mbox ~/mail --user alice@example.org\n  mailbox import mbox All.mbox --user alice@example.org --labels keywords"
	m.flags(c)
	c.Flags().StringVar(&opts.Mailbox, "folder", "", "`name` of the folder that a file becomes; default: that of the file")
	c.Flags().StringVar(&variant, "variant", "detect", "mboxo, mboxrd, mboxcl or mboxcl2")
	c.Flags().StringVar(&labels, "labels", "folders", "what becomes of Gmail's labels: folders or keywords")
	return c
}

// parseLabels tells whether labels become keywords.
func parseLabels(s string) (keywords bool, err error) {
	if s != "folders" && s != "keywords" {
		return false, &usageError{fmt.Errorf("--labels is folders or keywords, not %q", s)}
	}
	return s == "keywords", nil
}

func newImportMaildirCommand(o *options) *cobra.Command {
	m := &mailImport{options: o}
	c := newCommand("maildir SOURCE", "Bring mail in from Maildirs", cobra.ExactArgs(1), func(c *cobra.Command, args []string) error {
		return m.run(c, func() (archive.Reader, error) { return maildir.Open(args[0]) })
	})
	c.Long = `Bring mail in from a Maildir with its subfolders, in the layouts Maildir++ and fs,
with Dovecot's keywords, subscriptions and order. Compressed messages are read.`
	c.Example = "  mailbox import maildir /var/mail/vhosts/example.org/alice --user alice@example.org"
	m.flags(c)
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
