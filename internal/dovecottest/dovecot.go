// Package dovecottest runs a Dovecot for tests that need an IMAP server which
// we did not write.
package dovecottest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Password is that of every user.
const Password = "tusker-7"

// owner is who owns the mail. It must be nobody special, and at least 500.
const owner = 65534

// A Server is a running Dovecot. Anybody may log in with Password, and has an
// empty account at first.
type Server struct {
	Dir  string         // everything of it; gone after the test
	IMAP string         // its address: plain text, STARTTLS
	TLS  string         // its address: TLS from the first octet
	CA   *x509.CertPool // who signed its certificate, which is for "localhost"
}

// Start runs a Dovecot until the test ends. more is put at the end of its
// configuration. The test is skipped where Dovecot or the rights are missing,
// and fails where they are required.
func Start(t testing.TB, more string) *Server {
	t.Helper()
	program, err := exec.LookPath("dovecot")
	if err != nil || os.Getuid() != 0 {
		if os.Getenv("MAILBOX_REQUIRE_PROGRAMS") != "" {
			t.Fatalf("dovecot is required, and root: %v", err)
		}
		t.Skip("SKIPPED: needs Dovecot and root")
	}
	dir, err := os.MkdirTemp("/tmp", "dovecot") // the names of its sockets must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &Server{Dir: dir, IMAP: freeAddress(t), TLS: freeAddress(t)}
	s.prepare(t, more)
	var log bytes.Buffer
	cmd := exec.Command(program, "-F", "-c", filepath.Join(dir, "dovecot.conf"))
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // it ends by the signal
		if t.Failed() {
			text, _ := os.ReadFile(filepath.Join(dir, "log"))
			t.Logf("dovecot: %s\n%s", log.String(), text[max(0, len(text)-4000):])
		}
	})
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		nc, err := net.Dial("tcp", s.TLS)
		if err == nil {
			nc.Close()
			return s
		}
		if time.Now().After(end) {
			t.Fatalf("dovecot does not listen: %v", err)
		}
	}
}

// Home returns the directory of a user: the mail is in "mail" below it.
func (s *Server) Home(user string) string { return filepath.Join(s.Dir, "home", user) }

// Doveadm runs a command of doveadm, and returns what it prints.
func (s *Server) Doveadm(t testing.TB, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.Command("doveadm", append([]string{"-c", filepath.Join(s.Dir, "dovecot.conf")}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("doveadm %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

func (s *Server) prepare(t testing.TB, more string) {
	t.Helper()
	for _, d := range []string{"home", "run", "state"} {
		if err := os.Mkdir(filepath.Join(s.Dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(s.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(filepath.Join(s.Dir, "home"), owner, owner); err != nil {
		t.Fatal(err)
	}
	s.certificate(t)
	_, plain, _ := net.SplitHostPort(s.IMAP)
	_, secure, _ := net.SplitHostPort(s.TLS)
	conf := strings.NewReplacer("DIR", s.Dir, "PLAIN", plain, "SECURE", secure,
		"PASSWORD", Password, "OWNER", fmt.Sprint(owner)).Replace(configuration)
	if err := os.WriteFile(filepath.Join(s.Dir, "dovecot.conf"), []byte(conf+more+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

const configuration = `
base_dir = DIR/run
state_dir = DIR/state
log_path = DIR/log
protocols = imap
listen = 127.0.0.1
ssl = yes
ssl_cert = <DIR/cert.pem
ssl_key = <DIR/key.pem
disable_plaintext_auth = no
auth_mechanisms = plain login scram-sha-1 scram-sha-256
mail_location = maildir:~/mail
mail_uid = OWNER
mail_gid = OWNER
first_valid_uid = 500
mail_max_userip_connections = 100
mail_fsync = never
passdb {
  driver = static
  args = password=PASSWORD
}
userdb {
  driver = static
  args = uid=OWNER gid=OWNER home=DIR/home/%u
}
namespace inbox {
  inbox = yes
  separator = /
}
service imap-login {
  inet_listener imap {
    port = PLAIN
  }
  inet_listener imaps {
    port = SECURE
  }
}
service stats {
  client_limit = 1000
}
`

// certificate writes a key and the certificate that it signs itself with.
func (s *Server) certificate(t testing.TB) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "localhost"},
		DNSNames:     []string{"localhost"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		IsCA:         true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	for name, text := range map[string][]byte{"cert.pem": certPEM, "key.pem": keyPEM} {
		if err := os.WriteFile(filepath.Join(s.Dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.CA = x509.NewCertPool()
	s.CA.AppendCertsFromPEM(certPEM)
}

// freeAddress returns an address on loopback that nobody listens on.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
