package main

import (
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// An aerc is aerc in a terminal.
type aerc struct {
	*scene
}

// aercAccount: aerc gives IDLE up, and what it was to do, if the server does not
// answer DONE within 10 ms, and a command after 30 s.
const aercAccount = `[home]
source = imaps://alice%%40home.example:%s@localhost:%s
from = alice@home.example
idle-timeout = 10m
connection-timeout = 10m
`

// aercConf makes lines of: folder │ flags ¦ subject.
const aercConf = `[ui]
index-format = %Z¦%s
dirlist-format = %n
dirlist-delay = 0s
sidebar-width = 26
border-char-vertical = "│"
spinner = "loading"
completion-popovers = false
[statusline]
render-format = %d
[viewer]
pager = cat
[filters]
text/plain = cat
`

// aercRows are how many messages its screen has place for. It paints it anew
// for every message that comes.
const aercRows = 100

func TestAerc(t *testing.T) {
	program(t, "aerc")
	program(t, "tmux")
	a := &aerc{scene: newScene(t)}
	a.deleteOdd() // it lists no message whose header it cannot parse
	a.configure()
	a.open()
	a.agrees()
	a.quit()
	a.changeOnServer()
	a.open()
	a.watches()
	a.do(a.plan(), a.messages("INBOX"))
	a.quit() // it forgets now and then to fetch the headers of what it has just imported
	a.open()
	a.agrees()
	a.quit()
}

func (a *aerc) configure() {
	a.t.Helper()
	if err := os.MkdirAll(filepath.Join(a.home, ".config/aerc"), 0o700); err != nil {
		a.t.Fatal(err)
	}
	a.write(".config/aerc/accounts.conf", fmt.Sprintf(aercAccount, url.PathEscape(testPassword), a.ports))
	a.write(".config/aerc/aerc.conf", aercConf)
	a.write(".config/aerc/binds.conf", "")
	a.t.Cleanup(func() { exec.Command("tmux", "-S", filepath.Join(a.home, "tmux"), "kill-server").Run() }) //nolint:errcheck // it may have ended
}

// tmux runs a command of the terminal's.
func (a *aerc) tmux(args ...string) string {
	a.t.Helper()
	return a.program("tmux", append([]string{"-u", "-S", filepath.Join(a.home, "tmux"), "-f", "/dev/null"}, args...)...)
}

// open starts it, in a terminal of its own.
func (a *aerc) open() {
	a.t.Helper()
	a.tmux("new-session", "-d", "-x", "72", "-y", fmt.Sprint(aercRows+2), "env", "SSL_CERT_FILE="+a.ca, "aerc")
	a.await("INBOX", func() bool { return slices.Contains(a.folders(), "INBOX") && len(a.rows()) == aercRows })
}

// quit ends it, and with it the terminal.
func (a *aerc) quit() {
	a.t.Helper()
	a.command("quit")
	for until := time.Now().Add(time.Minute); exec.Command("tmux", "-S", filepath.Join(a.home, "tmux"), "ls").Run() == nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			a.t.Fatal("aerc did not end")
		}
	}
}

// command has it obey a line.
func (a *aerc) command(format string, args ...any) {
	a.t.Helper()
	a.tmux("send-keys", "-l", ":"+fmt.Sprintf(format, args...)+"\r")
}

// screen are the lines that it shows.
func (a *aerc) screen() []string {
	a.t.Helper()
	return strings.Split(strings.TrimRight(a.tmux("capture-pane", "-p"), "\n"), "\n")
}

// await waits until something is so.
func (a *aerc) await(what string, so func() bool) {
	a.t.Helper()
	for until := time.Now().Add(time.Minute); !so(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			a.t.Fatalf("aerc did not show %s:\n%s", what, strings.Join(slices.DeleteFunc(a.screen(), func(l string) bool { return strings.Trim(l, " │") == "" }), "\n"))
		}
	}
}

// status waits until the last line begins with a text.
func (a *aerc) status(text string) {
	a.t.Helper()
	a.await(text, func() bool { lines := a.screen(); return strings.HasPrefix(lines[len(lines)-1], text) })
}

// shows says whether a text is on the screen.
func (a *aerc) shows(text string) bool {
	a.t.Helper()
	return strings.Contains(strings.Join(a.screen(), "\n"), text)
}

// folders are those that it shows.
func (a *aerc) folders() []string {
	a.t.Helper()
	var all []string
	for _, line := range a.screen() {
		if name, _, ok := strings.Cut(line, "│"); ok && strings.TrimSpace(name) != "" {
			all = append(all, strings.TrimSpace(name))
		}
	}
	return all
}

