package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"mailbox/admin"
	"mailbox/mta"
)

func newQueueCommand(o *options) *cobra.Command {
	c := newGroup("queue", "Look at and steer the mail that waits to go out",
		newQueueListCommand(o), newQueueShowCommand(o), newQueueRetryCommand(o), newQueueHoldCommand(o), newQueueReleaseCommand(o),
		newQueueDropCommand(o), newQueueRouteCommand(o))
	c.Long = `Look at and steer the mail that waits to go out.

A message for people elsewhere waits here until each recipient's server has
taken it. What cannot be delivered is tried again, less and less often, and at
last returned to its sender: usually there is nothing for you to do. "list"
shows what waits and why, "show" everything about one message.

The other commands act on the messages whose IDs you give, on all recipients
that --recipient, --domain, --user and --older choose together, or on --all.
Where you give IDs and such flags, only what fits both.`
	c.Example = `  mailbox admin queue list
  mailbox admin queue show 17
  mailbox admin queue retry --domain example.net
  mailbox admin queue hold --user alice@example.org
  mailbox admin queue drop 17 18`
	return c
}

// queueFlags choose recipients of the queue.
type queueFlags struct {
	recipient, domain, user, older string
	all                            bool
}

func (q *queueFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&q.recipient, "recipient", "", "mail for this `address`")
	c.Flags().StringVar(&q.domain, "domain", "", "mail for recipients of this `domain`")
	c.Flags().StringVar(&q.user, "user", "", "mail that the user of this `address` sent")
	c.Flags().StringVar(&q.older, "older", "", "mail that has waited longer than this `time`, such as 90m, 12h or 5d")
}

// addAll adds also the flag that chooses everything.
func (q *queueFlags) addAll(c *cobra.Command) {
	q.add(c)
	c.Flags().BoolVar(&q.all, "all", false, "everything in the queue")
}

// read returns what flags and IDs choose.
func (q *queueFlags) read(ids []string) (admin.QueueChoice, error) {
	choice := admin.QueueChoice{Recipient: q.recipient, Domain: q.domain, User: q.user, All: q.all}
	for _, s := range ids {
		id, err := parseQueueID(s)
		if err != nil {
			return choice, err
		}
		choice.IDs = append(choice.IDs, id)
	}
	if q.older != "" {
		age, err := parseAge(q.older)
		if err != nil {
			return choice, &usageError{fmt.Errorf("--older: %w", err)}
		}
		choice.Older = int64(age / time.Second)
	}
	return choice, nil
}

// some reads a choice that must be made.
func (q *queueFlags) some(ids []string) (admin.QueueChoice, error) {
	flags := q.recipient != "" || q.domain != "" || q.user != "" || q.older != ""
	switch chosen := flags || len(ids) > 0; {
	case !chosen && !q.all:
		return admin.QueueChoice{}, &usageError{errors.New("nothing was chosen: give the IDs of messages, or --recipient, --domain, --user or --older, or --all")}
	case chosen && q.all:
		return admin.QueueChoice{}, &usageError{errors.New("--all is everything: give it alone, or choose without it")}
	}
	return q.read(ids)
}

func parseQueueID(s string) (int64, error) {
	id, err := strconv.ParseInt(s, 10, 64)
	if err != nil || id <= 0 {
		return 0, &usageError{fmt.Errorf("%q is not the ID of a message, as \"mailbox admin queue list\" shows it", s)}
	}
	return id, nil
}

// parseAge reads a duration of at least a second, also in days.
func parseAge(s string) (time.Duration, error) {
	var age time.Duration
	days, err := strconv.ParseUint(strings.TrimSuffix(s, "d"), 10, 16)
	if strings.HasSuffix(s, "d") && err == nil {
		age = time.Duration(days) * 24 * time.Hour
	} else if age, err = time.ParseDuration(s); err != nil {
		return 0, fmt.Errorf("%q is not a time such as 90m, 12h or 5d", s)
	}
	if age < time.Second {
		return 0, fmt.Errorf("%q is less than a second", s)
	}
	return age, nil
}

func newQueueListCommand(o *options) *cobra.Command {
	var q queueFlags
	var held bool
	var limit int
	c := newCommand("list", "List the recipients that wait for their mail", cobra.NoArgs, func(c *cobra.Command, args []string) error {
		choice, err := q.read(nil)
		if err != nil {
			return err
		}
		if c.Flags().Changed("held") {
			choice.Held = &held
		}
		if limit < 1 {
			return &usageError{fmt.Errorf("--limit: %d is less than 1", limit)}
		}
		var list admin.QueueList
		if err := o.ask(c, "queue/list", admin.QueueQuery{QueueChoice: choice, Limit: limit}, &list); err != nil {
			return err
		}
		if list.More {
			fmt.Fprintf(c.ErrOrStderr(), "These are the oldest %d; there are more.\n", limit)
		}
		return o.print(c, list.Recipients, func(w io.Writer) { listQueue(w, list.Recipients) })
	})
	c.Long = `List the recipients that wait for their mail, the oldest first: a line for each,
so that a message to three people has three. ID is the message's. NEXT TRY is
"held" where you said that it is not to be tried, TRIES how often it was.`
	c.Example = "  mailbox admin queue list\n  mailbox admin queue list --domain example.net --older 12h\n  mailbox admin queue list --held"
	q.add(c)
	c.Flags().BoolVar(&held, "held", false, "only what is held; --held=false: only what is not")
	c.Flags().IntVar(&limit, "limit", 1000, "at most so many, up to 10000")
	return c
}

