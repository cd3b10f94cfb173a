package main

import "github.com/spf13/cobra"

func newConfigCommand(o *options) *cobra.Command {
	check := newCommand("check [FILE]", "Report every mistake in the configuration", cobra.MaximumNArgs(1), func(c *cobra.Command, args []string) error {
		file := o.config
		if len(args) == 1 {
			file = args[0]
		}
		if _, err := loadConfig(file); err != nil {
			return err
		}
		say(c, "%s has no mistakes.", file)
		return nil
	})
	check.Long = `Read the configuration and report every mistake with its line, all at once.
Nothing is changed, and no server needs to run.`
	return newGroup("config", "Check the configuration", check)
}
