package mta

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/textproto"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"mailbox/internal/dns"
	"mailbox/storage"
)

// Waits for one answer (RFC 5321 section 4.5.3.2). What RFC 5321 has no word
// on is how long a connection may take.
const (
	connectTime  = 30 * time.Second
	commandTime  = 5 * time.Minute // greeting, MAIL, RCPT
	dataTime     = 2 * time.Minute // the answer to DATA
	blockTime    = 3 * time.Minute // until some octets of the message are taken
	dataDoneTime = 10 * time.Minute
	slowest      = 1 << 10 // octets a second of a message that a host must take
)

// Remote takes messages to other servers over SMTP. Hostname and DNS must be
// set.
type Remote struct {
	Hostname string
	DNS      *dns.Resolver
	Self     func(netip.AddrPort) bool // where we listen ourselves; nil means nowhere
	Roots    *x509.CertPool            // whom to trust where a certificate matters; nil means the system's
	Log      *slog.Logger              // nil means slog.Default()

	Port uint16 // of the hosts that the DNS names; 0 means 25

	config atomic.Pointer[Config]
}

// Configure sets what holds for connections to come. It must be called before
// Connect.
func (r *Remote) Configure(c Config) { r.config.Store(&c) }

func (r *Remote) settings() *Config { return r.config.Load() }

func (r *Remote) log() *slog.Logger {
	if r.Log == nil {
		return slog.Default()
	}
	return r.Log
}

func (r *Remote) port() uint16 {
	if r.Port == 0 {
		return 25
	}
	return r.Port
}

// A security is what TLS must be on a connection.
type security struct {
	implicit bool // from the first octet
	off      bool
	required bool // encrypted, and the certificate is the host's
	then     bool // plain text is allowed where TLS fails
}

func (r *Remote) security(d Destination, route Route) security {
	switch {
	case route.TLS == "none" && !d.RequireTLS:
		return security{off: true}
	case route.TLS == "tls":
		return security{implicit: true, required: true}
	case route.TLS == "optional" && !d.RequireTLS:
		return security{then: true}
	}
	return security{required: true}
}

// Connect implements Carrier.
func (r *Remote) Connect(ctx context.Context, d Destination) (Connection, error) {
	began := time.Now()
	hops, fail := r.hops(ctx, d)
	route := Route{TLS: "optional"}
	if d.Host != "" {
		route = r.settings().route(d)
	}
	for _, h := range hops {
		c, err := r.try(ctx, h, d, route)
		if err == nil {
			return c, nil
		}
		fail = worse(fail, err)
		if ctx.Err() != nil || err.Status == ourselves {
			break
		}
	}
	if fail.Attempt.Host == "" {
		fail.Attempt.Host = d.String()
	}
	fail.At, fail.Took, fail.HostDown = began, time.Since(began), true
	return nil, fail
}

// ourselves is the status of mail that would come back to us. Hosts that are no
// better than we are would send it here (RFC 5321 section 5.1).
const ourselves = "5.4.6"

// worse is the failure that is told when several hosts failed: the first one
// that may pass.
func worse(first, next *Failure) *Failure {
	if first == nil || first.Permanent() && !next.Permanent() {
		return next
	}
	return first
}

// try connects to one address. A host whose TLS does not work is called again
// without, where that is allowed. What keeps us from a host that the operator
// named is the operator's to mend, and no fault of the mail: it may pass.
func (r *Remote) try(ctx context.Context, h hop, d Destination, route Route) (*session25, *Failure) {
	s := r.security(d, route)
	c, fail := r.open(ctx, h, s, route)
	if fail != nil && fail.Stage == "tls" && s.then {
		r.log().Info("TLS failed, going on in plain text", "host", h.host, "address", h.addr, "reason", fail.Reply)
		c, fail = r.open(ctx, h, security{off: true}, route)
	}
	if fail != nil && d.Host != "" {
		fail.Status = "4" + fail.Status[1:]
	}
	if fail == nil && d.RequireTLS && !c.offers("REQUIRETLS") {
		c.Close()
		fail = c.failure("ehlo", "5.7.30", "the sender asks for REQUIRETLS, which the host does not offer")
	}
	if fail != nil {
		fail.Attempt.Host, fail.Address = h.name(), h.addr.String()
		return nil, fail
	}
	return c, nil
}

func (h hop) name() string {
	if h.host == "" {
		return h.addr.Addr().String()
	}
	return h.host
}

// open connects, and goes as far as MAIL may follow.
func (r *Remote) open(ctx context.Context, h hop, s security, route Route) (*session25, *Failure) {
	dialer := net.Dialer{Timeout: min(connectTime, r.settings().Timeout)}
	nc, err := dialer.DialContext(ctx, "tcp", h.addr.String())
	if err != nil {
		return nil, failed("connect", "4.4.1", "%s", plain(err))
	}
	c := &session25{r: r, hop: h, began: time.Now()}
	c.line = &line{Conn: nc, timeout: r.settings().Timeout}
	stop := c.watch(ctx)
	fail := c.greet(ctx, s)
	if fail == nil {
		fail = c.login(route)
	}
	if !stop() && fail == nil {
		fail = failed("connect", "4.4.1", "%v", context.Cause(ctx))
	}
	if fail != nil {
		c.abort()
		return nil, fail
	}
	return c, nil
}

