package imapd

import (
	"bytes"
	"testing"
)

// FuzzBeforeLogin sends arbitrary commands to a server that does not know who
// its client is, over TLS or in the clear. Passwords that work are among its words.
func FuzzBeforeLogin(f *testing.F) {
	add := func(in []byte) {
		f.Add(in, false)
		f.Add(in, true)
	}
	for _, s := range []string{
		"a CAPABILITY\r\nb NOOP\r\nc ID (\"name\" \"x\" \"version\" NIL)\r\nd ID NIL\r\ne LOGOUT\r\n",
		"a AUTHENTICATE PLAIN\r\nAGFsaWNlQGhvbWUuZXhhbXBsZQB3b25kZXJsYW5kIDc=\r\nb SELECT INBOX\r\n",
		"a AUTHENTICATE PLAIN AGFsaWNlQGhvbWUuZXhhbXBsZQB3b25kZXJsYW5kIDc=\r\nb UNAUTHENTICATE\r\nc LOGIN x y\r\n",
		"a AUTHENTICATE SCRAM-SHA-256 biwsbj1hbGljZUBob21lLmV4YW1wbGUscj1hYmM=\r\nYz1iaXdzLHI9YWJjLHA9\r\nb AUTHENTICATE PLAIN\r\n*\r\n",
		"a LOGIN {18}\r\nalice@home.example {12+}\r\nwonderland 7\r\nb NOOP\r\n", "a AUTHENTICATE LOGIN\r\nYQ==\r\n*\r\n",
		"a LOGIN {99999999+}\r\n", "a LOGIN {1000+}\r\n", "a STARTTLS\r\nb NOOP\r\n", "a STARTTLS\r\n", "\x16\x03\x01\x02\x00\x01\x00",
		"a UID FETCH 1 ((((((\r\nb SELECT \"\r\nc X {1+}\r\n\x00 {1+}\r\n\r\n",
	} {
		add(unscript(s))
	}
	addDialogues(f, add)
	z := newFuzzing(f)
	f.Fuzz(func(t *testing.T, in []byte, overTLS bool) {
		z.run(t, func() []*attacker { return []*attacker{z.attack(script(in), overTLS)} })
	})
}

// How a session of FuzzAfterLogin is when its commands begin.
const (
	isCompressed = 1 << iota
	isOverTLS
	isSelected
	isResyncing
	isRev2
)

// FuzzAfterLogin sends arbitrary commands to a session that is logged in.
func FuzzAfterLogin(f *testing.F) {
	addSessions(f, func(in []byte) {
		for _, how := range []uint8{0, isSelected, isSelected | isResyncing, isSelected | isRev2 | isCompressed, isSelected | isResyncing | isRev2 | isOverTLS} {
			f.Add(in, how)
		}
	})
	z := newFuzzing(f)
	f.Fuzz(func(t *testing.T, in []byte, how uint8) {
		z.run(t, func() []*attacker { return z.attackAfterLogin([]uint8{how}, []string{script(in)}) })
	})
}

// FuzzTwoSessions sends arbitrary commands to two sessions of one account, in turns.
func FuzzTwoSessions(f *testing.F) {
	addSessions(f, func(in []byte) {
		var turns []byte
		for i, b := range in {
			if turns = append(turns, b); b == firstWord && i%3 == 0 { // a command ends
				turns = append(turns, theOther)
			}
		}
		f.Add(turns, uint8(isSelected), uint8(isSelected|isResyncing))
		f.Add(turns, uint8(isSelected|isRev2), uint8(0))
	})
	z := newFuzzing(f)
	f.Fuzz(func(t *testing.T, in []byte, how, otherHow uint8) {
		var turns []string
		for turn := range bytes.SplitSeq(in, []byte{theOther}) {
			turns = append(turns, script(turn))
		}
		z.run(t, func() []*attacker { return z.attackAfterLogin([]uint8{how, otherHow}, turns) })
	})
}

