package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// A maddy is a running maddy, of which only the IMAP server matters. It takes
// any password.
type maddy struct {
	t     *testing.T
	state string
	imap  string
	cmd   *exec.Cmd
}

// newMaddy starts one over a state directory. Its new messages are compressed as
// it is told: "", "lz4" or "zstd".
func newMaddy(t *testing.T, state, compression string) *maddy {
	t.Helper()
	m := &maddy{t: t, state: state, imap: freePort(t)}
	config := filepath.Join(t.TempDir(), "maddy.conf")
	if compression != "" {
		compression = "compression " + compression
	}
	text := fmt.Sprintf(`state_dir %q
runtime_dir %q
hostname mx.home.example
tls off
storage.imapsql local_mailboxes {
	driver sqlite3
	dsn imapsql.db
	%s
}
imap tcp://%s {
	auth dummy
	storage &local_mailboxes
	insecure_auth yes
}
`, state, t.TempDir(), compression, m.imap)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	m.cmd = exec.Command(program(t, "maddy"), "--config", config, "run")
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.stop)
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		if nc, err := net.Dial("tcp", m.imap); err == nil {
			nc.Close()
			return m
		}
	}
	t.Fatal("maddy does not listen")
	return nil
}

func (m *maddy) stop() {
	if m.cmd == nil {
		return
	}
	m.cmd.Process.Signal(os.Interrupt) //nolint:errcheck // it may have ended
	m.cmd.Wait()                       //nolint:errcheck // how it ends does not matter
	m.cmd = nil
}

// fill puts messages into the account of alice.
func (m *maddy) fill(n int) {
	t := m.t
	t.Helper()
	c, err := imapclient.DialInsecure(m.imap, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(c.Login("alice@home.example", "any").Wait())
	boxes := []string{"INBOX", "Projekte.Brücke", "with space"}
	for _, b := range boxes[1:] {
		must(c.Create(b, nil).Wait())
	}
	flags := [][]imap.Flag{nil, {imap.FlagSeen}, {imap.FlagSeen, imap.FlagAnswered, "blue"}, {imap.FlagFlagged, imap.FlagDraft, "$Forwarded"}, {imap.FlagDeleted}}
	for i := range n {
		octets := []byte(fmt.Sprintf("From: a@client.example\r\nSubject: =?utf-8?q?=C3=BC?= %d\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n%s\r\n.\r\n",
			i, strings.Repeat("Zeile für Zeile \xff\r\n", i%50)))
		a := c.Append(boxes[i%len(boxes)], int64(len(octets)), &imap.AppendOptions{
			Flags: flags[i%len(flags)], Time: time.Date(2001, 2, 3, 4, 5, i, 0, time.FixedZone("", 3600*(i%13))),
		})
		_, err := a.Write(octets)
		must(err)
		must(a.Close())
		_, err = a.Wait()
		must(err)
	}
}

// TestMaddy: what a maddy has comes in equal, while it runs, and a maddy reads
// what we write for it.
func TestMaddy(t *testing.T) {
	program(t, "maddy")
	for _, compression := range []string{"", "lz4", "zstd"} {
		t.Run("compression "+compression, func(t *testing.T) {
			state := t.TempDir()
			m := newMaddy(t, state, compression)
			m.fill(60)
			want := mailOf(t, m.imap, "alice@home.example", "any")
			s := newSite(t)
			s.start()
			s.run("", "import", "imapsql", state, "--user", "alice@home.example")
			sameMail(t, mailOf(t, s.imap, "alice@home.example", testPassword), want)
			if out := s.run("", "import", "imapsql", state, "--user", "alice@home.example"); !strings.Contains(out, "60") || len(mailOf(t, s.imap, "alice@home.example", testPassword)["INBOX"]) != 20 {
				t.Errorf("a second import: %s", out)
			}
			m.stop()

			s.stop() // and without a server
			dest := filepath.Join(t.TempDir(), "maddy")
			s.run("", "export", "imapsql", dest, "--all")
			back := newMaddy(t, dest, "")
			sameMail(t, mailOf(t, back.imap, "alice@home.example", "any"), want)
		})
	}
}

// TestDamagedMaddy: what is left of a store comes in, and what is not is named.
func TestDamagedMaddy(t *testing.T) {
	program(t, "maddy")
	state := t.TempDir()
	m := newMaddy(t, state, "")
	m.fill(30)
	m.stop()
	files, err := filepath.Glob(filepath.Join(state, "messages", "*"))
	if err != nil || len(files) != 30 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	os.Remove(files[3])
	if err := os.Truncate(files[7], 50); err != nil {
		t.Fatal(err)
	}
	s := newSite(t)
	aside := filepath.Join(t.TempDir(), "aside")
	out, err := s.try("", "import", "imapsql", state, "--user", "alice@home.example", "--aside", aside)
	if err == nil || !strings.Contains(out, filepath.Base(files[3])) || !strings.Contains(out, filepath.Base(files[7])) {
		t.Errorf("%v: %s", err, out)
	}
	if kept, _ := filepath.Glob(filepath.Join(aside, "*.eml")); len(kept) != 1 {
		t.Errorf("set aside: %v", kept)
	}
	s.start()
	n := 0
	for _, list := range mailOf(t, s.imap, "alice@home.example", testPassword) {
		n += len(list)
	}
	if n != 28 {
		t.Errorf("%d messages came", n)
	}
}
