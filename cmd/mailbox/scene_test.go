package main

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A scene is a mailbox that a program which we did not write synchronises with:
// alice's, with 2,000 messages, over TLS with a certificate for localhost.
type scene struct {
	*site
	t     *testing.T
	home  string // of the program
	ca    string // file of the authority
	port  string // of IMAP with STARTTLS
	ports string // of IMAP with TLS

	server   *imapClient
	want     contents
	numbered []entry           // as in want, by the number in their subjects
	texts    map[string]string // by digest
}

// An entry is a message in a folder; with digest "" it is the folder.
type entry struct{ folder, digest, flags string }

// contents are what one side has, and how often.
type contents map[entry]int

// sceneFolders are where how many messages are. Those of INBOX come first, and
// all are letters.
var sceneFolders = []struct {
	name     string
	messages int
}{
	{"INBOX", 1000}, {"Archive", 400}, {"Archive/2024", 300}, {"Entwürfe, Pläne", 150}, {"Entwürfe, Pläne/日本語", 100}, {"Sent", 50}, {"R&D", 0},
}

// newScene starts a server with the messages. With -short there is none.
func newScene(t *testing.T) *scene {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIPPED: short")
	}
	s := &scene{site: newSite(t), t: t, home: t.TempDir(), want: contents{}, texts: map[string]string{}}
	s.certify()
	s.start()
	_, s.port, _ = net.SplitHostPort(s.imap)
	_, s.ports, _ = net.SplitHostPort(s.imaps)
	s.server = s.imapClient("alice")
	s.server.ok("ENABLE IMAP4rev2") // names in UTF-8
	for _, name := range []string{"Drafts", "Junk", "Trash"} {
		s.want[entry{folder: name}]++
	}
	mail, n := newCorrespondence(), 0
	for _, f := range sceneFolders {
		s.want[entry{folder: f.name}]++
		s.server.do("CREATE " + quoted(f.name)) // some are there
		s.server.ok("SUBSCRIBE " + quoted(f.name))
		for slice := range slices.Chunk(make([]struct{}, f.messages), 100) {
			var all []upload
			for range slice {
				text := mail.any(n)
				if f.name == "INBOX" {
					text = mail.letter(n)
				}
				all = append(all, upload{text, initialFlags(n)})
				n++
			}
			s.upload(f.name, all...)
		}
	}
	return s
}

