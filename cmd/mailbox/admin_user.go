package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"mailbox/admin"
)

func newUserCommand(o *options) *cobra.Command {
	return newGroup("user", "Manage who has mail here",
		newUserAddCommand(o), newUserListCommand(o), newUserShowCommand(o), newUserPasswdCommand(o),
		newUserSetCommand(o), newUserRemoveCommand(o), newAppPasswordCommand(o))
}

func newUserAddCommand(o *options) *cobra.Command {
	var p passwordSource
	var quota string
	c := newCommand("add ADDRESS", "Add a user", cobra.ExactArgs(1), func(c *cobra.Command, args []string) error {
		bytes, err := parseQuota(quota)
		if err != nil {
			return err
		}
		password, err := p.read(c, args[0])
		if err != nil {
			return err
		}
		var u admin.User
		if err := o.ask(c, "user/add", admin.NewUser{Address: args[0], Password: password, Quota: bytes}, &u); err != nil {
			return err
		}
		say(c, "Added %s.", u.Address)
		return nil
	})
	c.Long = `Add a user, who can log in with the address and the password. The domain of the
address must be one of the configuration's. INBOX, Drafts, Sent, Archive, Junk
and Trash are made.`
	c.Example = "  mailbox admin user add alice@example.org\n  mailbox admin user add bob@example.org --quota 5GiB --password-stdin < password"
	p.flag(c)
	c.Flags().StringVar(&quota, "quota", "", "how much mail the user may keep, such as 5GiB; default: no limit")
	return c
}

// parseQuota reads the flag; "" and "none" mean no limit.
func parseQuota(s string) (int64, error) {
	if s == "" || s == "none" {
		return 0, nil
	}
	n, err := parseSize(s)
	if err != nil {
		return 0, &usageError{fmt.Errorf("--quota: %w", err)}
	}
	return n, nil
}

func newUserListCommand(o *options) *cobra.Command {
	return newCommand("list", "List the users", cobra.NoArgs, func(c *cobra.Command, args []string) error {
		var users []admin.User
		if err := o.ask(c, "user/list", admin.None{}, &users); err != nil {
			return err
		}
		return o.print(c, users, func(w io.Writer) {
			fmt.Fprintln(w, "ADDRESS\tMESSAGES\tUSED\tQUOTA")
			for _, u := range users {
				fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", u.Address, u.Messages, formatSize(u.Used), formatQuota(u.Quota))
			}
		})
	})
}

func formatQuota(n int64) string {
	if n == 0 {
		return "none"
	}
	return formatSize(n)
}

func newUserShowCommand(o *options) *cobra.Command {
	return newCommand("show ADDRESS", "Show one user", cobra.ExactArgs(1), func(c *cobra.Command, args []string) error {
		var u admin.User
		if err := o.ask(c, "user/show", admin.UserRef{Address: args[0]}, &u); err != nil {
			return err
		}
		return o.print(c, u, func(w io.Writer) { showUser(w, u) })
	})
}

func showUser(w io.Writer, u admin.User) {
	fmt.Fprintf(w, "address\t%s\n", u.Address)
	for _, a := range u.Addresses {
		fmt.Fprintf(w, "also\t%s\n", a)
	}
	fmt.Fprintf(w, "messages\t%d\n", u.Messages)
	fmt.Fprintf(w, "used\t%s\n", formatSize(u.Used))
	fmt.Fprintf(w, "quota\t%s\n", formatQuota(u.Quota))
	fmt.Fprintf(w, "tag folders\t%s\n", onOff(u.TagFolders))
	fmt.Fprintf(w, "created\t%s\n", formatTime(&u.Created))
	fmt.Fprintf(w, "last login\t%s\n", formatTime(u.LastLogin))
	for _, p := range u.AppPasswords {
		fmt.Fprintf(w, "app password\t%s, last used %s\n", p.Name, formatTime(p.LastUsed))
	}
}

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}

