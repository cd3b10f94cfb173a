package msa

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"mailbox/internal/message"
)

// parseMailboxes reads the mailbox-list of RFC 5322 section 3.4, unfolded,
// UTF-8 allowed (RFC 6532), and returns its addresses, and those that stand in
// display names and comments, where some programs look. It takes only what
// every parser reads the same way: no groups, no routes, no empty elements, no
// space inside of an address, no quoted local part that needs its quotes, no
// encoded-word that hides syntax. (A parser that decodes first would see it.)
func parseMailboxes(s string) (list, said []string, err error) {
	if !utf8.ValidString(s) {
		return nil, nil, errors.New("it is not UTF-8")
	}
	if strings.ContainsFunc(s, isControl) {
		return nil, nil, errors.New("it holds control characters")
	}
	p := &mailboxes{s: s}
	for {
		address, err := p.mailbox()
		if err != nil {
			return nil, nil, err
		}
		list = append(list, address)
		if p.i == len(p.s) {
			break
		}
		if !p.accept(',') {
			return nil, nil, errSyntax
		}
	}
	for _, text := range p.texts {
		found, err := addressesIn(text)
		if err != nil {
			return nil, nil, err
		}
		said = append(said, found...)
	}
	return list, said, nil
}

var (
	errSyntax = errors.New("malformed list of addresses")
	errHidden = errors.New("an encoded word hides something")
)

type mailboxes struct {
	s     string
	i     int
	texts []string // display names and comments
}

// peek returns the next octet; 0 is the end.
func (p *mailboxes) peek() byte {
	if p.i < len(p.s) {
		return p.s[p.i]
	}
	return 0
}

func (p *mailboxes) accept(c byte) bool {
	if p.peek() != c {
		return false
	}
	p.i++
	return true
}

// mailbox reads an address, with a display name or without, and the space and
// comments around it.
func (p *mailboxes) mailbox() (address string, err error) {
	var name strings.Builder
	for words := 0; ; words++ {
		before := p.i
		if err := p.space(); err != nil {
			return "", err
		}
		if words > 0 && p.i > before { // words that touch are shown as one
			name.WriteByte(' ')
		}
		if p.accept('<') {
			address, err = p.angle()
			break
		}
		word, werr := p.word()
		if werr != nil {
			return "", werr
		}
		if p.accept('@') {
			if words > 0 {
				return "", errSyntax
			}
			address, err = p.domain(word)
			break
		}
		name.WriteString(word)
	}
	if err != nil {
		return "", err
	}
	p.texts = append(p.texts, name.String())
	return address, p.space()
}

// word reads an atom, in which dots may stand, or a quoted string.
func (p *mailboxes) word() (string, error) {
	if p.peek() == '"' {
		return p.quoted()
	}
	from := p.i
	for p.i < len(p.s) {
		r, n := utf8.DecodeRuneInString(p.s[p.i:])
		if r != '.' && !isAtext(r) {
			break
		}
		p.i += n
	}
	if p.i == from {
		return "", errSyntax
	}
	return p.s[from:p.i], nil
}

func (p *mailboxes) quoted() (string, error) {
	var b strings.Builder
	for p.i++; p.i < len(p.s); p.i++ {
		switch c := p.s[p.i]; c {
		case '"':
			p.i++
			return b.String(), nil
		case '\\':
			if p.i++; p.i == len(p.s) {
				return "", errSyntax
			}
			b.WriteByte(p.s[p.i])
		default:
			b.WriteByte(c)
		}
	}
	return "", errSyntax
}

// angle reads what stands behind a "<".
func (p *mailboxes) angle() (string, error) {
	local, err := p.word()
	if err != nil {
		return "", err
	}
	if !p.accept('@') {
		return "", errSyntax
	}
	address, err := p.domain(local)
	if err == nil && !p.accept('>') {
		err = errSyntax
	}
	return address, err
}

// domain reads what stands behind the @ and returns the address.
func (p *mailboxes) domain(local string) (string, error) {
	if p.peek() == '"' {
		return "", errSyntax
	}
	domain, err := p.word()
	switch {
	case err != nil:
		return "", err
	case !isDotAtom(local) || !isDotAtom(domain):
		return "", errSyntax
	case strings.Contains(local, "=?") || strings.Contains(domain, "=?"):
		return "", errHidden
	}
	return local + "@" + domain, nil
}

// space skips white space and comments, and keeps what the comments say.
func (p *mailboxes) space() error {
	for {
		switch p.peek() {
		case ' ', '\t':
			p.i++
		case '(':
			if err := p.comment(); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

func (p *mailboxes) comment() error {
	var text strings.Builder
	for depth := 0; p.i < len(p.s); p.i++ {
		c := p.s[p.i]
		switch c {
		case '\\':
			if p.i++; p.i == len(p.s) {
				return errSyntax
			}
			c = p.s[p.i]
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				p.i++
				p.texts = append(p.texts, text.String())
				return nil
			}
		}
		text.WriteByte(c)
	}
	return errSyntax
}

// likeASCII is how a reader sees characters that look like those of addresses.
var likeASCII = strings.NewReplacer("\uff20", "@", "\ufe6b", "@", "\u3002", ".", "\uff0e", ".", "\uff61", ".")

// maxPieces is how many words are taken for pieces of one address.
const maxPieces = 5

// addressesIn returns what a reader would take for an address in a display name
// or comment: what stands around an @ and has a domain of two labels or more,
// or a literal. "R&D @ Example" and "Alice@Work" are names.
func addressesIn(text string) ([]string, error) {
	if !message.Certain(text) {
		return nil, errHidden
	}
	text = message.DecodeWords(text)
	if strings.ContainsFunc(text, isControl) {
		return nil, errHidden
	}
	text = likeASCII.Replace(strings.Map(visible, text))
	var found []string
	for run := range strings.FieldsFuncSeq(text, func(r rune) bool { return strings.ContainsRune("<>(),;:", r) }) {
		words := strings.Fields(run)
		for i, w := range words {
			if !strings.Contains(w, "@") {
				continue
			}
			if w[0] == '@' && i > 0 {
				w = words[i-1] + w
			}
			for _, next := range words[i+1 : min(i+1+maxPieces, len(words))] {
				if w[len(w)-1] != '@' && (next == "." || next[0] != '.') {
					break
				}
				w += next
			}
			w = strings.Trim(w, "'.")
			if at := strings.LastIndexByte(w, '@'); at > 0 && strings.ContainsAny(w[at:], ".[") {
				found = append(found, w)
			}
		}
	}
	return found, nil
}

// visible drops characters that nobody sees (Unicode's category Cf), and those
// that some programs take off.
func visible(r rune) rune {
	if unicode.Is(unicode.Cf, r) || r == '"' || r == '\\' {
		return -1
	}
	return r
}

// isDotAtom tells whether s is atoms with one dot between each two (RFC 5322
// section 3.2.3, RFC 6532).
func isDotAtom(s string) bool {
	for atom := range strings.SplitSeq(s, ".") {
		if atom == "" || strings.ContainsFunc(atom, func(r rune) bool { return !isAtext(r) }) {
			return false
		}
	}
	return true
}

func isAtext(r rune) bool {
	if r >= utf8.RuneSelf {
		return r != utf8.RuneError && !unicode.IsControl(r) && !unicode.IsSpace(r)
	}
	return r > ' ' && r < 0x7f && !strings.ContainsRune(`()<>[]:;@\,."`, r)
}

func isControl(r rune) bool { return unicode.IsControl(r) && r != '\t' }
