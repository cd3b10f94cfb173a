package main

import (
	"crypto/tls"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"mailbox/imapd/wire"
)

// took checks that a program has taken these messages, without their folders.
func (s *scene) took(texts []string, want contents) {
	s.t.Helper()
	wanted, got := contents{}, contents{}
	for e, n := range want {
		if e.digest != "" {
			wanted[s.loose(s.texts[e.digest])] += n
		}
	}
	for _, text := range texts {
		got[s.loose(text)]++
	}
	s.same("the program", got, wanted)
}

// loose is an entry for a message that is in no folder.
func (s *scene) loose(text string) entry {
	d := digest(inLetters(text))
	s.texts[d] = text
	return entry{digest: d}
}

// TestGetmail has getmail hand to a server what it gets. It runs no program for
// that, which getmail can miss the end of.
func TestGetmail(t *testing.T) {
	program(t, "getmail")
	s := newScene(t)
	s.deleteOdd() // it ends at addresses that it cannot parse
	taker := &host{address: "127.0.0.1", offers: []string{"8BITMIME", "SMTPUTF8"}}
	_, taker.port, _ = net.SplitHostPort(freePort(t))
	taker.start(t, tls.Certificate{})
	s.write("getmailrc", fmt.Sprintf(`[retriever]
type = SimpleIMAPSSLRetriever
server = localhost
port = %s
username = alice@home.example
password = %s
ca_certs = %s
mailboxes = ALL
record_mailbox = false
[destination]
type = MDA_lmtp
host = 127.0.0.1
port = %s
override = alice@home.example
[options]
read_all = false
delivered_to = false
received = false
`, s.ports, testPassword, s.ca, taker.port))
	s.program("getmail", "--getmaildir", s.home)
	s.took(taker.texts(), s.want)
	s.same("the server", s.serverHas(), s.want)
	before, old := maps.Clone(s.want), len(taker.texts())
	s.changeOnServer()
	s.program("getmail", "--getmaildir", s.home)
	s.took(taker.texts()[old:], s.fresh(before))
	s.program("getmail", "--getmaildir", s.home, "--delete")
	s.deleteAll()
	s.same("the server", s.serverHas(), s.want)
}

// TestFetchmail has fetchmail write what it gets to a file, as SMTP.
func TestFetchmail(t *testing.T) {
	program(t, "fetchmail")
	s := newScene(t)
	file := filepath.Join(s.home, "batch")
	fetch := func(options string) []string {
		t.Helper()
		var folders []string
		for e := range s.want {
			if e.digest == "" {
				folders = append(folders, fmt.Sprintf("%q", wire.EncodeUTF7(e.folder)))
			}
		}
		config := s.write("fetchmailrc", fmt.Sprintf(`set invisible
poll localhost protocol imap service %s bad-header accept
  user "alice@home.example" password %q
  ssl sslcertck sslcertfile %s
  folder %s
  bsmtp %q
  norewrite pass8bits %s
`, s.ports, testPassword, s.ca, strings.Join(folders, ","), file, options))
		s.program("fetchmail", "-f", config)
		batch, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		return inBatch(string(batch))
	}
	s.took(fetch("keep fetchall"), s.want)
	s.seeAll()
	s.same("the server", s.serverHas(), s.want)
	s.changeOnServer()
	seen := func(e entry, _ int) bool { return strings.Contains(e.flags, `\Seen`) }
	unseen := maps.Clone(s.want)
	maps.DeleteFunc(unseen, seen)
	s.took(fetch("nokeep"), unseen)
	maps.DeleteFunc(s.want, func(e entry, n int) bool { return e.digest != "" && !seen(e, n) })
	s.same("the server", s.serverHas(), s.want)
}

// inBatch are the messages of a session of SMTP. Some odd ones end in a bare LF.
func inBatch(batch string) []string {
	var texts []string
	for {
		_, rest, found := strings.Cut(batch, "\r\nDATA\r\n")
		if !found {
			return texts
		}
		var text string
		text, batch, _ = strings.Cut("\n"+rest, "\n.\r\n")
		texts = append(texts, strings.ReplaceAll(text, "\n..", "\n.")[1:])
	}
}

// fresh are the messages in folders in which they were not before.
func (s *scene) fresh(before contents) contents {
	fresh := contents{}
	for e, n := range s.want {
		had := 0
		for b, m := range before {
			if b.folder == e.folder && b.digest == e.digest {
				had += m
			}
		}
		if had == 0 {
			fresh[e] = n
		}
	}
	return fresh
}

// deleteOdd leaves letters only.
func (s *scene) deleteOdd() {
	s.t.Helper()
	for _, f := range sceneFolders {
		s.server.ok("SELECT " + quoted(f.name))
		s.server.ok(`UID SEARCH RETURN (SAVE) NOT SUBJECT "no. "`)
		s.server.ok(`UID STORE $ +FLAGS.SILENT (\Deleted)`)
		s.server.ok("EXPUNGE")
	}
	maps.DeleteFunc(s.want, func(e entry, _ int) bool { return e.digest != "" && s.loose(s.texts[e.digest]) == s.loose("") })
}

