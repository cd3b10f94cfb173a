package dns

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"time"

	"github.com/miekg/dns"
)

// udpSize is what crosses every network unfragmented (RFC 9715 section 3).
const udpSize = 1232

// A rcode is a reply's code that is neither success nor NXDOMAIN.
type rcode int

func (c rcode) Error() string {
	if name, ok := dns.RcodeToString[int(c)]; ok {
		return name
	}
	return "unknown response code"
}

var (
	errReferral  = errors.New("it answers for its own zones only")
	errTruncated = errors.New("truncated over TCP")
)

// exchange asks once over UDP, and if the reply does not fit over TCP (RFC
// 7766 section 5). Each may take as long as timeout. The error is a rcode if
// the server declined.
func (s *server) exchange(ctx context.Context, q question, edns bool, timeout time.Duration) (reply, error) {
	r, err := s.over(ctx, "udp", q, edns, timeout)
	if err == nil && r.truncated {
		r, err = s.over(ctx, "tcp", q, edns, timeout)
		if err == nil && r.truncated {
			err = errTruncated
		}
	}
	if err != nil {
		return reply{}, err
	}
	if r.rcode != dns.RcodeSuccess && r.rcode != dns.RcodeNameError {
		return reply{}, rcode(r.rcode)
	}
	if r.referral {
		return reply{}, errReferral
	}
	r.authenticated = r.authenticated && s.trusted
	return r, nil
}

// over asks on a socket of its own, so that its port is one that nobody can
// know (RFC 5452 section 9.2).
func (s *server) over(ctx context.Context, network string, q question, edns bool, timeout time.Duration) (reply, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errSilent)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, s.addr.String())
	if err != nil {
		return reply{}, cause(ctx, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	id, msg, err := query(q, edns)
	if err != nil {
		return reply{}, err
	}
	talk := datagrams
	if network == "tcp" {
		talk = stream
	}
	r, err := talk(conn, msg, func(answer []byte) (reply, error) { return parse(answer, id, q) })
	return r, cause(ctx, err)
}

// cause prefers why ctx ended to what ended with it.
func cause(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// query returns a message and the ID that it has. The AD bit asks for the same
// bit in the reply (RFC 6840 section 5.7).
func query(q question, edns bool) (id uint16, msg []byte, err error) {
	var random [2]byte
	rand.Read(random[:]) // never fails
	id = binary.BigEndian.Uint16(random[:])
	m := &dns.Msg{
		MsgHdr:   dns.MsgHdr{Id: id, RecursionDesired: true, AuthenticatedData: true},
		Question: []dns.Question{{Name: q.name, Qtype: q.typ, Qclass: dns.ClassINET}},
	}
	if edns {
		m.SetEdns0(udpSize, false)
	}
	msg, err = m.Pack()
	return id, msg, err
}

// datagrams sends msg, and waits for what answers it, whatever else arrives.
func datagrams(conn net.Conn, msg []byte, parse func([]byte) (reply, error)) (reply, error) {
	if _, err := conn.Write(msg); err != nil {
		return reply{}, err
	}
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return reply{}, err
		}
		r, err := parse(buf[:n])
		if !errors.Is(err, errStray) {
			return r, err
		}
	}
}

// stream sends msg and reads one answer (RFC 1035 section 4.2.2).
func stream(conn net.Conn, msg []byte, parse func([]byte) (reply, error)) (reply, error) {
	framed := append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...)
	if _, err := conn.Write(framed); err != nil {
		return reply{}, err
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return reply{}, err
	}
	buf := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, buf); err != nil {
		return reply{}, err
	}
	return parse(buf)
}
