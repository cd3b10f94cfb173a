package mta

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"regexp"
	"slices"
	"strings"
	"time"

	"mailbox/internal/smtpd"
	"mailbox/storage"
)

// An Action is what became of a recipient (RFC 3464 section 2.3.3).
type Action string

// The actions, the worst one first.
const (
	ActionFailed    Action = "failed"
	ActionDelayed   Action = "delayed"
	ActionRelayed   Action = "relayed"
	ActionDelivered Action = "delivered"
)

var actions = []Action{ActionFailed, ActionDelayed, ActionRelayed, ActionDelivered}

// A Fate is what a Report says of one recipient. Where it was relayed, Last is
// the attempt in which the next host took it.
type Fate struct {
	storage.QueuedRecipient
	Action  Action
	Failure *Failure  // of the last attempt; nil where there was none, or where it was taken
	Reply   string    // the words of the host that took it
	Expired bool      // given up because of its age
	Retry   time.Time // tried until then, where it is delayed
}

// A Report tells the sender of a message what became of it for some of its
// recipients (RFC 3464). What other hosts said, and what the message holds,
// cannot make it more or less than it is.
type Report struct {
	Hostname string // ours
	Author   string // the address in From
	At       time.Time
	Message  *storage.QueuedMessage // what it is about; Message.Sender gets the report
	Content  io.ReaderAt            // of Message, Message.Size octets in lines that end in CRLF; nil: it is not returned
	Fates    []Fate
}

// maxReturned is how many octets of a header are returned.
const maxReturned = 64 << 10

// UTF8 tells whether the report needs SMTPUTF8 (RFC 6531).
func (r *Report) UTF8() bool { return !ascii(r.Message.Sender) || !ascii(r.Author) }

// A reportPart is one part of a multipart/report (RFC 6522).
type reportPart struct {
	kind     string // Content-Type
	encoding string // Content-Transfer-Encoding
	body     io.Reader
}

// WriteTo writes the report as a message, lines in CRLF: what people read, what
// programs read, and the message or its header as it was.
func (r *Report) WriteTo(w io.Writer) (int64, error) {
	header, body, err := r.open()
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(w, io.MultiReader(strings.NewReader(header+"\r\n"), body))
	if err != nil {
		return n, fmt.Errorf("report of message %d: %w", r.Message.ID, err)
	}
	return n, nil
}

// open returns the report's header and its body, between which an empty line
// stands.
func (r *Report) open() (header string, body io.Reader, err error) {
	head, err := r.returnedHeader()
	if err != nil {
		return "", nil, fmt.Errorf("report of message %d: %w", r.Message.ID, err)
	}
	parts := []reportPart{readable(r.text(head)), r.statusPart()}
	if r.Content != nil {
		parts = append(parts, r.returned(head))
	}
	encoding := "7bit"
	if slices.ContainsFunc(parts, func(p reportPart) bool { return p.encoding == "8bit" }) {
		encoding = "8bit"
	}
	boundary := rand.Text()
	var pieces []io.Reader
	for i, p := range parts {
		begin := fmt.Sprintf("--%s\r\nContent-Type: %s\r\nContent-Transfer-Encoding: %s\r\n\r\n", boundary, p.kind, p.encoding)
		if i > 0 {
			begin = "\r\n" + begin
		}
		pieces = append(pieces, strings.NewReader(begin), p.body)
	}
	pieces = append(pieces, strings.NewReader("\r\n--"+boundary+"--\r\n"))
	return r.header(boundary, encoding), io.MultiReader(pieces...), nil
}

// header is that of the report, without the empty line that ends it.
func (r *Report) header(boundary, encoding string) string {
	f := &fields{utf8: r.UTF8()}
	f.add("From", "Mail delivery <"+smtpd.Path(printable(r.Author))+">")
	f.add("To", "<"+smtpd.Path(printable(r.Message.Sender))+">")
	f.add("Subject", mime.QEncoding.Encode("utf-8", printable(r.subject())))
	f.add("Date", date(r.At))
	f.add("Message-ID", "<"+rand.Text()+"@"+r.Hostname+">")
	if messageID.MatchString(r.Message.MessageID) {
		f.add("In-Reply-To", r.Message.MessageID)
		f.add("References", r.Message.MessageID)
	}
	f.add("Auto-Submitted", "auto-replied") // RFC 3834 section 5
	f.add("MIME-Version", "1.0")
	f.add("Content-Type", `multipart/report; report-type=delivery-status; boundary="`+boundary+`"`)
	f.add("Content-Transfer-Encoding", encoding)
	return f.String()
}

// messageID is one that may stand in a header of ours.
var messageID = regexp.MustCompile(`^<[!-;=?-~]{1,400}>$`)

// subject names the worst that happened, and to whom.
func (r *Report) subject() string {
	said := map[Action]string{
		ActionFailed: "Mail not delivered to ", ActionDelayed: "Mail delayed to ", ActionRelayed: "Mail relayed to ", ActionDelivered: "Mail delivered to ",
	}
	for _, a := range actions {
		var to []string
		for i := range r.Fates {
			if r.Fates[i].Action == a {
				to = append(to, r.Fates[i].written())
			}
		}
		switch len(to) {
		case 0:
		case 1:
			return said[a] + to[0]
		case 2:
			return said[a] + to[0] + " and 1 other"
		default:
			return fmt.Sprintf("%s%s and %d others", said[a], to[0], len(to)-1)
		}
	}
	return "Mail delivery"
}

