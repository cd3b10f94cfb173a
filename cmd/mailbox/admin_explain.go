package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mailbox/admin"
	"mailbox/internal/mailauth"
	"mailbox/mta"
)

func newExplainCommand(o *options) *cobra.Command {
	var limit int
	c := newCommand("explain ID|MESSAGE-ID|ADDRESS", "Tell what became of a message that came in, and why", cobra.ExactArgs(1), func(c *cobra.Command, args []string) error {
		if limit < 1 {
			return &usageError{fmt.Errorf("--limit: %d is less than 1", limit)}
		}
		var found []admin.Explanation
		if err := o.ask(c, "explain", admin.ExplainQuery{What: args[0], Limit: limit}, &found); err != nil {
			return err
		}
		if len(found) == 0 {
			return fmt.Errorf("nothing is known of %q: only what came in on port 25 in the last 30 days is", args[0])
		}
		return o.print(c, found, func(w io.Writer) { showExplanations(w, found) })
	})
	c.Long = `Tell what became of a message that came in on port 25, and why: who brought it,
what each check said, and the reason for what was done. Refused messages are
there too. All is kept for 30 days, and at most for 100,000 messages; nothing of
what a message says is.

ID is the one that a sender is told ("delivered as ..."), and that Received
fields and the log have. ADDRESS is of the sender (the reverse-path) or of a
recipient. The newest come first.`
	c.Example = `  mailbox admin explain QJ3XKD7FEA4ZO2HM
  mailbox admin explain "<20261125.1234@example.net>"
  mailbox admin explain alice@example.org --limit 3`
	c.Flags().IntVar(&limit, "limit", 20, "at most so many messages, up to 1000")
	return c
}

func showExplanations(w io.Writer, found []admin.Explanation) {
	for i, e := range found {
		if i > 0 {
			fmt.Fprintln(w)
		}
		showExplanation(w, e)
	}
}

func showExplanation(w io.Writer, e admin.Explanation) {
	fmt.Fprintf(w, "%s  %s\n", e.At.Local().Format(time.DateTime), plain(e.ID))
	field := fieldsTo(w, "  ")
	field("from", formatSender(e.Sender))
	field("to", strings.Join(e.Recipients, ", "))
	field("Message-ID", e.MessageID)
	field("peer", e.Peer)
	field("outcome", e.Outcome)
	var checks mta.Checks
	if err := json.Unmarshal(e.Checks, &checks); err != nil {
		field("checks", fmt.Sprintf("cannot be read: %v", err))
		return
	}
	for _, reason := range checks.Because {
		field("because", reason)
	}
	if checks.Results == nil {
		field("checks", "none were made")
	} else {
		showResults(field, checks.Results)
	}
	for _, l := range checks.Blocklists {
		field("blocklist", fmt.Sprintf("%s has the peer: %s", l.Zone, l.Text))
	}
}

// showResults has a line for each check.
func showResults(field func(name, value string), r *mailauth.Results) {
	field("iprev", formatResult(r.IPRev.Result, r.IPRev.Name, "", r.IPRev.Reason))
	field("SPF, HELO", formatResult(r.Helo.Result, r.Helo.Domain, "", r.Helo.Reason))
	field("SPF, MAIL FROM", formatResult(r.MailFrom.Result, r.MailFrom.Domain, "", r.MailFrom.Reason))
	for _, s := range r.DKIM {
		var details []string
		if s.Selector != "" {
			details = append(details, "selector "+s.Selector)
		}
		if s.Algorithm != "" {
			details = append(details, s.Algorithm)
		}
		field("DKIM", formatResult(s.Result, s.Domain, strings.Join(details, ", "), s.Reason))
	}
	if len(r.DKIM) == 0 {
		field("DKIM", "none: there is no signature")
	}
	if r.Unchecked > 0 {
		field("DKIM", fmt.Sprintf("%d more signatures were not looked at", r.Unchecked))
	}
	field("DMARC", formatResult(r.DMARC.Result, r.DMARC.Domain, describeAlignment(r.DMARC), r.DMARC.Reason))
	if r.DMARC.Record != "" {
		field("policy", fmt.Sprintf("%s of %s; what it comes to here: %s", r.DMARC.Policy, r.DMARC.Record, r.DMARC.Disposition))
	}
	field("ARC", formatResult(r.ARC.Result, strings.Join(r.ARC.Sealers, ", "), describeTrust(r.ARC), r.ARC.Reason))
}

// formatResult says a result as in "fail for example.org (selector s): body was changed".
func formatResult(r mailauth.Result, of, details, reason string) string {
	s := string(r)
	if of != "" {
		s += " for " + of
	}
	if details != "" {
		s += " (" + details + ")"
	}
	if reason != "" {
		s += ": " + reason
	}
	return s
}

// describeAlignment says which of SPF and DKIM proved the author's domain.
func describeAlignment(d mailauth.DMARC) string {
	var proofs []string
	if d.SPFAligned {
		proofs = append(proofs, "by SPF")
	}
	if d.DKIMAligned != "" {
		proofs = append(proofs, "by the signature of "+d.DKIMAligned)
	}
	if len(proofs) == 0 && d.Domain != "" && d.Result == mailauth.Fail {
		return "neither SPF nor a signature is of that domain"
	}
	return strings.Join(proofs, " and ")
}

// describeTrust says how many of the sealers the operator trusts.
func describeTrust(a mailauth.ARC) string {
	switch {
	case len(a.Sealers) == 0:
		return ""
	case a.Trusted == 0:
		return "the newest is not trusted"
	case a.Trusted == len(a.Sealers):
		return "trusted"
	}
	return fmt.Sprintf("only the newest %d trusted", a.Trusted)
}
