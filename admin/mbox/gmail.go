package mbox

import (
	"mime"
	"strings"
)

// Gmail keeps flags among the labels, and calls them in the user's language.
var (
	gmailUnread  = map[string]bool{"unread": true, "ungelesen": true, "non lus": true, "no leídos": true, "da leggere": true, "ongelezen": true}
	gmailStarred = map[string]bool{"starred": true, "markiert": true, "suivis": true, "destacados": true, "speciali": true, "met ster": true}
	gmailOpened  = map[string]bool{"opened": true, "geöffnet": true, "ouverts": true, "abiertos": true, "aperti": true, "geopend": true}
)

// gmail reads X-Gmail-Labels of Google's Takeout. A message is read unless it
// has the label of unread ones; labels that became flags are left out.
func (s *state) gmail(value string) {
	unread := false
	for _, label := range gmailLabels(value) {
		switch l := strings.ToLower(label); {
		case gmailUnread[l]:
			unread = true
		case gmailStarred[l]:
			s.add(`\Flagged`)
		case gmailOpened[l]:
		default:
			s.labels = append(s.labels, label)
		}
	}
	if !unread {
		s.add(`\Seen`)
	}
}

// gmailLabels parts labels at commas that are not in quotes, after the encoded
// words of RFC 2047 were decoded.
func gmailLabels(value string) []string {
	if text, err := new(mime.WordDecoder).DecodeHeader(value); err == nil {
		value = text
	}
	var labels []string
	var label strings.Builder
	quoted := false
	end := func() {
		if l := strings.TrimSpace(strings.ToValidUTF8(label.String(), "\uFFFD")); l != "" {
			labels = append(labels, l)
		}
		label.Reset()
	}
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '\\' && quoted && i+1 < len(value):
			i++
			label.WriteByte(value[i])
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			end()
		default:
			label.WriteByte(c)
		}
	}
	end()
	return labels
}