// written is the address as the sender wrote it, as far as we know.
func (f *Fate) written() string {
	if _, address, ok := strings.Cut(f.ORCPT, ";"); ok {
		return address
	}
	return smtpd.Path(f.Address)
}

// readable is a part of plain text.
func readable(text string) reportPart {
	p := reportPart{kind: "text/plain; charset=utf-8", encoding: "7bit", body: strings.NewReader(text)}
	if !sevenBit(strings.NewReader(text)) {
		var b bytes.Buffer
		w := quotedprintable.NewWriter(&b)
		io.WriteString(w, text) //nolint:errcheck // memory
		w.Close()               //nolint:errcheck // memory
		p.encoding, p.body = "quoted-printable", &b
	}
	return p
}

// statusPart is what programs read (RFC 3464 section 2). With an address beyond
// ASCII it is that of RFC 6533.
func (r *Report) statusPart() reportPart {
	f := &fields{utf8: r.international()}
	f.add("Reporting-MTA", "dns; "+r.Hostname)
	f.add("Original-Envelope-Id", r.Message.EnvID)
	f.add("Arrival-Date", date(r.Message.Queued))
	for i := range r.Fates {
		f.WriteString("\r\n")
		r.Fates[i].addTo(f)
	}
	p := reportPart{kind: "message/delivery-status", encoding: "7bit", body: strings.NewReader(f.String())}
	if f.utf8 {
		p.kind, p.encoding = "message/global-delivery-status", encodingOf(strings.NewReader(f.String()))
	}
	return p
}

func (r *Report) international() bool {
	return slices.ContainsFunc(r.Fates, func(f Fate) bool {
		return !ascii(f.Address) || !ascii(f.ORCPT) || strings.HasPrefix(f.ORCPT, "utf-8;")
	})
}

// addTo adds the fields of a recipient (RFC 3464 section 2.3).
func (f *Fate) addTo(to *fields) {
	if kind, address, ok := strings.Cut(f.ORCPT, ";"); ok {
		to.add("Original-Recipient", kind+"; "+address)
	}
	kind := "rfc822; "
	if !ascii(f.Address) {
		kind = "utf-8; "
	}
	to.add("Final-Recipient", kind+smtpd.Path(f.Address))
	to.add("Action", string(f.Action))
	to.add("Status", f.status())
	a := f.attempt()
	if a.Address != "" {
		to.add("Remote-MTA", "dns; "+mtaName(a.Host))
	}
	if f.Failure != nil && f.Failure.Remote {
		to.add("Diagnostic-Code", "smtp; "+oneLine(f.Failure.Reply))
	}
	to.add("Last-Attempt-Date", date(a.At))
	if f.Action == ActionDelayed {
		to.add("Will-Retry-Until", date(f.Retry))
	}
}

// attempt is the one that decided; zero where there was none.
func (f *Fate) attempt() storage.Attempt {
	switch {
	case f.Failure != nil:
		return f.Failure.Attempt
	case f.Action == ActionDelivered:
		return storage.Attempt{}
	}
	return f.Last
}

var statusCode = regexp.MustCompile(`^[45]\.[0-9]{1,3}\.[0-9]{1,3}$`)

// status is that of RFC 3463. For what expired it is what went wrong at last
// (section 3.5, X.4.7).
func (f *Fate) status() string {
	switch {
	case f.Action == ActionDelivered:
		return "2.1.5"
	case f.Action == ActionRelayed:
		return "2.1.9" // the next host sends no reports
	case f.Failure != nil && statusCode.MatchString(f.Failure.Status):
		return f.Failure.Status
	case f.Expired:
		return "4.4.7"
	case f.Action == ActionDelayed || f.Failure != nil && !f.Failure.Permanent():
		return "4.0.0"
	}
	return "5.0.0"
}

// returnedHeader is what of the message's header is returned.
func (r *Report) returnedHeader() ([]byte, error) {
	if r.Content == nil {
		return nil, nil
	}
	head, err := io.ReadAll(io.NewSectionReader(r.Content, 0, min(r.Message.Size, maxReturned)))
	if err != nil {
		return nil, err
	}
	if bytes.HasPrefix(head, []byte("\r\n")) {
		return nil, nil
	}
	if end := bytes.Index(head, []byte("\r\n\r\n")); end >= 0 {
		return head[:end+2], nil
	}
	return head[:bytes.LastIndexByte(head, '\n')+1], nil
}

// returned is the message or its header, unchanged.
func (r *Report) returned(head []byte) reportPart {
	p := reportPart{kind: "text/rfc822-headers", body: bytes.NewReader(head), encoding: encodingOf(bytes.NewReader(head))}
	if r.Message.UTF8 {
		p.kind = "message/global-headers"
	}
	if r.full() {
		content := func() io.Reader { return io.NewSectionReader(r.Content, 0, r.Message.Size) }
		p = reportPart{kind: "message/rfc822", body: content(), encoding: encodingOf(content())}
		if r.Message.UTF8 {
			p.kind = "message/global"
		}
	}
	return p
}

// full tells whether the whole message is returned: RET is about failures only
// (RFC 3461 section 4.3), and not about what asks for REQUIRETLS (RFC 8689
// section 5).
func (r *Report) full() bool {
	return r.Message.Ret == "FULL" && !r.Message.RequireTLS && r.Content != nil &&
		slices.ContainsFunc(r.Fates, func(f Fate) bool { return f.Action == ActionFailed })
}

func encodingOf(r io.Reader) string {
	if sevenBit(r) {
		return "7bit"
	}
	return "8bit"
}
