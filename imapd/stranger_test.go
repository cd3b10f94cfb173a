package imapd

import (
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// beforeLogin is what a connection may make the server use before its login,
// 256 KiB, less a margin; what the test itself needs for it is counted too.
const beforeLogin = 192 << 10

// A stranger is a client that the server does not know.
type stranger struct {
	net.Conn
	t     testing.TB
	below *sending // TLS, if there is any
}

func (s *stranger) send(text string) { s.write(s, []byte(text)) }

func (s *stranger) write(w io.Writer, b []byte) {
	if _, err := w.Write(b); err != nil {
		s.t.Error(err)
	}
}

func (s *stranger) handshake() {
	c := tls.Client(s.below, &tls.Config{InsecureSkipVerify: true})
	if err := c.Handshake(); err != nil {
		s.t.Error(err)
	}
	s.Conn = c
}

// A sending counts what a client sends.
type sending struct {
	net.Conn
	octets atomic.Int64
}

func (c *sending) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.octets.Add(int64(n))
	return n, err
}

// A watched knows what the server does with a connection.
type watched struct {
	net.Conn
	octets atomic.Int64 // that it read
	doing  atomic.Int32
}

const (
	works = iota
	reads
	writes
	closed
)

func (c *watched) Read(p []byte) (int, error) {
	c.doing.Store(reads)
	n, err := c.Conn.Read(p)
	c.octets.Add(int64(n))
	c.doing.CompareAndSwap(reads, works)
	return n, err
}

func (c *watched) Write(p []byte) (int, error) {
	c.doing.Store(writes)
	defer c.doing.CompareAndSwap(writes, works)
	return c.Conn.Write(p)
}

func (c *watched) Close() error {
	c.doing.Store(closed)
	return c.Conn.Close()
}

// watching is a listener whose connections are watched. The system takes little
// that their peers do not read.
type watching struct {
	net.Listener
	conns sync.Map // of *watched, by the peer's address
}

func (l *watching) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	nc.(*net.TCPConn).SetWriteBuffer(8 << 10) //nolint:errcheck // else it is larger
	w := &watched{Conn: nc}
	l.conns.Store(nc.RemoteAddr().String(), w)
	return w, nil
}

// peer is the server's side of a client's connection; until it was accepted it
// seems to be at work.
func (l *watching) peer(nc net.Conn) *watched {
	if c, known := l.conns.Load(nc.LocalAddr().String()); known {
		return c.(*watched)
	}
	return &watched{}
}

// waits tells whether the server can do nothing more for a client.
func (l *watching) waits(s *stranger) bool {
	w := l.peer(s)
	read, sent := w.octets.Load(), s.below.octets.Load()
	switch w.doing.Load() {
	case reads:
		return read == sent
	case writes: // and nobody reads
		return read < sent
	case closed:
		return true
	}
	return false
}

// strangers are what is done before a login, and left at that.
var strangers = []struct {
	name string
	tls  bool
	do   func(*stranger)
}{
	{"silence", false, func(*stranger) {}},
	{"half a line", false, func(s *stranger) { s.send("a LOGIN " + strings.Repeat("x", 8000)) }},
	{"half a string", false, func(s *stranger) { s.send(`a LOGIN "` + strings.Repeat(`\"x`, 2500)) }},
	{"half a tag", false, func(s *stranger) { s.send(strings.Repeat("x", 8000)) }},
	{"repeated literals", false, func(s *stranger) {
		literal := "{1000+}\r\n" + strings.Repeat("x", 1000) + " "
		for range 5 {
			s.send("a ID (" + strings.Repeat(literal, 10) + ")\r\n")
		}
		s.send("a ID (" + strings.Repeat(literal, 4))
	}},
	{"literal without octets", false, func(s *stranger) { s.send("a LOGIN {1024+}\r\n") }},
	{"literal that is too large", false, func(s *stranger) { s.send("a LOGIN {15000+}\r\n" + strings.Repeat("x", 14000)) }},
	{"nested parentheses", false, func(s *stranger) { s.send("a ID " + strings.Repeat("(", 8000)) }},
	{"many fields", false, func(s *stranger) { s.send("a ID (" + strings.Repeat(`"x" "`+strings.Repeat("y", 240)+`" `, 30)) }},
	{"aborted SASL", false, func(s *stranger) {
		for range 15 {
			s.send("a AUTHENTICATE SCRAM-SHA-256 biwsbj1hbGljZUBob21lLmV4YW1wbGUscj1hYmM=\r\n*\r\n")
		}
		s.send("a AUTHENTICATE PLAIN\r\n" + strings.Repeat("x", 8000))
	}},
	{"begun SASL", false, func(s *stranger) {
		s.send("a AUTHENTICATE SCRAM-SHA-256 biwsbj1hbGljZUBob21lLmV4YW1wbGUscj1hYmM=\r\n")
	}},
	{"answers that nobody reads", false, func(s *stranger) { s.send(strings.Repeat("a CAPABILITY\r\n", 4000)) }},
	{"STARTTLS and silence", false, func(s *stranger) { s.send("a STARTTLS\r\n") }},
	{"half a ClientHello", true, func(s *stranger) { s.write(s.below, records(1, 65_000, 60_000)) }},
	{"ClientHello with long names", true, func(s *stranger) { s.write(s.below, helloOf(s.t, strings.Repeat("name.", 50)+"example")) }},
	{"half a certificate", true, func(s *stranger) {
		s.write(s.below, helloOf(s.t, "mail.home.example"))
		s.write(s.below, records(11, 262_000, 60_000))
	}},
	{"large certificate", true, func(s *stranger) {
		s.write(s.below, helloOf(s.t, "mail.home.example"))
		s.below.Write(records(11, 262_000, 261_000)) //nolint:errcheck // the server hangs up
	}},
	{"silence over TLS", true, func(s *stranger) { s.handshake() }},
	{"aborted SASL over TLS", true, func(s *stranger) {
		s.handshake()
		for range 15 {
			s.send("a AUTHENTICATE SCRAM-SHA-256-PLUS cD10bHMtZXhwb3J0ZXIsLG49YWxpY2VAaG9tZS5leGFtcGxlLHI9YWJj\r\n*\r\n")
		}
		s.send("a AUTHENTICATE PLAIN\r\n" + strings.Repeat("x", 8000))
	}},
}

