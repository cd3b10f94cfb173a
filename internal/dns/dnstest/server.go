// Package dnstest is a DNS server for tests. It answers out of zones that the
// test writes down, as a resolver would that had asked everybody, and fails on
// demand.
package dnstest

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// Response codes for Fail (RFC 1035 section 4.1.1).
const (
	FormErr  = dns.RcodeFormatError
	ServFail = dns.RcodeServerFailure
	NotImp   = dns.RcodeNotImplemented
	Refused  = dns.RcodeRefused
)

// A Server answers over UDP and TCP. It is safe for concurrent use. Names are
// given to its methods with or without a dot at the end, in any case.
type Server struct {
	Addr string // address and port

	tb   testing.TB // or nil
	udp  *dns.Server
	tcp  *dns.Server
	done sync.WaitGroup

	mu            sync.Mutex
	zone          zone
	authenticated bool
	behaviours    map[string]behaviour
	queries       map[string]int
}

// A behaviour is what a server does about one name instead of answering.
type behaviour struct {
	rcode  int
	drop   bool
	mangle func(reply []byte) [][]byte
}

// New starts a server that ends with the test. It listens on an address such
// as "127.0.0.1:0" or "127.0.0.53:53". The zone is a master file (RFC 1035
// section 5); what it says of no name does not exist. $ORIGIN may stand in it
// any number of times, and is the root at first; $TTL is 300 at first.
func New(tb testing.TB, listen, zone string) *Server {
	tb.Helper()
	s, err := Serve(listen, zone)
	if err != nil {
		tb.Fatal(err)
	}
	s.tb = tb
	tb.Cleanup(s.Close)
	return s
}

// Serve is New for those who are no test. They must Close the server.
func Serve(listen, zone string) (*Server, error) {
	z, err := parseZone(zone)
	if err != nil {
		return nil, err
	}
	packets, listener, err := sockets(listen)
	if err != nil {
		return nil, err
	}
	s := &Server{
		Addr:       packets.LocalAddr().String(),
		zone:       z,
		behaviours: make(map[string]behaviour),
		queries:    make(map[string]int),
	}
	s.udp = s.start(&dns.Server{PacketConn: packets})
	s.tcp = s.start(&dns.Server{Listener: listener})
	return s, nil
}

// sockets opens the same port for UDP and TCP. If any port will do, the one
// that is free for UDP may be taken for TCP: then it tries others.
func sockets(listen string) (net.PacketConn, net.Listener, error) {
	var errs []error
	for range 10 {
		packets, err := net.ListenPacket("udp", listen)
		if err != nil {
			return nil, nil, err
		}
		listener, err := net.Listen("tcp", packets.LocalAddr().String())
		if err == nil {
			return packets, listener, nil
		}
		packets.Close()
		errs = append(errs, err)
	}
	return nil, nil, errors.Join(errs...)
}

// start serves until Close, and returns when srv can be shut down.
func (s *Server) start(srv *dns.Server) *dns.Server {
	started := make(chan struct{})
	srv.Handler = dns.HandlerFunc(s.serve)
	srv.MsgAcceptFunc = accept
	srv.TsigSecret = map[string]string{UpdateKeyName: UpdateKey}
	srv.NotifyStartedFunc = func() { close(started) }
	s.done.Go(func() { srv.ActivateAndServe() })
	<-started
	return srv
}

// Close ends the server.
func (s *Server) Close() {
	s.udp.Shutdown()
	s.tcp.Shutdown()
	s.done.Wait()
}

// Set replaces the zone. A mistake in it changes nothing, and ends the test if
// there is one.
func (s *Server) Set(zone string) error {
	z, err := parseZone(zone)
	if err != nil {
		if s.tb != nil {
			s.tb.Helper()
			s.tb.Fatal(err)
		}
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.zone = z
	return nil
}

// Authenticated sets the AD bit in all answers from now on, or no longer does.
func (s *Server) Authenticated(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.authenticated = yes
}

// Fail answers queries for name with nothing but rcode.
func (s *Server) Fail(name string, rcode int) { s.behave(name, behaviour{rcode: rcode}) }

// Drop never answers queries for name.
func (s *Server) Drop(name string) { s.behave(name, behaviour{drop: true}) }

// Mangle sends what f makes of the reply to queries for name: any number of
// packets over UDP, of messages over TCP. The name in the reply is as asked.
func (s *Server) Mangle(name string, f func(reply []byte) [][]byte) {
	s.behave(name, behaviour{mangle: f})
}

// Mend undoes Fail, Drop, and Mangle.
func (s *Server) Mend(name string) { s.behave(name, behaviour{}) }

func (s *Server) behave(name string, b behaviour) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behaviours[canonical(name)] = b
}

// Queries returns how many queries for name have arrived, of any type, over
// UDP and TCP.
func (s *Server) Queries(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queries[canonical(name)]
}

func (s *Server) serve(w dns.ResponseWriter, query *dns.Msg) {
	if len(query.Question) != 1 { // miekg/dns has refused it already
		return
	}
	if query.Opcode == dns.OpcodeUpdate {
		s.update(w, query)
		return
	}
	reply, b := s.reply(query)
	if b.drop {
		return
	}
	if w.LocalAddr().Network() == "udp" {
		reply.Truncate(udpSize(query))
	}
	packed, err := reply.Pack()
	if err != nil {
		panic(fmt.Sprintf("dnstest: zone cannot be sent: %v", err))
	}
	packets := [][]byte{packed}
	if b.mangle != nil {
		packets = b.mangle(packed)
	}
	for _, p := range packets {
		w.Write(p)
	}
}

// udpSize returns the size that the client takes (RFC 6891 section 6.2.3).
func udpSize(query *dns.Msg) int {
	if opt := query.IsEdns0(); opt != nil {
		return int(opt.UDPSize())
	}
	return dns.MinMsgSize
}

func (s *Server) reply(query *dns.Msg) (*dns.Msg, behaviour) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := query.Question[0]
	name := canonical(q.Name)
	s.queries[name]++
	b := s.behaviours[name]

	reply := new(dns.Msg).SetReply(query)
	reply.RecursionAvailable = true
	if opt := query.IsEdns0(); opt != nil {
		reply.SetEdns0(udpSizeOffered, opt.Do())
	}
	if b.rcode != dns.RcodeSuccess {
		reply.Rcode = b.rcode
		return reply, b
	}
	s.zone.answer(reply, name, q.Qtype)
	reply.AuthenticatedData = s.authenticated && asksForAD(query)
	return reply, b
}

const udpSizeOffered = 1232

// asksForAD tells whether the client would see the AD bit (RFC 6840 section 5.8).
func asksForAD(query *dns.Msg) bool {
	opt := query.IsEdns0()
	return query.AuthenticatedData || opt != nil && opt.Do()
}

// parseZone reads a master file.
func parseZone(text string) (zone, error) {
	z := make(zone)
	parser := dns.NewZoneParser(strings.NewReader(text), ".", "zone")
	parser.SetDefaultTTL(300)
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		z.add(rr)
	}
	return z, parser.Err()
}
