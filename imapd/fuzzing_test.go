package imapd

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"mailbox/internal/siege"
	"mailbox/storage"
)

// What one run of a fuzzer may cost, and all may leave behind.
const (
	runTime   = 20 * time.Second
	runOctets = 512 << 20 // allocated in a run, most of them free again at once
	leftHeap  = 164 << 20 // octets in use after many runs, more than after the first; the fuzzer itself holds 100 MiB at times
	leftTasks = 50        // goroutines more than at the begin
	checkAll  = 1000      // runs from one thorough look to the next
)

// mixed is a message with parts of all kinds.
const mixed = "Subject: mixed\r\nMessage-ID: <2@far.example>\r\nReferences: <1@far.example> <0@far.example>\r\n" +
	"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: text/plain; charset=iso-8859-1\r\n" +
	"Content-Transfer-Encoding: quoted-printable\r\n\r\nGr=FC=DFe\r\n--a\r\nContent-Type: message/rfc822\r\n\r\n" + hello +
	"\r\n--a\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\nAAECAwQFBgcICQ==\r\n" +
	"--a\r\nContent-Transfer-Encoding: x-unknown\r\n\r\nodd\r\n--a--\r\n"

// A fuzzing is a server that is sent what fuzzers think of.
type fuzzing struct {
	*fixture
	runs  int
	tasks int   // goroutines at the begin
	heap  int64 // in use after the first runs
}

func newFuzzing(f *testing.F) *fuzzing {
	z := &fuzzing{fixture: newFixture(f, func(s *Server) {
		s.Config.MaxBad, s.Config.MaxLogins = 1000, 1 // a failed login takes half a second
	})}
	z.tasks = runtime.NumGoroutine()
	return z
}

// run lets attackers loose on a mailbox that nobody touched before, beside a
// session that is well behaved. Whatever they do, the server does not panic or
// find itself at fault, the well-behaved session is answered and knows the
// truth, all sessions come to an end, and nothing is left of them.
func (z *fuzzing) run(t *testing.T, attack func() []*attacker) {
	if err := z.db.RemoveAccount(context.Background(), z.account); err != nil {
		t.Fatal(err)
	}
	z.t = t
	z.account = z.addAccount(alice)
	z.deliver(hello, mixed, "no header")
	w := &witness{client: z.client(z.connect(false))}
	w.ok("LOGIN " + alice + ` "` + secret + `"`)
	w.look("SELECT INBOX")

	before := siege.Allocated()
	attackers := attack()
	w.look("NOOP")
	for _, a := range attackers {
		if said := <-a.said; strings.Contains(said, "SERVERBUG") {
			t.Errorf("the server is at fault:\n%s", said)
		}
		a.nc.Close()
	}
	if n := siege.Allocated() - before; n > runOctets {
		t.Errorf("%d octets were allocated", n)
	}
	w.look("NOOP")
	box, err := z.db.Mailbox(context.Background(), z.account, "INBOX")
	if err != nil || box.Messages != w.messages {
		t.Errorf("the witness counts %d messages, there are %d (%v)", w.messages, box.Messages, err)
	}
	w.nc.Close()
	z.checkRemains()
}

// checkRemains looks for what should have gone with the sessions.
func (z *fuzzing) checkRemains() {
	siege.Await(z.t, func() bool { return z.server.Stats().Open == 0 })
	if n := z.server.Stats().Panics + z.db.Panics(); n > 0 {
		z.t.Fatal("panic")
	}
	if z.runs++; z.runs%checkAll != 0 {
		return
	}
	if _, err := z.db.Verify(context.Background(), func(p storage.Problem) { z.t.Error(p) }); err != nil {
		z.t.Error(err)
	}
	siege.Await(z.t, func() bool { return runtime.NumGoroutine() < z.tasks+leftTasks })
	now := siege.InUse()
	if z.heap == 0 {
		z.heap = now
	}
	if now > z.heap+leftHeap {
		z.t.Fatalf("%d octets in use after %d runs, %d at the begin", now, z.runs, z.heap)
	}
}

