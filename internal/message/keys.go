package message

import (
	"strings"
	"time"

	"golang.org/x/text/unicode/norm"
)

// Keys are what messages are sorted and threaded by (RFC 5256). Texts are in the
// form in which they are compared.
type Keys struct {
	Sent       time.Time // of the Date field, in its zone; zero where there is none that can be read
	Subject    string    // the base subject (section 2.1)
	Reply      bool      // the subject says that it is a reply or forwarded
	From       string    // the mailbox of the first address (section 3)
	To         string
	Cc         string
	ID         string   // the Message-ID, with its angle brackets
	References []string // at most 100; the first of In-Reply-To where there is no References (section 5.2, step 1)
}

// KeysOf reads the keys of a header.
func KeysOf(h Header) Keys {
	k := Keys{
		From: firstMailbox(h, "from"), To: firstMailbox(h, "to"), Cc: firstMailbox(h, "cc"),
		ID: firstID(h.Get("message-id")), References: lastIDs(h.Get("references")),
	}
	k.Sent, _ = ParseDate(h.Get("date"))
	subject := h.Get("subject")
	base, reply := BaseSubject(subject[:min(len(subject), maxEnvelopeField)])
	k.Subject, k.Reply = collate(base), reply
	if id := firstID(h.Get("in-reply-to")); id != "" && len(k.References) == 0 {
		k.References = []string{id}
	}
	return k
}

// lastIDs reads the msg-ids of References; of too many the last say most.
func lastIDs(s string) []string {
	ids := messageIDs(s, maxAddresses)
	return ids[max(0, len(ids)-100):]
}

// collate brings a text to the form in which i;unicode-casemap compares it
// (RFC 5051), and bounds it.
func collate(s string) string {
	s = norm.NFKD.String(Fold(s))
	for i := range s {
		if i > 250 {
			return s[:i]
		}
	}
	return s
}

func firstMailbox(h Header, name string) string {
	value := strings.Join(h.All(name), ", ")
	if list := ParseAddresses(value[:min(len(value), maxEnvelopeField)]); len(list) > 0 {
		return collate(list[0].Mailbox)
	}
	return ""
}

// BaseSubject takes off a subject what replies and forwards put around it, and
// tells whether there was any (RFC 5256 section 2.1).
func BaseSubject(subject string) (base string, reply bool) {
	s := strings.Join(strings.Fields(DecodeWords(subject)), " ") // step 1
	for {
		for { // step 2
			t, found := cutSuffixFold(s, "(fwd)")
			if !found {
				break
			}
			s, reply = strings.TrimRight(t, " "), true
		}
		for { // steps 3 to 5
			if t, found := cutLeader(s); found {
				s, reply = t, true
				continue
			}
			t := cutBlob(s)
			if t == s || t == "" {
				break
			}
			s = t
		}
		if len(s) < 6 || !strings.EqualFold(s[:5], "[fwd:") || s[len(s)-1] != ']' { // step 6
			return s, reply
		}
		s, reply = strings.TrimSpace(s[5:len(s)-1]), true
	}
}

func cutSuffixFold(s, suffix string) (string, bool) {
	if n := len(s) - len(suffix); n >= 0 && strings.EqualFold(s[n:], suffix) {
		return s[:n], true
	}
	return s, false
}

// cutLeader takes off a subj-leader: blobs, and then "Re:", "Fw:" or "Fwd:",
// with a blob before its colon where there is one.
func cutLeader(s string) (string, bool) {
	for {
		t := cutBlob(s)
		if t == s {
			break
		}
		s = t
	}
	for _, word := range []string{"re", "fwd", "fw"} {
		if len(s) < len(word) || !strings.EqualFold(s[:len(word)], word) {
			continue
		}
		rest, found := strings.CutPrefix(cutBlob(strings.TrimLeft(s[len(word):], " ")), ":")
		if found {
			return strings.TrimLeft(rest, " "), true
		}
	}
	return s, false
}

// cutBlob takes off a subj-blob and the space behind it.
func cutBlob(s string) string {
	if !strings.HasPrefix(s, "[") {
		return s
	}
	end := strings.IndexAny(s[1:], "[]")
	if end < 0 || s[1+end] != ']' {
		return s
	}
	return strings.TrimLeft(s[end+2:], " ")
}
