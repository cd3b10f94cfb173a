package dovecottest

import "testing"

// TestStart: it runs, and takes mail.
func TestStart(t *testing.T) {
	s := Start(t, "")
	s.Doveadm(t, "From: a\n\nb\n", "save", "-u", "ann", "-m", "INBOX")
	if got := s.Doveadm(t, "", "mailbox", "status", "-u", "ann", "messages", "INBOX"); got != "INBOX messages=1\n" {
		t.Errorf("status is %q", got)
	}
}
