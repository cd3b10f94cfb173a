package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"mailbox/admin"
)

func newAliasCommand(o *options) *cobra.Command {
	add := newCommand("add ADDRESS TARGET...", "Let mail for an address go to others", cobra.MinimumNArgs(2), func(c *cobra.Command, args []string) error {
		if err := o.ask(c, "alias/add", admin.Alias{Address: args[0], Targets: args[1:]}, &admin.None{}); err != nil {
			return err
		}
		say(c, "Mail for %s goes to %s.", args[0], strings.Join(args[1:], ", "))
		return nil
	})
	add.Long = `Let mail for an address go to others. Targets are users or other aliases here,
or addresses elsewhere, to which the mail is forwarded. "@example.org" catches
what nobody else at the domain has.`
	add.Example = `  mailbox admin alias add info@example.org alice@example.org bob@example.org
  mailbox admin alias add away@example.org alice@elsewhere.example
  mailbox admin alias add @example.org alice@example.org`
	list := newCommand("list", "List the aliases", cobra.NoArgs, func(c *cobra.Command, args []string) error {
		var all []admin.Alias
		if err := o.ask(c, "alias/list", admin.None{}, &all); err != nil {
			return err
		}
		return o.print(c, all, func(w io.Writer) {
			fmt.Fprintln(w, "ADDRESS\tTARGETS")
			for _, a := range all {
				fmt.Fprintf(w, "%s\t%s\n", a.Address, strings.Join(a.Targets, ", "))
			}
		})
	})
	remove := newCommand("remove ADDRESS", "Remove an alias", cobra.ExactArgs(1), func(c *cobra.Command, args []string) error {
		if err := o.ask(c, "alias/remove", admin.Alias{Address: args[0]}, &admin.None{}); err != nil {
			return err
		}
		say(c, "Removed the alias %s.", args[0])
		return nil
	})
	return newGroup("alias", "Manage addresses that stand for others", add, list, remove)
}
