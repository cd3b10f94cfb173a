package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestManual finds every command and flag of the help in the manual page.
func TestManual(t *testing.T) {
	root := newRootCommand()
	var page strings.Builder
	if err := writeManual(&page, root); err != nil {
		t.Fatal(err)
	}
	var sections int
	var look func(c *cobra.Command)
	look = func(c *cobra.Command) {
		if c.Hidden {
			return
		}
		for _, sub := range c.Commands() {
			look(sub)
		}
		if c.HasSubCommands() {
			return
		}
		sections++
		_, section, found := strings.Cut(page.String(), "\n.SS "+roff(c.CommandPath()))
		if !found {
			t.Errorf("the page has nothing on %s", c.CommandPath())
			return
		}
		section, _, _ = strings.Cut(section, "\n.S")
		c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden && !strings.Contains(section, roff("--"+f.Name)) {
				t.Errorf("the page has nothing on %s --%s", c.CommandPath(), f.Name)
			}
		})
	}
	look(root)
	if shown := strings.Count(page.String(), "\n.SS "); shown != sections {
		t.Errorf("the page has %d commands, the help %d", shown, sections)
	}
	for name := range strings.FieldsSeq("config json") {
		if !strings.Contains(page.String(), roff("--"+name)) {
			t.Errorf("the page has nothing on --%s", name)
		}
	}
}

// TestManualQuotes keeps the words of a help from being taken as requests.
func TestManualQuotes(t *testing.T) {
	for text, want := range map[string]string{
		".TH of me":     `\&.TH of me`,
		"a\n'b":         "a\n" + `\&'b`,
		`C:\dir --json`: `C:\edir \-\-json`,
	} {
		if got := roff(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}
