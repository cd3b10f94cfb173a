package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mailbox/admin"
	"mailbox/admin/archive"
)

// A mailImport are the flags of an import, and what it does with them.
type mailImport struct {
	*options
	user     string
	aside    string
	dryRun   bool
	keywords bool // labels of Gmail become keywords
}

func (m *mailImport) flags(c *cobra.Command) {
	c.Flags().StringVar(&m.user, "user", "", "whose mail it becomes: an `address`")
	c.Flags().BoolVar(&m.dryRun, "dry-run", false, "only say what would come")
	asideFlag(c, &m.aside)
	c.MarkFlagRequired("user") //nolint:errcheck // there is such a flag
}

// asideFlag says where messages are kept that cannot be moved.
func asideFlag(c *cobra.Command, dir *string) {
	c.Flags().StringVar(dir, "aside", "mailbox-aside-"+time.Now().Format("20060102-150405"), "`directory` for messages that cannot be read or written; made when it is needed")
	c.Flags().Lookup("aside").DefValue = "mailbox-aside-<time> in this directory"
}

// run imports what open opens.
func (m *mailImport) run(c *cobra.Command, open func() (archive.Reader, error)) error {
	return m.withClient(c, func(client *admin.Client) error {
		from, err := open()
		if err != nil {
			return withRights(err)
		}
		defer from.Close()
		sign := newProgressSign(c)
		in := admin.Import{Client: client, Address: m.user, DryRun: m.dryRun, Keywords: m.keywords, Aside: m.aside, Progress: sign.update}
		report, err := in.Run(c.Context(), from)
		sign.close()
		added := "ADDED"
		if m.dryRun {
			added = "WOULD ADD"
		}
		return errors.Join(m.printReport(c, report, added), withRights(err), incomplete(report))
	})
}

// withRights explains a permission that is missing where the command became the
// owner of the data to work without a server.
func withRights(err error) error {
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%w (as user %d; while a server runs the files are read and written by whoever calls this)", err, os.Geteuid())
	}
	return err
}

// incomplete makes an error of messages that did not come.
func incomplete(r admin.TransferReport) error {
	n := int64(0)
	for _, m := range r.Mailboxes {
		n += m.Failed
	}
	if n == 0 {
		return nil
	}
	return fmt.Errorf("%d messages were left out; they are named above", n)
}

func (o *options) printReport(c *cobra.Command, r admin.TransferReport, added string) error {
	return o.print(c, r, func(w io.Writer) {
		fmt.Fprintf(w, "MAILBOX of %s\tFOUND\tSIZE\t%s\tTHERE ALREADY\tFAILED\n", plain(r.Address), added)
		all := admin.MailboxTransfer{Name: "all"}
		for _, m := range r.Mailboxes {
			name := m.Name
			if m.Source != m.Name {
				name += " (from " + m.Source + ")"
			}
			row := *m
			row.Name = plain(name)
			printTransfer(w, row)
			all.Found, all.Bytes, all.Added = all.Found+m.Found, all.Bytes+m.Bytes, all.Added+m.Added
			all.There, all.Failed = all.There+m.There, all.Failed+m.Failed
		}
		printTransfer(w, all)
		for _, f := range append(r.Lost, r.Failed...) {
			fmt.Fprintf(w, "%s: %s: %s", plain(f.Mailbox), plain(f.Place), plain(f.Reason))
			if f.Kept != "" {
				fmt.Fprintf(w, "; what there is of it: %s", f.Kept)
			}
			fmt.Fprintln(w)
		}
	})
}

func printTransfer(w io.Writer, m admin.MailboxTransfer) {
	fmt.Fprintf(w, "%s\t%d\t%s\t%d\t%d\t%d\n", m.Name, m.Found, formatSize(m.Bytes), m.Added, m.There, m.Failed)
}

// A mailExport are the flags of an export, and what it does with them.
type mailExport struct {
	*options
	user  string
	all   bool
	aside string
}

func (m *mailExport) flags(c *cobra.Command) {
	c.Flags().StringVar(&m.user, "user", "", "whose mail is written: an `address`")
	c.Flags().BoolVar(&m.all, "all", false, "write the mail of every user, each below DEST in a place named by the address")
	asideFlag(c, &m.aside)
	c.MarkFlagsOneRequired("user", "all")
	c.MarkFlagsMutuallyExclusive("user", "all")
}

// place is where a user's mail is written: below dest in a directory named by
// the address, where all is written.
func (m *mailExport) place(dest, address string) string {
	if !m.all {
		return dest
	}
	return filepath.Join(dest, strings.ReplaceAll(address, "/", "_"))
}

// run exports to what create makes for a user.
func (m *mailExport) run(c *cobra.Command, create func(address string) (archive.Writer, error)) error {
	return m.withClient(c, func(client *admin.Client) error {
		addresses := []string{m.user}
		if m.all {
			var users []admin.User
			if err := client.Call(c.Context(), "user/list", admin.None{}, &users); err != nil {
				return err
			}
			addresses = nil
			for _, u := range users {
				addresses = append(addresses, u.Address)
			}
		}
		for _, address := range addresses {
			if err := m.one(c, client, address, create); err != nil {
				return fmt.Errorf("%s: %w", address, withRights(err))
			}
		}
		return nil
	})
}

func (m *mailExport) one(c *cobra.Command, client *admin.Client, address string, create func(string) (archive.Writer, error)) error {
	to, err := create(address)
	if err != nil {
		return err
	}
	sign := newProgressSign(c)
	out := admin.Export{Client: client, Address: address, Aside: m.aside, Progress: sign.update}
	report, err := out.Run(c.Context(), to)
	err = errors.Join(err, to.Close())
	sign.close()
	return errors.Join(m.printReport(c, report, "WRITTEN"), err, incomplete(report))
}
