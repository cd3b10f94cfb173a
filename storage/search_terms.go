package storage

import "hash/crc32"

// A textKind is a kind of text that is indexed by itself. Its terms begin with
// its letter.
type textKind byte

const (
	inHeader textKind = 'h' // all fields
	inBody   textKind = 'b'
)

// searchFields are the fields of the header that are indexed by themselves too.
var searchFields = map[string]textKind{"subject": 's', "from": 'f', "to": 't', "cc": 'c', "bcc": 'd'}

// appendWord appends the term of a word of this kind of text.
func (k textKind) appendWord(b []byte, word string) []byte {
	return append(append(b, byte(k), 'w'), word...)
}

// appendTrigram appends the term of a trigram of this kind of text. FTS5 has a
// hash table of the terms it has not written yet, and its hash takes nearly all
// trigrams for equal; two letters more keep them apart.
func (k textKind) appendTrigram(b []byte, trigram string) []byte {
	b = append(append(b, byte(k), 't'), trigram...)
	sum := crc32.ChecksumIEEE(b[len(b)-len(trigram):])
	return append(b, 'a'+byte(sum%26), 'a'+byte(sum/26%26))
}

// word is the query of FTS5 for a word of this kind of text.
func (k textKind) word(word string) string { return quote(string(k.appendWord(nil, word))) }

// trigram is the query of FTS5 for a trigram of this kind of text.
func (k textKind) trigram(trigram string) string { return quote(string(k.appendTrigram(nil, trigram))) }

// quote makes a query of a term, which has no quotes.
func quote(term string) string { return `"` + term + `"` }
