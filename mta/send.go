package mta

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/emersion/go-smtp"

	"mailbox/internal/smtpd"
	"mailbox/storage"
)

// A session25 is a connection to a host that is ready for messages.
type session25 struct {
	r          *Remote
	hop        hop
	line       *line
	wire       *wire
	smtp       *smtp.Client
	extensions []string // that the host offers, with their parameters
	tls        string   // for the operator
	trusted    bool     // TLS, and the certificate is the host's
	lost       bool     // it is of no more use
	began      time.Time
}

// Attempt implements Connection.
func (c *session25) Attempt() storage.Attempt { return c.attempt("data", "") }

// Close implements Connection.
func (c *session25) Close() {
	if !c.lost {
		c.smtp.CommandTimeout = c.line.wait(5 * time.Second)
		c.smtp.Quit() //nolint:errcheck // we are through with it
	}
	c.abort()
}

// abort closes without a word.
func (c *session25) abort() {
	c.line.Close() //nolint:errcheck // we are through with it
}

// Send implements Connection. Addresses and content are never changed: what
// the host cannot take fails (RFC 6152 section 3, RFC 6531 section 3.3).
func (c *session25) Send(ctx context.Context, m *Outbound) (results []Result, again bool) {
	stop := c.watch(ctx)
	c.began = time.Now()
	results = make([]Result, len(m.To))
	fail := c.unfit(m)
	if fail == nil {
		fail = c.transaction(m, results)
	}
	if fail != nil {
		fillAll(results, fail)
	}
	c.lost = !stop() || c.lost
	return results, !c.lost
}

// fillAll gives a failure to all recipients that have none.
func fillAll(results []Result, fail *Failure) {
	for i := range results {
		if results[i].Failure == nil {
			results[i] = Result{Failure: fail}
		}
	}
}

func (c *session25) offers(extension string) bool {
	ok, _ := c.smtp.Extension(extension)
	return ok
}

// unfit tells why the host cannot take the message, whoever it is for.
func (c *session25) unfit(m *Outbound) *Failure {
	refuse := func(status, text string) *Failure {
		f := c.failure("ehlo", status, "%s", text)
		f.HostDown = false
		return f
	}
	if m.RequireTLS && (!c.trusted || !c.offers("REQUIRETLS")) {
		return refuse("5.7.30", "the sender asks for REQUIRETLS, which the host does not offer")
	}
	if !safe(m.Sender) {
		return refuse("5.1.7", "the sender's address cannot be sent")
	}
	if !c.offers("SMTPUTF8") && (m.UTF8 || !ascii(m.Sender)) {
		return refuse("5.6.7", "the host does not take internationalized mail (SMTPUTF8)")
	}
	if size, ok := c.smtp.MaxMessageSize(); ok && size > 0 && m.Size > int64(size) {
		return refuse("5.3.4", "the message is larger than the host takes")
	}
	if !c.offers("8BITMIME") && !sevenBit(m.Reader()) {
		return refuse("5.6.3", "the host does not take 8-bit text (8BITMIME)")
	}
	return nil
}

// transaction says MAIL, RCPT and DATA. It returns the failure of all
// recipients that have no result yet. go-smtp declares 8BITMIME to every host
// that offers it.
func (c *session25) transaction(m *Outbound, results []Result) *Failure {
	c.smtp.CommandTimeout = c.line.wait(commandTime)
	o := &smtp.MailOptions{Size: m.Size, RequireTLS: m.RequireTLS, Return: smtp.DSNReturn(m.Ret)}
	o.UTF8 = c.offers("SMTPUTF8") && international(m)
	if visible(m.EnvID) {
		o.EnvelopeID = m.EnvID
	}
	if err := positive(c.smtp.Mail(smtpd.Path(m.Sender), o)); err != nil {
		return c.refused("mail", err)
	}
	accepted := 0
	for i, r := range m.To {
		f := c.rcpt(r)
		if results[i].Failure = f; c.lost {
			return f
		}
		if f == nil {
			accepted++
		} else if f.Status == "5.5.3" && accepted > 0 {
			f.Status = "4.5.3" // too many at a time: the next transaction has room (RFC 5321 section 4.5.3.1.10)
		}
	}
	if accepted == 0 {
		c.reset()
		return nil
	}
	reply, fail := c.data(m)
	if fail != nil {
		return fail
	}
	for i := range results {
		if results[i].Failure == nil {
			results[i] = Result{Reply: reply, Reports: c.offers("DSN")}
		}
	}
	return nil
}

// international tells whether a message needs SMTPUTF8 somewhere (RFC 6531).
func international(m *Outbound) bool {
	needs := m.UTF8 || !ascii(m.Sender)
	for _, r := range m.To {
		needs = needs || !ascii(r.Address) || !ascii(r.ORCPT)
	}
	return needs
}