// counted is what changes how many messages there are.
var counted = regexp.MustCompile(`^\* (\d+) (EXISTS|EXPUNGE)$`)

// A witness is a session that does nothing wrong, and counts messages.
type witness struct {
	*client
	messages int64
}

// look executes a command and keeps count.
func (w *witness) look(command string) {
	for l := range strings.SplitSeq(w.ok(command), "\n") {
		m := counted.FindStringSubmatch(l)
		switch {
		case m == nil:
		case m[2] == "EXISTS":
			fmt.Sscan(m[1], &w.messages)
		default:
			w.messages--
		}
	}
}

// connect connects from one of millions of addresses, so that none is slowed
// down for what another did.
func (z *fuzzing) connect(overTLS bool) net.Conn {
	from := net.IPv4(127, byte(1+rand.IntN(250)), byte(rand.IntN(256)), byte(1+rand.IntN(250)))
	to := z.addr
	if overTLS {
		to = z.tlsAddr
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from}}
	nc, err := d.Dial("tcp", to)
	if err != nil {
		z.t.Fatal(err)
	}
	if overTLS {
		nc = tls.Client(nc, &tls.Config{InsecureSkipVerify: true})
	}
	return nc
}

// client is greeted on a connection.
func (z *fuzzing) client(nc net.Conn) *client {
	c := &client{t: z.t, nc: nc, r: bufio.NewReader(nc)}
	if l := c.line(); !strings.HasPrefix(l, "* OK") {
		z.t.Fatalf("greeting %q", l)
	}
	return c
}

// An attacker is a session that is sent a script.
type attacker struct {
	*client
	raw  net.Conn    // below compression
	said chan string // what the server answered, once the session has ended
}

func newAttacker(c *client) *attacker {
	return &attacker{client: c, raw: c.nc, said: make(chan string, 1)}
}

// listen reads to the end of the session.
func (a *attacker) listen() {
	a.raw.SetDeadline(time.Now().Add(runTime))
	var said strings.Builder
	_, err := io.Copy(&said, a.r)
	if n, timeout := err.(net.Error); timeout && n.Timeout() {
		a.t.Errorf("the session does not end")
	}
	a.said <- said.String()
}

// hangUp ends what is sent: there is more to be read.
func (a *attacker) hangUp() {
	a.raw.(interface{ CloseWrite() error }).CloseWrite()
}

// attack sends a script to a session that has just begun.
func (z *fuzzing) attack(script string, overTLS bool) *attacker {
	a := newAttacker(z.client(z.connect(overTLS)))
	go a.listen()
	go func() {
		io.WriteString(a.nc, script)
		a.hangUp()
	}()
	return a
}

// attackAfterLogin sends scripts to sessions, in turns.
func (z *fuzzing) attackAfterLogin(hows []uint8, turns []string) (all []*attacker) {
	for _, how := range hows {
		a := z.loggedIn(how)
		go a.listen()
		all = append(all, a)
	}
	go func() {
		for i, turn := range turns {
			io.WriteString(all[i%len(all)].nc, turn)
		}
		for _, a := range all {
			a.hangUp()
		}
	}()
	return all
}

// loggedIn is a session that has come as far as how says.
func (z *fuzzing) loggedIn(how uint8) *attacker {
	a := newAttacker(z.client(z.connect(how&isOverTLS != 0)))
	a.ok("LOGIN " + alice + ` "` + secret + `"`)
	if how&isResyncing != 0 {
		a.ok("ENABLE QRESYNC")
	}
	if how&isRev2 != 0 {
		a.ok("ENABLE IMAP4rev2 UTF8=ACCEPT")
	}
	if how&isSelected != 0 {
		a.ok("SELECT INBOX")
	}
	if how&isCompressed != 0 {
		a.compress(false)
	}
	return a
}
