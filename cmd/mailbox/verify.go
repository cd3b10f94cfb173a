package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"mailbox/admin"
)

func newVerifyCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "verify",
		Short: "Check that all mail is there and whole",
		Long: `Walk over the whole store and report every broken invariant: counts, references,
missing or corrupt bytes, the order of UIDs and modification sequences. Nothing
is changed. It works while the server runs. The exit status is 1 where anything
is wrong.`,
		Args: usage(cobra.NoArgs),
		RunE: func(c *cobra.Command, args []string) error {
			var v admin.Verification
			if err := o.ask(c, "verify", admin.None{}, &v); err != nil {
				return err
			}
			err := o.print(c, v, func(w io.Writer) {
				for _, p := range v.Problems {
					fmt.Fprintln(w, p)
				}
				fmt.Fprintf(w, "%d accounts, %d mailboxes, %d messages, %s in %d blobs: %d problems\n",
					v.Accounts, v.Mailboxes, v.Messages, formatSize(v.Bytes), v.Blobs, len(v.Problems)+v.Omitted)
			})
			if err == nil && len(v.Problems) > 0 {
				err = fmt.Errorf("the store has %d problems; keep a copy of the data directory before you do anything", len(v.Problems)+v.Omitted)
			}
			return err
		},
	}
}