// rows are the messages that it shows, or nil until it knows them all.
func (a *aerc) rows() []string {
	a.t.Helper()
	var all []string
	for _, line := range a.screen() {
		_, row, _ := strings.Cut(line, "│")
		if strings.TrimSpace(row) == "loading" {
			return nil
		}
		if strings.Contains(row, "¦") {
			all = append(all, row)
		}
	}
	return all
}

// enter has it open a folder.
func (a *aerc) enter(folder string) {
	a.t.Helper()
	a.command("cf %q", folder)
	a.status(folder)
}

// list reads what it shows of a folder that should have so many messages, whose
// numbers all differ.
func (a *aerc) list(messages int) (rows []string) {
	a.t.Helper()
	if messages == 0 {
		a.await("that there is nothing", func() bool { return a.shows("(no messages)") })
		return nil
	}
	a.await("all messages", func() bool {
		rows = a.pages(messages)
		different := map[string]bool{}
		for _, row := range rows {
			different[number.FindString(row)] = true
		}
		return len(different) == messages
	})
	return rows
}

// pages reads it page by page, and goes back to the first.
func (a *aerc) pages(messages int) []string {
	a.t.Helper()
	var all, page []string
	next := func(row int) {
		before := page
		a.command("select %d", row)
		a.await("another page", func() bool {
			page = a.rows()
			return len(page) >= min(messages, aercRows) && !slices.Equal(page, before)
		})
	}
	for next(0); len(all) < messages; {
		if len(all) > 0 {
			next(min(messages, len(all)+aercRows) - 1)
		}
		all = append(all, page[len(page)-min(messages-len(all), aercRows):]...)
	}
	if messages > aercRows {
		next(0)
	}
	return all
}

// reads returns what it has of a folder, once it is right: flags as its screen
// shows them, and texts as it exports them.
func (a *aerc) reads(folder string) contents {
	a.t.Helper()
	a.enter(folder)
	want := a.kept(onAerc, a.want)
	maps.DeleteFunc(want, func(e entry, _ int) bool { return e.folder != folder || e.digest == "" })
	messages := a.messages(folder)
	rows := a.list(messages)
	mbox := a.write("export.mbox", "")
	a.command("export-mbox %s", mbox)
	var got contents
	for until := time.Now().Add(time.Minute); !maps.Equal(got, want) && time.Now().Before(until); rows = a.list(messages) {
		got = contents{}
		texts := a.exported(mbox)
		for _, row := range rows {
			text := texts[number.FindString(row)]
			d := digest(inLetters(text))
			a.texts[d] = text
			got[entry{folder, d, flagsShown(row)}]++
		}
	}
	return got
}

// messages are how many a folder should have.
func (a *aerc) messages(folder string) (n int) {
	for e, times := range a.want {
		if e.folder == folder && e.digest != "" {
			n += times
		}
	}
	return n
}

// exported are the messages of an mbox by what their subjects end with.
func (a *aerc) exported(mbox string) map[string]string {
	a.t.Helper()
	all, err := os.ReadFile(mbox)
	if err != nil {
		a.t.Fatal(err)
	}
	texts := map[string]string{}
	for _, m := range strings.Split(string(all), "From ???@???")[1:] {
		_, text, _ := strings.Cut(m, "\n")
		texts[number.FindString(text)] = text
	}
	return texts
}

// arrives waits until the server has all messages of a folder.
func (a *aerc) arrives(folder string) {
	a.t.Helper()
	a.await("messages to the server", func() bool {
		return strings.Contains(a.server.ok("STATUS "+quoted(folder)+" (MESSAGES)"), fmt.Sprintf("(MESSAGES %d)", a.messages(folder)))
	})
}

// onAerc is what one sees of a message.
var onAerc = keeper{flags: []string{`\Seen`, `\Flagged`}, form: inLetters}

// flagsShown are those that a row tells of.
func flagsShown(row string) string {
	letters, _, _ := strings.Cut(row, "¦")
	var flags []string
	if !strings.ContainsAny(letters, "ON") { // old or new
		flags = append(flags, `\Seen`)
	}
	if strings.Contains(letters, "!") {
		flags = append(flags, `\Flagged`)
	}
	return flagList(flags...)
}

// agrees checks what it has of all folders, and the server.
func (a *aerc) agrees() {
	a.t.Helper()
	got := contents{}
	for _, folder := range a.folders() {
		maps.Copy(got, a.reads(folder))
		got[entry{folder: folder}]++
	}
	a.agree(got, onAerc)
}

