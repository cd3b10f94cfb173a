package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// newManCommand makes the command that packages are built with.
func newManCommand() *cobra.Command {
	c := newCommand("man", "Print the manual page", cobra.NoArgs, func(c *cobra.Command, args []string) error {
		return writeManual(c.OutOrStdout(), c.Root())
	})
	c.Hidden = true
	return c
}

// writeManual writes mailbox(1) in the man macros: one page, with every command
// and flag that the help shows.
func writeManual(w io.Writer, root *cobra.Command) error {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH MAILBOX 1 \"\" \"mailbox %s\"\n", version())
	fmt.Fprintf(&b, ".SH NAME\nmailbox \\- %s\n", roff(root.Short))
	b.WriteString(".SH SYNOPSIS\n.B mailbox\n.I command\n[\\fIflags\\fR] [\\fIarguments\\fR]\n.SH DESCRIPTION\n")
	writeProse(&b, root.Long)
	b.WriteString(".SH OPTIONS\n")
	writeVerbatim(&b, root.PersistentFlags().FlagUsages())
	b.WriteString(".SH COMMANDS\n")
	writeCommands(&b, root)
	b.WriteString(".SH EXIT STATUS\n0 when done, 1 when that failed, 2 for a command line that cannot be understood.\n")
	b.WriteString(".SH SEE ALSO\n.BR mailbox.toml (5)\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// writeCommands describes all commands below c that do something themselves.
func writeCommands(b *strings.Builder, c *cobra.Command) {
	for _, sub := range c.Commands() {
		switch {
		case !sub.IsAvailableCommand():
		case sub.HasAvailableSubCommands():
			writeCommands(b, sub)
		default:
			writeCommand(b, sub)
		}
	}
}

func writeCommand(b *strings.Builder, c *cobra.Command) {
	fmt.Fprintf(b, ".SS %s\n", roff(strings.TrimSuffix(c.UseLine(), " [flags]")))
	text := c.Long
	if text == "" {
		text = c.Short + "."
	}
	writeProse(b, text)
	if flags := c.NonInheritedFlags(); flags.HasAvailableFlags() {
		b.WriteString(".PP\n")
		writeVerbatim(b, flags.FlagUsages())
	}
	if c.Example != "" {
		b.WriteString(".PP\n")
		writeVerbatim(b, c.Example)
	}
}

// writeProse writes the text of a help: blank lines part paragraphs, and what
// is indented stays as it is.
func writeProse(b *strings.Builder, text string) {
	for i, paragraph := range strings.Split(strings.TrimSpace(text), "\n\n") {
		if i > 0 {
			b.WriteString(".PP\n")
		}
		if strings.HasPrefix(paragraph, " ") {
			writeVerbatim(b, paragraph)
			continue
		}
		b.WriteString(roff(paragraph) + "\n")
	}
}

// writeVerbatim writes lines that are not filled.
func writeVerbatim(b *strings.Builder, text string) {
	fmt.Fprintf(b, ".nf\n%s\n.fi\n", roff(strings.TrimRight(text, "\n")))
}

// roff quotes a text: no line of it is a request, and a hyphen can be pasted.
func roff(text string) string {
	lines := strings.Split(strings.NewReplacer(`\`, `\e`, `-`, `\-`).Replace(text), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
