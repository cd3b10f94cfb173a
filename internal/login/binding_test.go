package login

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// channel is a TLS connection as both ends see it.
func channel(t *testing.T, version uint16) (server, client tls.ConnectionState) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	a, b := net.Pipe()
	s := tls.Server(a, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, SessionTicketsDisabled: true})
	c := tls.Client(b, &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version}) //nolint:gosec // the certificate is made up
	done := make(chan error, 1)
	go func() { done <- s.Handshake() }()
	if err := errors.Join(c.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	return s.ConnectionState(), c.ConnectionState()
}

// TestChannelBinding: SCRAM-SHA-256-PLUS is for those who see the same channel
// as we do, and a client that could bind and was kept from it is found out.
func TestChannelBinding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := authenticator()
		server, client := channel(t, tls.VersionTLS13)
		if !slices.Contains(Mechanisms(&server, false), ScramSHA256Plus) {
			t.Error("-PLUS is not offered under TLS 1.3")
		}
		binding, err := client.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
		if err != nil {
			t.Fatal(err)
		}
		elsewhere := slices.Clone(binding)
		elsewhere[0] ^= 1
		for name, c := range map[string]struct {
			mechanism, gs2 string
			binding        []byte
			want           error
		}{
			"bound":           {ScramSHA256Plus, "p=tls-exporter,,", binding, nil},
			"another channel": {ScramSHA256Plus, "p=tls-exporter,,", elsewhere, ErrFailed},
			"another kind":    {ScramSHA256Plus, "p=tls-unique,,", binding, ErrFailed},
			"unbound":         {ScramSHA256Plus, "n,,", nil, ErrSyntax},
			"kept from it":    {ScramSHA256, "y,,", nil, ErrFailed},
			"cannot bind":     {ScramSHA256, "n,,", nil, nil},
		} {
			x, err := a.Start(c.mechanism, home, &server)
			if err != nil {
				t.Fatal(err)
			}
			who := scramClient{name: "alice@home.example", password: "wonderland 7", gs2: c.gs2, binding: c.binding, nonce: "n"}
			if id, err := who.run(x); !errors.Is(err, c.want) || (id != nil) != (c.want == nil) {
				t.Errorf("%s: %+v %v", name, id, err)
			}
		}
		old, _ := channel(t, tls.VersionTLS12)
		if slices.Contains(Mechanisms(&old, false), ScramSHA256Plus) {
			t.Error("-PLUS is offered under TLS 1.2")
		}
		if len(Mechanisms(nil, false)) != 0 {
			t.Error("passwords are asked for without TLS")
		}
	})
}
