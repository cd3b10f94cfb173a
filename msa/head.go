package msa

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mailbox/internal/message"
	"mailbox/internal/smtpd"
	"mailbox/storage"
)

const (
	maxHead    = 1 << 20 // octets of a header
	maxHops    = 100     // Received fields of a message that is no loop
	dateLayout = "Mon, 02 Jan 2006 15:04:05 -0700"
)

// unwanted are the fields that never leave: who else got the message (RFC 5322
// section 3.6.3), and what only the last server may add (RFC 5321 section 4.4).
var unwanted = []string{"Bcc", "Resent-Bcc", "Return-Path"}

// A head is the header of a message as it came, and what of the body had to be
// read to find its end.
type head struct {
	fields message.Header
	body   bool   // something follows: an empty line, or the body without one
	begun  []byte // of the body
}

// readHead reads a header from lines that end in CRLF. Where it ends without an
// empty line, complete puts that there, as Postfix does, so that all who read
// the message agree on what its header is.
func readHead(in *bufio.Reader) (*head, error) {
	h, err := message.ReadHead(in, maxHead)
	if errors.Is(err, message.ErrLongHeader) {
		return nil, smtpd.Reply(552, "5.3.4", "header is too large")
	}
	if err != nil {
		return nil, err
	}
	if len(h.Fields) > 0 && h.Fields[0].Name == "" { // its first line continues none: all of it is the body
		return &head{body: true, begun: slices.Concat(raw(h.Fields), h.Gap, h.Begun)}, nil
	}
	return &head{fields: h.Fields, body: len(h.Gap)+len(h.Begun) > 0, begun: h.Begun}, nil
}

// raw returns fields as they stand in the message.
func raw(h message.Header) (b []byte) {
	for _, f := range h {
		b = append(b, f.Raw...)
	}
	return b
}

// kept are the fields that go on.
func (h *head) kept() message.Header {
	return slices.DeleteFunc(slices.Clone(h.fields), func(f message.Field) bool { return isOneOf(f, unwanted...) })
}

// complete returns the header with its empty line, without the unwanted fields
// and with those added that RFC 6409 section 8 wants: Date, and Message-ID in
// the domain of author. All else is as it came.
func (h *head) complete(author string, at time.Time) []byte {
	var out []byte
	if len(named(h.fields, "Date")) == 0 {
		out = fmt.Appendf(out, "Date: %s\r\n", at.Format(dateLayout))
	}
	if len(named(h.fields, "Message-ID")) == 0 {
		out = fmt.Appendf(out, "Message-ID: <%s%s>\r\n", rand.Text(), author[strings.LastIndexByte(author, '@'):])
	}
	out = append(out, raw(h.kept())...)
	if h.body {
		out = append(out, "\r\n"...)
	}
	return out
}

func named(h message.Header, names ...string) []message.Field {
	var list []message.Field
	for _, f := range h {
		if isOneOf(f, names...) {
			list = append(list, f)
		}
	}
	return list
}

func isOneOf(f message.Field, names ...string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(f.Name, n) })
}

// checkHead makes sure that the message is from whom it says (RFC 6409 section
// 6.1): every address in From, Sender and their Resent- forms must be the
// user's own. from was found to be, or is "". It returns the first address of
// From, with a domain of A-labels.
func (t *session) checkHead(ctx context.Context, h message.Header, from string) (author string, err error) {
	if len(named(h, "Received")) >= maxHops {
		return "", smtpd.Reply(554, "5.4.6", "message is looping: it has too many Received fields")
	}
	if len(named(h, "From")) != 1 {
		return "", smtpd.Reply(554, "5.6.0", "exactly one From field is needed")
	}
	if len(named(h, "Sender")) > 1 {
		return "", smtpd.Reply(554, "5.6.0", "there may be only one Sender field")
	}
	known := map[string]bool{from: true}
	for _, f := range named(h, "From", "Sender", "Resent-From", "Resent-Sender") {
		list, said, err := readOrigin(f)
		if err != nil {
			return "", err
		}
		for _, a := range slices.Concat(list, said) {
			if err := t.checkOrigin(ctx, f.Name, a, known); err != nil {
				return "", err
			}
		}
		if strings.EqualFold(f.Name, "From") {
			author = foldDomain(list[0])
		}
	}
	return author, nil
}

// readOrigin returns the addresses of a field that says who a message is from,
// and those that are only shown beside them.
func readOrigin(f message.Field) (list, said []string, err error) {
	_, value, _ := bytes.Cut(f.Raw, []byte{':'})
	list, said, err = parseMailboxes(strings.ReplaceAll(string(value), "\r\n", ""))
	if err == nil && len(list) > 1 && strings.HasSuffix(strings.ToLower(f.Name), "sender") {
		err = fmt.Errorf("more than one address") // RFC 5322 section 3.6.2
	}
	if err != nil {
		return nil, nil, smtpd.Reply(554, "5.6.0", fmt.Sprintf("the %s field leaves doubts who the message is from: %v", f.Name, err))
	}
	return list, said, nil
}

// maxOrigins bounds what one message may make us look up.
const maxOrigins = 100

// checkOrigin makes sure that an address is the user's own. known are those
// that were found to be.
func (t *session) checkOrigin(ctx context.Context, field, address string, known map[string]bool) error {
	if known[address] {
		return nil
	}
	if len(known) >= maxOrigins {
		return smtpd.Reply(554, "5.6.0", "message has too many senders")
	}
	ok, err := t.owns(ctx, address)
	if err == nil && !ok {
		err = notYours(address, " in the "+field+" field")
	}
	known[address] = true
	return err
}

// owns tells whether an address is the user's own. Local parts that need
// quotes are not: others may read something else in them.
func (t *session) owns(ctx context.Context, address string) (bool, error) {
	at := strings.LastIndexByte(address, '@')
	if at < 0 || !isDotAtom(address[:at]) {
		return false, nil
	}
	ok, err := t.s.Store.MaySendAs(ctx, t.account, address)
	if err != nil {
		return false, fmt.Errorf("may send as %s: %w", address, err)
	}
	return ok, nil
}

func notYours(address, where string) *smtpd.Status {
	if clean, err := storage.ParseAddress(address); err == nil {
		address = clean
	}
	if len(address) > 254 { // RFC 5321 section 4.5.3.1.5 bounds the reply
		address = "an address of more than 254 octets"
	}
	return smtpd.Reply(553, "5.7.1", address+where+" is not an address of yours")
}