// watch ends the connection with ctx, until stop is called. stop returns
// whether ctx lasted.
func (c *session25) watch(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, c.abort)
}

// plain is a network error without its addresses, which are told beside it.
func plain(err error) string {
	var op *net.OpError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the host closed the connection"
	case !errors.As(err, &op):
		return err.Error()
	case op.Timeout():
		return op.Op + ": no answer in time"
	}
	return op.Op + ": " + op.Err.Error()
}

// greet reads the greeting, says EHLO, and starts TLS where it is offered.
// go-smtp takes over behind it: it cannot do without TLS when that fails.
func (c *session25) greet(ctx context.Context, s security) *Failure {
	c.wire = newWire(c.line)
	if s.implicit {
		if fail := c.handshake(ctx, s); fail != nil {
			return fail
		}
	}
	if _, err := c.ask(220, ""); err != nil {
		return c.said("greeting", err)
	}
	if fail := c.ehlo(); fail != nil {
		return fail
	}
	offered := slices.Contains(c.extensions, "STARTTLS")
	switch {
	case s.implicit || s.off:
	case !offered && s.required:
		return failed("tls", "5.7.30", "the host offers no TLS, which this mail needs")
	case offered:
		if fail := c.startTLS(ctx, s); fail != nil {
			return fail
		}
		if fail := c.ehlo(); fail != nil {
			return fail
		}
	}
	c.smtp = smtp.NewClient(c.wire)
	c.smtp.SubmissionTimeout = c.line.wait(dataDoneTime)
	if err := c.hello("220 go on\r\n"); err != nil {
		return c.said("ehlo", err)
	}
	return nil
}

// ask says a command, or nothing, and returns the answer to it.
func (c *session25) ask(code int, command string) (string, error) {
	c.line.limit(commandTime)
	text := textproto.NewConn(c.wire)
	if command != "" {
		if err := text.PrintfLine("%s", command); err != nil {
			return "", err
		}
	}
	_, answer, err := text.ReadResponse(code)
	return answer, err
}

// ehlo says who we are and notes what the host offers, keywords in upper case.
// A host that does not take EHLO offers nothing (RFC 5321 section 4.1.4).
func (c *session25) ehlo() *Failure {
	answer, err := c.ask(250, "EHLO "+c.r.Hostname)
	var refused *textproto.Error
	if errors.As(err, &refused) && refused.Code >= 500 && refused.Code < 600 {
		answer, err = c.ask(250, "HELO "+c.r.Hostname)
		answer, _, _ = strings.Cut(answer, "\n")
	}
	if err != nil {
		return c.said("ehlo", err)
	}
	lines := strings.Split(answer, "\n")
	if name, _, _ := strings.Cut(lines[0], " "); strings.EqualFold(name, c.r.Hostname) {
		return failed("ehlo", ourselves, "the host is ourselves: it has our name, %s", name)
	}
	c.extensions = nil
	for _, l := range lines[1:] {
		keyword, parameters, _ := strings.Cut(strings.TrimSpace(l), " ")
		c.extensions = append(c.extensions, strings.TrimSpace(strings.ToUpper(keyword)+" "+parameters))
	}
	return nil
}

// hello makes go-smtp believe that it says EHLO, which it wants to do first and
// after each RSET. So what the host offers cannot change, nor be lost with the
// connection.
func (c *session25) hello(greeting string) error {
	text := greeting + "250-go on\r\n"
	for _, e := range c.extensions {
		text += "250-" + e + "\r\n"
	}
	c.wire.given, c.wire.mute = []byte(text+"250 \r\n"), true
	return c.smtp.Hello(c.r.Hostname)
}

// startTLS asks for TLS. Octets that came in the clear behind the answer end
// the connection (RFC 3207 section 4.2).
func (c *session25) startTLS(ctx context.Context, s security) *Failure {
	if _, err := c.ask(220, "STARTTLS"); err != nil {
		return c.said("tls", err)
	}
	if c.wire.r.Buffered() > 0 {
		return failed("tls", "4.7.5", "octets in plain text behind the answer to STARTTLS")
	}
	return c.handshake(ctx, s)
}

