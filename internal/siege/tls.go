package siege

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"net"
	"slices"
	"strings"
	"testing"
)

// Handshakes are attacks with the handshake of TLS, which is due at once.
func Handshakes() []Attack {
	return []Attack{
		{"half a ClientHello", func(s *Stranger) { s.SendBelow(records(clientHello, 65_000, 60_000)) }},
		{"ClientHello with long names", func(s *Stranger) { s.SendBelow(helloOf(s.t, strings.Repeat("name.", 50)+"example")) }},
		{"half a certificate", func(s *Stranger) {
			s.SendBelow(helloOf(s.t, "mail.home.example"))
			s.SendBelow(records(certificate, 262_000, 60_000))
		}},
		{"large certificate", func(s *Stranger) {
			s.SendBelow(helloOf(s.t, "mail.home.example"))
			s.Below.Write(records(certificate, 262_000, 261_000)) //nolint:errcheck // the server hangs up
		}},
		{"large certificate behind the handshake", func(s *Stranger) {
			s.Handshake()
			s.Below.Write(s.seal(records(certificate, 262_000, 261_000))) //nolint:errcheck // the server hangs up
		}},
	}
}

// seal encrypts records as the first ones behind a handshake of TLS 1.3 (RFC
// 8446 section 5.2).
func (s *Stranger) seal(records []byte) (sealed []byte) {
	aead, iv := s.key()
	for n := uint64(0); len(records) > 0; n++ {
		size := int(binary.BigEndian.Uint16(records[3:]))
		inner := append(slices.Clone(records[5:5+size]), records[0])
		header := binary.BigEndian.AppendUint16([]byte{23, 3, 3}, uint16(len(inner)+aead.Overhead()))
		nonce := slices.Clone(iv)
		binary.BigEndian.PutUint64(nonce[4:], binary.BigEndian.Uint64(nonce[4:])^n)
		sealed = append(append(sealed, header...), aead.Seal(nil, nonce, inner, header)...)
		records = records[5+size:]
	}
	return sealed
}

// key is what the client encrypts with after the handshake, for the one suite
// that Go prefers where the machine has AES (RFC 8446 section 7.3).
func (s *Stranger) key() (aead cipher.AEAD, iv []byte) {
	if suite := s.Conn.(*tls.Conn).ConnectionState().CipherSuite; suite != tls.TLS_AES_128_GCM_SHA256 {
		s.t.Errorf("the suite is %s", tls.CipherSuiteName(suite))
	}
	_, secret, _ := strings.Cut(s.keys.String(), "CLIENT_TRAFFIC_SECRET_0 ")
	secret, _, _ = strings.Cut(secret, "\n")
	traffic, err := hex.DecodeString(secret[strings.IndexByte(secret, ' ')+1:])
	if err != nil {
		s.t.Error(err)
	}
	expand := func(label string, n int) []byte {
		info := slices.Concat([]byte{0, byte(n), byte(len("tls13 " + label))}, []byte("tls13 "+label), []byte{0})
		key, err := hkdf.Expand(sha256.New, traffic, string(info), n)
		if err != nil {
			s.t.Error(err)
		}
		return key
	}
	block, err := aes.NewCipher(expand("key", 16))
	if err == nil {
		aead, err = cipher.NewGCM(block)
	}
	if err != nil {
		s.t.Error(err)
	}
	return aead, expand("iv", 12)
}

// Types of handshake messages (RFC 8446 section 4).
const (
	clientHello = 1
	certificate = 11
)

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
	go tls.Client(far, &tls.Config{ServerName: name, MaxVersion: tls.VersionTLS12}).Handshake() //nolint:errcheck,gosec // nobody answers
	b := make([]byte, 4096)
	n, err := near.Read(b)
	if err != nil {
		t.Error(err)
	}
	far.Close() //nolint:errcheck // it has said what was wanted
	return b[:n]
}
