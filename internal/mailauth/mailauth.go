// Package mailauth says who sent a message, and signs ours.
//
// A Checker finds out what the peer's address is called (iprev), whether it may
// use the domains of HELO and MAIL FROM (SPF), who signed the message (DKIM),
// what the domain in From wants done if none of that fits (DMARC), and whom it
// passed on its way (ARC). It refuses nothing: its Results are for those who
// decide. A Signer signs with DKIM.
//
// Signatures are verified and made here rather than by go-msgauth, which the
// tests hold them against: ARC needs the same parts, which it does not export;
// it hashes the body once for every signature, takes RSA keys of any length,
// and starts goroutines whose panics nobody recovers.
package mailauth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"mailbox/internal/dns"
	"mailbox/internal/message"
)

// A Result is what a check came to (RFC 8601 section 2.7).
type Result string

// The results of all methods. Not every method has each of them.
const (
	None      Result = "none"
	Pass      Result = "pass"
	Fail      Result = "fail"
	SoftFail  Result = "softfail"
	Neutral   Result = "neutral"
	Policy    Result = "policy"    // it would pass, but is not safe enough for us
	TempError Result = "temperror" // the DNS could not be asked; never a reason to refuse
	PermError Result = "permerror"
)

// maxSignatures bounds the DKIM signatures that are looked at.
const maxSignatures = 10

// Checker finds out who sent a message. DNS and Hostname must be set; none of
// the fields may change after the first Begin.
type Checker struct {
	DNS            *dns.Resolver
	Hostname       string        // the authserv-id of our Results
	Timeout        time.Duration // for what begins at MAIL, and again for the rest; 0 means 20 seconds (RFC 7208 section 4.6.4)
	TrustedSealers []string      // domains whose ARC seals count
	Log            *slog.Logger  // nil means slog.Default()

	OnPanic func(value any, stack []byte) // counts panics; called from several goroutines; may be nil
}

// A Peer is who is sending, as far as that is known at MAIL.
type Peer struct {
	Addr     netip.Addr
	Helo     string // as given
	MailFrom string // without angle brackets; "" is the null reverse-path
}

// Results are what was found out about a message.
type Results struct {
	Hostname  string // who found out
	IPRev     IPRev
	Helo      SPF
	MailFrom  SPF // of HELO where MAIL FROM is the null reverse-path (RFC 7208 section 2.4)
	DKIM      []Signature
	Unchecked int // DKIM signatures beyond the first ten
	DMARC     DMARC
	ARC       ARC
}

// A Signature is what one DKIM-Signature field came to.
type Signature struct {
	Result    Result
	Reason    string // in words, or ""
	Domain    string // in A-labels; "" where it cannot be read
	Selector  string // likewise
	Algorithm string // "rsa-sha256" or "ed25519-sha256"; "" where it is another
	Begin     string // of the signature, to tell it from others (RFC 6008)
}

// An Inquiry is what is being found out about one message.
type Inquiry struct {
	c      *Checker
	ctx    context.Context
	early  group // ends with cancel
	cancel context.CancelFunc
	r      Results
}

// Begin starts what can be found out at MAIL, in the background: iprev and SPF.
// Check or End must follow.
func (c *Checker) Begin(ctx context.Context, p Peer) *Inquiry {
	q := &Inquiry{c: c, ctx: ctx, early: group{c: c}}
	ctx, q.cancel = c.limit(ctx)
	addr := p.Addr.Unmap().WithZone("")
	internal := "internal error" // stays where a check panics
	q.r = Results{
		Hostname: c.Hostname,
		IPRev:    IPRev{Result: TempError, Reason: internal, Addr: addr},
		Helo:     SPF{Result: TempError, Reason: internal},
		MailFrom: SPF{Result: TempError, Reason: internal},
		ARC:      ARC{Result: TempError, Reason: internal},
		DMARC:    DMARC{Result: TempError, Reason: internal},
	}
	q.early.start(func() { q.r.IPRev = c.checkIPRev(ctx, addr) })
	if p.MailFrom != "" {
		q.early.start(func() { q.r.MailFrom = c.checkSPF(ctx, addr, p.Helo, p.MailFrom) })
	}
	q.early.start(func() {
		q.r.Helo = c.checkSPF(ctx, addr, p.Helo, p.Helo)
		if p.MailFrom == "" {
			q.r.MailFrom = q.r.Helo
		}
	})
	return q
}