func listQueue(w io.Writer, rows []admin.QueueRow) {
	fmt.Fprintln(w, "ID\tFROM\tTO\tSIZE\tQUEUED\tNEXT TRY\tTRIES\tLAST ANSWER")
	for _, r := range rows {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%d\t%s\n", r.ID, formatSender(r.Sender), plain(r.Recipient), formatSize(r.Size),
			formatTime(&r.Queued), formatDue(r.Due, r.Held), r.Attempts, shorten(plain(r.LastReply)))
	}
}

func formatSender(s string) string {
	if s == "" {
		return "<>"
	}
	return plain(s)
}

func formatDue(due time.Time, held bool) string {
	switch {
	case held:
		return "held"
	case !due.After(time.Now()):
		return "now"
	}
	return formatTime(&due)
}

// plain makes what strangers wrote safe to show on a terminal.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}

// shorten leaves as much of a reply as a table has room for.
func shorten(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:59]) + "…"
	}
	return s
}

func newQueueShowCommand(o *options) *cobra.Command {
	c := newCommand("show ID", "Show everything about one message", cobra.ExactArgs(1), func(c *cobra.Command, args []string) error {
		id, err := parseQueueID(args[0])
		if err != nil {
			return err
		}
		var m admin.QueuedMessage
		if err := o.ask(c, "queue/show", admin.QueueRef{ID: id}, &m); err != nil {
			return err
		}
		return o.print(c, m, func(w io.Writer) { showQueued(w, m) })
	})
	c.Long = `Show everything about one message: what its sender asked for, who still waits
for it, and every attempt: when, which server, how the connection was
protected, how far it got, and what the server said.`
	c.Example = "  mailbox admin queue show 17"
	return c
}

func showQueued(w io.Writer, m admin.QueuedMessage) {
	field := fieldsTo(w, "")
	field("ID", strconv.FormatInt(m.ID, 10))
	field("from", formatSender(m.Sender))
	field("sent by", m.User)
	field("Message-ID", m.MessageID)
	field("size", formatSize(m.Size))
	field("queued", formatTime(&m.Queued))
	if !m.Release.IsZero() {
		field("not before", formatTime(&m.Release))
	}
	field("return", map[string]string{"FULL": "the whole message", "HDRS": "the header"}[m.Ret])
	field("envelope ID", m.EnvID)
	if m.RequireTLS {
		field("TLS", "required")
	}
	for _, r := range m.Recipients {
		showQueuedRecipient(w, r)
	}
}

// fieldsTo returns what writes a line for a field that is not empty.
func fieldsTo(w io.Writer, indent string) func(name, value string) {
	return func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s%s\t%s\n", indent, name, plain(value))
		}
	}
}

func showQueuedRecipient(w io.Writer, r admin.QueuedRecipient) {
	fmt.Fprintf(w, "\nto %s\n", plain(r.Address))
	field := fieldsTo(w, "  ")
	field("next try", formatDue(r.Due, r.Held))
	field("route", r.Route)
	field("reports", r.Notify)
	field("originally to", r.ORCPT)
	if r.Late {
		field("late", "its sender was told")
	}
	if len(r.Attempts) == 0 {
		field("attempts", "none")
		return
	}
	fmt.Fprintln(w, "\n  TIME\tSERVER\tADDRESS\tTLS\tSTAGE\tTOOK\tANSWER")
	for _, a := range r.Attempts {
		fmt.Fprintf(w, "  %s\t%s\t%s\t%s\t%s\t%.1fs\t%s\n", a.At.Local().Format(time.DateTime), plain(a.Host), a.Address, orNo(plain(a.TLS)), a.Stage, a.Took, plain(a.Reply))
	}
}

func orNo(s string) string {
	if s == "" {
		return "no"
	}
	return s
}

// newQueueAction makes a command that acts on a choice. done says what was
// done to #, such as "3 recipients"; hint, why there may be none.
func newQueueAction(o *options, name, short, done, hint string) *cobra.Command {
	var q queueFlags
	c := newCommand(name+" [ID...]", short, cobra.ArbitraryArgs, func(c *cobra.Command, args []string) error {
		choice, err := q.some(args)
		if err != nil {
			return err
		}
		return o.actOnQueue(c, "queue/"+name, choice, done, hint)
	})
	q.addAll(c)
	return c
}

