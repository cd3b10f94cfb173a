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

func newProfileCommand(o *options) *cobra.Command {
	in := admin.ProfileRef{}
	c := newCommand("profile KIND", "Show where the running server's CPU and memory go", cobra.ExactArgs(1), func(c *cobra.Command, args []string) error {
		in.Kind = args[0]
		var out admin.Profile
		if err := o.ask(c, "profile", in, &out); err != nil {
			return err
		}
		_, err := c.OutOrStdout().Write(out.Profile)
		return err
	})
	c.Long = `Write a profile of the running server to standard output, for go tool pprof: cpu,
heap, allocs or goroutine. It says which functions take how much, and holds
nothing of anyone's mail.`
	c.Example = "  mailbox admin profile cpu --seconds 30 >cpu.prof"
	c.Flags().IntVar(&in.Seconds, "seconds", 10, "`time` that the CPU is watched, 1 to 600")
	return c
}
