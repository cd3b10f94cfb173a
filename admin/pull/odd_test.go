package pull

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// equal pulls from a server, and expects its INBOX here.
func (o *oddServer) equal(t *testing.T, a *account) *Report {
	t.Helper()
	report, err := o.puller(t, a).Pull(ctx)
	must(t, err)
	if got, want := a.texts("INBOX"), o.boxes[0].texts(); !slices.Equal(got, want) {
		t.Errorf("here are\n%q, not\n%q", got, want)
	}
	return report
}

// TestThrottled: a source that asks for patience gets it, however it does.
func TestThrottled(t *testing.T) {
	for _, how := range []string{
		"NO [THROTTLED] slow down",
		"OK [THROTTLED] completed",
		"NO [OVERQUOTA] Account exceeded command or bandwidth limits. (Failure)",
		"NO Request is throttled. Suggested Backoff Time: 30000 milliseconds",
		"BYE Account exceeded command or bandwidth limits. abc",
	} {
		synctest.Test(t, func(t *testing.T) {
			o, times := inboxOf(oddLetters(10)), 0
			o.hook = func(s *oddSession, tag, command string) bool {
				if !strings.Contains(command, "BODY.PEEK") || times == 8 {
					return false
				}
				times++
				s.fetch("UID FETCH 1:3 BODY.PEEK[]")
				if strings.HasPrefix(how, "BYE") {
					s.say("* %s", how)
					s.nc.Close()
					return true
				}
				s.say("%s %s", tag, how)
				return true
			}
			begin := time.Now()
			o.equal(t, newAccount())
			if waited := time.Since(begin); waited < 8*firstThrottle {
				t.Errorf("%q: waited %v", how, waited)
			}
		})
	}
}

// TestOddAnswers: what servers say that nobody asked for, and how they write it.
func TestOddAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := inboxOf(oddLetters(4))
		o.boxes[0].messages[1].size = 1
		o.boxes[0].messages[2].size = 99_999
		o.hook = func(s *oddSession, tag, command string) bool {
			s.say("* OK")
			s.say("* X-JUNK (((( \"unclosed")
			s.say("* 3 RECENT")
			s.say("* FLAGS ()")
			s.say("* 12 FETCH (FLAGS (\\Seen))")
			s.say("* 2 FETCH (UID 2 MODSEQ (3))")
			s.say("* NO [ALERT] the disk is nearly full")
			s.say("* )) junk")
			if !strings.Contains(command, "BODY.PEEK") {
				return false
			}
			fmt.Fprintf(s.nc, "* 1 fetch (body[] {%d}\n%s internaldate garbage x-new (a (b \"c\")) uid 1 flags (\\seen \\Recent \"we]ird flag\"))\n",
				len(o.boxes[0].messages[0].text), o.boxes[0].messages[0].text)
			s.fetch("UID FETCH 2:3 BODY.PEEK[]")
			s.fetch("UID FETCH 2:2 BODY.PEEK[]")
			s.say("* 9 FETCH (UID 77 BODY[] {3}\r\nabc)")
			s.say(`* 4 FETCH (UID 4 FLAGS (\Seen) INTERNALDATE " 1-Feb-2003 04:05:06 +0100" BODY[] ~{%d}`+"\r\n%s)", len(o.boxes[0].messages[3].text), o.boxes[0].messages[3].text)
			s.say("%s OK", tag)
			return true
		}
		a := newAccount()
		if report := o.equal(t, a); !report.Equal() {
			t.Errorf("the report finds differences: %+v", report)
		}
		if got := a.messages("INBOX")[0]; !strings.HasSuffix(got, `Z, \Seen we_ird_flag`) {
			t.Errorf("flags: %s", got)
		}
		if got := a.messages("INBOX")[3]; !strings.Contains(got, "2003-02-01T04:05:06+01:00") {
			t.Errorf("date: %s", got)
		}
		before := a.messages("INBOX")
		if o.equal(t, a); !slices.Equal(a.messages("INBOX")[1:], before[1:]) {
			t.Errorf("changed without a cause: %q", a.messages("INBOX"))
		}
	})
}

