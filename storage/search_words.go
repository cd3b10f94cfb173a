package storage

import (
	"unicode"
	"unicode/utf8"
)

// The text of an email is indexed by its words, and these by their trigrams, so
// that a substring of a word is found in the words that it is in, and exactly
// so. Two kinds of text have too many different words for that:
//
//   - Scripts without spaces, and signs like emoji, are indexed by pairs of
//     characters, and the last of a run alone.
//   - What is long or mixed of letters and digits (keys, numbers, signatures) is
//     hardly ever twice the same. Its trigrams are indexed as if they were words.
//     So is what stands in base64, though a sign of that may part off a short run.
type class uint8

const (
	gap   class = iota // parts words
	plain              // is of words
	wide               // is indexed by pairs
)

// Words up to maxWord octets are kept whole, mixed ones up to maxMixed.
const (
	maxWord  = 32
	maxMixed = 12
)

// unfinished is a word of the emails whose text is not wholly indexed. No text
// has it: it is neither plain nor wide.
const unfinished = "\ue000"

var unspaced = []*unicode.RangeTable{
	unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar,
}

func classOf(r rune) class {
	switch {
	case r < utf8.RuneSelf:
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || 'A' <= r && r <= 'Z' {
			return plain
		}
		return gap
	case r >= 0x0e00 && unicode.In(r, unspaced...):
		return wide
	case unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r):
		return plain
	case unicode.IsSymbol(r) && r != utf8.RuneError:
		return wide
	}
	return gap
}

// split calls yield with where the runs of plain and of wide characters stand
// in a folded text.
func split(text string, yield func(start, end int, c class)) {
	start, was := 0, gap
	for i, r := range text {
		if c := classOf(r); c != was {
			if was != gap {
				yield(start, i, was)
			}
			start, was = i, c
		}
	}
	if was != gap {
		yield(start, len(text), was)
	}
}

// base64 returns how many octets of base64's alphabet a folded text begins
// with, and tells whether so many, of letters and digits, are taken for base64.
func base64(text string) (octets int, is bool) {
	letters, digits := false, false
scan:
	for octets < len(text) {
		switch c := text[octets]; {
		case 'a' <= c && c <= 'z':
			letters = true
		case '0' <= c && c <= '9':
			digits = true
		case c != '+' && c != '/':
			break scan
		}
		octets++
	}
	return octets, octets > maxWord && letters && digits
}

// isRandom tells whether a plain run is indexed by its trigrams.
func isRandom(run string) bool {
	if len(run) > maxWord {
		return true
	}
	if len(run) <= maxMixed {
		return false
	}
	digits := 0
	for i := range len(run) {
		if run[i] >= '0' && run[i] <= '9' {
			digits++
		}
	}
	return digits > 0 && digits < len(run)
}

// grams calls yield for each n characters of s that stand together, and
// returns the last n-1, or all of s where it is shorter.
func grams(s string, n int, yield func(string)) string {
	var starts [3]int // of the last n characters
	seen := 0
	for i := range s {
		if seen >= n {
			yield(s[starts[seen%n]:i])
		}
		starts[seen%n] = i
		seen++
	}
	if seen < n {
		return s
	}
	yield(s[starts[seen%n]:])
	return s[starts[(seen+1)%n]:]
}

// A vocabulary is the set of words of a text, and that of the trigrams of what
// is no word.
type vocabulary struct {
	words, trigrams map[string]struct{}
}

func newVocabulary() *vocabulary {
	return &vocabulary{map[string]struct{}{}, map[string]struct{}{}}
}

func (v *vocabulary) clear() {
	clear(v.words)
	clear(v.trigrams)
}

// add takes in a folded text.
func (v *vocabulary) add(text string) {
	word := func(w string) { v.words[w] = struct{}{} }
	until, inBase64 := 0, false // what stands before until
	split(text, func(start, end int, c class) {
		if start >= until {
			var octets int
			octets, inBase64 = base64(text[start:])
			until = start + octets
		}
		run := text[start:end]
		switch {
		case c == wide:
			word(grams(run, 2, word))
		case isRandom(run), inBase64 && utf8.RuneCountInString(run) >= 3: // shorter ones have no trigram
			grams(run, 3, func(g string) { v.trigrams[g] = struct{}{} })
		default:
			word(run)
		}
	})
}