// handshake goes over to TLS, and notes what it is worth.
func (c *session25) handshake(ctx context.Context, s security) *Failure {
	cfg := &tls.Config{ServerName: c.hop.host, RootCAs: c.r.Roots, InsecureSkipVerify: true}
	var untrusted error
	cfg.VerifyConnection = func(st tls.ConnectionState) error {
		o := x509.VerifyOptions{Roots: c.r.Roots, DNSName: c.hop.name(), Intermediates: x509.NewCertPool()}
		for _, cert := range st.PeerCertificates[1:] {
			o.Intermediates.AddCert(cert)
		}
		if _, untrusted = st.PeerCertificates[0].Verify(o); untrusted != nil && s.required {
			return untrusted
		}
		return nil
	}
	t := tls.Client(c.line, cfg)
	ctx, cancel := context.WithTimeout(ctx, c.line.wait(connectTime))
	defer cancel()
	if err := t.HandshakeContext(ctx); err != nil {
		return failed("tls", "4.7.5", "TLS: %s", plain(err))
	}
	c.wire = newWire(t)
	c.tls = tls.VersionName(t.ConnectionState().Version)
	if c.trusted = untrusted == nil; c.trusted {
		c.tls += ", certificate valid"
	} else {
		c.tls += ", certificate not trusted"
	}
	return nil
}

// login logs in to a smarthost that wants it.
func (c *session25) login(route Route) *Failure {
	if route.User == "" {
		return nil
	}
	password, err := route.password()
	if err != nil {
		return failed("auth", "4.7.0", "mta.routes.password_file: %v", err)
	}
	c.smtp.CommandTimeout = c.line.wait(commandTime)
	var mechanism sasl.Client
	switch {
	case c.smtp.SupportsAuth("PLAIN"):
		mechanism = sasl.NewPlainClient("", route.User, password)
	case c.smtp.SupportsAuth("LOGIN"):
		mechanism = &loginClient{route.User, password}
	default:
		return failed("auth", "4.7.0", "the smarthost offers neither AUTH PLAIN nor LOGIN")
	}
	if err := c.smtp.Auth(mechanism); err != nil {
		return c.said("auth", err)
	}
	return nil
}

// A loginClient answers AUTH LOGIN, whose questions every host words as it
// likes: the first one is for the name, the second one for the password.
type loginClient []string

// Start implements sasl.Client.
func (*loginClient) Start() (string, []byte, error) { return "LOGIN", nil, nil }

// Next implements sasl.Client.
func (a *loginClient) Next([]byte) ([]byte, error) {
	if len(*a) == 0 {
		return nil, sasl.ErrUnexpectedServerChallenge
	}
	answer := (*a)[0]
	*a = (*a)[1:]
	return []byte(answer), nil
}

// failure is one of this host's, for whatever message.
func (c *session25) failure(stage, status, format string, args ...any) *Failure {
	fail := failed(stage, status, format, args...)
	fail.Attempt = c.attempt(stage, fail.Reply)
	return fail
}

// said makes a failure of what the host answered, or of its not answering.
func (c *session25) said(stage string, err error) *Failure {
	f := &Failure{HostDown: true, Attempt: c.attempt(stage, "")}
	var reply *textproto.Error
	var known *smtp.SMTPError
	switch {
	case errors.As(err, &known):
		f.Remote = true
		f.Status, f.Reply = replyStatus(known.Code, known.EnhancedCode), replyText(known)
	case errors.As(err, &reply):
		f.Remote = true
		var e smtp.EnhancedCode
		if n, _ := fmt.Sscanf(reply.Msg, "%d.%d.%d ", &e[0], &e[1], &e[2]); n < len(e) {
			e = smtp.EnhancedCode{}
		}
		f.Status, f.Reply = replyStatus(reply.Code, e), oneLine(fmt.Sprintf("%d %s", reply.Code, reply.Msg))
	default:
		f.Status, f.Reply = "4.4.2", oneLine(plain(err))
	}
	return f
}

func (c *session25) attempt(stage, reply string) storage.Attempt {
	return storage.Attempt{
		At: c.began, Took: time.Since(c.began), Host: c.hop.name(), Address: c.hop.addr.String(), TLS: c.tls, Stage: stage, Reply: reply,
	}
}

// replyStatus is the status of a reply (RFC 3463), whose class is that of its
// code. An answer that is neither 4xx nor 5xx makes no sense, and may pass.
func replyStatus(code int, e smtp.EnhancedCode) string {
	class := 4
	if code >= 500 && code < 600 {
		class = 5
	}
	if e[0] == class && e[1] >= 0 && e[1] < 1000 && e[2] >= 0 && e[2] < 1000 {
		return fmt.Sprintf("%d.%d.%d", e[0], e[1], e[2])
	}
	return fmt.Sprintf("%d.0.0", class)
}

func replyText(e *smtp.SMTPError) string {
	text := fmt.Sprint(e.Code)
	if e.EnhancedCode[0] > 0 {
		text += fmt.Sprintf(" %d.%d.%d", e.EnhancedCode[0], e.EnhancedCode[1], e.EnhancedCode[2])
	}
	return oneLine(text + " " + e.Message)
}

const maxReply = 1000 // octets of a reply that are kept

// oneLine keeps what a host says from forging lines of logs and reports, and
// from speaking to a terminal.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, s)
	if len(s) > maxReply {
		s = strings.ToValidUTF8(s[:maxReply], "") + " …"
	}
	return s
}
