package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
)

// A postfix is an instance of Postfix with everything of its own, at an
// address of the test's internet.
type postfix struct {
	dir, domain, address string
	users                []string
}

// postfix starts one that knows the way to some sites, and is the host of a
// domain. It takes mail for others from this machine.
func (n *internet) postfix(domain, address string, users []string, sites ...*site) *postfix {
	t := n.t
	t.Helper()
	dir, err := os.MkdirTemp("", "mailbox-postfix-") // t.TempDir is closed to Postfix's user
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) }) //nolint:errcheck // a temporary directory
	p := &postfix{dir: dir, domain: domain, address: address, users: users}
	p.must(t, os.Chmod(dir, 0o755))
	for _, sub := range []string{"etc", "spool", "lib", "mail"} {
		p.must(t, os.Mkdir(filepath.Join(dir, sub), 0o755))
	}
	p.must(t, os.Chmod(filepath.Join(dir, "mail"), 0o777)) //nolint:gosec // virtual(8) writes there as nobody
	must(t, "", "chown", "postfix", filepath.Join(dir, "lib"))
	cert := n.certificate("mail." + domain)
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	p.must(t, err)
	p.write(t, "etc/tls.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))+
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]})))
	p.write(t, "etc/main.cf", p.mainCF(sites))
	p.write(t, "etc/master.cf", strings.ReplaceAll(masterCF, "ADDRESS", address))
	n.name(domain, "mail."+domain, address)
	if out, err := exec.Command("postfix", "-c", filepath.Join(dir, "etc"), "start").CombinedOutput(); err != nil {
		t.Fatalf("postfix start: %v\n%s%s", err, out, p.logged())
	}
	t.Cleanup(func() { p.stop(t) })
	return p
}

// stop ends it, and shows what it said if the test has failed.
func (p *postfix) stop(t *testing.T) {
	if out, err := exec.Command("postfix", "-c", filepath.Join(p.dir, "etc"), "stop").CombinedOutput(); err != nil {
		t.Errorf("postfix stop: %v\n%s", err, out)
	}
	if text := p.logged(); t.Failed() {
		t.Logf("the end of Postfix's log:\n%s", text[max(0, len(text)-4000):])
	}
}

func (p *postfix) must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (p *postfix) write(t *testing.T, name, text string) {
	t.Helper()
	p.must(t, os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o600))
}

func (p *postfix) logged() string {
	text, err := os.ReadFile(filepath.Join(p.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func (p *postfix) mainCF(sites []*site) string {
	var transports, users []string
	for _, s := range sites {
		host, port, _ := net.SplitHostPort(s.smtp)
		transports = append(transports, fmt.Sprintf("%s=smtp:[%s]:%s", s.domain, host, port))
	}
	for _, u := range p.users {
		users = append(users, fmt.Sprintf("%s@%s=%s/", u, p.domain, u))
	}
	return strings.NewReplacer("DIR", p.dir, "DOMAIN", p.domain, "ADDRESS", p.address,
		"TRANSPORTS", strings.Join(transports, ", "), "USERS", strings.Join(users, ", ")).Replace(mainCF)
}

const mainCF = `compatibility_level = 3.6
queue_directory = DIR/spool
data_directory = DIR/lib
maillog_file = DIR/log
maillog_file_prefixes = DIR
myhostname = mail.DOMAIN
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtp_bind_address = ADDRESS
mynetworks = 127.0.0.0/8
smtpd_peername_lookup = no
disable_dns_lookups = yes
alias_maps =
local_recipient_maps =
transport_maps = inline:{ TRANSPORTS }
virtual_mailbox_domains = DOMAIN
virtual_mailbox_base = DIR/mail
virtual_mailbox_maps = inline:{ USERS }
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
smtp_tls_security_level = may
smtp_tls_loglevel = 1
smtpd_tls_security_level = may
smtpd_tls_chain_files = DIR/etc/tls.pem
smtpd_tls_received_header = yes
smtputf8_enable = yes
`

const masterCF = `ADDRESS:25 inet n - n - - smtpd
cleanup  unix  n - n - 0 cleanup
qmgr     unix  n - n 300 1 qmgr
tlsmgr   unix  - - n 1000? 1 tlsmgr
rewrite  unix  - - n - - trivial-rewrite
bounce   unix  - - n - 0 bounce
defer    unix  - - n - 0 bounce
trace    unix  - - n - 0 bounce
smtp     unix  - - n - - smtp
error    unix  - - n - - error
virtual  unix  - n n - - virtual
anvil    unix  - - n - 1 anvil
proxymap unix  - - n - - proxymap
postlog  unix-dgram n - n - 1 postlogd
`

// send hands over a message to be relayed or delivered.
func (p *postfix) send(t *testing.T, o order, text string) {
	t.Helper()
	nc, err := net.DialTimeout("tcp", p.address+":25", 10*time.Second)
	p.must(t, err)
	c := smtp.NewClient(nc)
	defer c.Close() //nolint:errcheck // what matters was answered
	p.must(t, o.over(c, text))
}

// inbox returns what reads all messages of a user, for await. Postfix keeps
// them with line ends of its own.
func (p *postfix) inbox(t testing.TB, user string) func() []string {
	return func() []string {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(p.dir, "mail", user, "new", "*"))
		p.must(t, err)
		var texts []string
		for _, f := range files {
			text, err := os.ReadFile(f)
			p.must(t, err)
			texts = append(texts, strings.ReplaceAll(string(text), "\n", "\r\n"))
		}
		return texts
	}
}
