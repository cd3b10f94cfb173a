package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"mailbox/admin"
	"mailbox/internal/mailauth"
)

func newDKIMCommand(o *options) *cobra.Command {
	c := newGroup("dkim", "Manage the keys that sign mail",
		newDKIMListCommand(o), newDKIMAddCommand(o), newDKIMRotateCommand(o), newDKIMRetireCommand(o), newDKIMRemoveCommand(o))
	c.Long = `Manage the keys that sign the mail of your domains (DKIM).

Each domain has an RSA key, which everybody can verify, and an Ed25519 key,
which is shorter. The server makes both when it starts with a domain that has
none; what you have to do is publish their records in the DNS.`
	c.Example = `  mailbox admin dkim list --records
  mailbox admin dkim rotate example.org`
	return c
}

func newDKIMListCommand(o *options) *cobra.Command {
	var records bool
	c := newCommand("list [DOMAIN]", "List the keys", cobra.MaximumNArgs(1), func(c *cobra.Command, args []string) error {
		var in admin.DKIMDomain
		if len(args) == 1 {
			in.Domain = args[0]
		}
		var all []admin.DKIMKey
		if err := o.ask(c, "dkim/list", in, &all); err != nil {
			return err
		}
		return o.print(c, all, func(w io.Writer) {
			listKeys(w, all)
			if records {
				fmt.Fprintln(w)
				showRecords(w, needRecords(all))
			}
		})
	})
	c.Long = `List the keys of all domains, or of one. A key "signs", or "waits" until its
record is in the DNS, or is "retired": it does not sign any more, but its record
must stay published for 7 days, because mail that it signed is still on its way.

With --records, print also the DNS records that must be published now.`
	c.Example = "  mailbox admin dkim list\n  mailbox admin dkim list example.org --records"
	c.Flags().BoolVar(&records, "records", false, "print the DNS records to publish")
	return c
}

func listKeys(w io.Writer, all []admin.DKIMKey) {
	fmt.Fprintln(w, "DOMAIN\tSELECTOR\tALGORITHM\tSTATE")
	for _, k := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", k.Domain, k.Selector, k.Algorithm, describeKey(k))
	}
}

func describeKey(k admin.DKIMKey) string {
	switch {
	case k.State == "waits":
		return "waits for its DNS record"
	case k.State == "signs":
		return "signs since " + formatTime(&k.Signs)
	case recordNeeded(k):
		return fmt.Sprintf("retired on %s; its record must stay until %s", formatTime(&k.Retired), formatTime(&k.Needed))
	}
	return fmt.Sprintf("retired on %s; its record is not needed", formatTime(&k.Retired))
}

func recordNeeded(k admin.DKIMKey) bool {
	return k.State != "retired" || k.Needed.After(time.Now())
}

func needRecords(all []admin.DKIMKey) []admin.DKIMKey {
	var needed []admin.DKIMKey
	for _, k := range all {
		if recordNeeded(k) {
			needed = append(needed, k)
		}
	}
	return needed
}

// showRecords prints what must be published, for forms and for zone files.
func showRecords(w io.Writer, keys []admin.DKIMKey) {
	if len(keys) == 0 {
		return
	}
	fmt.Fprint(w, "In the DNS, for a form at your provider's. Some want the name without the\ndomain at its end.\n")
	for _, k := range keys {
		fmt.Fprintf(w, "\n  name   %s\n  type   TXT\n  value  %s\n", k.Name, k.Value)
	}
	fmt.Fprint(w, "\nThe same as lines of a zone file:\n\n")
	for _, k := range keys {
		fmt.Fprintf(w, "%s. IN TXT ( %s )\n", k.Name, k.Zone)
	}
}

