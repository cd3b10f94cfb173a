package dnstest

import (
	"slices"

	"github.com/miekg/dns"
)

// The TSIG key (RFC 8945, hmac-sha256) with which any server may be updated
// (RFC 2136).
const (
	UpdateKeyName = "update.test."
	UpdateKey     = "bm90aGluZyBzZWNyZXQsIG9ubHkgZm9yIHRlc3RzISE="
)

// accept lets updates through, which the library refuses unless told.
func accept(h dns.Header) dns.MsgAcceptAction {
	const opcode = 0xF << 11
	if h.Bits&opcode == uint16(dns.OpcodeUpdate)<<11 {
		return dns.MsgAccept
	}
	return dns.DefaultMsgAcceptFunc(h)
}

// update changes the zone as a signed update says (RFC 2136 section 3.4.2).
// Prerequisites are not looked at.
func (s *Server) update(w dns.ResponseWriter, query *dns.Msg) {
	reply := new(dns.Msg).SetReply(query)
	sig := query.IsTsig()
	if sig == nil || w.TsigStatus() != nil {
		reply.Rcode = dns.RcodeNotAuth
		w.WriteMsg(reply)
		return
	}
	s.mu.Lock()
	for _, rr := range query.Ns {
		s.zone.change(rr)
	}
	s.mu.Unlock()
	reply.SetTsig(sig.Hdr.Name, sig.Algorithm, sig.Fudge, int64(sig.TimeSigned))
	w.WriteMsg(reply)
}

// change does what one record of an update says (RFC 2136 section 2.5).
func (z zone) change(rr dns.RR) {
	h := rr.Header()
	name := canonical(h.Name)
	if h.Class == dns.ClassINET {
		z.add(rr)
		return
	}
	z[name] = slices.DeleteFunc(z[name], func(have dns.RR) bool {
		if h.Class == dns.ClassANY {
			return h.Rrtype == dns.TypeANY || h.Rrtype == have.Header().Rrtype
		}
		gone := dns.Copy(rr)
		gone.Header().Class = dns.ClassINET
		return dns.IsDuplicate(have, gone)
	})
}