func (o *options) actOnQueue(c *cobra.Command, command string, in any, done, hint string) error {
	var out admin.QueueDone
	if err := o.ask(c, command, in, &out); err != nil {
		return err
	}
	if out.Recipients > 0 {
		err := o.print(c, out, func(w io.Writer) { fmt.Fprintln(w, strings.Replace(done, "#", countRecipients(out.Recipients), 1)) })
		if err != nil {
			return err
		}
	}
	switch {
	case len(out.Missing) > 0:
		return fmt.Errorf("%s: nothing in the queue fits%s", nameMessages(out.Missing), hint)
	case out.Recipients == 0:
		return errors.New("nothing in the queue fits" + hint)
	}
	return nil
}

func countRecipients(n int) string {
	if n == 1 {
		return "1 recipient"
	}
	return strconv.Itoa(n) + " recipients"
}

func nameMessages(ids []int64) string {
	list := make([]string, len(ids))
	for i, id := range ids {
		list[i] = strconv.FormatInt(id, 10)
	}
	if len(ids) == 1 {
		return "message " + list[0]
	}
	return "messages " + strings.Join(list, ", ")
}

func newQueueRetryCommand(o *options) *cobra.Command {
	c := newQueueAction(o, "retry", "Try to send mail now", "# will be tried now.",
		"; what is held must be released first, and what is to be sent later is tried only where its ID is given")
	c.Long = `Try to send mail now, instead of when it is due. What is held stays held. What
its sender wants to be sent at a later time is left alone, unless you give its
ID: then it goes now.`
	c.Example = "  mailbox admin queue retry 17\n  mailbox admin queue retry --domain example.net\n  mailbox admin queue retry --all"
	return c
}

func newQueueHoldCommand(o *options) *cobra.Command {
	c := newQueueAction(o, "hold", "Keep mail from being sent until it is released", "Held #.", "")
	c.Long = `Keep mail from being sent until you release it. It stays in the queue, and no
one is told. An attempt that is on its way already is not stopped.`
	c.Example = "  mailbox admin queue hold 17\n  mailbox admin queue hold --user alice@example.org"
	return c
}

func newQueueReleaseCommand(o *options) *cobra.Command {
	c := newQueueAction(o, "release", "Let held mail be sent", "Released #.", "; only what is held can be released")
	c.Long = `Let held mail be sent: when it is due, which is at once where that time has
passed. It does not change the time before which its sender wants it not sent;
"retry" with its ID does.`
	c.Example = "  mailbox admin queue release 17\n  mailbox admin queue release --all"
	return c
}

func newQueueDropCommand(o *options) *cobra.Command {
	c := newQueueAction(o, "drop", "Throw mail away without telling its sender", "Dropped #. The senders are not told.", "")
	c.Long = `Throw mail away, for good and at once. Nothing is asked, and the senders are
not told. It is also how a message that waits for its time is cancelled. An
attempt that is on its way already is not stopped.`
	c.Example = "  mailbox admin queue drop 17\n  mailbox admin queue drop --recipient mistyped@example.net"
	return c
}

func newQueueRouteCommand(o *options) *cobra.Command {
	var q queueFlags
	var host string
	var none bool
	c := newCommand("edit-route [ID...]", "Send mail through another server", cobra.ArbitraryArgs, func(c *cobra.Command, args []string) error {
		choice, err := q.some(args)
		if err != nil {
			return err
		}
		if none == (host != "") {
			return &usageError{errors.New("give either --host or --none")}
		}
		done := "# will go where the configuration and the DNS say."
		if host != "" {
			if host, err = mta.ParseHost(host); err != nil {
				return &usageError{fmt.Errorf("--host: %w", err)}
			}
			done = "# will go to " + host + "."
		}
		return o.actOnQueue(c, "queue/route", admin.QueueRoute{QueueChoice: choice, Host: host}, done, "")
	})
	c.Long = `Send mail through another server than the DNS names for its recipients, or with
--none through that again. It is tried when it is due: "retry" makes that now.
Where the configuration has a section [[mta.routes]] with that host, its TLS and
login hold; else TLS is used where the server offers it.`
	c.Example = `  mailbox admin queue edit-route 17 --host smtp.example.net:587
  mailbox admin queue edit-route --domain example.net --host backup.example.net
  mailbox admin queue edit-route 17 --none`
	q.addAll(c)
	c.Flags().StringVar(&host, "host", "", "the `server`, such as smtp.example.net:587; the port is 25 where none is given")
	c.Flags().BoolVar(&none, "none", false, "undo --host")
	return c
}
