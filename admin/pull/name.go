package pull

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// The bounds of a name here, in octets and levels.
const (
	maxComponent = 255
	maxName      = 900
	maxLevels    = 20
)

// place decides what the mailboxes of a listing are called here: as there, with
// "/" between the levels, without a prefix that all of them have, and without
// what no name may hold here. Two that would become one are told apart by a
// number; one that is called so at the source keeps its name.
func place(l *listing, gmail bool) []string {
	prefix := l.prefix()
	names := make([]string, len(l.mailboxes))
	taken, kept := map[string]bool{}, make([]bool, len(l.mailboxes))
	for i, m := range l.mailboxes {
		names[i] = placed(m, prefix)
		if name := gmailNames[m.use]; gmail && name != "" {
			names[i] = name
		}
		kept[i] = names[i] == m.name && !taken[m.name]
		if kept[i] {
			taken[m.name] = true
		}
	}
	for i := range names {
		if kept[i] {
			continue
		}
		base := names[i]
		for n := 2; taken[names[i]]; n++ {
			names[i] = fmt.Sprintf("%s (%d)", base, n)
		}
		taken[names[i]] = true
	}
	return names
}

// prefix is what stands before the name of every mailbox but INBOX, as servers
// have it that keep all mailboxes below INBOX.
func (l *listing) prefix() string {
	if l.namespaces.known {
		return decodeName(l.namespaces.personal)
	}
	prefix := ""
	for _, m := range l.mailboxes {
		if m.name == "INBOX" {
			continue
		}
		below := "INBOX" + m.separator
		if m.separator == "" || len(m.name) < len(below) || !strings.EqualFold(m.name[:len(below)], below) {
			return ""
		}
		prefix = m.name[:len(below)]
	}
	return prefix
}

// placed is the name of a mailbox here, if no other has it.
func placed(m listed, prefix string) string {
	name := m.name
	if name == "INBOX" {
		return name
	}
	if rest, ok := strings.CutPrefix(name, prefix); ok && rest != "" {
		name = rest
	}
	levels := []string{name}
	if m.separator != "" {
		levels = strings.Split(strings.TrimSuffix(name, m.separator), m.separator)
	}
	if len(levels) > maxLevels {
		levels = append(levels[:maxLevels-1], strings.Join(levels[maxLevels-1:], "_"))
	}
	for i, level := range levels {
		levels[i] = component(level)
	}
	if strings.EqualFold(levels[0], "INBOX") {
		levels[0] = "INBOX"
	}
	return shorten(strings.Join(levels, "/"), maxName)
}

// component makes one level of a name fit: what may not stand in it becomes "_".
func component(s string) string {
	s = norm.NFC.String(strings.ToValidUTF8(s, "_"))
	s = strings.Map(func(r rune) rune {
		if strings.ContainsRune("/*%\u2028\u2029", r) || unicode.IsControl(r) {
			return '_'
		}
		return r
	}, s)
	if s == "" {
		return "_"
	}
	return shorten(s, maxComponent)
}

// shorten cuts s to at most n octets, between characters.
func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return strings.TrimSuffix(s[:n], "/")
}
