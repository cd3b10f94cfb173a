package imapd

import (
	"io"
	"net"
	"testing"
	"time"
)

// FuzzCommands sends arbitrary octets to a logged-in session. Whatever comes,
// it must not panic (the fixture checks that), and other sessions go on.
func FuzzCommands(f *testing.F) {
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
	} {
		f.Add([]byte(s))
	}
	fix := newFixture(f, func(s *Server) { s.Config.MaxBad = 1000 })
	fix.deliver(hello)
	f.Fuzz(func(t *testing.T, in []byte) {
		own := *fix
		own.t = t
		c := own.login()
		defer c.nc.Close()
		go func() {
			c.nc.Write(in)
			c.nc.(*net.TCPConn).CloseWrite()
		}()
		c.nc.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.Copy(io.Discard, c.r); err != nil {
			if n, timeout := err.(net.Error); timeout && n.Timeout() {
				t.Fatalf("no end after %q", in)
			}
		}
		if n := fix.server.Stats().Panics; n > 0 {
			t.Fatalf("panic after %q", in)
		}
	})
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
