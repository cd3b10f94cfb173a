package imapd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mailbox/imapd/wire"
)

// A command executes one line of a client. It reads its arguments from c.dec
// up to the end of the line, writes untagged responses, and returns the text
// of its tagged OK, with a response code in brackets before it where there is one.
type command struct {
	run   func(c *conn, ctx context.Context) (ok, error)
	legal state
	// quiet: no EXPUNGE may be sent before the command ends (RFC 3501 section 7.4.1).
	quiet bool
}

// ok is the successful end of a command.
type ok struct{ code, text string }

const (
	anyState = notAuthenticated | authenticated | selected
	loggedIn = authenticated | selected
)

// commandOf is the table of commands. The UID variants stand in uidCommandOf.
func commandOf(name string) (command, bool) {
	c, found := commands[name]
	return c, found
}

// commands is never changed.
var commands = map[string]command{
	"CAPABILITY":     {run: (*conn).capability, legal: anyState},                      // RFC 3501 section 6.1.1
	"NOOP":           {run: (*conn).noop, legal: anyState},                            // RFC 3501 section 6.1.2
	"LOGOUT":         {run: (*conn).logout, legal: anyState},                          // RFC 3501 section 6.1.3
	"ID":             {run: (*conn).identify, legal: anyState},                        // RFC 2971
	"STARTTLS":       {run: (*conn).startTLS, legal: notAuthenticated},                // RFC 3501 section 6.2.1
	"AUTHENTICATE":   {run: (*conn).authenticate, legal: notAuthenticated},            // RFC 3501 section 6.2.2, RFC 4959
	"LOGIN":          {run: (*conn).login, legal: notAuthenticated},                   // RFC 3501 section 6.2.3
	"ENABLE":         {run: (*conn).enable, legal: loggedIn},                          // RFC 5161, RFC 9051 section 6.3.1
	"SELECT":         {run: (*conn).selectBox, legal: loggedIn},                       // RFC 3501 section 6.3.1, RFC 7162 section 3.2.5
	"EXAMINE":        {run: (*conn).examine, legal: loggedIn},                         // RFC 3501 section 6.3.2, RFC 7162 section 3.2.5
	"CREATE":         {run: (*conn).create, legal: loggedIn},                          // RFC 3501 section 6.3.3, RFC 6154 section 3
	"DELETE":         {run: (*conn).delete, legal: loggedIn},                          // RFC 3501 section 6.3.4
	"RENAME":         {run: (*conn).rename, legal: loggedIn},                          // RFC 3501 section 6.3.5
	"SUBSCRIBE":      {run: (*conn).subscribe, legal: loggedIn},                       // RFC 3501 section 6.3.6
	"UNSUBSCRIBE":    {run: (*conn).unsubscribe, legal: loggedIn},                     // RFC 3501 section 6.3.7
	"LIST":           {run: (*conn).list, legal: loggedIn},                            // RFC 3501 section 6.3.8, RFC 5258, RFC 5819, RFC 6154
	"LSUB":           {run: (*conn).lsub, legal: loggedIn},                            // RFC 3501 section 6.3.9
	"STATUS":         {run: (*conn).status, legal: loggedIn},                          // RFC 3501 section 6.3.10, RFC 8438
	"GETQUOTA":       {run: (*conn).getQuota, legal: loggedIn},                        // RFC 9208 section 4.1.1
	"GETQUOTAROOT":   {run: (*conn).getQuotaRoot, legal: loggedIn},                    // RFC 9208 section 4.1.2
	"SETQUOTA":       {run: (*conn).setQuota, legal: loggedIn},                        // RFC 9208 section 4.1.3
	"COMPRESS":       {run: (*conn).compress, legal: loggedIn},                        // RFC 4978 section 3
	"UNAUTHENTICATE": {run: (*conn).unauthenticate, legal: loggedIn},                  // RFC 8437
	"GETMETADATA":    {run: (*conn).getMetadata, legal: loggedIn},                     // RFC 5464 section 4.2
	"SETMETADATA":    {run: (*conn).setMetadata, legal: loggedIn},                     // RFC 5464 section 4.3
	"NAMESPACE":      {run: (*conn).namespace, legal: loggedIn},                       // RFC 2342
	"APPEND":         {run: (*conn).append, legal: loggedIn},                          // RFC 3501 section 6.3.11, RFC 3502, RFC 4315, RFC 7889
	"IDLE":           {run: (*conn).idle, legal: loggedIn},                            // RFC 2177
	"CHECK":          {run: (*conn).noop, legal: selected},                            // RFC 3501 section 6.4.1
	"CLOSE":          {run: (*conn).closeBox, legal: selected},                        // RFC 3501 section 6.4.2
	"UNSELECT":       {run: (*conn).unselect, legal: selected},                        // RFC 3691
	"EXPUNGE":        {run: (*conn).expunge, legal: selected},                         // RFC 3501 section 6.4.3
	"SEARCH":         {run: bySequence((*conn).search), legal: selected, quiet: true}, // RFC 3501 section 6.4.4, RFC 4731, RFC 5182, RFC 9394
	"SORT":           {run: bySequence((*conn).sort), legal: selected, quiet: true},   // RFC 5256 section 3, RFC 5267 section 3
	"THREAD":         {run: bySequence((*conn).thread), legal: selected, quiet: true}, // RFC 5256 section 3
	"FETCH":          {run: bySequence((*conn).fetch), legal: selected, quiet: true},  // RFC 3501 section 6.4.5, RFC 7162 section 3.1.4, RFC 9394 section 3.3
	"STORE":          {run: bySequence((*conn).store), legal: selected, quiet: true},  // RFC 3501 section 6.4.6, RFC 7162 section 3.1.3
	"COPY":           {run: bySequence((*conn).copy), legal: selected},
	"MOVE":           {run: bySequence((*conn).move), legal: selected},    // RFC 6851
	"REPLACE":        {run: bySequence((*conn).replace), legal: selected}, // RFC 8508
}

