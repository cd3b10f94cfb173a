package archive

import "strings"

// wellKnown are the names that common programs give to the mailboxes of a
// special use, in lower case. Formats of files do not say what a mailbox is for.
var wellKnown = map[string]string{
	"sent": `\Sent`, "sent items": `\Sent`, "sent messages": `\Sent`, "sent mail": `\Sent`, "sent-mail": `\Sent`,
	"gesendet": `\Sent`, "gesendete elemente": `\Sent`, "gesendete objekte": `\Sent`, "envoyés": `\Sent`,
	"éléments envoyés": `\Sent`, "messages envoyés": `\Sent`, "enviados": `\Sent`, "elementos enviados": `\Sent`,
	"posta inviata": `\Sent`, "verzonden": `\Sent`, "verzonden items": `\Sent`,
	"drafts": `\Drafts`, "entwürfe": `\Drafts`, "brouillons": `\Drafts`, "borradores": `\Drafts`, "bozze": `\Drafts`,
	"concepten": `\Drafts`,
	"trash":     `\Trash`, "deleted items": `\Trash`, "deleted messages": `\Trash`, "papierkorb": `\Trash`,
	"gelöschte elemente": `\Trash`, "gelöschte objekte": `\Trash`, "corbeille": `\Trash`, "papelera": `\Trash`,
	"cestino": `\Trash`, "prullenbak": `\Trash`,
	"junk": `\Junk`, "spam": `\Junk`, "junk e-mail": `\Junk`, "junk email": `\Junk`,
	"unerwünscht": `\Junk`, "courrier indésirable": `\Junk`, "correo no deseado": `\Junk`,
	"archive": `\Archive`, "archives": `\Archive`, "archiv": `\Archive`, "archivo": `\Archive`, "archivio": `\Archive`,
}

// GuessSpecialUse gives a special use to mailboxes by well-known names, at the
// top or below INBOX: each use to one mailbox, the first of them.
func GuessSpecialUse(mailboxes []Mailbox) {
	given := map[string]bool{}
	for i := range mailboxes {
		m := &mailboxes[i]
		name := strings.ToLower(strings.TrimPrefix(m.Name, "INBOX/"))
		if use := wellKnown[name]; use != "" && !given[use] {
			m.SpecialUse = use
			given[use] = true
		}
	}
}
