package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"mailbox/admin"
)

func newPolicyCommand(o *options) *cobra.Command {
	c := newGroup("policy", "Say what becomes of mail of a sender", newPolicyListCommand(o), newPolicyAddCommand(o), newPolicyRemoveCommand(o))
	c.Long = `Say what becomes of mail of a sender, whatever the checks say of it.

A sender is an address, or a domain with all its subdomains. The policy for an
address comes before that for its domain, that for a domain before those above
it. The address in From counts first; where there is no policy for it, the
reverse-path does (the address in MAIL FROM, which Return-Path shows).`
	c.Example = `  mailbox admin policy add aunt@example.net accept --note "her server has no SPF"
  mailbox admin policy add shop.example junk
  mailbox admin policy list`
	return c
}

func newPolicyAddCommand(o *options) *cobra.Command {
	var note string
	c := newCommand("add SENDER accept|junk|reject", "Add a policy, or replace that for the same sender", cobra.ExactArgs(2), func(c *cobra.Command, args []string) error {
		p := admin.Policy{Sender: args[0], Action: args[1], Note: note}
		done, ok := map[string]string{"accept": "is accepted", "junk": "goes to Junk", "reject": "is refused"}[p.Action]
		if !ok {
			return &usageError{fmt.Errorf("%q is none of accept, junk, reject", p.Action)}
		}
		if err := o.ask(c, "policy/add", p, &admin.None{}); err != nil {
			return err
		}
		say(c, "Mail from %s %s.", p.Sender, done)
		return nil
	})
	c.Long = `Add a policy, or replace that for the same sender. It holds at once.

  accept  DMARC and blocklists do not matter. Anybody can write any address into
          From, and is believed then: accept an address, or a small domain,
          rather than a provider with many users.
  junk    The mail goes to Junk, where it is not refused for another reason.
  reject  The mail is refused while its sender's server waits, which tells the
          sender. Nobody here sees it.`
	c.Example = `  mailbox admin policy add aunt@example.net accept --note "her server has no SPF"
  mailbox admin policy add shop.example junk
  mailbox admin policy add pest@example.com reject`
	c.Flags().StringVar(&note, "note", "", "why, for yourself: any `text`")
	return c
}

func newPolicyListCommand(o *options) *cobra.Command {
	return newCommand("list", "List the policies", cobra.NoArgs, func(c *cobra.Command, args []string) error {
		var all []admin.Policy
		if err := o.ask(c, "policy/list", admin.None{}, &all); err != nil {
			return err
		}
		return o.print(c, all, func(w io.Writer) {
			fmt.Fprintln(w, "SENDER\tACTION\tSINCE\tNOTE")
			for _, p := range all {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", plain(p.Sender), p.Action, formatTime(&p.Created), plain(p.Note))
			}
		})
	})
}

func newPolicyRemoveCommand(o *options) *cobra.Command {
	return newCommand("remove SENDER", "Remove a policy", cobra.ExactArgs(1), func(c *cobra.Command, args []string) error {
		if err := o.ask(c, "policy/remove", admin.PolicyRef{Sender: args[0]}, &admin.None{}); err != nil {
			return err
		}
		say(c, "Removed the policy for %s.", args[0])
		return nil
	})
}