// rcpt names one recipient.
func (c *session25) rcpt(r storage.QueuedRecipient) *Failure {
	refuse := func(status, text string) *Failure {
		f := c.failure("rcpt", status, "%s", text)
		f.HostDown = false
		return f
	}
	switch {
	case !safe(r.Address) || r.Address == "":
		return refuse("5.1.3", "the recipient's address cannot be sent")
	case !ascii(r.Address) && !c.offers("SMTPUTF8"):
		return refuse("5.6.7", "the host does not take internationalized addresses (SMTPUTF8)")
	}
	o := &smtp.RcptOptions{}
	if r.Notify != "" {
		for n := range strings.SplitSeq(r.Notify, ",") {
			o.Notify = append(o.Notify, smtp.DSNNotify(n))
		}
	}
	o.OriginalRecipientType, o.OriginalRecipient = originalRecipient(r.ORCPT)
	if err := positive(c.smtp.Rcpt(smtpd.Path(r.Address), o)); err != nil {
		return c.refusal("rcpt", err)
	}
	return nil
}

// originalRecipient is the parameter ORCPT, or nothing where go-smtp could not
// write it as RFC 3461 section 4.2 and RFC 6533 section 3 ask: it does not
// escape a backslash.
func originalRecipient(orcpt string) (smtp.DSNAddressType, string) {
	kind, address, _ := strings.Cut(orcpt, ";")
	switch t := smtp.DSNAddressType(strings.ToUpper(kind)); {
	case t == smtp.DSNAddressTypeRFC822 && visible(address):
		return t, address
	case t == smtp.DSNAddressTypeUTF8 && utf8.ValidString(address) && !strings.Contains(address, `\`):
		return t, address
	}
	return "", ""
}

// data sends the message and returns what the host said to it.
func (c *session25) data(m *Outbound) (string, *Failure) {
	c.smtp.CommandTimeout = c.line.wait(dataTime)
	w, err := c.smtp.Data()
	if err != nil {
		return "", c.refused("data", err)
	}
	// No deadline of go-smtp's holds while the octets go out: line has its own.
	c.line.until = time.Now().Add(blockTime + time.Duration(m.Size/slowest)*time.Second)
	body := &outflow{r: m.Reader(), left: m.Size}
	if _, err := io.Copy(w, body); err != nil {
		c.abort() // half a message must not end in a dot
		c.lost = true
		if body.err != nil {
			return "", c.unsent(m, body.err)
		}
		return "", c.refusal("data", err)
	}
	answer, err := w.CloseWithResponse()
	c.line.until = time.Time{}
	if err == nil {
		return oneLine("250 " + answer.StatusText), nil
	}
	var reply *smtp.SMTPError
	if positive(err) == nil && errors.As(err, &reply) {
		return replyText(reply), nil
	}
	return "", c.refused("data", err)
}

// unsent is the failure of a message that broke off on our side.
func (c *session25) unsent(m *Outbound, err error) *Failure {
	f := c.failure("data", "4.3.0", "the message cannot be read here")
	if errors.Is(err, errBareLine) {
		f = c.failure("data", "5.6.0", "%v", err)
	}
	f.HostDown = false
	c.r.log().Error("message cannot be sent", "id", m.ID, "err", err)
	return f
}

// refused is refusal, after which another message may begin.
func (c *session25) refused(stage string, err error) *Failure {
	fail := c.refusal(stage, err)
	c.reset()
	return fail
}

// refusal is the failure of a command. The connection is lost when the host
// said 421, or nothing that makes sense where it was said.
func (c *session25) refusal(stage string, err error) *Failure {
	var reply *smtp.SMTPError
	c.lost = c.lost || !errors.As(err, &reply) || reply.Code == 421 || reply.Code < 400 || reply.Code > 599
	fail := c.said(stage, err)
	fail.HostDown = c.lost
	return fail
}

// reset ends a transaction.
func (c *session25) reset() {
	c.lost = c.lost || positive(c.smtp.Reset()) != nil || c.hello("") != nil
}

// positive forgives a host that says yes with another code than the one that
// was expected: the first digit counts (RFC 5321 section 4.2.1).
func positive(err error) error {
	var reply *smtp.SMTPError
	if errors.As(err, &reply) && reply.Code/100 == 2 {
		return nil
	}
	return err
}

var errBareLine = errors.New("the message has a bare CR or LF, which is never sent")

// An outflow reads a message while it goes out, and fails where it is not what
// it should be: all of it, in lines that end in CRLF. A host could take a bare
// CR or LF for the end of the message, and what follows for commands.
type outflow struct {
	r    io.Reader
	left int64
	last byte
	err  error
}

// Read implements io.Reader.
func (o *outflow) Read(p []byte) (int, error) {
	n, err := o.r.Read(p)
	for _, b := range p[:n] {
		if (o.last == '\r') != (b == '\n') {
			o.err = errBareLine
			return 0, o.err
		}
		o.last = b
	}
	o.left -= int64(n)
	switch {
	case err == io.EOF && o.left > 0:
		err = io.ErrUnexpectedEOF
	case err == io.EOF && o.last == '\r':
		err = errBareLine
	}
	if err != io.EOF {
		o.err = err
	}
	return n, err
}

// safe tells that an address cannot be taken for more than one.
func safe(address string) bool {
	return utf8.ValidString(address) && !strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '<' || r == '>' })
}

func ascii(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > 0x7e })
}

// visible tells that s is printable ASCII, which xtext can carry (RFC 3461
// section 4).
func visible(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// sevenBit reads all of r.
func sevenBit(r io.Reader) bool {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		for _, b := range buf[:n] {
			if b >= 0x80 {
				return false
			}
		}
		if err != nil {
			return true
		}
	}
}