// uidCommands follow the word UID (RFC 3501 section 6.4.8). It is never changed.
var uidCommands = map[string]command{
	"SEARCH":  {run: byUID((*conn).search), legal: selected},
	"SORT":    {run: byUID((*conn).sort), legal: selected},   // RFC 5256 section 3, RFC 5267 section 3
	"THREAD":  {run: byUID((*conn).thread), legal: selected}, // RFC 5256 section 3
	"FETCH":   {run: byUID((*conn).fetch), legal: selected},
	"STORE":   {run: byUID((*conn).store), legal: selected},
	"COPY":    {run: byUID((*conn).copy), legal: selected},
	"MOVE":    {run: byUID((*conn).move), legal: selected},    // RFC 6851
	"REPLACE": {run: byUID((*conn).replace), legal: selected}, // RFC 8508
	"EXPUNGE": {run: (*conn).uidExpunge, legal: selected},     // RFC 4315 section 2.1
}

type messageCommand func(c *conn, ctx context.Context, uid bool) (ok, error)

func bySequence(f messageCommand) func(*conn, context.Context) (ok, error) {
	return func(c *conn, ctx context.Context) (ok, error) { return f(c, ctx, false) }
}

func byUID(f messageCommand) func(*conn, context.Context) (ok, error) {
	return func(c *conn, ctx context.Context) (ok, error) { return f(c, ctx, true) }
}

