package pull

import (
	"strings"

	"mailbox/admin/archive"
	"mailbox/imapd/wire"
)

// gmailNames are the names here of Gmail's mailboxes that are no labels, which
// there are called in the language of the user.
var gmailNames = map[string]string{
	`\All`: "Archive", `\Drafts`: "Drafts", `\Junk`: "Junk", `\Sent`: "Sent", `\Trash`: "Trash",
}

// A sorter decides by its labels where a message of "All Mail" goes.
type sorter struct {
	keywords                     bool            // LabelsAsKeywords
	elsewhere                    map[string]bool // labels, as Gmail writes them, whose mailbox is pulled by itself
	inbox, drafts, sent, archive archive.Mailbox
}

// sort returns the mailbox here that a message belongs into, and the flags that
// its labels mean; ok is false for one that is pulled from another mailbox.
func (s *sorter) sort(labels []string) (mailbox string, flags []string, ok bool) {
	at := map[string]bool{}
	for _, label := range labels {
		if !s.keywords && s.elsewhere[label] {
			return "", nil, false
		}
		switch label {
		case `\Inbox`, `\Sent`:
			at[label] = true
		case `\Draft`, `\Drafts`:
			at[`\Drafts`] = true
		case `\Starred`:
			flags = append(flags, `\Flagged`)
		case `\Important`:
			flags = append(flags, "$Important") // RFC 8457 section 2
		default:
			if s.keywords {
				flags = append(flags, keyword(label))
			}
		}
	}
	mailbox = s.archive.Name
	switch {
	case at[`\Inbox`]:
		mailbox = s.inbox.Name
	case at[`\Drafts`]:
		mailbox = s.drafts.Name
	case at[`\Sent`]:
		mailbox = s.sent.Name
	}
	if !s.keywords {
		mailbox = s.archive.Name
	}
	return mailbox, flags, true
}

// mailboxes are those that sort may name.
func (s *sorter) mailboxes() []archive.Mailbox {
	if s.keywords {
		return []archive.Mailbox{s.inbox, s.drafts, s.sent, s.archive}
	}
	return []archive.Mailbox{s.archive}
}

// newSorter makes a sorter from what Gmail has, under the names that it gets
// here.
func newSorter(l *listing, names []string, keywords bool) *sorter {
	s := &sorter{
		keywords:  keywords,
		elsewhere: map[string]bool{},
		inbox:     archive.Mailbox{Name: "INBOX", Subscribed: true},
		drafts:    archive.Mailbox{Name: "Drafts", SpecialUse: `\Drafts`, Subscribed: true},
		sent:      archive.Mailbox{Name: "Sent", SpecialUse: `\Sent`, Subscribed: true},
		archive:   archive.Mailbox{Name: "Archive", SpecialUse: `\Archive`, Subscribed: true},
	}
	for i, m := range l.mailboxes {
		switch {
		case m.name == "INBOX":
			s.elsewhere[`\Inbox`] = true
		case m.use == `\Sent`:
			s.elsewhere[`\Sent`] = true
			s.sent.Name = names[i]
		case m.use == `\Drafts`:
			s.elsewhere[`\Draft`], s.elsewhere[`\Drafts`] = true, true
			s.drafts.Name = names[i]
		case m.use == `\All`:
			s.archive.Name = names[i]
		case m.use == "":
			s.elsewhere[m.wire] = true
		}
	}
	return s
}

// systemFlags are those of RFC 9051 section 2.3.2, as they are written here.
var systemFlags = []string{`\Answered`, `\Deleted`, `\Draft`, `\Flagged`, `\Seen`}

// maxKeyword bounds a keyword, in octets.
const maxKeyword = 200

// keyword makes a keyword of a label or of what a server takes for a flag. What
// is not one already becomes one: what may not stand in it "_", and what is not
// ASCII modified UTF-7, as clients name their tags.
func keyword(label string) string {
	if !wire.IsAtom(label) {
		label = strings.TrimLeft(wire.EncodeUTF7(decodeName(label)), `\`)
		label = strings.Map(func(r rune) rune {
			if wire.IsAtom(string(r)) {
				return r
			}
			return '_'
		}, label)
	}
	return label[:min(len(label), maxKeyword)]
}
