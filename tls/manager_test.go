package tls

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

func manager(t *testing.T, c Config, dir string, names ...string) *Manager {
	t.Helper()
	m, err := New(c, Options{Dir: dir, Names: names, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

// connect does a handshake with a service and returns what the client saw.
func connect(t *testing.T, server, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		c.Write([]byte("x")) //nolint:errcheck // the client tells
	}()
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", l.Addr().String(), client)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer c.Close()
	c.Read(make([]byte, 1)) //nolint:errcheck // tickets come with the first octet
	return c.ConnectionState(), nil
}

func trusting(t *testing.T, caFile string) *tls.Config {
	t.Helper()
	pem, err := os.ReadFile(caFile)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return &tls.Config{RootCAs: pool, ServerName: "mail.home.example"}
}

// TestSelfSigned: clients that trust the authority trust the server, also
// after a restart and under a new name.
func TestSelfSigned(t *testing.T) {
	dir := t.TempDir()
	first := manager(t, Config{Mode: "self-signed"}, dir, "mail.home.example")
	client := trusting(t, first.CAFile())
	st, err := connect(t, first.Server("imapd"), client)
	if err != nil || st.Version != tls.VersionTLS13 {
		t.Fatalf("%x %v", st.Version, err)
	}
	again := manager(t, Config{Mode: "self-signed"}, dir, "mail.home.example")
	if st2, err := connect(t, again.Server("imapd"), client); err != nil || !st2.PeerCertificates[0].Equal(st.PeerCertificates[0]) {
		t.Errorf("after a restart: another certificate, %v", err)
	}
	if err := again.Reload(Config{Mode: "self-signed"}, []string{"other.example", "127.0.0.1"}, nil); err != nil {
		t.Fatal(err)
	}
	client.ServerName = "other.example"
	if _, err := connect(t, again.Server("imapd"), client); err != nil {
		t.Errorf("under a new name: %v", err)
	}
	old := &tls.Config{RootCAs: client.RootCAs, ServerName: "other.example", MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	if _, err := connect(t, again.Server("imapd"), old); err == nil {
		t.Error("TLS 1.1 was spoken")
	}
	before := again.current.Load().first.Leaf.NotAfter
	again.refresh(time.Now().Add(leafLife / 2))
	if got := again.current.Load().first.Leaf.NotAfter; !got.Equal(before) {
		t.Errorf("renewed at half its life: good until %s", got)
	}
	again.refresh(time.Now().Add(leafLife * 3 / 4))
	if got := again.current.Load().first.Leaf.NotAfter; got.Before(before.Add(leafLife / 2)) {
		t.Errorf("not renewed in time: good until %s", got)
	}
	for _, name := range []string{"ca.key", "self-signed.pem"} {
		if fi, err := os.Stat(filepath.Join(dir, "tls", name)); err != nil || fi.Mode() != 0o600 {
			t.Errorf("%s: %v %v", name, fi.Mode(), err)
		}
	}
}

// TestTicketsStayAtHome: a session ticket of one service resumes there, and
// nowhere else.
func TestTicketsStayAtHome(t *testing.T) {
	m := manager(t, Config{Mode: "self-signed"}, t.TempDir(), "mail.home.example")
	imap, smtp := m.Server("imapd"), m.Server("mta")
	client := trusting(t, m.CAFile())
	client.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	for i, want := range []struct {
		server  *tls.Config
		resumed bool
	}{{imap, false}, {imap, true}, {smtp, false}, {smtp, true}} {
		st, err := connect(t, want.server, client)
		if err != nil || st.DidResume != want.resumed {
			t.Errorf("connection %d: resumed %v, %v", i, st.DidResume, err)
		}
	}
}

// TestFiles: changed files are followed by themselves; a pair that does not
// fit is not.
func TestFiles(t *testing.T) { synctest.Test(t, testFiles) }

func testFiles(t *testing.T) {
	dir := t.TempDir()
	c := Config{Mode: "files", Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	var authorities []*Manager
	put := func(files ...string) {
		t.Helper()
		a := manager(t, Config{Mode: "self-signed"}, t.TempDir(), "mail.home.example")
		authorities = append(authorities, a)
		pem, err := os.ReadFile(filepath.Join(a.dir, "tls", "self-signed.pem"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if err := os.WriteFile(f, pem, 0o600); err != nil {
				t.Fatal(err)
			}
			later := time.Now().Add(time.Duration(len(authorities)) * time.Minute) // however coarse the clock
			if err := os.Chtimes(f, later, later); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(c.Cert, c.Key)
	m := manager(t, c, dir, "mail.home.example")
	trusted := func(n int) {
		t.Helper()
		if _, err := connect(t, m.Server("imapd"), trusting(t, authorities[n].CAFile())); err != nil {
			t.Errorf("certificate %d is not in use: %v", n, err)
		}
	}
	trusted(0)
	put(c.Cert) // without its key
	time.Sleep(2 * pollTime)
	trusted(0)
	put(c.Cert, c.Key)
	time.Sleep(2 * pollTime)
	trusted(2)
	os.Remove(c.Key)
	time.Sleep(2 * pollTime)
	trusted(2)
	if err := m.Reload(Config{Mode: "files", Cert: "/nowhere", Key: "/nowhere"}, []string{"mail.home.example"}, nil); err == nil {
		t.Error("a missing file was taken")
	}
	trusted(2)
}