// command reads and executes one command, and answers it. An error ends the session.
func (c *conn) command(ctx context.Context) error {
	c.s.stats.commands.Add(1)
	tag, err := c.dec.Tag()
	if err != nil {
		tag = "*"
	}
	c.tag, c.told = tag, time.Now()
	var done ok
	var cmd command
	if err == nil {
		if cmd, err = c.commandName(); err == nil {
			done, err = cmd.run(c, ctx)
		}
	}
	if errors.Is(err, errLogout) {
		c.enc.Status(tag, "OK", "", "LOGOUT completed")
		return err
	}
	if errors.Is(err, errStartTLS) {
		c.enc.Status(tag, "OK", "", "begin TLS negotiation now")
		return c.secure(ctx)
	}
	if errors.Is(err, errCompress) {
		c.enc.Status(tag, "OK", "", "DEFLATE active")
		return c.deflate()
	}
	if errors.Is(err, errUnauthenticate) {
		c.forget()
		c.enc.Status(tag, "OK", "CAPABILITY "+c.capabilities(), "UNAUTHENTICATE completed")
		return c.plain()
	}
	if isConnError(err) || c.enc.Err() != nil {
		return errors.Join(err, c.enc.Err())
	}
	if skip := c.dec.SkipLine(); skip != nil {
		if errors.Is(skip, wire.ErrUnskippable) { // the client may still hear why
			return errors.Join(c.answer(tag, done, err), skip)
		}
		return skip
	}
	if c.view != nil {
		if lost := c.sync(ctx, syncOptions{expunge: !cmd.quiet}); lost != nil {
			return lost
		}
		if c.has(qResync) && len(c.view.ghosts) > 0 {
			c.tellHighest()
		}
	}
	return c.answer(tag, done, err)
}

// answer writes the tagged response.
func (c *conn) answer(tag string, done ok, err error) error {
	if err == nil {
		c.enc.Status(tag, "OK", done.code, done.text)
		return nil
	}
	s := statusOf(err)
	if s.err != nil {
		c.log.Error("command", "command", c.describe().Command, "err", s.err)
	}
	c.enc.Status(tag, s.kind, s.code, s.text)
	if c.failed >= c.cfg.MaxLogins {
		return no("", "too many failed logins")
	}
	if s.kind == "BAD" {
		c.s.stats.badCommands.Add(1)
		if c.bad++; c.bad >= c.cfg.MaxBad {
			return no("", "too many bad commands")
		}
	}
	return nil
}

// isConnError tells whether err came from the connection, so that nothing
// more can be read or answered.
func isConnError(err error) bool {
	var c *connError
	return errors.As(err, &c)
}

// commandName reads the name of a command and says what it is.
func (c *conn) commandName() (command, error) {
	if err := c.dec.SP(); err != nil {
		return command{}, err
	}
	name, err := c.dec.Word()
	if err != nil {
		return command{}, err
	}
	cmd, found := commandOf(name)
	if name == "UID" {
		if err := c.dec.SP(); err != nil {
			return command{}, err
		}
		if name, err = c.dec.Word(); err != nil {
			return command{}, err
		}
		cmd, found = uidCommands[name]
		name = "UID " + name
	}
	if !found {
		return command{}, bad(fmt.Sprintf("unknown command %s", name))
	}
	c.mu.Lock()
	c.desc.Command = name
	c.mu.Unlock()
	if cmd.legal&c.state == 0 {
		return command{}, bad(name + " is not allowed in this state")
	}
	return cmd, nil
}

// mailboxName reads the name of a mailbox, and returns it in UTF-8. A name that
// cannot be decoded is kept as "" for the commands to refuse.
func (c *conn) mailboxName() (string, error) {
	raw, err := c.dec.Mailbox()
	if err != nil || c.enc.UTF8 {
		return raw, err
	}
	name, err := wire.DecodeUTF7(raw)
	if err != nil {
		return "", nil // no mailbox has the empty name
	}
	return name, nil
}

// spName reads a space and the name of a mailbox.
func (c *conn) spName() (string, error) {
	if err := c.dec.SP(); err != nil {
		return "", err
	}
	return c.mailboxName()
}

// modifiers reads what may stand in parentheses behind the arguments of a
// command (RFC 4466 section 2), and the end of the line. read is given each
// name, and reads what belongs to it.
func (c *conn) modifiers(read func(name string) error) error {
	more, err := c.dec.Accept(' ')
	if err == nil && more {
		err = c.dec.Words(read)
	}
	if err != nil {
		return err
	}
	return c.dec.CRLF()
}