// records are TLS records with the begin of a handshake message.
func records(kind byte, announced, given int) []byte {
	message := append([]byte{kind, byte(announced >> 16), byte(announced >> 8), byte(announced)}, make([]byte, given)...)
	var out []byte
	for len(message) > 0 {
		n := min(len(message), 16<<10)
		out = append(out, 22, 3, 3, byte(n>>8), byte(n))
		out = append(out, message[:n]...)
		message = message[n:]
	}
	return out
}

// helloOf is the ClientHello of TLS 1.2 for a server name.
func helloOf(t testing.TB, name string) []byte {
	near, far := net.Pipe()
	go tls.Client(far, &tls.Config{ServerName: name, MaxVersion: tls.VersionTLS12}).Handshake() //nolint:errcheck // nobody answers
	b := make([]byte, 4096)
	n, err := near.Read(b)
	if err != nil {
		t.Error(err)
	}
	far.Close()
	return b[:n]
}

// TestMemoryBeforeLogin: whatever strangers send, or begin to send, no
// connection of theirs uses more than a little memory, and nothing is left when
// they have gone.
func TestMemoryBeforeLogin(t *testing.T) {
	f := newServer(t, func(s *Server) {
		s.Config.PerAddress, s.Config.LoginTimeout, s.Config.WriteTimeout = 1000, time.Hour, time.Hour
	})
	plain, overTLS := f.watch(f.server.Serve), f.watch(f.server.ServeTLS)
	for _, attack := range strangers {
		t.Run(attack.name, func(t *testing.T) {
			l := plain
			if attack.tls {
				l = overTLS
			}
			before := inUse()
			all := l.besiege(t, attack.do)
			n := (inUse() - before) / int64(len(all))
			t.Logf("%d octets for each connection", n)
			if n > beforeLogin {
				t.Errorf("a connection makes the server use %d octets", n)
			}
			for _, s := range all {
				s.Close()
			}
			await(t, func() bool { return f.server.Stats().Open == 0 })
			if left := inUse() - before; left > 1<<20 {
				t.Errorf("%d octets are left behind", left)
			}
		})
	}
}

// watch is listen with connections that are watched.
func (f *fixture) watch(serve func(net.Listener) error) *watching {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.t.Fatal(err)
	}
	w := &watching{Listener: l}
	go serve(w) //nolint:errcheck // it ends with ErrClosed
	return w
}

// inUse is how many octets of memory are in use: what could be freed is.
func inUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // for what pools hold
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// await waits for something that must happen soon.
func await(t testing.TB, happened func() bool) {
	t.Helper()
	for until := time.Now().Add(20 * time.Second); !happened(); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("it did not happen")
		}
	}
}

// besiege connects many strangers, and waits until the server can do nothing
// more for any of them.
func (l *watching) besiege(t *testing.T, do func(*stranger)) []*stranger {
	var all []*stranger
	var busy sync.WaitGroup
	for range 100 {
		nc, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		nc.(*net.TCPConn).SetReadBuffer(8 << 10) //nolint:errcheck // else it is larger
		below := &sending{Conn: nc}
		s := &stranger{Conn: below, t: t, below: below}
		t.Cleanup(func() { s.Close() })
		all = append(all, s)
		busy.Go(func() { do(s) })
	}
	busy.Wait()
	for quiet := 0; quiet < 3; quiet++ { // between two steps it may seem to wait
		await(t, func() bool { return !slices.ContainsFunc(all, func(s *stranger) bool { return !l.waits(s) }) })
		time.Sleep(10 * time.Millisecond)
	}
	return all
}

// TestBudgetBeforeLogin: a stranger may send so much and no more, and who logs
// in has no such limit.
func TestBudgetBeforeLogin(t *testing.T) {
	f := newFixture(t, nil)
	chat := func(c *client) (last string) {
		for range 2 * strangerOctets / 1000 {
			c.send("x ID (\"name\" \"" + strings.Repeat("y", 1000) + "\")\r\n")
			for last = c.line(); !strings.HasPrefix(last, "x OK"); last = c.line() {
				if strings.HasPrefix(last, "* BYE") {
					return last
				}
			}
		}
		return last
	}
	if last := chat(f.dial()); !strings.HasPrefix(last, "* BYE [TOOBIG]") {
		t.Errorf("a stranger: %s", last)
	}
	c := f.login()
	if last := chat(c); !strings.HasPrefix(last, "x OK") {
		t.Errorf("after the login: %s", last)
	}
	c.ok("UNAUTHENTICATE")
	if last := chat(c); !strings.HasPrefix(last, "* BYE [TOOBIG]") {
		t.Errorf("after the logout: %s", last)
	}
}
