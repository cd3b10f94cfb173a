package mbox

import (
	"bytes"
	"net/mail"
	"slices"
	"strconv"
	"strings"
	"time"

	"mailbox/admin/archive"
)

// A field of a header stands between two of its octets.
type field struct {
	name       string // in lower case
	start, end int
}

// A header is that of a message in an mbox. Some of its fields belong to the
// mbox, not to the message: what programs note about it there.
type header struct {
	raw     []byte
	written bool // by a Writer
	fields  []field
	notes   []field // of the mbox, without Content-Length
	length  *field  // Content-Length
}

// noteNames are the fields that belong to the mbox: those of mutt, Dovecot and
// UW-IMAP, of Mozilla, and of Gmail's Takeout.
var noteNames = []string{
	"status", "x-status", "x-keywords", "x-uid", "x-imap", "x-imapbase",
	"x-mozilla-status", "x-mozilla-status2", "x-mozilla-keys",
	"x-gmail-labels", "x-gm-thrid",
}

// parseHeader reads a header. Where it begins with notes, only those are notes:
// that is where Mozilla, Takeout and a Writer put theirs, and what comes later
// is the message's own. A Writer ends its notes with Status.
func parseHeader(raw []byte, written bool) *header {
	h := &header{raw: raw, written: written}
	for start := 0; start < len(raw); {
		end := start + lineLength(raw[start:])
		name, _, ok := bytes.Cut(raw[start:end], []byte(":"))
		// Behind the last note of a Writer the message begins, maybe with a space.
		for !(written && h.noted()) && end < len(raw) && (raw[end] == ' ' || raw[end] == '\t') {
			end += lineLength(raw[end:])
		}
		f := field{strings.ToLower(strings.TrimRight(string(name), " \t")), start, end}
		if !ok {
			f.name = ""
		}
		h.fields = append(h.fields, f)
		start = end
	}
	leading := 0
	for leading < len(h.fields) {
		name := h.fields[leading].name
		if !slices.Contains(noteNames, name) && !(written && name == "content-length") {
			break
		}
		leading++
		if written && name == "status" {
			break
		}
	}
	h.sort(leading)
	return h
}

// noted reports whether the next field may be the last note of a Writer: all
// before it are.
func (h *header) noted() bool {
	for _, f := range h.fields {
		if f.name != "x-imapbase" && f.name != "content-length" && f.name != "x-keywords" && f.name != "x-status" {
			return false
		}
	}
	return true
}

// sort finds the notes, of which leading are at the beginning.
func (h *header) sort(leading int) {
	for i, f := range h.fields {
		if f.name == "content-length" && h.length == nil && (i < leading || !h.written) {
			h.length = &h.fields[i]
		}
		if slices.Contains(noteNames, f.name) && (i < leading || leading == 0) {
			h.notes = append(h.notes, f)
		}
	}
}

// lineLength is the length of the first line, with its end.
func lineLength(b []byte) int {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return i + 1
	}
	return len(b)
}

// value is what a field says, unfolded.
func (h *header) value(f field) string {
	_, value, _ := bytes.Cut(h.raw[f.start:f.end], []byte(":"))
	value = bytes.ReplaceAll(bytes.ReplaceAll(value, []byte("\r"), nil), []byte("\n"), nil)
	return strings.TrimSpace(string(value))
}

// find returns what the first field of a name says.
func (h *header) find(name string) (value string, ok bool) {
	for _, f := range h.fields {
		if f.name == name {
			return h.value(f), true
		}
	}
	return "", false
}

// contentLength is what Content-Length says, or -1.
func (h *header) contentLength() int64 {
	if h.length == nil {
		return -1
	}
	n, err := strconv.ParseInt(h.value(*h.length), 10, 64)
	if err != nil || n < 0 {
		return -1
	}
	return n
}

// internal reports whether this is no message, but where UW-IMAP keeps the state
// of a mailbox.
func (h *header) internal() bool {
	subject, _ := h.find("subject")
	_, imap := h.find("x-imap")
	_, base := h.find("x-imapbase")
	return strings.Contains(subject, "DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA") && (imap || base)
}

// date is when Date says that the message was written, or zero.
func (h *header) date() time.Time {
	value, _ := h.find("date")
	at, err := mail.ParseDate(value)
	if err != nil {
		return time.Time{}
	}
	_, offset := at.Zone()
	return at.In(zone(offset))
}

// message returns the header without the notes, and without Content-Length if
// it is one.
func (h *header) message(counted bool) []byte {
	drop := slices.Clone(h.notes)
	if counted && h.length != nil {
		drop = append(drop, *h.length)
	}
	slices.SortFunc(drop, func(a, b field) int { return a.start - b.start })
	var kept []byte
	from := 0
	for _, f := range drop {
		kept = append(kept, h.raw[from:f.start]...)
		from = f.end
	}
	return append(kept, h.raw[from:]...)
}

// notes that became flags, labels, or the knowledge that the message is gone.
type state struct {
	flags   []string
	labels  []string
	deleted bool // by Mozilla, which has not compacted the file yet
}

// state reads the notes. X-Keywords that are none stay in the message: other
// programs have a field of that name.
func (h *header) state() (s state) {
	for i := 0; i < len(h.notes); i++ {
		value := h.value(h.notes[i])
		switch h.notes[i].name {
		case "status":
			s.letters(value, "R", `\Seen`)
		case "x-status":
			s.letters(value, "A", `\Answered`, "F", `\Flagged`, "D", `\Deleted`, "T", `\Draft`)
		case "x-keywords":
			if words := strings.Fields(value); h.keywords(words) {
				s.add(words...)
			} else {
				h.notes = slices.Delete(h.notes, i, i+1)
				i--
			}
		case "x-mozilla-status":
			s.mozilla(value)
		case "x-mozilla-status2":
			if bits, _ := strconv.ParseUint(value, 16, 32); bits&0x00200000 != 0 {
				s.add(`\Deleted`)
			}
		case "x-mozilla-keys":
			s.add(slices.DeleteFunc(strings.Fields(value), func(w string) bool { return !archive.IsKeyword(w) })...)
		case "x-gmail-labels":
			s.gmail(value)
		}
	}
	return s
}

// keywords reports whether words can be keywords. With commas between them they
// are rather what somebody wrote for people to read.
func (h *header) keywords(words []string) bool {
	for _, w := range words {
		if !archive.IsKeyword(w) || !h.written && strings.Contains(w, ",") {
			return false
		}
	}
	return true
}

// letters adds the flag behind each letter that value has.
func (s *state) letters(value string, pairs ...string) {
	for i := 0; i < len(pairs); i += 2 {
		if strings.Contains(value, pairs[i]) {
			s.add(pairs[i+1])
		}
	}
}

func (s *state) mozilla(value string) {
	bits, err := strconv.ParseUint(value, 16, 32)
	if err != nil {
		return
	}
	for _, b := range []struct {
		bit  uint64
		flag string
	}{{1, `\Seen`}, {2, `\Answered`}, {4, `\Flagged`}, {0x1000, "$Forwarded"}} {
		if bits&b.bit != 0 {
			s.add(b.flag)
		}
	}
	s.deleted = bits&8 != 0
}

// add adds flags that are not there.
func (s *state) add(flags ...string) {
	for _, flag := range flags {
		if !slices.ContainsFunc(s.flags, func(f string) bool { return strings.EqualFold(f, flag) }) {
			s.flags = append(s.flags, flag)
		}
	}
}