// deleteAll says that a program has deleted all messages.
func (s *scene) deleteAll() {
	maps.DeleteFunc(s.want, func(e entry, _ int) bool { return e.digest != "" })
}

// A curl calls curl for a scene.
type curl struct {
	*scene
}

func (c curl) url(folder, rest string) string {
	return "imap://localhost:" + c.port + "/" + url.PathEscape(wire.EncodeUTF7(folder)) + rest
}

func (c curl) run(args ...string) string {
	return c.program("curl", append([]string{"-sS", "--ssl-reqd", "--cacert", c.ca, "-u", "alice@home.example:" + testPassword}, args...)...)
}

var statusUIDNext = regexp.MustCompile(`\(UIDNEXT (\d+)\)`)

var flagsLine = regexp.MustCompile(`(?m)^\* \d+ FETCH \(UID (\d+) FLAGS \((.*)\)\)\r?\n`)

// contents has curl list the folders, the flags, and fetch all messages.
func (c curl) contents() contents {
	c.t.Helper()
	got := contents{}
	for _, m := range listed.FindAllStringSubmatch(c.run(c.url("", "")), -1) {
		folder, err := wire.DecodeUTF7(strings.Trim(m[1], `"`))
		if err != nil {
			c.t.Fatal(err)
		}
		got[entry{folder: folder}]++
		all := c.flags(folder)
		if len(all) == 0 {
			continue
		}
		dir, err := os.MkdirTemp(c.home, "curl-")
		if err != nil {
			c.t.Fatal(err)
		}
		var config strings.Builder
		for _, m := range all {
			fmt.Fprintf(&config, "url = %q\noutput = %q\n", c.url(folder, ";UID="+m[1]), filepath.Join(dir, m[1]))
		}
		c.run("-K", c.write("fetch", config.String()))
		for _, m := range all {
			text, err := os.ReadFile(filepath.Join(dir, m[1]))
			if err != nil {
				c.t.Fatal(err)
			}
			got[entry{folder, digest(string(text)), flagList(strings.Fields(m[2])...)}]++
		}
	}
	return got
}

// flags are pairs of UIDs and flags. Curl takes but a few lines in answer to a
// command that it does not know, so they come in slices.
func (c curl) flags(folder string) [][]string {
	c.t.Helper()
	status := statusUIDNext.FindStringSubmatch(c.run("-X", "STATUS "+quoted(wire.EncodeUTF7(folder))+" (UIDNEXT)", c.url("", "")))
	next, err := strconv.Atoi(status[1])
	if err != nil {
		c.t.Fatal(err)
	}
	var all [][]string
	for first := 1; first < next; first += 100 {
		out := c.run("-X", fmt.Sprintf("UID FETCH %d:%d (FLAGS)", first, first+99), c.url(folder, ""))
		all = append(all, flagsLine.FindAllStringSubmatch(out, -1)...)
	}
	return all
}

// do has curl do it, with commands that are the test's.
func (c curl) do(a action) {
	c.t.Helper()
	uid := strconv.Itoa(a.uid)
	switch a.verb {
	case "create":
		c.run("-X", "CREATE "+quoted(wire.EncodeUTF7(a.folder)), c.url("", ""))
	case "append":
		c.run("-T", a.file, c.url(a.folder, ""))
	case "delete":
		c.run("-X", "UID STORE "+uid+` +FLAGS.SILENT (\Deleted)`, c.url(a.folder, ""))
		c.run("-X", "UID EXPUNGE "+uid, c.url(a.folder, ""))
	case "flag":
		c.run("-X", "UID STORE "+uid+" +FLAGS ("+a.to+")", c.url(a.folder, ""))
	case "unflag":
		c.run("-X", "UID STORE "+uid+" -FLAGS ("+a.to+")", c.url(a.folder, ""))
	case "move":
		c.run("-X", "UID MOVE "+uid+" "+a.to, c.url(a.folder, ""))
	}
}

// TestCurlMailbox reads and changes a mailbox with curl.
func TestCurlMailbox(t *testing.T) {
	program(t, "curl")
	s := newScene(t)
	c := curl{s}
	s.same("curl", c.contents(), s.want)
	s.seeAll()
	s.same("the server", s.serverHas(), s.want)
	s.changeOnServer()
	for _, a := range s.plan() {
		c.do(a)
	}
	s.same("curl", c.contents(), s.want)
	s.seeAll()
	s.same("the server", s.serverHas(), s.want)
}

// seeAll says that a program has marked all messages as seen.
func (s *scene) seeAll() {
	seen := contents{}
	for e, n := range s.want {
		if e.digest != "" {
			flagged(`\Seen`)(&e)
		}
		seen[e] += n
	}
	s.want = seen
	for i := range s.numbered {
		flagged(`\Seen`)(&s.numbered[i])
	}
}
