package mailauth

import (
	"encoding/base64"
	"strings"
)

// maxTags bounds the tags of one list. The RFCs know about a dozen.
const maxTags = 64

// A tag is one of a tag-list (RFC 6376 section 3.2).
type tag struct {
	name, value string // without the space around them
	from, to    int    // where the value stands in the list, with the space around it
}

type tagList []tag

// parseTags reads a tag-list. ok is false if its syntax is wrong, or a tag
// stands in it twice; a semicolon too many is forgiven.
func parseTags(s string) (list tagList, ok bool) {
	for at := 0; at < len(s); {
		end := len(s)
		if semi := strings.IndexByte(s[at:], ';'); semi >= 0 {
			end = at + semi
		}
		name, value, found := strings.Cut(s[at:end], "=")
		t := tag{name: trimSpace(name), value: trimSpace(value), from: at + len(name) + 1, to: end}
		switch {
		case !found && t.name == "":
			at = end + 1
			continue
		case !found, !isTagName(t.name), !isTagValue(t.value), len(list) == maxTags:
			return nil, false
		}
		if _, twice := list.get(t.name); twice {
			return nil, false
		}
		list = append(list, t)
		at = end + 1
	}
	return list, len(list) > 0
}

func (l tagList) find(name string) (tag, bool) {
	for _, t := range l {
		if t.name == name {
			return t, true
		}
	}
	return tag{}, false
}

func (l tagList) get(name string) (string, bool) {
	t, ok := l.find(name)
	return t.value, ok
}

// base64 decodes the value of a tag, in which space may stand anywhere (RFC
// 6376 section 2.10).
func (l tagList) base64(name string) ([]byte, bool) {
	value, ok := l.get(name)
	if !ok {
		return nil, false
	}
	b, err := base64.StdEncoding.DecodeString(dropSpace(value))
	return b, err == nil && len(b) > 0
}

// words splits the value of a tag at its colons.
func (l tagList) words(name string) []string {
	value, ok := l.get(name)
	if !ok {
		return nil
	}
	words := strings.Split(value, ":")
	for i, w := range words {
		words[i] = strings.ToLower(trimSpace(w))
	}
	return words
}

func isTagName(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		if (c < 'a' || c > 'z') && (i == 0 || s[i] != '_' && (s[i] < '0' || s[i] > '9')) {
			return false
		}
	}
	return s != ""
}

// isTagValue allows UTF-8 besides what RFC 6376 does (RFC 8616 section 4).
func isTagValue(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c < ' ' && !isSpace(c) || c == 0x7f })
}

func isSpace(c rune) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

func trimSpace(s string) string { return strings.TrimFunc(s, isSpace) }

func dropSpace(s string) string {
	return strings.Map(func(c rune) rune {
		if isSpace(c) {
			return -1
		}
		return c
	}, s)
}
