package wire

import (
	"fmt"
	"math"
	"unicode/utf8"
)

// maxWord is the length of the longest Word, in octets. No command, search
// key or data item of any RFC comes near it.
const maxWord = 64

// Peek returns the next octet without consuming it. At the end of the command
// that is CR or LF.
func (d *Decoder) Peek() (byte, error) {
	win, err := d.window()
	if err != nil {
		return 0, err
	}
	return win[0], nil
}

// AtEnd reports whether the command's line ends here.
func (d *Decoder) AtEnd() (bool, error) {
	c, err := d.Peek()
	return c == '\r' || c == '\n', err
}

// Accept consumes the next octet if it is c, and reports whether it was.
func (d *Decoder) Accept(c byte) (bool, error) {
	next, err := d.Peek()
	if err != nil || next != c {
		return false, err
	}
	d.advance(1)
	return true, nil
}

// Expect consumes the octet c, or fails with a SyntaxError.
func (d *Decoder) Expect(c byte) error {
	next, err := d.Peek()
	if err != nil {
		return err
	}
	if next != c {
		what := string(rune(c))
		if c == ' ' {
			what = "a space"
		}
		return expected(what, next)
	}
	d.advance(1)
	return nil
}

// SP consumes one space.
func (d *Decoder) SP() error { return d.Expect(' ') }

// CRLF consumes the end of the command: CRLF, or a bare LF.
func (d *Decoder) CRLF() error {
	c, err := d.Peek()
	if err != nil {
		return err
	}
	if c == '\r' {
		next, err := d.peekAt(1)
		if err != nil {
			return err
		}
		if next != '\n' {
			return syntaxf("CR without LF")
		}
		d.advance(1)
		c = next
	}
	if c != '\n' {
		return expected("the end of the line", c)
	}
	d.advance(1)
	d.endLine()
	return nil
}

// run reads the longest run of octets of class c, which may be empty. The
// result is valid until the next call of a method.
func (d *Decoder) run(c class) ([]byte, error) {
	win, err := d.window()
	if err != nil {
		return nil, err
	}
	i := 0
	for i < len(win) && classes[win[i]]&c != 0 {
		i++
	}
	d.advance(i)
	if i < len(win) {
		return win[:i], nil
	}
	d.tok = append(d.tok[:0], win...)
	if err := d.runOn(c); err != nil {
		return nil, err
	}
	return d.tok, nil
}

// runOn appends octets of class c to d.tok until there is another.
func (d *Decoder) runOn(c class) error {
	for {
		win, err := d.window()
		if err != nil {
			return err
		}
		i := 0
		for i < len(win) && classes[win[i]]&c != 0 {
			i++
		}
		d.tok = append(d.tok, win[:i]...)
		d.advance(i)
		if i < len(win) {
			return nil
		}
	}
}

// some reads a run of at least one octet of class c.
func (d *Decoder) some(c class, what string) ([]byte, error) {
	tok, err := d.run(c)
	if err != nil || len(tok) > 0 {
		return tok, err
	}
	next, err := d.Peek()
	if err != nil {
		return nil, err
	}
	return nil, expected(what, next)
}

// Tag reads the tag of a command (RFC 9051 section 9, tag).
func (d *Decoder) Tag() (string, error) {
	tok, err := d.some(tagChar, "a tag")
	return string(tok), err
}

// Atom reads an atom, as it was given.
func (d *Decoder) Atom() (string, error) {
	tok, err := d.some(atomChar, "an atom")
	return string(tok), err
}

// Word reads a name of the protocol, and returns it in upper case: letters,
// digits, ".", "-", "_" and "=", 64 octets at most. It serves for commands,
// search keys, data items and the words of a section, and stops at "[", "<"
// and "(", which an atom does not all do.
func (d *Decoder) Word() (string, error) {
	tok, err := d.some(wordChar, "a word")
	if err != nil {
		return "", err
	}
	if len(tok) > maxWord {
		return "", syntaxf("a word is over %d octets", maxWord)
	}
	var up [maxWord]byte
	for i, c := range tok {
		up[i] = upper(c)
	}
	return string(up[:len(tok)]), nil
}

// ExpectWord reads a Word, which must be word in any case.
func (d *Decoder) ExpectWord(word string) error {
	tok, err := d.some(wordChar, word)
	if err != nil {
		return err
	}
	if !equalFold(tok, word) {
		return syntaxf("expected %s, found %+q", word, tok[:min(len(tok), maxWord)])
	}
	return nil
}

// String reads a string: quoted, or a literal that is read into memory.
func (d *Decoder) String() (string, error) {
	c, err := d.Peek()
	if err != nil {
		return "", err
	}
	switch c {
	case '"':
		return d.Quoted()
	case '{', '~':
		return d.literalString()
	}
	return "", expected("a string", c)
}

// Astring reads an astring: a string, or a run of ASTRING-CHAR.
func (d *Decoder) Astring() (string, error) { return d.bareOrString(astringChar) }

// Mailbox reads the name of a mailbox as it was given: in modified UTF-7
// (see DecodeUTF7) or UTF-8, and "INBOX" in any case.
func (d *Decoder) Mailbox() (string, error) { return d.bareOrString(astringChar) }

// ListMailbox reads a pattern of LIST (RFC 9051 section 9, list-mailbox), as
// it was given: the wildcards are "*" and "%".
func (d *Decoder) ListMailbox() (string, error) { return d.bareOrString(listChar) }

