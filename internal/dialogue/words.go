package dialogue

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Words are what octets from FirstWord on stand for in the input of a fuzzer:
// what changes one octet, as fuzzers do, then changes a whole word, and what it
// makes gets behind the first word of a grammar. Corpora name words by their
// place: new ones go to the end.
type Words []string

const (
	FirstWord = 0x80
	anOctet   = 0xff // the next octet, whatever it is
)

// Script is what a peer is sent for the input of a fuzzer: little more than
// most octets. special renders an octet that stands for no word, and tells how
// many of the octets behind it have a part in that.
func (w Words) Script(in []byte, most int, special func(b byte, rest []byte) (text string, used int)) string {
	var out strings.Builder
	for len(in) > 0 && out.Len() < most {
		b := in[0]
		in = in[1:]
		switch {
		case b < FirstWord:
			out.WriteByte(b)
		case int(b-FirstWord) < len(w):
			out.WriteString(w[b-FirstWord])
		case b == anOctet && len(in) > 0:
			out.WriteByte(in[0])
			in = in[1:]
		default:
			text, used := special(b, in)
			out.WriteString(text)
			in = in[used:]
		}
	}
	return out.String()
}

// Unscript finds words in what a peer could be sent.
func (w Words) Unscript(text string) (in []byte) {
next:
	for text != "" {
		for i, word := range w {
			if rest, found := strings.CutPrefix(text, word); found {
				in, text = append(in, byte(FirstWord+i)), rest
				continue next
			}
		}
		if text[0] >= FirstWord {
			in = append(in, anOctet)
		}
		in, text = append(in, text[0]), text[1:]
	}
	return in
}

// AddDialogues adds what clients say in dialogues, but for what they say many
// times. variable tells what ${NAME} stands for.
func (w Words) AddDialogues(f *testing.F, pattern string, variable func(name string) string, add func(in []byte)) {
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		f.Fatalf("no dialogues: %v", err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		said, err := said(string(text), variable)
		if err != nil {
			f.Fatalf("%s: %v", name, err)
		}
		add(w.Unscript(said))
	}
}

func said(text string, variable func(name string) string) (string, error) {
	var b strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		line, ends := strings.CutPrefix(line, "C: ")
		line, open := strings.CutPrefix(line, "C| ")
		if !ends && !open {
			continue
		}
		octets, err := unescape(os.Expand(line, variable))
		if err != nil {
			return "", err
		}
		b.WriteString(octets)
		if ends {
			b.WriteString("\r\n")
		}
	}
	return b.String(), nil
}