// End gives the inquiry up, and returns when nothing of it runs any more. It
// may be called after Check, and again.
func (q *Inquiry) End() {
	q.cancel()
	q.early.wait()
}

// Check finds out the rest and waits for all of it. header is that of the
// message as it came, body what follows the empty line; it is read only where a
// signature needs it. Check fails only where body does. It may be called once.
func (q *Inquiry) Check(header message.Header, body io.Reader) (*Results, error) {
	defer q.End()
	ctx, cancel := q.c.limit(q.ctx)
	defer cancel()
	late := group{c: q.c}
	defer late.wait()

	a := readAuthors(header)
	policies := make([]policy, len(a.domains))
	for i, domain := range a.domains {
		policies[i] = policy{domain: domain, err: errUnknown}
		late.start(func() { policies[i] = q.c.findPolicy(ctx, domain) })
	}
	signed, sealed := q.readSignatures(header), readChain(header)
	hashes := needed(signed, sealed)
	for _, s := range signed {
		if s.err == nil {
			s.err = errUnknown
			late.start(func() { s.key, s.err = q.c.publicKey(ctx, s.signature) })
		}
	}
	late.start(func() { q.c.fetch(ctx, sealed) })
	if err := hashes.read(body); err != nil {
		cancel()
		return nil, fmt.Errorf("check: body: %w", err)
	}
	late.wait()
	q.early.wait()
	late.start(func() {
		d := newDigest(header)
		for _, s := range signed {
			q.r.DKIM = append(q.r.DKIM, s.report(d, hashes))
		}
		q.r.ARC = q.c.checkARC(sealed, d, hashes)
		q.r.DMARC = q.c.checkDMARC(ctx, a, policies, &q.r)
	})
	late.wait()
	return &q.r, nil
}

// errUnknown is what stands for a result until there is one.
var errUnknown error = flaw{TempError, "internal error"}

// A candidate is a DKIM signature on its way to a result.
type candidate struct {
	*signature
	key *publicKey
	err error
}

// readSignatures reads the first ten DKIM signatures, and counts the others.
func (q *Inquiry) readSignatures(header message.Header) []*candidate {
	var list []*candidate
	for i := range header {
		if !strings.EqualFold(header[i].Name, "DKIM-Signature") {
			continue
		}
		if len(list) == maxSignatures {
			q.r.Unchecked++
			continue
		}
		s := &candidate{}
		s.signature, s.err = parseDKIM(&header[i])
		list = append(list, s)
	}
	return list
}

// needed returns the hashes of the body that the signatures need.
func needed(signed []*candidate, sealed *chain) *bodies {
	hashes := &bodies{}
	for _, s := range signed {
		if s.err == nil {
			hashes.need(s.relaxedBody)
		}
	}
	if sealed.err == nil && sealed.message != nil {
		hashes.need(sealed.message.relaxedBody)
	}
	return hashes
}

// report verifies a signature whose key was looked up.
func (s *candidate) report(d *digest, b *bodies) Signature {
	err := s.err
	if err == nil {
		err = s.verify(s.key, d, b)
	}
	r := Signature{Domain: s.domain, Selector: s.selector}
	r.Result, r.Reason = verdict(err)
	if s.algorithm != "" {
		r.Algorithm = s.algorithm + "-sha256"
	}
	if begin, _ := s.tags.get("b"); s.value != nil {
		begin = dropSpace(begin)
		r.Begin = begin[:min(len(begin), 8)]
	}
	return r
}

// verdict splits what a check came to into its parts.
func verdict(err error) (Result, string) {
	if err == nil {
		return Pass, ""
	}
	var f flaw
	if errors.As(err, &f) {
		return f.result, f.reason
	}
	return PermError, err.Error()
}

func (c *Checker) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, cmp.Or(c.Timeout, 20*time.Second))
}

func (c *Checker) log() *slog.Logger {
	if c.Log != nil {
		return c.Log
	}
	return slog.Default()
}

// A group is functions that run side by side. A panic ends only its function.
type group struct {
	c       *Checker
	running sync.WaitGroup
}

func (g *group) start(f func()) {
	g.running.Go(func() {
		defer g.c.recovered()
		f()
	})
}

func (g *group) wait() { g.running.Wait() }

func (c *Checker) recovered() {
	if v := recover(); v != nil {
		stack := debug.Stack()
		c.log().Error("check panicked", "panic", v, "stack", string(stack))
		if c.OnPanic != nil {
			c.OnPanic(v, stack)
		}
	}
}
