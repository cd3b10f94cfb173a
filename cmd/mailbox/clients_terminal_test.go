package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// terminal runs a command that wants a terminal until it ends.
func (s *scene) terminal(command string) {
	s.t.Helper()
	inTerminal(s.t, s.home, command)
}

// inTerminal is terminal in any home, and returns what was on it.
func inTerminal(t testing.TB, home, command string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program(t, "script"), "-qec", command, "/dev/null")
	cmd.Env = append(os.Environ(), "HOME="+home, "LC_ALL=C.UTF-8", "TERM=xterm")
	cmd.Dir = home
	if _, err := cmd.StdinPipe(); err != nil { // nobody types, and nobody goes
		t.Fatal(err)
	}
	var out strings.Builder
	cmd.Stdout = &out
	impatient := time.AfterFunc(2*time.Minute, func() { cmd.Process.Kill() }) //nolint:errcheck // it may have ended
	defer impatient.Stop()
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%q", command, err, out.String()[max(0, out.Len()-3000):])
	}
	return out.String()
}

// A mutt is mutt or neomutt, with a header cache.
type mutt struct {
	*scene
	name  string
	local maildirs // where it copies what it sees
	runs  int
}

// muttrc is for both. Their other settings are arguments.
const muttrc = `set folder="imaps://alice%%40home.example@localhost:%s/"
set spoolfile=+INBOX
set imap_pass=%q
set ssl_ca_certificates_file=%s
set imap_delim_chars=/
set imap_condstore imap_qresync %s
set header_cache=%s
set mbox_type=Maildir
set noconfirmcreate noconfirmappend nomark_old nomove delete=yes quit=yes
bind editor <space> noop # or it completes names of folders
set sleep_time=0 sort=mailbox-order nomaildir_trash
`

func newMutt(t *testing.T, name, settings string) *mutt {
	t.Helper()
	program(t, name)
	program(t, "script")
	s := newScene(t)
	m := &mutt{scene: s, name: name, local: s.inMaildir(nil, keeper{form: keptByMutt})}
	cache := filepath.Join(s.home, "cache")
	if err := os.Mkdir(cache, 0o700); err != nil {
		t.Fatal(err)
	}
	s.write("muttrc", fmt.Sprintf(muttrc, s.ports, testPassword, s.ca, settings, cache))
	return m
}

// push starts it, has it do what keys say and quit, and returns its log.
func (m *mutt) push(keys string) string {
	m.t.Helper()
	m.runs++
	m.write("push", "push \""+keys+"<quit>\"\n")
	log := filepath.Join(m.home, fmt.Sprintf("log-%d", m.runs))
	command := "neomutt -d 3 -l " + log
	log += "0" // as neomutt calls it
	if m.name == "mutt" {
		command = "mutt -d 3"
		log = filepath.Join(m.home, ".muttdebug0")
	}
	m.terminal(command + " -F muttrc -e 'source push'")
	text, err := os.ReadFile(log)
	if err != nil {
		m.t.Fatal(err)
	}
	return string(text)
}

// copyAll has it copy all messages to where the test sees them.
func (m *mutt) copyAll() {
	m.t.Helper()
	m.local.must(os.RemoveAll(m.local.root))
	var keys strings.Builder
	full := map[string]bool{}
	for e := range m.want {
		m.local.make(e.folder)
		if e.digest != "" && !full[e.folder] {
			full[e.folder] = true
			fmt.Fprintf(&keys, "<change-folder>=%s<enter><tag-pattern>~A<enter><tag-prefix><copy-message>%s<enter>", e.folder, m.local.dir(e.folder))
		}
	}
	m.push(keys.String())
}

// headersOf is how it asks for the headers of messages.
func headersOf(numbers string) string { return " FETCH " + numbers + " (UID FLAGS INTERNALDATE " }

func TestMutt(t *testing.T) {
	newMutt(t, "mutt", "imap_deflate imap_authenticators=scram-sha-256").agrees("COMPRESS DEFLATE", "AUTHENTICATE SCRAM-SHA-256")
}

// TestNeomutt: Debian 12's version cannot compress, and knows no SCRAM-SHA-256.
func TestNeomutt(t *testing.T) { newMutt(t, "neomutt", "").agrees() }

var muttFields = regexp.MustCompile(`(?m)^(Content-Length|Lines|Status): .*\n`)

// keptByMutt is inLetters without the fields that mutt adds.
func keptByMutt(text string) string {
	return inLetters(muttFields.ReplaceAllString(strings.ReplaceAll(text, "\r", ""), ""))
}

func (m *mutt) agrees(uses ...string) {
	m.t.Helper()
	log := m.push("")
	for _, used := range append(uses, "ENABLE QRESYNC") {
		if !strings.Contains(log, used) {
			m.t.Errorf("%s did not use %s", m.name, used)
		}
	}
	if !strings.Contains(log, headersOf("1:1000")) {
		m.t.Errorf("%s did not fetch 1,000 headers", m.name)
	}
	m.copyAll()
	m.agree(m.local.contents(), m.local.can)
	m.changeOnServer()
	log = m.push("")
	if !strings.Contains(log, " VANISHED)") || strings.Contains(log, headersOf("1:990")) || !strings.Contains(log, headersOf("981:990")) {
		m.t.Errorf("%s did not fetch just what is new", m.name)
	}
	if m.name == "neomutt" { // it makes no folder by copying to it
		m.server.ok("CREATE " + quoted("Programm/Übung"))
	}
	m.push(m.keys(m.plan()))
	m.change(60, 70, flagged(`\Seen`)) // as it thinks of what was answered
	m.copyAll()
	m.agree(m.local.contents(), m.local.can)
}

// keys do what a plan says. New messages come from a folder of the program's own.
func (m *mutt) keys(plan []action) string {
	var keys strings.Builder
	tagged := map[string][]string{} // subjects by what is to be done
	var order []string
	local := maildirs{scene: m.scene, root: filepath.Join(m.home, "new"), letters: m.local.letters, can: m.local.can}
	for _, a := range plan {
		if a.digest == "" {
			local.make(a.folder)
			continue
		}
		do := map[string]string{
			"delete": "<delete-message>", "flag": "<set-flag>" + map[string]string{`\Answered`: "r", `\Flagged`: "!"}[a.to],
			"unflag": "<set-flag>N", "move": "<save-message>=" + a.to + "<enter>",
		}[a.verb]
		if tagged[do] == nil {
			order = append(order, do)
		}
		tagged[do] = append(tagged[do], number.FindString(m.texts[a.digest]))
	}
	local.do(slices.DeleteFunc(plan, func(a action) bool { return a.verb != "append" }))
	for _, do := range order {
		fmt.Fprintf(&keys, "<tag-pattern>~s '(%s)'<enter><tag-prefix>%s<untag-pattern>~A<enter>", strings.Join(tagged[do], "|"), do)
	}
	keys.WriteString("<sync-mailbox>")
	for _, folder := range local.folders() {
		if folder != "Programm" {
			fmt.Fprintf(&keys, "<change-folder>%s<enter><tag-pattern>~A<enter><tag-prefix><copy-message>=%s<enter>", local.dir(folder), folder)
		}
	}
	return keys.String()
}

var number = regexp.MustCompile(`no\. \d{4}`)
