package imapd

import (
	"bufio"
	"compress/flate"
	"io"
	"net"
	"strings"
	"testing"
	"unsafe"
)

// A flateConn compresses as a client does, and may send octet by octet.
type flateConn struct {
	net.Conn
	z     *flate.Writer
	r     io.Reader
	drips bool
	wire  int // octets received
}

func (f *flateConn) Write(p []byte) (int, error) {
	if _, err := f.z.Write(p); err != nil {
		return 0, err
	}
	return len(p), f.z.Flush()
}

func (f *flateConn) Read(p []byte) (int, error) { return f.r.Read(p) }

// compressed is what the flate reader and writer stand on.
type compressed struct{ *flateConn }

func (c compressed) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.wire += n
	return n, err
}

func (c compressed) Write(p []byte) (int, error) {
	if !c.drips {
		return c.Conn.Write(p)
	}
	for i := range p {
		if _, err := c.Conn.Write(p[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}

// compress starts compression on both sides.
func (c *client) compress(drips bool) *flateConn {
	c.t.Helper()
	c.ok("COMPRESS DEFLATE")
	f := &flateConn{Conn: c.nc, drips: drips}
	f.z, _ = flate.NewWriter(compressed{f}, 6)
	f.r = flate.NewReader(compressed{f})
	c.nc, c.r = f, bufio.NewReader(f)
	return f
}

// TestCompress: a session under compression is like any other, in fewer octets,
// with a client whose octets come one by one.
func TestCompress(t *testing.T) {
	f := newFixture(t, nil)
	for _, drips := range []bool{false, true} {
		c := f.login()
		z := c.compress(drips)
		c.ok("NOOP")
		text := hello + strings.Repeat("The same line again and again.\r\n", 3000)
		c.upload("INBOX", "", text)
		c.ok("SELECT INBOX")
		before := z.wire
		wantAll(t, c.ok("FETCH * BODY.PEEK[]"), text)
		if got := z.wire - before; got > len(text)/10 {
			t.Errorf("%d octets took %d", len(text), got)
		}
		c.fails("COMPRESS DEFLATE", "NO [COMPRESSIONACTIVE]")
		c.fails("NONSENSE", "BAD")
		c.send("x IDLE\r\n")
		for c.line() != "+ idling" {
		}
		f.deliver(hello)
		for !strings.HasSuffix(c.line(), "EXISTS") {
		}
		c.send("DONE\r\n")
		for !strings.HasPrefix(c.line(), "x OK") {
		}
		z.drips = false // the server may close before the last octets of the flush
		c.ok("LOGOUT")
		if rest, err := io.ReadAll(z.Conn); err != nil || len(rest) > 0 {
			t.Errorf("at the end: %q %v", rest, err)
		}
	}
}

// TestCompressOpenBlock: a client that flushes with no empty block gets its answer.
func TestCompressOpenBlock(t *testing.T) {
	c := newFixture(t, nil).login()
	c.compress(false)
	w := &bitWriter{}
	w.write(2, 3)
	for _, b := range []byte("x NOOP\r\ny NOOP\r\n") {
		w.code(int(b))
	}
	w.code(endOfBlock)
	w.write(2, 3)
	w.code(endOfBlock)
	if _, err := c.nc.(*flateConn).Conn.Write(w.out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"x OK", "y OK"} {
		if l := c.line(); !strings.HasPrefix(l, want) {
			t.Errorf("%q, want %s", l, want)
		}
	}
}

// TestCompressBomb: a command that unpacks to a gigabyte ends the session as
// one that was sent does.
func TestCompressBomb(t *testing.T) {
	f := newFixture(t, func(s *Server) { s.Config.AppendLimit = 1 << 20 })
	c := f.login()
	z := c.compress(false)
	bomb := packed(t, 9, strings.Repeat("x", 1<<20))
	go func() {
		for range 1000 {
			if _, err := z.Conn.Write(bomb); err != nil {
				return
			}
		}
	}()
	for {
		if _, err := c.tryLine(); err != nil {
			if n, timeout := err.(net.Error); timeout && n.Timeout() {
				t.Error("the session goes on")
			}
			break
		}
	}
	d := f.login()
	d.compress(false)
	d.nc.(*flateConn).Conn.Write([]byte{0x06}) // no block is of this type
	if l, err := d.tryLine(); err == nil {
		t.Errorf("after what is no deflate: %q", l)
	}
}

// TestUnauthenticate: compression ends with the login, in both directions; the
// next login may be another's and begins afresh.
func TestUnauthenticate(t *testing.T) {
	f := newFixture(t, nil)
	c := f.login()
	for range 3 {
		z := c.compress(true)
		c.ok("SELECT INBOX")
		wantAll(t, c.ok("UNAUTHENTICATE"), "AUTH=PLAIN")
		c.nc = z.Conn
		c.r = bufio.NewReader(c.nc)
		c.fails("COMPRESS DEFLATE", "BAD")
		c.fails("LIST \"\" *", "BAD")
		if all := f.server.Sessions(); len(all) != 1 || all[0].Account != "" || all[0].Mailbox != "" {
			t.Errorf("sessions: %+v", all)
		}
		c.ok("LOGIN " + alice + ` "` + secret + `"`)
	}
	z := c.compress(false)
	io.WriteString(z, "x UNAUTHENTICATE\r\ny NOOP\r\n") // in one block
	for {
		l, err := c.tryLine()
		if err != nil {
			break
		}
		if strings.HasPrefix(l, "y") {
			t.Errorf("what is compressed behind the end is executed: %q", l)
		}
	}
}

// TestIdleCompressed: what compression adds to an idle connection is small.
func TestIdleCompressed(t *testing.T) {
	f := newFixture(t, nil)
	c := f.login()
	c.compress(false)
	for range 100 {
		c.ok("NOOP")
	}
	f.server.mu.Lock()
	defer f.server.mu.Unlock()
	for _, s := range f.server.conns {
		if n := int(unsafe.Sizeof(*s.inflater)) + cap(s.inflater.window) + cap(s.pushed); n > 8<<10 {
			t.Errorf("%d octets", n)
		} else {
			t.Logf("%d octets, of them %d of window", n, cap(s.inflater.window))
		}
	}
}

func BenchmarkDeflate(b *testing.B) {
	for name, text := range map[string]string{"list": strings.Repeat("* LIST (\\HasNoChildren) \"/\" Archive/2024\r\n", 30), "letters": strings.Repeat(hello, 100)[:deflatePiece]} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var pool deflatePool
			b.SetBytes(int64(len(text)))
			n := 0
			for b.Loop() {
				out := pool.pack([]byte(text))
				n = out.Len()
				pool.outputs.Put(out)
			}
			b.ReportMetric(float64(n)/float64(len(text)), "ratio")
		})
	}
}
