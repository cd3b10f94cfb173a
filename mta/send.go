package mta

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/emersion/go-smtp"

	"mailbox/internal/smtpd"
	"mailbox/storage"
)

// A session25 is a connection to a host that is ready for messages.
type session25 struct {
	r     *Remote
	hop   hop
	line  *line
	tls   string
	smtp  *smtp.Client
	began time.Time
	stop  func() bool // watching the context
	sent  int         // messages
}

// Attempt implements Connection.
func (c *session25) Attempt() storage.Attempt { return c.attempt("data", "") }

// Close implements Connection.
func (c *session25) Close() {
	c.smtp.CommandTimeout = c.line.wait(5 * time.Second)
	c.smtp.Quit() //nolint:errcheck // we are through with it
	c.abort()
}

// abort closes without a word.
func (c *session25) abort() {
	c.stop()
	c.line.Close() //nolint:errcheck // we are through with it
}

// Send implements Connection. Addresses and content are never changed: what
// the host cannot take fails (RFC 6152 section 3, RFC 6531 section 3.3).
func (c *session25) Send(_ context.Context, m *Outbound) (results []Result, again bool) {
	c.began = time.Now()
	results = make([]Result, len(m.To))
	if fail := c.unfit(m); fail != nil {
		fillAll(results, fail)
		return results, true
	}
	again, fail := c.transaction(m, results)
	if fail != nil {
		fillAll(results, fail)
	}
	c.sent++
	return results, again
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

// transaction says MAIL, RCPT and DATA. fail is that of all recipients which
// have no result yet.
func (c *session25) transaction(m *Outbound, results []Result) (again bool, fail *Failure) {
	c.smtp.CommandTimeout = c.line.wait(commandTime)
	utf8 := m.UTF8 || !ascii(m.Sender)
	for _, r := range m.To {
		utf8 = utf8 || !ascii(r.Address)
	}
	err := c.smtp.Mail(smtpd.Path(m.Sender), &smtp.MailOptions{
		Size: m.Size, UTF8: utf8 && c.offers("SMTPUTF8"), RequireTLS: m.RequireTLS, Return: smtp.DSNReturn(m.Ret), EnvelopeID: m.EnvID,
	})
	if err != nil {
		return c.after("mail", err)
	}
	reports := c.offers("DSN")
	accepted := 0
	for i, r := range m.To {
		results[i].Failure, again = c.rcpt(r)
		if !again {
			return false, results[i].Failure
		}
		if results[i].Failure == nil {
			accepted++
		}
	}
	if accepted == 0 {
		return c.reset()
	}
	reply, err := c.data(m)
	if err != nil {
		return c.after("data", err)
	}
	for i := range results {
		if results[i].Failure == nil {
			results[i] = Result{Reply: oneLine("250 " + reply), Reports: reports}
		}
	}
	return true, nil
}

// rcpt names one recipient. again is false where the connection is lost.
func (c *session25) rcpt(r storage.QueuedRecipient) (fail *Failure, again bool) {
	mine := func(status, text string) *Failure {
		f := c.failure("rcpt", status, "%s", text)
		f.HostDown = false
		return f
	}
	switch {
	case !safe(r.Address) || r.Address == "":
		return mine("5.1.3", "the recipient's address cannot be sent"), true
	case !ascii(r.Address) && !c.offers("SMTPUTF8"):
		return mine("5.6.7", "the host does not take internationalized addresses (SMTPUTF8)"), true
	}
	o := &smtp.RcptOptions{}
	if r.Notify != "" {
		for n := range strings.SplitSeq(r.Notify, ",") {
			o.Notify = append(o.Notify, smtp.DSNNotify(n))
		}
	}
	if kind, address, ok := strings.Cut(r.ORCPT, ";"); ok {
		o.OriginalRecipientType, o.OriginalRecipient = smtp.DSNAddressType(strings.ToUpper(kind)), address
	}
	err := c.smtp.Rcpt(smtpd.Path(r.Address), o)
	if err == nil {
		return nil, true
	}
	fail = c.said("rcpt", err)
	fail.HostDown = lost(err)
	return fail, !fail.HostDown
}

// data sends the message and returns what the host said.
func (c *session25) data(m *Outbound) (string, error) {
	c.smtp.CommandTimeout = c.line.wait(dataTime)
	w, err := c.smtp.Data()
	if err != nil {
		return "", err
	}
	// No deadline of go-smtp's holds while the octets go out: line has one.
	buffered := bufio.NewWriterSize(w, 32<<10)
	if _, err := io.Copy(buffered, m.Reader()); err != nil {
		c.line.Close() //nolint:errcheck // half a message must not end in a dot
		return "", err
	}
	if err := buffered.Flush(); err != nil {
		return "", err
	}
	answer, err := w.CloseWithResponse()
	if err != nil {
		return "", err
	}
	return answer.StatusText, nil
}

// after goes back to where another message may begin, after a refusal.
func (c *session25) after(stage string, err error) (again bool, fail *Failure) {
	fail = c.said(stage, err)
	if fail.HostDown = lost(err); fail.HostDown {
		return false, fail
	}
	again, _ = c.reset()
	return again, fail
}

func (c *session25) reset() (again bool, fail *Failure) {
	return c.smtp.Reset() == nil, nil
}

// lost tells that a connection is of no more use: the host said 421, or
// nothing that we understand.
func lost(err error) bool {
	var reply *smtp.SMTPError
	return !errors.As(err, &reply) || reply.Code == 421
}

// safe tells that an address cannot be taken for more than one.
func safe(address string) bool {
	return !strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '<' || r == '>' })
}

func ascii(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > 0x7e })
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
