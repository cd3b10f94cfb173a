package pull

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// silence is how long a server may say nothing while it owes an answer, and how
// long it may take to read what we say.
const silence = 5 * time.Minute

// smallLiterals is what the literals may have that answer a command which asks
// for no messages, in octets.
const smallLiterals = 1 << 20

// A conn is a connection to the source, logged in.
type conn struct {
	nc    net.Conn
	timed *timedConn
	reader
	caps    map[string]bool // in capitals
	tags    int
	bye     string      // what the server said when it hung up
	release func() bool // of the context that would close it
}

// A timedConn renews its deadlines with each read and write.
type timedConn struct {
	net.Conn
	silence time.Duration // while reading
}

func (c *timedConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.silence)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *timedConn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(silence)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// connect opens a connection and logs in. The connection is closed when ctx
// ends.
func (p *Puller) connect(ctx context.Context) (*conn, error) {
	nc, err := p.Dial(ctx, "tcp", p.Address)
	if err != nil {
		return nil, &cutError{err: err}
	}
	timed := &timedConn{Conn: nc, silence: silence}
	c := &conn{nc: timed, timed: timed}
	c.release = context.AfterFunc(ctx, func() { _ = nc.Close() }) // whoever uses it sees the error
	if err := c.begin(p); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// close hangs up.
func (c *conn) close() {
	if c == nil {
		return
	}
	c.release()
	_ = c.timed.Conn.Close() // nothing of ours is in it
	c.torn.close()
	c.torn = nil
}

// logout says farewell and hangs up.
func (c *conn) logout() {
	c.timed.silence = 5 * time.Second
	_, _ = c.command("LOGOUT", nil) // it is over either way
	c.close()
}

// begin does what comes before the first mailbox is looked at.
func (c *conn) begin(p *Puller) error {
	if p.Security == Plaintext && !local(c.timed.RemoteAddr()) {
		return errors.New("without TLS only a server on this machine may be read")
	}
	if p.Security == ImplicitTLS {
		if err := c.startTLS(p); err != nil {
			return err
		}
	}
	c.r = bufio.NewReaderSize(c.nc, 64<<10)
	c.allowed, c.memory = smallLiterals, smallLiterals
	greeting, err := c.next()
	if err != nil {
		return &cutError{err: err}
	}
	loggedIn := false
	switch greeting.kind {
	case "OK":
	case "PREAUTH":
		loggedIn = true
	default:
		return &loginError{&statusError{greeting.kind, greeting.code, greeting.text}}
	}
	if p.Security == StartTLS {
		if loggedIn {
			return errors.New("the server is logged in before TLS (RFC 9051 section 6.2.1)")
		}
		if err := c.upgrade(p); err != nil {
			return err
		}
	}
	if !loggedIn {
		if err := c.login(p); err != nil {
			return err
		}
	}
	return c.introduce()
}

// upgrade takes the connection into TLS. The server may have sent nothing
// behind its answer: that could come from somebody between.
func (c *conn) upgrade(p *Puller) error {
	if _, err := c.command("STARTTLS", nil); err != nil {
		return fmt.Errorf("starttls: %w", err)
	}
	if c.r.Buffered() > 0 {
		return errors.New("starttls: the server sent something before TLS began")
	}
	if err := c.startTLS(p); err != nil {
		return err
	}
	c.r.Reset(c.nc)
	return nil
}

func (c *conn) startTLS(p *Puller) error {
	config := &tls.Config{}
	if p.TLS != nil {
		config = p.TLS.Clone()
	}
	if config.ServerName == "" {
		host, _, err := net.SplitHostPort(p.Address)
		if err != nil {
			return err
		}
		config.ServerName = host
	}
	tc := tls.Client(c.timed, config)
	if err := tc.Handshake(); err != nil {
		return &cutError{err: fmt.Errorf("TLS with %s: %w", config.ServerName, err)}
	}
	c.nc = tc
	return nil
}

// local reports whether a peer is on this machine: on loopback, or not on a
// network at all.
func local(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return !ok || tcp.IP.IsLoopback()
}

// introduce learns what the server can do once one is logged in, and says who
// we are, without which some do not let one look (RFC 2971).
func (c *conn) introduce() error {
	if err := c.capability(); err != nil {
		return err
	}
	if c.caps["ID"] {
		if _, err := c.command(`ID ("name" "Mailbox")`, nil); err != nil && !isStatus(err) {
			return err
		}
	}
	return nil
}

func (c *conn) capability() error {
	c.caps = map[string]bool{}
	_, err := c.command("CAPABILITY", func(r *response) error {
		if r.kind == "CAPABILITY" {
			for _, f := range r.fields {
				c.caps[strings.ToUpper(f.atom)] = true
			}
		}
		return nil
	})
	return err
}

// command sends a command and hands each response but the last to on, which may
// be nil. The error is a *statusError if the server refuses, a *cutError if the
// connection is of no use any more, or that of on.
func (c *conn) command(line string, on func(*response) error) (*response, error) {
	return c.commandWith(line, smallLiterals, on)
}

// commandWith is command with a bound for the literals of all responses, in
// octets.
func (c *conn) commandWith(line string, literals int64, on func(*response) error) (*response, error) {
	c.tags++
	tag := fmt.Sprintf("M%d", c.tags)
	c.allowed, c.memory = literals, maxInMemory
	if err := c.send(tag + " " + line); err != nil {
		return nil, err
	}
	for {
		r, err := c.read()
		if err != nil {
			return nil, err
		}
		if r.tag == tag {
			return r, r.err()
		}
		if on != nil {
			err = on(r)
		}
		r.close()
		if err != nil {
			return nil, err
		}
	}
}

func (c *conn) send(line string) error {
	if _, err := c.nc.Write([]byte(line + "\r\n")); err != nil {
		return c.cut(err)
	}
	return nil
}

// read returns the next response. One that belongs to nothing means that the
// server and we are no longer at the same place.
func (c *conn) read() (*response, error) {
	r, err := c.next()
	if err != nil {
		return nil, c.cut(err)
	}
	switch {
	case r.tag == "*" && r.kind == "BYE":
		c.bye = r.code + " " + r.text
	case r.tag == "*", r.tag == "+", r.tag == fmt.Sprintf("M%d", c.tags):
	default:
		r.close()
		return nil, c.cut(fmt.Errorf("the server sent %.40q, which is no response", r.tag))
	}
	return r, nil
}

// cut wraps an error of the connection, with what the server gave as a reason.
func (c *conn) cut(err error) error {
	var ours *localError
	if errors.As(err, &ours) {
		return err
	}
	return &cutError{err: err, bye: strings.TrimSpace(c.bye)}
}

// A cutError says that a connection is of no use any more. Another may be.
type cutError struct {
	err error
	bye string // what the server gave as its reason
}

func (e *cutError) Error() string {
	if e.bye != "" {
		return fmt.Sprintf("the server hung up: %.200q: %v", e.bye, e.err)
	}
	return e.err.Error()
}

func (e *cutError) Unwrap() error { return e.err }

// A statusError is a NO or BAD of the server.
type statusError struct {
	kind, code, text string
}

func (e *statusError) Error() string {
	if e.code != "" {
		return fmt.Sprintf("%s [%s] %.200q", e.kind, e.code, e.text)
	}
	return fmt.Sprintf("%s %.200q", e.kind, e.text)
}

// A loginError is why one is not let in.
type loginError struct{ err error }

func (e *loginError) Error() string { return "login: " + e.err.Error() }

func (e *loginError) Unwrap() error { return e.err }

// err returns what a tagged response means. Gmail ends a FETCH that it cuts
// short with OK [THROTTLED].
func (r *response) err() error {
	if r.kind == "OK" && !slices.Contains(throttleCodes, r.code) {
		return nil
	}
	return &statusError{r.kind, r.code, r.text}
}

// isStatus reports whether the server has refused a command, and may be asked
// for something else.
func isStatus(err error) bool {
	var status *statusError
	var login *loginError
	return errors.As(err, &status) && !errors.As(err, &login)
}

// quote writes a string that was read from a server, or given by the operator,
// and holds no NUL, CR or LF.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