// TestUnreadable: every message that cannot be had is named, kept aside as far
// as it can be had, and holds up no other.
func TestUnreadable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := inboxOf(oddLetters(9))
		o.boxes[0].name = "../../etc/passwd"
		all := o.boxes[0].messages
		all[8].size = 200 << 20
		o.hook = func(s *oddSession, tag, command string) bool {
			if !strings.Contains(command, "BODY.PEEK[") {
				return false
			}
			asked := s.asked(command)
			if strings.Contains(command, "<0.1048576>") || strings.Contains(command, "[HEADER]") {
				if asked[0].uid == 2 && strings.Contains(command, "[HEADER]") {
					s.say("* 1 FETCH (UID 2 BODY[HEADER] {9}\r\nthe head\n)")
				}
				if asked[0].uid == 9 {
					s.say("* 1 FETCH (UID 9 BODY[]<0> {9}\r\nthe start)")
				}
				s.say("%s OK", tag)
				return true
			}
			for _, m := range asked {
				switch m.uid {
				case 2:
					s.say("%s NO [SERVERBUG] cannot read it", tag)
					return true
				case 3:
					s.say("* 3 FETCH (UID 3 FLAGS () BODY[] NIL)")
				case 4:
				case 5:
					s.say("* 5 FETCH (UID 5 FLAGS () BODY[] {0}\r\n)")
				case 6:
					fmt.Fprintf(s.nc, "* 6 FETCH (UID 6 FLAGS () BODY[] {999}\r\nhalf of it")
					s.nc.Close()
					return true
				case 7:
					s.say("* 7 FETCH (UID 7 FLAGS () BODY[] {5}\r\nlonger than it says)")
				default:
					s.fetch(fmt.Sprintf("UID FETCH %d BODY.PEEK[]", m.uid))
				}
			}
			s.say("%s OK", tag)
			return true
		}
		a := newAccount()
		p := o.puller(t, a)
		p.Aside = filepath.Join(t.TempDir(), "aside")
		report, err := p.Pull(ctx)
		must(t, err)
		want := []string{all[0].text, all[7].text}
		if got := a.texts(".._.._etc_passwd"); len(got) > 0 {
			t.Errorf("here are %q", got)
		}
		if got := a.texts("../../etc/passwd"); !slices.Equal(got, want) {
			t.Errorf("here are %q, not %q", got, want)
		}
		if report.Equal() {
			t.Error("the report finds nothing")
		}
		m := report.Mailboxes[0]
		aside := map[uint32]string{2: "the head\n", 6: "half of it", 9: "the start"}
		var uids []uint32
		for _, f := range m.Failures {
			uids = append(uids, f.UID)
			if f.Reason == "" || filepath.Dir(f.Aside) != p.Aside {
				t.Errorf("%+v", f)
			}
			text, err := os.ReadFile(f.Aside)
			must(t, err)
			if want := aside[f.UID]; want != "" && string(text) != want {
				t.Errorf("UID %d: aside is %q", f.UID, text)
			}
			why, err := os.ReadFile(strings.TrimSuffix(f.Aside, filepath.Ext(f.Aside)) + ".txt")
			if err != nil || !strings.Contains(string(why), "reason: ") {
				t.Errorf("UID %d: %q %v", f.UID, why, err)
			}
		}
		if !slices.Equal(uids, []uint32{2, 3, 4, 5, 6, 7, 9}) {
			t.Errorf("failures are %v", uids)
		}
	})
}

// TestTooLarge: messages beyond the bound are named, whatever the source claims,
// and the others of the batch come.
func TestTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := inboxOf(oddLetters(6))
		all := o.boxes[0].messages
		for i, claimed := range map[int]int{1: 0, 3: 10, 4: 1 << 60} {
			all[i].text, all[i].size = strings.Repeat("x", 2000), claimed
		}
		a := newAccount()
		p := o.puller(t, a)
		p.MaxSize = 1000
		report, err := p.Pull(ctx)
		must(t, err)
		if got, want := a.texts("INBOX"), []string{all[0].text, all[2].text, all[5].text}; !slices.Equal(got, want) {
			t.Errorf("here are %q", got)
		}
		if f := report.Mailboxes[0].Failures; len(f) != 3 || f[0].UID != 2 || f[1].UID != 4 || f[2].UID != 5 {
			t.Errorf("failures are %+v", f)
		}
	})
}

