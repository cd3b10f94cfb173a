package storage

import (
	_ "embed"
	"strings"
)

// The dictionary is what most mails have in them: names and usual values of
// header fields, HTML, and words. A message that was compressed with it cannot
// be read without it, so it never changes; a better one would have another
// number, and both would be known to the decoder.
const dictionaryID = 40001

//go:embed dictionary.txt
var dictionaryText string

// dictionary returns the dictionary, with the line ends of mail.
func dictionary() []byte { return []byte(strings.ReplaceAll(dictionaryText, "\n", "\r\n")) }
