package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"mailbox/admin"
)

func newCertCommand(o *options) *cobra.Command {
	list := newCommand("list", "List the certificates in use, and the TLSA records of their keys", cobra.NoArgs, func(c *cobra.Command, args []string) error {
		var all []admin.Certificate
		if err := o.ask(c, "cert/list", admin.None{}, &all); err != nil {
			return err
		}
		return o.printCerts(c, all)
	})
	list.Long = `List the certificates in use.

Below them are the TLSA records of the host's key, for _25._tcp of its name, in
a domain that is signed with DNSSEC. Certificates change often and the key does
not. The next key waits until "cert renew --new-key": publish its record at
least a day before, and take the old one away a day after.`
	var newKey bool
	renew := newCommand("renew", "Ask the CA for new certificates now", cobra.NoArgs, func(c *cobra.Command, args []string) error {
		var all []admin.Certificate
		if err := o.ask(c, "cert/renew", admin.Renewal{NewKey: newKey}, &all); err != nil {
			return err
		}
		return o.printCerts(c, all)
	})
	renew.Long = `Ask the CA for new certificates now, due or not, for every name. Connections
that are open go on. This is only needed when something was wrong and has been
put right: the server renews in time by itself, and a CA gives but a few
certificates a week for the same name.`
	renew.Flags().BoolVar(&newKey, "new-key", false, "take the next key into use, and make another for the time after")
	return newGroup("cert", "Look at and renew certificates", list, renew)
}

// printCerts prints certificates, then the records of the first one's keys.
func (o *options) printCerts(c *cobra.Command, all []admin.Certificate) error {
	return o.print(c, all, func(w io.Writer) {
		fmt.Fprintln(w, "NAME\tSOURCE\tISSUER\tUNTIL\tSERIAL")
		for _, t := range all {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", strings.Join(t.Names, " "), t.Source, t.Issuer, formatTime(&t.Until), t.Serial)
		}
		said := ""
		for _, t := range all {
			if t.Problem == "" || t.Problem == said && t.NextAttempt == nil {
				continue
			}
			said = t.Problem
			fmt.Fprintf(w, "\n%s: %s\n", strings.Join(t.Names, " "), t.Problem)
			if t.NextAttempt != nil {
				fmt.Fprintf(w, "The CA is asked again at %s.\n", formatTime(t.NextAttempt))
			}
		}
		if len(all) > 0 {
			fmt.Fprintf(w, "\nTLSA now:  %s\n", all[0].TLSA)
			if all[0].NextTLSA != "" {
				fmt.Fprintf(w, "TLSA next: %s\n", all[0].NextTLSA)
			}
		}
	})
}
