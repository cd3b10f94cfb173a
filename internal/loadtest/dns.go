package loadtest

import (
	"context"
	"encoding/binary"
	"net"
)

// ServeDNS answers DNS questions on loopback until ctx is done: nothing that
// is asked about exists. So a server's checks cost what they cost with a
// resolver nearby, and reach nobody. It returns the address.
func ServeDNS(ctx context.Context) (string, error) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	context.AfterFunc(ctx, func() { conn.Close() }) //nolint:errcheck // nobody waits for it
	go func() {
		question := make([]byte, 512)
		for {
			n, peer, err := conn.ReadFrom(question)
			if err != nil {
				return // conn is closed
			}
			if answer := noSuchName(question[:n]); answer != nil {
				conn.WriteTo(answer, peer) //nolint:errcheck // who had no answer asks again
			}
		}
	}()
	return conn.LocalAddr().String(), nil
}

// noSuchName answers a question with NXDOMAIN, and with the SOA record that
// lets it be remembered for an hour (RFC 2308 section 5); nil if it is none.
func noSuchName(message []byte) []byte {
	const header, typeAndClass = 12, 4
	end := header
	for end < len(message) && message[end] != 0 {
		end += 1 + int(message[end])
	}
	end += 1 + typeAndClass
	if end > len(message) {
		return nil
	}
	const flags = 0x8583 // response, authoritative, recursion desired and available, NXDOMAIN
	const hour = 3600
	var a []byte
	a = append(a, message[:2]...)
	for _, v := range []uint16{flags, 1, 0, 1, 0} { // one question, no answer, one record of authority
		a = binary.BigEndian.AppendUint16(a, v)
	}
	a = append(a, message[header:end]...)
	a = append(a, 0, 0, 6, 0, 1) // SOA of the root, class IN
	a = binary.BigEndian.AppendUint32(a, hour)
	a = append(a, 0, 22, 0, 0) // 22 octets: no names of server and mailbox, and five numbers
	for _, v := range []uint32{1, hour, hour, hour, hour} {
		a = binary.BigEndian.AppendUint32(a, v)
	}
	return a
}