// TestUIDValidity: when the source numbers anew, between runs or in the middle
// of one, nothing comes twice.
func TestUIDValidity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, a := inboxOf(oddLetters(5)), newAccount()
		twin := *o.boxes[0].messages[4]
		twin.uid = 6 // the same message twice is two
		o.boxes[0].messages = append(o.boxes[0].messages, &twin)
		o.equal(t, a)
		renumber := func() {
			o.boxes[0].uidValidity++
			for _, m := range o.boxes[0].messages {
				m.uid += 10
			}
		}
		renumber()
		o.boxes[0].messages = append(o.boxes[0].messages, &oddMessage{uid: 17, text: "new"})
		o.equal(t, a)
		done := false
		o.hook = func(s *oddSession, tag, command string) bool {
			if strings.Contains(command, "BODY.PEEK") && !done {
				done = true
				renumber()
				s.nc.Close()
				return true
			}
			return false
		}
		o.boxes[0].messages = append(o.boxes[0].messages, &oddMessage{uid: 18, text: "newer"})
		o.equal(t, a)
		o.boxes[0].uidValidity = 0 // it has none
		o.equal(t, a)
		time.Sleep(time.Minute)
		o.equal(t, a)
	})
}

// TestSilence: a server that falls silent is tried again, and given up after a
// while; one that is never there is given up at once.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := inboxOf(oddLetters(3))
		o.hook = func(s *oddSession, _, command string) bool { return strings.Contains(command, "BODY.PEEK") }
		report, err := o.puller(t, newAccount()).Pull(ctx)
		var timeout net.Error
		if !errors.As(err, &timeout) && err == nil && len(report.Mailboxes[0].Failures) == 0 {
			t.Errorf("%v, %+v", err, report)
		}
		if o.sessions < 2 {
			t.Errorf("it was tried %d times", o.sessions)
		}

		p, tries := o.puller(t, newAccount()), 0
		p.Dial = func(context.Context, string, string) (net.Conn, error) {
			tries++
			return nil, errors.New("no such host")
		}
		if _, err := p.Pull(ctx); err == nil || tries != 1 {
			t.Errorf("%v after %d tries", err, tries)
		}
	})
}

// TestHostile: no answer makes us hold more than a bounded amount, or panic.
func TestHostile(t *testing.T) {
	for name, attack := range map[string]func(s *oddSession){
		"an endless line": func(s *oddSession) {
			for s.write(strings.Repeat("x", 4096)) {
			}
		},
		"an endless literal": func(s *oddSession) {
			s.write("* LIST () NIL {99999999999}\r\n")
			for s.write(strings.Repeat("x", 4096)) {
			}
		},
		"literals without end": func(s *oddSession) {
			for s.write("* LIST () NIL {4096}\r\n" + strings.Repeat("x", 4096) + "\r\n") {
			}
		},
		"lists without end": func(s *oddSession) { s.write("* LIST " + strings.Repeat("(", 50_000) + "\r\n") },
		"a number of mailboxes": func(s *oddSession) {
			for i := 0; s.write(fmt.Sprintf("* LIST () NIL \"%d\"\r\n", i)); i++ {
			}
		},
		"another's tag": func(s *oddSession) { s.write("ZZ OK\r\n") },
		"nothing":       func(s *oddSession) { s.write("\r\n\r\n") },
		"binary":        func(s *oddSession) { s.write("\x00\xff\r\n") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := inboxOf(oddLetters(1))
				o.hook = func(s *oddSession, _, command string) bool {
					if strings.HasPrefix(command, "LIST") {
						attack(s)
						s.nc.Close()
						return true
					}
					return false
				}
				if _, err := o.puller(t, newAccount()).Pull(ctx); err == nil {
					t.Error("no error")
				}
			})
		})
	}
}

