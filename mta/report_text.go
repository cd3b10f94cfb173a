package mta

import (
	"fmt"
	"strings"
	"time"

	"mailbox/internal/message"
	"mailbox/internal/smtpd"
)

// A letter is plain text for people, in lines of CRLF.
type letter struct{ strings.Builder }

func (l *letter) paragraph(format string, args ...any) {
	l.lines("", fmt.Sprintf(format, args...))
	l.WriteString("\r\n")
}

// lines appends a text in lines that are indented.
func (l *letter) lines(indent, text string) {
	for _, line := range wrap(printable(text), 72-len(indent)) {
		l.WriteString(indent + line + "\r\n")
	}
}

const indent = "    "

// A story is what is told of one recipient or more: they stand between its
// opening and the rest.
type story struct{ opening, rest string }

// text is the report in words that need no knowledge of mail. Recipients of
// whom the same is to be said stand together, those with bad news first.
func (r *Report) text(head []byte) string {
	l := &letter{}
	l.paragraph("This is the mail server %s. It has news of your message%s%s.", r.Hostname, title(head), day(" of ", r.Message.Queued))
	for _, a := range actions {
		var stories []story
		to := map[story][]string{}
		for i := range r.Fates {
			if f := &r.Fates[i]; f.Action == a {
				s := r.story(f)
				if to[s] == nil {
					stories = append(stories, s)
				}
				to[s] = append(to[s], f.names())
			}
		}
		for _, s := range stories {
			l.paragraph("%s", s.opening)
			for _, name := range to[s] {
				l.lines(indent, name)
			}
			l.WriteString("\r\n" + s.rest)
		}
	}
	switch {
	case r.full():
		l.paragraph("Your message is attached.")
	case r.Content != nil:
		l.paragraph("The header of your message is attached.")
	}
	return strings.TrimSuffix(l.String(), "\r\n")
}

// names is the recipient as the sender wrote it, and where that led.
func (f *Fate) names() string {
	address, written := smtpd.Path(f.Address), f.written()
	if strings.EqualFold(written, address) {
		return address
	}
	return written + " (which leads to " + address + ")"
}

// story is what is told of a recipient.
func (r *Report) story(f *Fate) story {
	rest := &letter{}
	switch f.Action {
	case ActionDelivered:
		rest.paragraph("It is in the mailbox there.")
		return story{"It was delivered to:", rest.String()}
	case ActionRelayed:
		rest.paragraph("The next mail server took it, and sends no confirmations. So this is the last that you hear of it, unless something goes wrong.")
		rest.said(f)
		return story{"It is on its way to:", rest.String()}
	case ActionDelayed:
		rest.paragraph("%s", f.reason().why)
		rest.paragraph("You need not do anything: this server keeps trying%s.%s", day(" until ", f.Retry), f.promise())
		rest.said(f)
		return story{"It is late. It could not be delivered yet to:", rest.String()}
	}
	opening := "It could not be delivered to:"
	if f.Expired {
		opening = "It could not be delivered" + r.span() + ", and this server does not try any longer, to:"
	}
	why := f.reason()
	rest.paragraph("%s %s", why.why, why.remedy)
	rest.said(f)
	return story{opening, rest.String()}
}

// promise is that of another report, which the sender may have declined.
func (f *Fate) promise() string {
	if f.Notify == "" || strings.Contains(f.Notify, "FAILURE") {
		return " It will tell you if that does not succeed."
	}
	return ""
}

// said appends the words of the other host, or how far we got with it.
func (l *letter) said(f *Fate) {
	a := f.attempt()
	words := a.Reply
	if f.Action == ActionRelayed {
		words = f.Reply
	}
	if words == "" {
		return
	}
	host := a.Host
	if a.Address != "" {
		host += " (" + a.Address + ")"
	}
	switch {
	case host != "" && (f.Action == ActionRelayed || f.Failure != nil && f.Failure.Remote):
		l.paragraph("The server %s answered:", host)
	case a.Address != "":
		l.paragraph("What went wrong with the server %s, in technical words:", host)
	default:
		l.paragraph("In technical words:")
	}
	l.lines(indent, oneLine(words))
	l.WriteString("\r\n")
}

// span is how long the message was tried.
func (r *Report) span() string {
	since := r.Message.Queued
	if r.Message.Release.After(since) {
		since = r.Message.Release
	}
	switch d := r.At.Sub(since).Round(time.Minute); {
	case d >= 48*time.Hour:
		return fmt.Sprintf(" within %d days", d/(24*time.Hour))
	case d >= 2*time.Hour:
		return fmt.Sprintf(" within %d hours", d/time.Hour)
	}
	return " in time"
}

// day writes a time for people, behind other words; "" for none.
func day(before string, t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return before + t.Format("Monday, 2 January 2006, 15:04 MST")
}

const maxTitle = 100 // letters of a subject that are shown

// title is the subject of the message, so that its sender knows which is meant.
func title(head []byte) string {
	words := []rune(message.DecodeWords(message.ParseHeader(head).Get("Subject")))
	switch {
	case len(words) == 0:
		return ""
	case len(words) > maxTitle:
		words = append(words[:maxTitle], []rune("...")...)
	}
	return ` "` + string(words) + `"`
}
