package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// A passwordSource reads a password from a prompt or from standard input,
// never from the command line, where others could see it.
type passwordSource struct{ stdin bool }

func (p *passwordSource) flag(c *cobra.Command) {
	c.Flags().BoolVar(&p.stdin, "password-stdin", false, "read the password from standard input instead of asking for it")
}

// read reads a new password, which is asked for twice.
func (p *passwordSource) read(c *cobra.Command, address string) (string, error) {
	first, err := p.readOnce(c, address)
	if err != nil || p.stdin {
		return first, err
	}
	second, err := prompt(c, c.InOrStdin().(*os.File), "Once more: ")
	if err != nil {
		return "", err
	}
	if first != second {
		return "", errors.New("the two are not the same; nothing was changed")
	}
	return first, nil
}

// readOnce reads a password.
func (p *passwordSource) readOnce(c *cobra.Command, of string) (string, error) {
	if p.stdin {
		line, err := bufio.NewReader(io.LimitReader(c.InOrStdin(), 4096)).ReadString('\n')
		if err != nil && err != io.EOF {
			return "", err
		}
		return strings.TrimRight(line, "\r\n"), nil
	}
	f, ok := c.InOrStdin().(*os.File)
	if !ok || !isTerminal(f) {
		return "", &usageError{errors.New("standard input is no terminal to ask for a password; give it there with --password-stdin")}
	}
	return prompt(c, f, "Password for "+of+": ")
}

func prompt(c *cobra.Command, f *os.File, text string) (string, error) {
	fmt.Fprint(c.ErrOrStderr(), text)
	b, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(c.ErrOrStderr())
	return string(b), err
}