func newDKIMAddCommand(o *options) *cobra.Command {
	in := admin.NewDKIMKeys{}
	var algorithm string
	c := newCommand("add DOMAIN", "Make keys for a domain", cobra.ExactArgs(1), func(c *cobra.Command, args []string) error {
		in.Domain = args[0]
		switch algorithm {
		case "both":
		case string(mailauth.RSA), string(mailauth.Ed25519):
			in.Algorithms = []string{algorithm}
		default:
			return &usageError{fmt.Errorf("--algorithm: %q is none of rsa, ed25519, both", algorithm)}
		}
		var made []admin.DKIMKey
		if err := o.ask(c, "dkim/add", in, &made); err != nil {
			return err
		}
		return o.print(c, made, func(w io.Writer) { showMade(w, made) })
	})
	c.Long = `Make keys for a domain of the configuration, and print the DNS records to
publish. A key signs at once where the domain has none of its algorithm that
does; else it waits for its record, and then takes the other one's place.`
	c.Example = "  mailbox admin dkim add example.org\n  mailbox admin dkim add example.org --algorithm rsa --selector mail2027"
	c.Flags().StringVar(&in.Selector, "selector", "", "the `name` of the key; of two keys, r and e are added to it; default: made of year and month")
	c.Flags().StringVar(&algorithm, "algorithm", "both", "rsa, ed25519 or both")
	return c
}

func showMade(w io.Writer, made []admin.DKIMKey) {
	listKeys(w, made)
	fmt.Fprintln(w)
	showRecords(w, made)
}

func newDKIMRotateCommand(o *options) *cobra.Command {
	c := newCommand("rotate DOMAIN", "Make successors of a domain's keys", cobra.ExactArgs(1), func(c *cobra.Command, args []string) error {
		var made []admin.DKIMKey
		if err := o.ask(c, "dkim/rotate", admin.DKIMDomain{Domain: args[0]}, &made); err != nil {
			return err
		}
		return o.print(c, made, func(w io.Writer) { showMade(w, made) })
	})
	c.Long = `Make successors of the keys that sign for a domain, and print the DNS records to
publish. Leave the old records where they are.

The running server looks for the new records. When it sees one, its key begins
to sign, and the old one is retired; the record of that must stay for 7 days
more. "list" says how far it is, and until when.`
	c.Example = "  mailbox admin dkim rotate example.org"
	return c
}

func newDKIMRetireCommand(o *options) *cobra.Command {
	c := newCommand("retire DOMAIN SELECTOR", "Let a key not sign any more", cobra.ExactArgs(2), func(c *cobra.Command, args []string) error {
		var k admin.DKIMKey
		if err := o.ask(c, "dkim/retire", admin.DKIMKeyRef{Domain: args[0], Selector: args[1]}, &k); err != nil {
			return err
		}
		return o.print(c, k, func(w io.Writer) { fmt.Fprintf(w, "Key %s of %s: %s.\n", k.Selector, k.Domain, describeKey(k)) })
	})
	c.Long = `Let a key not sign any more, at once and for good, such as one that somebody
else may have got hold of: then take its record out of the DNS as well. To
change keys in peace, use "rotate". Where none is left, mail is not signed.`
	c.Example = "  mailbox admin dkim retire example.org mb202611r"
	return c
}

func newDKIMRemoveCommand(o *options) *cobra.Command {
	c := newCommand("remove DOMAIN SELECTOR", "Forget a retired key", cobra.ExactArgs(2), func(c *cobra.Command, args []string) error {
		var k admin.DKIMKey
		if err := o.ask(c, "dkim/remove", admin.DKIMKeyRef{Domain: args[0], Selector: args[1]}, &k); err != nil {
			return err
		}
		return o.print(c, k, func(w io.Writer) {
			fmt.Fprintf(w, "Removed the key %s of %s.\n", k.Selector, k.Domain)
			if recordNeeded(k) {
				fmt.Fprintf(w, "Its record must stay in the DNS until %s.\n", formatTime(&k.Needed))
			}
		})
	})
	c.Long = `Forget a retired key. A domain from which all keys are removed gets new ones
when the server starts or reads its configuration again.`
	c.Example = "  mailbox admin dkim remove example.org mb202611r"
	return c
}