// addSessions adds what clients do after their login.
func addSessions(f *testing.F, add func([]byte)) {
	for _, s := range []string{
		"a SELECT INBOX\r\nb FETCH 1:* (FLAGS BODY[1.2.HEADER.FIELDS (A \"b\")]<0.5> ENVELOPE)\r\n",
		"a EXAMINE INBOX\r\nb UID SEARCH CHARSET UTF-8 OR (NOT SEEN) HEADER x {1+}\r\ny\r\n",
		"a APPEND INBOX (\\Seen $x) \" 1-Feb-2024 10:00:00 +0000\" {3+}\r\nabc\r\n", "a IDLE\r\nDONE\r\n",
		"a SELECT INBOX\r\na STORE 1 -FLAGS.SILENT (a b)\r\nc MOVE 1 Trash\r\nd UID EXPUNGE 1:*\r\n",
		"a ENABLE QRESYNC IMAP4rev2\r\nb SELECT INBOX (QRESYNC (1 1 1:5 (1,3 1,3)) CONDSTORE)\r\nc UID FETCH $ (MODSEQ) (CHANGEDSINCE 1 VANISHED)\r\n",
		"a SELECT INBOX (CONDSTORE)\r\nb SEARCH RETURN (SAVE MIN ALL) MODSEQ \"/flags/\\\\draft\" all 1 $\r\nc STORE $ (UNCHANGEDSINCE 0) +FLAGS.SILENT x\r\n",
		"a LIST (SUBSCRIBED RECURSIVEMATCH) \"\" (a% INBOX \"*\") RETURN (CHILDREN STATUS (HIGHESTMODSEQ))\r\nb ENABLE UTF8=ACCEPT\r\nc APPEND INBOX UTF8 (~{2+}\r\nhi)\r\n",
		"a LIST \"\" %*\r\nb LSUB a {1}\r\n", "a CREATE x (USE (\\Sent))\r\nb RENAME x INBOX/y\r\nc STATUS x (SIZE RECENT)\r\n",
		"a SELECT INBOX\r\nb FETCH 1 (BINARY[1]<0.9> BINARY.SIZE[1.2] PREVIEW (LAZY) EMAILID THREADID SAVEDATE)\r\nc SEARCH OLDER 5 SAVEDON 1-Feb-2024 EMAILID M1\r\n",
		"a APPEND INBOX {1+}\r\nx (\\Seen) ~{2+}\r\n\x00y\r\n", "a SELECT INBOX\r\nb UID REPLACE * INBOX (\\Draft) {1+}\r\nx\r\n",
		"a GETQUOTAROOT INBOX\r\nb GETQUOTA \"\"\r\nc STATUS INBOX (MAILBOXID DELETED-STORAGE)\r\n",
		"a SETMETADATA \"\" (/private/a {1+}\r\nx /shared/b NIL /private/c ~{1+}\r\n\x00)\r\nb GETMETADATA (DEPTH infinity MAXSIZE 5) \"\" (/private /shared)\r\n",
		"a SELECT INBOX\r\nb UID SORT RETURN (MIN SAVE PARTIAL -1:-9) (REVERSE DATE) UTF-8 MODSEQ 1\r\nc SEARCH RETURN (PARTIAL 4294967295:1 COUNT MAX) ALL\r\nd UID FETCH $ FLAGS (PARTIAL 1:1 CHANGEDSINCE 1)\r\ne FETCH 1:* UID (PARTIAL -2:-1)\r\n",
		"a COMPRESS DEFLATE\r\n\x4a\x53\xf0\xf3\xf7\x0f\xe0\xe5\x02\x00\x00\x00\xff\xff", "a UNAUTHENTICATE\r\nb NOOP\r\n",
		"a COPY 1:* INBOX\r\nb STORE 1:2 FLAGS (\\Deleted)\r\nc EXPUNGE\r\nd RENAME INBOX y\r\ne DELETE y\r\n",
		"a THREAD REFERENCES UTF-8 ALL\r\nb UID SORT (REVERSE SUBJECT DATE FROM) UTF-8 OR NOT 1 TEXT e\r\n",
	} {
		add(unscript(s))
	}
	addDialogues(f, add)
}

// FuzzMatch compares the matcher of LIST with the obvious recursion.
func FuzzMatch(f *testing.F) {
	f.Add("a%/*b", "ab/cb")
	f.Add("%%*", "")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if len(pattern) > 10 || len(name) > 12 {
			return
		}
		if got, want := match(pattern, name), slowMatch(pattern, name); got != want {
			t.Errorf("match(%q, %q) = %v", pattern, name, got)
		}
	})
}

func slowMatch(p, s string) bool {
	if p == "" {
		return s == ""
	}
	if p[0] != '*' && p[0] != '%' {
		return s != "" && s[0] == p[0] && slowMatch(p[1:], s[1:])
	}
	return slowMatch(p[1:], s) || s != "" && (p[0] == '*' || s[0] != '/') && slowMatch(p, s[1:])
}