func (s *oddSession) write(text string) bool {
	_, err := s.nc.Write([]byte(text))
	return err == nil
}

// TestIncompleteList: what a server merely does not list is not removed here.
func TestIncompleteList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, a := inboxOf(oddLetters(5)), newAccount()
		o.equal(t, a)
		o.hook = func(s *oddSession, tag, command string) bool {
			if !strings.HasPrefix(command, "UID FETCH 1:*") {
				return false
			}
			s.fetch("UID FETCH 1:2")
			s.say("%s OK", tag)
			return true
		}
		p := o.puller(t, a)
		p.Remove = true
		_, err := p.Pull(ctx)
		must(t, err)
		if got := len(a.texts("INBOX")); got != 5 {
			t.Errorf("%d messages are left", got)
		}
	})
}

// TestFewerConnections: a server that allows only one gets only one.
func TestFewerConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, a := inboxOf(oddLetters(5)), newAccount()
		for i := range 8 {
			o.boxes = append(o.boxes, &oddBox{name: fmt.Sprint("box ", i), uidValidity: 1, messages: oddLetters(3)})
		}
		o.hook = func(s *oddSession, tag, command string) bool {
			if s.number == 1 || !strings.HasPrefix(command, "LOGIN") {
				return false
			}
			s.say("%s NO [ALERT] another session is open already", tag)
			return true
		}
		if report := o.equal(t, a); !report.Equal() || len(a.mailboxes) != 9 {
			t.Errorf("%+v", report)
		}
	})
}

// TestDestination: a message that is not taken is named, and a destination that
// fails ends the run.
func TestDestination(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, a := inboxOf(oddLetters(5)), newAccount()
		a.refuse = func(i Item) error {
			if i.UID == 3 {
				return errors.New("it is too large")
			}
			return nil
		}
		p := o.puller(t, a)
		p.Aside = t.TempDir()
		report, err := p.Pull(ctx)
		must(t, err)
		f := report.Mailboxes[0].Failures
		if len(a.texts("INBOX")) != 4 || len(f) != 1 || f[0].UID != 3 {
			t.Fatalf("%q, %+v", a.texts("INBOX"), f)
		}
		if text, err := os.ReadFile(f[0].Aside); err != nil || string(text) != o.boxes[0].messages[2].text {
			t.Errorf("aside is %q, %v", text, err)
		}
		a.refuse = nil
		o.boxes[0].messages = append(o.boxes[0].messages[3:], o.boxes[0].messages[2])
		a.broken = errBroken
		if _, err := p.Pull(ctx); !errors.Is(err, errBroken) {
			t.Errorf("%v", err)
		}
		a.broken = nil
		_, err = p.Pull(ctx)
		must(t, err)
		if len(a.texts("INBOX")) != 5 {
			t.Errorf("%q", a.texts("INBOX"))
		}
	})
}

// TestPlaintextElsewhere: no password goes over a network without TLS.
func TestPlaintextElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := inboxOf(oddLetters(1))
		o.hook = func(_ *oddSession, _, command string) bool {
			t.Errorf("it is sent %q", command)
			return false
		}
		p := o.puller(t, newAccount())
		p.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			nc, err := o.dial(ctx, network, address)
			return farAway{nc}, err
		}
		if _, err := p.Pull(ctx); err == nil {
			t.Error("no error")
		}
	})
}

type farAway struct{ net.Conn }

func (farAway) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 143} }

// TestStartTLSInjection: what comes behind the answer to STARTTLS could be from
// anybody.
func TestStartTLSInjection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := inboxOf(oddLetters(1))
		o.hook = func(s *oddSession, tag, command string) bool {
			if command != "STARTTLS" {
				t.Errorf("it is sent %q", command)
				return false
			}
			s.write(tag + " OK begin\r\n* OK not from me\r\n")
			return true
		}
		p := o.puller(t, newAccount())
		p.Security = StartTLS
		if _, err := p.Pull(ctx); err == nil || !strings.Contains(err.Error(), "before TLS") {
			t.Errorf("%v", err)
		}
	})
}