// certify gives the server a certificate for localhost, which all programs can
// find.
func (s *scene) certify() {
	authority := &internet{t: s.t}
	authority.ca = authority.certificate("authority.example")
	host := authority.certificate("localhost")
	key, err := x509.MarshalPKCS8PrivateKey(host.PrivateKey)
	if err != nil {
		s.t.Fatal(err)
	}
	block := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	s.ca = s.write("authority.pem", block("CERTIFICATE", authority.ca.Certificate[0]))
	file := s.write("localhost.pem", block("PRIVATE KEY", key)+block("CERTIFICATE", host.Certificate[0]))
	old, err := os.ReadFile(s.config)
	if err != nil {
		s.t.Fatal(err)
	}
	changed := strings.Replace(string(old), `mode = "self-signed"`, fmt.Sprintf("mode = \"files\"\ncert = %[1]q\nkey = %[1]q", file), 1)
	if err := os.WriteFile(s.config, []byte(changed), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// write writes a file of the program's, and returns its name.
func (s *scene) write(name, text string) string {
	s.t.Helper()
	file := filepath.Join(s.home, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return file
}

func quoted(name string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
}

// initialFlags are those of a message when the scene begins.
func initialFlags(number int) string {
	var all []string
	for _, f := range []struct {
		every int
		flag  string
	}{{2, `\Seen`}, {7, `\Flagged`}, {11, `\Answered`}, {13, "$Forwarded"}, {17, "blue"}} {
		if number%f.every == 0 {
			all = append(all, f.flag)
		}
	}
	return flagList(all...)
}

// flagList is the form of flags in an entry. \Recent is the session's.
func flagList(flags ...string) string {
	flags = slices.DeleteFunc(flags, func(f string) bool { return f == `\Recent` })
	slices.Sort(flags)
	return strings.Join(slices.Compact(flags), " ")
}

// An upload is a message that is to come into a mailbox.
type upload struct{ text, flags string }

// upload puts messages into a mailbox on the server's side.
func (s *scene) upload(folder string, all ...upload) {
	s.t.Helper()
	command := "APPEND " + quoted(folder)
	for _, u := range all {
		command += fmt.Sprintf(" (%s) {%d+}\r\n%s", u.flags, len(u.text), u.text)
		s.expect(folder, u)
	}
	s.server.ok(command)
}

// expect says that both sides shall have a message that is not there yet.
func (s *scene) expect(folder string, u upload) {
	e := entry{folder, digest(u.text), u.flags}
	s.texts[e.digest] = u.text
	s.want[e]++
	if folder == "INBOX" {
		s.numbered = append(s.numbered, e)
	}
}

// expectFolder is expect for a mailbox.
func (s *scene) expectFolder(name string) { s.want[entry{folder: name}]++ }

// change says what shall become of the messages from one number to before
// another. One whose folder becomes "" is deleted.
func (s *scene) change(from, to int, what func(*entry)) {
	for n := from; n < to; n++ {
		e := s.numbered[n]
		s.want.take(e)
		what(&e)
		if e.folder != "" {
			s.want[e]++
		}
		s.numbered[n] = e
	}
}

func (c contents) take(e entry) {
	if c[e]--; c[e] == 0 {
		delete(c, e)
	}
}

// What change may do.
func deleted(e *entry) { e.folder = "" }

func movedTo(folder string) func(*entry) { return func(e *entry) { e.folder = folder } }

func flagged(flags ...string) func(*entry) {
	return func(e *entry) { e.flags = flagList(append(strings.Fields(e.flags), flags...)...) }
}

func unflagged(flags ...string) func(*entry) {
	return func(e *entry) {
		e.flags = flagList(slices.DeleteFunc(strings.Fields(e.flags), func(f string) bool { return slices.Contains(flags, f) })...)
	}
}

// changeOnServer is what happens on the server's side of every scene, to the
// first hundred messages of INBOX.
func (s *scene) changeOnServer() {
	s.t.Helper()
	uids := func(from, to int) string { return fmt.Sprintf("%d:%d", from+1, to) } // the first message has UID 1
	do := func(from, to int, command string, what func(*entry)) {
		s.server.ok(fmt.Sprintf(command, uids(from, to)))
		s.change(from, to, what)
	}
	s.server.ok("SELECT INBOX")
	do(0, 10, `UID STORE %s +FLAGS.SILENT (\Deleted)`, deleted)
	s.server.ok("EXPUNGE")
	do(10, 20, `UID STORE %s +FLAGS.SILENT (\Flagged)`, flagged(`\Flagged`))
	do(20, 30, `UID STORE %s +FLAGS.SILENT (\Seen \Answered)`, flagged(`\Seen`, `\Answered`))
	do(30, 40, `UID STORE %s -FLAGS.SILENT (\Seen)`, unflagged(`\Seen`))
	do(40, 50, `UID STORE %s +FLAGS.SILENT (green)`, flagged("green"))
	do(50, 60, `UID MOVE %s Archive`, movedTo("Archive"))
	do(60, 70, `UID STORE %s +FLAGS.SILENT (\Flagged)`, flagged(`\Flagged`)) // which the program gives other flags
	s.server.ok("CREATE " + quoted("Neu/Größe"))
	s.server.ok("SUBSCRIBE " + quoted("Neu/Größe"))
	s.server.ok("SUBSCRIBE Neu")
	s.expectFolder("Neu")
	s.expectFolder("Neu/Größe")
	mail := newCorrespondence()
	for n := range 30 {
		folder := []string{"INBOX", "Entwürfe, Pläne", "Neu/Größe"}[n%3]
		s.upload(folder, upload{mail.letter(len(s.numbered)), initialFlags(n)})
	}
}

var (
	listed      = regexp.MustCompile(`(?m)^\* LIST \(.*\) "/" (.*)\r\n`)
	fetchedText = regexp.MustCompile(`^\* \d+ FETCH \(UID \d+ FLAGS \((.*?)\) BODY\[\] \{(\d+)\}\r\n`)
)

// serverHas reads what is on the server.
func (s *scene) serverHas() contents {
	s.t.Helper()
	got := contents{}
	for _, m := range listed.FindAllStringSubmatch(s.server.ok(`LIST "" *`), -1) {
		folder := strings.Trim(m[1], `"`)
		got[entry{folder: folder}]++
		s.server.ok("EXAMINE " + quoted(folder))
		for rest := s.server.ok("UID FETCH 1:* (FLAGS BODY.PEEK[])"); rest != ""; {
			m := fetchedText.FindStringSubmatch(rest)
			if m == nil {
				s.t.Fatalf("%s: %q", folder, short(rest))
			}
			size, _ := strconv.Atoi(m[2])
			text := rest[len(m[0]):][:size]
			s.texts[digest(text)] = text
			got[entry{folder, digest(text), flagList(strings.Fields(m[1])...)}]++
			rest = strings.TrimPrefix(rest[len(m[0])+size:], ")\r\n")
		}
	}
	return got
}

func digest(text string) string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(text)))[:16]
}

