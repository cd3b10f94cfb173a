package imapd

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// words are what octets from 0x80 on stand for in the input of a fuzzer: what
// changes one octet, as fuzzers do, then changes a command, a search key or a
// data item, and what it makes gets behind the first word of a grammar. Corpora
// name words by their place: new ones go to the end.
var words = [...]string{
	"\r\nt ", "CAPABILITY", "NOOP", "LOGOUT", "ID ", "STARTTLS", "AUTHENTICATE ", "LOGIN ", "ENABLE ", "SELECT ",
	"EXAMINE ", "CREATE ", "DELETE ", "RENAME ", "SUBSCRIBE ", "LIST ", "LSUB ", "STATUS ", "GETQUOTA", "UNAUTHENTICATE",
	"GETMETADATA ", "SETMETADATA ", "APPEND ", "IDLE\r\nDONE", "CLOSE", "UNSELECT", "EXPUNGE", "SEARCH ", "SORT (", "THREAD ",
	"FETCH ", "STORE ", "COPY ", "MOVE ", "REPLACE ", "UID ", "INBOX", "Trash", "&AOk-", "1:*",
	" 1", " *", " $", "2:1,4294967295", `""`, "NIL", " (", ") ", "RETURN (", "SAVE ",
	"ALL ", "COUNT ", "FLAGS ", "+FLAGS.SILENT ", "-FLAGS ", `\Deleted `, `\Seen `, "UNCHANGEDSINCE ", "CHANGEDSINCE ", "VANISHED",
	"BODY[", "BODY.PEEK[", "BINARY[", "BINARY.SIZE[", "HEADER.FIELDS (", "TEXT ", "MIME", "1.2.", "]<0.5>", "ENVELOPE ",
	"BODYSTRUCTURE ", "INTERNALDATE ", "MODSEQ ", "EMAILID ", "THREADID ", "SAVEDATE ", "PREVIEW ", "NOT ", "OR ", "HEADER ",
	"BODY ", "SUBJECT ", "KEYWORD ", "LARGER ", "1-Feb-2024 ", "SENTSINCE ", "OLDER ", "CHARSET UTF-8 ", "QRESYNC ", "CONDSTORE ",
	"IMAP4rev2", "UTF8=ACCEPT", "SUBSCRIBED ", "RECURSIVEMATCH ", "SPECIAL-USE ", "CHILDREN ", "METADATA (", "MESSAGES ", "UIDNEXT ", "DELETED-STORAGE ",
	"/private/", "DEPTH infinity ", "MAXSIZE ", `(USE (\Sent))`, "REVERSE ", "ARRIVAL ", "REFERENCES ", "ORDEREDSUBJECT ", "{3+}\r\nabc", "{1}\r\n",
	`" 1-Feb-2024 10:00:00 +0000" `, "UTF8 (~", alice, `"` + secret + `"`, "PLAIN ", "SCRAM-SHA-256 ", "AGFsaWNlQGhvbWUuZXhhbXBsZQB3b25kZXJsYW5kIDc=", "biwsbj1hbGljZUBob21lLmV4YW1wbGUscj1hYmM=",
}

const (
	firstWord = 0x80
	aLiteral  = 0xfd // {n+}, where n is the next octet, and the n octets behind that
	theOther  = 0xfe // the next octets are for the other session
	anOctet   = 0xff // the next octet, whatever it is

	maxScript = 16 << 10
)

// script is what a session is sent for the input of a fuzzer: little more than
// maxScript.
func script(in []byte) string {
	var out strings.Builder
	for len(in) > 0 && out.Len() < maxScript {
		b := in[0]
		in = in[1:]
		switch {
		case b < firstWord:
			out.WriteByte(b)
		case int(b-firstWord) < len(words):
			out.WriteString(words[b-firstWord])
		case b == anOctet && len(in) > 0:
			out.WriteByte(in[0])
			in = in[1:]
		case b == aLiteral && len(in) > 0:
			n := min(int(in[0]), len(in)-1)
			out.WriteString("{" + strconv.Itoa(n) + "+}\r\n")
			out.Write(in[1 : 1+n])
			in = in[1+n:]
		}
	}
	return out.String()
}

// unscript finds words in what a session could be sent.
func unscript(text string) (in []byte) {
next:
	for text != "" {
		for i, w := range words {
			if rest, found := strings.CutPrefix(text, w); found {
				in, text = append(in, byte(firstWord+i)), rest
				continue next
			}
		}
		if text[0] >= firstWord {
			in = append(in, anOctet)
		}
		in, text = append(in, text[0]), text[1:]
	}
	return in
}

// addDialogues adds what the clients say in dialogues.
func addDialogues(f *testing.F, add func([]byte)) {
	files, err := filepath.Glob("../testdata/dialogues/imapd_*.txt")
	if err != nil || len(files) == 0 {
		f.Fatalf("no dialogues: %v", err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		in := unscript(saidIn(f, string(text)))
		if back := unscript(script(in)); len(in) < maxScript/10 && !bytes.Equal(in, back) {
			f.Errorf("%s: words %q, read again %q", name, in, back)
		}
		add(in)
	}
}

// saidIn returns what the client says in a dialogue.
func saidIn(f *testing.F, text string) string {
	var said strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		line, ends := strings.CutPrefix(line, "C: ")
		line, open := strings.CutPrefix(line, "C| ")
		if !ends && !open {
			continue
		}
		line = os.Expand(line, func(name string) string {
			switch name {
			case "PASSWORD":
				return secret
			case "ALICE":
				return "AGFsaWNlQGhvbWUuZXhhbXBsZQB3b25kZXJsYW5kIDc="
			}
			return "1" // what the server said
		})
		octets, err := strconv.Unquote(`"` + strings.ReplaceAll(line, `"`, `\"`) + `"`)
		if err != nil {
			f.Fatalf("%s: %v", line, err)
		}
		said.WriteString(octets)
		if ends {
			said.WriteString("\r\n")
		}
	}
	return said.String()
}