func formatTime(t *time.Time) string {
	if t == nil || t.IsZero() {
		return "never"
	}
	return t.Local().Format("2006-01-02 15:04")
}

func newUserPasswdCommand(o *options) *cobra.Command {
	var p passwordSource
	c := newCommand("passwd ADDRESS", "Change a user's password", cobra.ExactArgs(1), func(c *cobra.Command, args []string) error {
		password, err := p.read(c, args[0])
		if err != nil {
			return err
		}
		if err := o.ask(c, "user/passwd", admin.NewUser{Address: args[0], Password: password}, &admin.None{}); err != nil {
			return err
		}
		say(c, "Changed the password of %s. App passwords stay as they are.", args[0])
		return nil
	})
	p.flag(c)
	return c
}

func newUserSetCommand(o *options) *cobra.Command {
	var quota string
	var tags bool
	c := newCommand("set ADDRESS", "Change a user's quota or how user+tag is filed", cobra.ExactArgs(1), func(c *cobra.Command, args []string) error {
		in := admin.UserChange{Address: args[0]}
		if c.Flags().Changed("quota") {
			n, err := parseQuota(quota)
			if err != nil {
				return err
			}
			in.Quota = &n
		}
		if c.Flags().Changed("tag-folders") {
			in.TagFolders = &tags
		}
		if in.Quota == nil && in.TagFolders == nil {
			return &usageError{fmt.Errorf("nothing to change: give --quota or --tag-folders")}
		}
		var u admin.User
		if err := o.ask(c, "user/set", in, &u); err != nil {
			return err
		}
		return o.print(c, u, func(w io.Writer) { showUser(w, u) })
	})
	c.Flags().StringVar(&quota, "quota", "", "how much mail the user may keep, such as 5GiB, or none")
	c.Flags().BoolVar(&tags, "tag-folders", false, "file mail for user+tag in the mailbox named tag, where there is one")
	return c
}

func newUserRemoveCommand(o *options) *cobra.Command {
	c := newCommand("remove ADDRESS", "Remove a user and all their mail", cobra.ExactArgs(1), func(c *cobra.Command, args []string) error {
		if err := o.ask(c, "user/remove", admin.UserRef{Address: args[0]}, &admin.None{}); err != nil {
			return err
		}
		say(c, "Removed %s and all their mail.", args[0])
		return nil
	})
	c.Long = "Remove a user and all their mail, at once and for good. Nothing is asked."
	return c
}

func newAppPasswordCommand(o *options) *cobra.Command {
	add := newCommand("add ADDRESS NAME", "Make an app password and show it, once", cobra.ExactArgs(2), func(c *cobra.Command, args []string) error {
		var p admin.AppPassword
		if err := o.ask(c, "user/app-password/add", admin.AppPasswordRef{Address: args[0], Name: args[1]}, &p); err != nil {
			return err
		}
		return o.print(c, p, func(w io.Writer) { fmt.Fprintln(w, p.Password) })
	})
	list := newCommand("list ADDRESS", "List a user's app passwords", cobra.ExactArgs(1), func(c *cobra.Command, args []string) error {
		var all []admin.AppPassword
		if err := o.ask(c, "user/app-password/list", admin.UserRef{Address: args[0]}, &all); err != nil {
			return err
		}
		return o.print(c, all, func(w io.Writer) {
			fmt.Fprintln(w, "NAME\tCREATED\tLAST USED\tFROM")
			for _, p := range all {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", p.Name, formatTime(&p.Created), formatTime(p.LastUsed), p.LastFrom)
			}
		})
	})
	remove := newCommand("remove ADDRESS NAME", "Take an app password away", cobra.ExactArgs(2), func(c *cobra.Command, args []string) error {
		if err := o.ask(c, "user/app-password/remove", admin.AppPasswordRef{Address: args[0], Name: args[1]}, &admin.None{}); err != nil {
			return err
		}
		say(c, "Removed the app password %q of %s.", args[1], args[0])
		return nil
	})
	return newGroup("app-password", "Manage passwords for single devices", add, list, remove)
}
