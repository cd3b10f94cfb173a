package main

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mailbox/imapd/wire"
)

// maildirFlags are the flags that a name of a file in a Maildir can say.
var maildirFlags = map[string]string{"D": `\Draft`, "F": `\Flagged`, "R": `\Answered`, "S": `\Seen`, "T": `\Deleted`}

// maildirs are where a program keeps folders, each as a Maildir.
type maildirs struct {
	*scene
	root    string
	letters map[string]string // the flags, by their letters in names of files
	can     keeper
}

// inMaildir is where a program shall keep what comes from a scene.
func (s *scene) inMaildir(letters map[string]string, can keeper) maildirs {
	m := maildirs{s, filepath.Join(s.home, "mail"), maps.Clone(maildirFlags), can}
	maps.Copy(m.letters, letters)
	m.can.flags = slices.Collect(maps.Values(m.letters))
	m.must(os.Mkdir(m.root, 0o700))
	return m
}

// dir is where a folder is.
func (m maildirs) dir(folder string) string { return filepath.Join(m.root, wire.EncodeUTF7(folder)) }

// walk calls f for all messages, with the folder, the file and the flags as letters.
func (m maildirs) walk(f func(folder, file, letters string)) {
	m.t.Helper()
	for _, folder := range m.folders() {
		for _, sub := range []string{"cur", "new"} {
			files, err := os.ReadDir(filepath.Join(m.dir(folder), sub))
			if err != nil {
				m.t.Fatal(err)
			}
			for _, file := range files {
				_, letters, _ := strings.Cut(file.Name(), ":2,")
				f(folder, filepath.Join(m.dir(folder), sub, file.Name()), letters)
			}
		}
	}
}

func (m maildirs) folders() []string {
	m.t.Helper()
	var all []string
	err := filepath.WalkDir(m.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "cur" {
			return err
		}
		name, err := filepath.Rel(m.root, filepath.Dir(path))
		if err != nil {
			return err
		}
		name, err = wire.DecodeUTF7(name)
		all = append(all, name)
		return err
	})
	if err != nil {
		m.t.Fatal(err)
	}
	return all
}

func (m maildirs) read(file string) string {
	m.t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		m.t.Fatal(err)
	}
	return string(text)
}

func (m maildirs) contents() contents {
	m.t.Helper()
	got := contents{}
	for _, folder := range m.folders() {
		got[entry{folder: folder}]++
	}
	m.walk(func(folder, file, letters string) {
		var flags []string
		for l := range strings.SplitSeq(letters, "") {
			flags = append(flags, m.letters[l])
		}
		got[entry{folder, digest(m.can.form(m.read(file))), flagList(flags...)}]++
	})
	return got
}

// do does what a mail program of a Maildir would.
func (m maildirs) do(plan []action) {
	m.t.Helper()
	where := map[[2]string]string{}
	m.walk(func(folder, file, _ string) { where[[2]string{folder, digest(m.can.form(m.read(file)))}] = file })
	for i, a := range plan {
		file := where[[2]string{a.folder, digest(m.can.form(m.texts[a.digest]))}]
		base, letters, _ := strings.Cut(filepath.Base(file), ":2,")
		switch a.verb {
		case "delete":
			m.must(os.Remove(file))
		case "flag":
			m.must(os.Rename(file, filepath.Join(m.dir(a.folder), "cur", base+":2,"+withLetter(letters, m.letter(a.to)))))
		case "unflag":
			m.must(os.Rename(file, filepath.Join(m.dir(a.folder), "cur", base+":2,"+strings.ReplaceAll(letters, m.letter(a.to), ""))))
		case "move": // under a new name, since programs put UIDs into names
			m.must(os.Rename(file, filepath.Join(m.dir(a.to), "cur", fmt.Sprintf("1700000000.%d.here:2,%s", i, letters))))
		case "create":
			m.make(a.folder)
		case "append":
			text := strings.ReplaceAll(m.read(a.file), "\r\n", "\n")
			m.must(os.WriteFile(filepath.Join(m.dir(a.folder), "cur", fmt.Sprintf("1700000000.%d.here:2,%s", i, m.letter(a.to))), []byte(text), 0o600))
		}
	}
}

// make makes a folder, if there is none.
func (m maildirs) make(folder string) {
	m.t.Helper()
	for _, sub := range []string{"cur", "new", "tmp"} {
		m.must(os.MkdirAll(filepath.Join(m.dir(folder), sub), 0o700))
	}
}

func (m maildirs) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m maildirs) letter(flag string) string {
	for l, f := range m.letters {
		if f == flag {
			return l
		}
	}
	return ""
}

// withLetter adds one in its place: letters ascend.
func withLetter(letters, l string) string {
	all := strings.Split(letters+l, "")
	slices.Sort(all)
	return strings.Join(slices.Compact(all), "")
}

// headerWithoutEnd tells whether a message has no empty line.
func headerWithoutEnd(text string) bool {
	text = "\n" + strings.ReplaceAll(text, "\r\n", "\n")
	return !strings.Contains(text, "\n\n")
}

var tuid = regexp.MustCompile(`(?m)^X-TUID: .*\n`)

// withoutTUID undoes what mbsync does to texts: it adds a field, and takes all CR.
func withoutTUID(text string) string {
	return tuid.ReplaceAllString(strings.ReplaceAll(text, "\r", ""), "")
}

func TestMbsync(t *testing.T) {
	program(t, "mbsync")
	s := newScene(t)
	local := s.inMaildir(map[string]string{"P": "$Forwarded"}, keeper{refuses: headerWithoutEnd, form: withoutTUID})
	config := s.write("mbsyncrc", fmt.Sprintf(`IMAPAccount home
Host localhost
Port %s
User alice@home.example
Pass %q
SSLType IMAPS
SystemCertificates no
CertificateFile %s

IMAPStore far
Account home

MaildirStore near
Path %[4]s/
Inbox %[4]s/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
SyncState *
`, s.ports, testPassword, s.ca, local.root))
	out := s.program("mbsync", "-c", config, "-Dn", "-a")
	for _, used := range []string{"AUTHENTICATE SCRAM-SHA-256", "COMPRESS DEFLATE"} {
		if !strings.Contains(out, used) {
			t.Errorf("mbsync did not use %s", used)
		}
	}
	s.agree(local.contents(), local.can)
	s.changeOnServer()
	local.do(s.plan())
	s.program("mbsync", "-c", config, "-a")
	s.agree(local.contents(), local.can)
}

func TestOfflineIMAP(t *testing.T) {
	program(t, "offlineimap")
	s := newScene(t)
	local := s.inMaildir(map[string]string{"a": "$Forwarded", "b": "blue", "c": "green"}, keeper{form: inLetters})
	config := s.write("offlineimaprc", fmt.Sprintf(`[general]
accounts = home
metadata = %s
[Account home]
localrepository = near
remoterepository = far
[Repository near]
type = Maildir
localfolders = %s
sep = /
customflag_a = $Forwarded
customflag_b = blue
customflag_c = green
[Repository far]
type = IMAP
remotehost = localhost
remoteport = %s
remoteuser = alice@home.example
remotepass = %s
ssl = yes
sslcacertfile = %s
`, filepath.Join(s.home, "status"), local.root, s.ports, testPassword, s.ca))
	s.program("offlineimap", "-o", "-c", config)
	s.agree(local.contents(), local.can)
	s.changeOnServer()
	local.do(s.plan())
	s.program("offlineimap", "-o", "-c", config)
	s.agree(local.contents(), local.can)
}
