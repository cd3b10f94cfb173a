package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"mailbox/admin"
)

func newMailboxCommand(o *options) *cobra.Command {
	list := newCommand("list ADDRESS", "List a user's mailboxes", cobra.ExactArgs(1), func(c *cobra.Command, args []string) error {
		var all []admin.Mailbox
		if err := o.ask(c, "mailbox/list", admin.UserRef{Address: args[0]}, &all); err != nil {
			return err
		}
		return o.print(c, all, func(w io.Writer) {
			fmt.Fprintln(w, "NAME\tMESSAGES\tUNSEEN\tSIZE\tUSE")
			for _, m := range all {
				fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%s\n", m.Name, m.Messages, m.Unseen, formatSize(m.Size), m.SpecialUse)
			}
		})
	})
	return newGroup("mailbox", "Look at users' mailboxes", list)
}

func newSessionCommand(o *options) *cobra.Command {
	list := newCommand("list", "List who is connected to the IMAP server", cobra.NoArgs, func(c *cobra.Command, args []string) error {
		var all []admin.Session
		if err := o.ask(c, "session/list", admin.None{}, &all); err != nil {
			return err
		}
		return o.print(c, all, func(w io.Writer) {
			fmt.Fprintln(w, "ID\tUSER\tFROM\tTLS\tMAILBOX\tSINCE")
			for _, s := range all {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", s.ID, s.Account, s.Remote, onOff(s.TLS), s.Mailbox, formatTime(&s.Since))
			}
		})
	})
	kill := newCommand("kill ID", "End a connection", cobra.ExactArgs(1), func(c *cobra.Command, args []string) error {
		if err := o.ask(c, "session/kill", admin.SessionRef{ID: args[0]}, &admin.None{}); err != nil {
			return err
		}
		say(c, "Ended session %s.", args[0])
		return nil
	})
	return newGroup("session", "Look at and end IMAP connections", list, kill)
}

func newLogLevelCommand(o *options) *cobra.Command {
	c := newCommand("log-level [LEVEL]", "Show or change how much the running server logs", cobra.MaximumNArgs(1), func(c *cobra.Command, args []string) error {
		var in, out admin.LogLevel
		if len(args) == 1 {
			in.Level = args[0]
		}
		if err := o.ask(c, "log-level", in, &out); err != nil {
			return err
		}
		return o.print(c, out, func(w io.Writer) { fmt.Fprintln(w, out.Level) })
	})
	c.Long = "Show or change how much the running server logs: debug, info, warn or error.\nThe configuration's level holds again after a reload or restart."
	return c
}