// bareOrString reads a string, or a run of octets of class c.
func (d *Decoder) bareOrString(c class) (string, error) {
	next, err := d.Peek()
	if err != nil {
		return "", err
	}
	if next == '"' || next == '{' {
		return d.String()
	}
	tok, err := d.some(c, "a string")
	return string(tok), err
}

// NString reads a string or NIL, for which ok is false.
func (d *Decoder) NString() (s string, ok bool, err error) {
	c, err := d.Peek()
	if err != nil {
		return "", false, err
	}
	if upper(c) == 'N' {
		return "", false, d.ExpectWord("NIL")
	}
	s, err = d.String()
	return s, err == nil, err
}

// Quoted reads a quoted string, and returns it without quotes and escapes.
// The only escapes are \" and \\ (RFC 9051 section 9, QUOTED-CHAR).
func (d *Decoder) Quoted() (string, error) {
	if err := d.Expect('"'); err != nil {
		return "", err
	}
	d.tok = d.tok[:0]
	for {
		if err := d.runOn(quotedChar); err != nil {
			return "", err
		}
		c, err := d.Peek()
		if err != nil {
			return "", err
		}
		switch {
		case c == '"':
			d.advance(1)
			if d.UTF8 && !utf8.Valid(d.tok) {
				return "", syntaxf("quoted string is not valid UTF-8")
			}
			return string(d.tok), nil
		case c == '\\':
			d.advance(1)
			if c, err = d.Peek(); err != nil {
				return "", err
			}
			if c != '"' && c != '\\' {
				return "", expected(`" or \ behind \ in a quoted string`, c)
			}
		case c >= 0x80 && d.UTF8:
		case c >= 0x80:
			return "", syntaxf("octet 0x%02x in a quoted string, where UTF-8 is not enabled", c)
		default:
			return "", expected("the end of a quoted string", c)
		}
		d.tok = append(d.tok, c)
		d.advance(1)
	}
}

// Number reads a number of 32 bits.
func (d *Decoder) Number() (uint32, error) {
	n, err := d.NumberUpTo(math.MaxUint32)
	return uint32(n), err
}

// NZNumber reads an nz-number: a number of 32 bits that is not zero and does
// not begin with 0.
func (d *Decoder) NZNumber() (uint32, error) {
	c, err := d.Peek()
	if err != nil {
		return 0, err
	}
	if c == '0' {
		return 0, syntaxf("expected a number that does not begin with 0")
	}
	return d.Number()
}

// Number64 reads a number of 63 bits (RFC 9051 section 9, number64; RFC 7162,
// mod-sequence-valzer).
func (d *Decoder) Number64() (uint64, error) { return d.NumberUpTo(math.MaxInt64) }

// NumberUpTo reads a number that is at most limit.
func (d *Decoder) NumberUpTo(limit uint64) (uint64, error) {
	tok, err := d.some(digit, "a number")
	if err != nil {
		return 0, err
	}
	n, ok := parseNumber(tok, limit)
	if !ok {
		return 0, syntaxf("number is over %d", limit)
	}
	return n, nil
}

// parseNumber converts decimal digits to a number that is at most limit.
func parseNumber(digits []byte, limit uint64) (n uint64, ok bool) {
	for _, c := range digits {
		v := uint64(c - '0')
		if n > limit/10 || n*10 > limit-min(v, limit) || v > limit {
			return 0, false
		}
		n = n*10 + v
	}
	return n, true
}

// Enter goes one level deeper, and fails with a LimitError beyond
// Limits.Depth. List calls it; a parser that recurses without parentheses,
// such as that of SEARCH NOT and OR, must call Enter and Leave itself.
func (d *Decoder) Enter() error {
	if d.depth >= d.lim.Depth {
		return &LimitError{
			Text: fmt.Sprintf("command is nested over %d deep", d.lim.Depth),
			Max:  int64(d.lim.Depth),
		}
	}
	d.depth++
	return nil
}

// Leave undoes one Enter.
func (d *Decoder) Leave() { d.depth-- }

// List reads a list in parentheses, which may be empty, and calls item for
// each of its items. Items are separated by one space.
func (d *Decoder) List(item func() error) error {
	if err := d.Enter(); err != nil {
		return err
	}
	defer d.Leave()
	if err := d.Expect('('); err != nil {
		return err
	}
	if end, err := d.Accept(')'); err != nil || end {
		return err
	}
	for {
		if err := item(); err != nil {
			return err
		}
		if end, err := d.Accept(')'); err != nil || end {
			return err
		}
		if err := d.SP(); err != nil {
			return err
		}
	}
}

// Words is a List of items that begin with a Word, which item is given.
func (d *Decoder) Words(item func(word string) error) error {
	return d.List(func() error {
		word, err := d.Word()
		if err != nil {
			return err
		}
		return item(word)
	})
}

// ListFollows reports whether a space and a list in parentheses come next, and
// consumes the space then.
func (d *Decoder) ListFollows() (bool, error) {
	next, err := d.Peek()
	if err != nil || next != ' ' {
		return false, err
	}
	if next, err = d.peekAt(1); err != nil || next != '(' {
		return false, err
	}
	d.advance(1)
	return true, nil
}

// NumSet reads a sequence set (RFC 9051 section 9, sequence-set), of at most
// MaxRanges ranges.
func (d *Decoder) NumSet() (NumSet, error) {
	tok, err := d.some(setChar, "a sequence set")
	if err != nil {
		return NumSet{}, err
	}
	return ParseNumSet(tok)
}
