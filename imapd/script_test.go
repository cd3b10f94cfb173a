package imapd

import (
	"bytes"
	"strconv"
	"testing"

	"mailbox/internal/dialogue"
)

// words are those of FuzzBeforeLogin, FuzzAfterLogin and FuzzTwoSessions.
var words = dialogue.Words{
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
	firstWord = dialogue.FirstWord
	aLiteral  = 0xfd // {n+}, where n is the next octet, and the n octets behind that
	theOther  = 0xfe // the next octets are for the other session

	maxScript = 16 << 10
)

// script is what a session is sent for the input of a fuzzer.
func script(in []byte) string {
	return words.Script(in, maxScript, func(b byte, rest []byte) (string, int) {
		if b != aLiteral || len(rest) == 0 {
			return "", 0
		}
		n := min(int(rest[0]), len(rest)-1)
		return "{" + strconv.Itoa(n) + "+}\r\n" + string(rest[1:1+n]), 1 + n
	})
}

// unscript finds words in what a session could be sent.
func unscript(text string) []byte { return words.Unscript(text) }

// addDialogues adds what the clients say in dialogues.
func addDialogues(f *testing.F, add func([]byte)) {
	words.AddDialogues(f, "../testdata/dialogues/imapd_*.txt", func(name string) string {
		switch name {
		case "PASSWORD":
			return secret
		case "ALICE":
			return "AGFsaWNlQGhvbWUuZXhhbXBsZQB3b25kZXJsYW5kIDc="
		}
		return "1" // what the server said
	}, func(in []byte) {
		if back := unscript(script(in)); len(in) < maxScript/10 && !bytes.Equal(in, back) {
			f.Errorf("words %q, read again %q", in, back)
		}
		add(in)
	})
}