// watches has it show what happens to INBOX while one looks, read a message and copy it.
func (a *aerc) watches() {
	a.t.Helper()
	a.enter("INBOX")
	a.command("select 0")
	top := len(a.numbered)
	shows := func(flags ...string) {
		a.t.Helper()
		a.await(fmt.Sprint("the message with ", flags), func() bool {
			rows := a.rows()
			return len(rows) > 0 && strings.HasSuffix(rows[0], "¦Lunch no. 8999") && flagsShown(rows[0]) == flagList(flags...)
		})
	}
	a.upload("INBOX", upload{"From: bob@client.example\r\nTo: alice@home.example\r\nSubject: Lunch no. 8999\r\n\r\nShall we say one o'clock?\r\n", ""})
	shows()
	a.server.ok("SELECT INBOX")
	a.server.ok(fmt.Sprintf(`UID STORE %d +FLAGS.SILENT (\Flagged)`, top+1))
	a.change(top, top+1, flagged(`\Flagged`))
	shows(`\Flagged`)
	below := a.rows()[1]
	a.server.ok(fmt.Sprintf(`UID STORE %d +FLAGS.SILENT (\Deleted)`, top))
	a.server.ok("EXPUNGE")
	a.change(top-1, top, deleted)
	a.await("that a message is gone", func() bool { return !slices.Contains(a.rows(), below) })
	a.command("select 0")
	a.command("view")
	a.await("the message", func() bool {
		return a.shows("one o'clock?")
	})
	a.command("close")
	a.change(top, top+1, flagged(`\Seen`))
	shows(`\Flagged`, `\Seen`)
	a.command("copy Sent")
	e := a.numbered[top]
	e.folder = "Sent"
	a.want[e]++
	a.arrives("Sent")
}

// do does what a plan says. It marks messages of INBOX to change them.
func (a *aerc) do(plan []action, messages int) {
	a.t.Helper()
	rows := a.list(messages)
	for len(plan) > 0 {
		p := plan[0]
		group := plan[:slices.IndexFunc(append(plan, action{}), func(o action) bool {
			return o.verb != p.verb || o.to != p.to || o.verb == "create" && o.folder != p.folder
		})]
		plan = plan[len(group):]
		switch p.verb {
		case "create":
			a.command("mkdir %q", p.folder)
			a.await(p.folder, func() bool { return slices.Contains(a.folders(), p.folder) })
		case "append":
			a.imports(group)
		default:
			a.changes(group, rows)
		}
	}
}

// changes does the same to messages that stand one above the other.
func (a *aerc) changes(group []action, rows []string) {
	a.t.Helper()
	p := group[0]
	row := func(p action) int {
		n := number.FindString(a.texts[p.digest])
		return slices.IndexFunc(rows, func(row string) bool { return strings.HasSuffix(row, n) })
	}
	a.command("select %d", row(p))
	a.command("mark -v")
	a.command("select %d", row(group[len(group)-1]))
	a.command("%s", map[string]string{"delete": "delete", "flag": "flag -x " + strings.TrimPrefix(p.to, `\`), "unflag": "unread", "move": "move " + p.to}[p.verb])
	a.await(p.verb, func() bool {
		has := a.server.ok(fmt.Sprintf("UID FETCH %d:%d FLAGS", p.uid, group[len(group)-1].uid))
		switch p.verb {
		case "flag":
			return strings.Count(has, p.to) == len(group)
		case "unflag":
			return !strings.Contains(has, p.to)
		}
		return !strings.Contains(has, "FETCH")
	})
}

// imports has it append messages to their folders, from an mbox for each.
func (a *aerc) imports(all []action) {
	a.t.Helper()
	boxes := map[string]string{}
	for _, p := range all {
		text, err := os.ReadFile(p.file)
		if err != nil {
			a.t.Fatal(err)
		}
		boxes[p.folder] += "From bob Thu Jan  1 00:00:00 2004\n" + strings.ReplaceAll(string(text), "\nFrom ", "\n>From ") + "\n\n"
	}
	for folder, box := range boxes {
		a.enter(folder)
		a.command("import-mbox %s", a.write("import.mbox", box))
		if folder != "Programm/Übung" { // it asks where there are messages already
			a.await("a question", func() bool { return a.shows("anyways?") })
			a.tmux("send-keys", "Right", "Enter")
		}
		a.arrives(folder)
	}
}