// A keeper is what a program is able to keep. The zero keeper keeps all.
type keeper struct {
	flags   []string                 // nil are all
	refuses func(text string) bool   // what it does not take
	form    func(text string) string // undoes what it makes of texts
}

var letterHeader = regexp.MustCompile(`^From: .*\nTo: alice@home\.example\nSubject: .* no\. \d{4}\n`)

// inLetters is a form for programs that take messages apart and put them
// together again: line ends may change, and of odd messages only the number counts.
func inLetters(text string) string {
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r", ""), "\n>From ", "\nFrom ")
	text = strings.TrimRight(text, "\n")
	if letterHeader.MatchString(text) {
		return text
	}
	return "something odd"
}

// agree checks that both sides have what they should. Texts of the program are
// named by their form.
func (s *scene) agree(programHas contents, k keeper) {
	s.t.Helper()
	uploaded := keeper{form: k.form} // by the program
	s.same("the server", s.kept(uploaded, s.serverHas()), s.kept(uploaded, s.want))
	s.same("the program", programHas, s.kept(k, s.want))
}

// kept is what a keeper makes of contents.
func (s *scene) kept(k keeper, c contents) contents {
	kept := contents{}
	for e, n := range c {
		text := s.texts[e.digest]
		if k.refuses != nil && e.digest != "" && k.refuses(text) {
			continue
		}
		if k.form != nil && e.digest != "" {
			e.digest = digest(k.form(text))
			s.texts[e.digest] = text
		}
		if k.flags != nil {
			e.flags = flagList(slices.DeleteFunc(strings.Fields(e.flags), func(f string) bool { return !slices.Contains(k.flags, f) })...)
		}
		kept[e] += n
	}
	return kept
}

// same checks what a side has.
func (s *scene) same(side string, got, want contents) {
	s.t.Helper()
	wrong := 0
	tell := func(what string, than, then contents) {
		for e, n := range than {
			if n > then[e] {
				if wrong++; wrong <= 3 {
					s.t.Errorf("%s %s %q in %q, flags %q: %q", side, what, e.digest, e.folder, e.flags, short(s.texts[e.digest]))
				}
			}
		}
	}
	tell("lacks", want, got)
	wrong = 0
	tell("should not have", got, want)
	if wrong > 3 {
		s.t.Errorf("%s: %d differences", side, wrong)
	}
}

// program runs a program at home, and returns what it printed.
func (s *scene) program(name string, args ...string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program(s.t, name), args...)
	cmd.Env = append(os.Environ(), "HOME="+s.home, "LC_ALL=C.UTF-8")
	cmd.Dir = s.home
	var errOut strings.Builder
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, errOut.String())
	}
	return string(out)
}
