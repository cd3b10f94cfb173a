package main

import (
	"encoding/pem"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestThunderbird has Thunderbird read, mark, move, copy and delete mail by the
// commands of its menus, while another session does the like, and starts it
// again. After every step its window and the whole account on the server are
// as they should be.
func TestThunderbird(t *testing.T) {
	tb := newThunderbird(t)
	s := newSite(t)
	s.start()
	d := &desk{t: t, site: s, tb: tb, other: s.imapClient("alice"), want: map[string]string{}}
	d.fill()
	tb.start()
	d.setUp()
	d.hears()
	d.reads()
	d.marks()
	d.moves()
	d.deletes()
	d.searches()
	d.sends()
	d.returns()
}

// A desk is where alice works with Thunderbird, and elsewhere with another client.
type desk struct {
	t     *testing.T
	site  *site
	tb    *thunderbird
	other *imapClient
	want  map[string]string // the flags of each message, by "mailbox: subject"
}

// fill appends messages to INBOX: each third is seen, and the first is large.
func (d *desk) fill() {
	for n := 1; n <= 300; n++ {
		flags := ""
		if n%3 == 0 {
			flags = `\Seen`
		}
		subject := fmt.Sprintf("message %d", n)
		text := fmt.Sprintf("From: Jürgen <juergen@client.example>\r\nTo: alice@home.example\r\nSubject: %s\r\nMessage-ID: <%d@client.example>\r\n"+
			"Date: Tue, 24 Nov 2026 10:%02d:%02d +0000\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nGrüße, the %dth.\r\n", subject, n, n/60, n%60, n)
		if n == 1 {
			text += strings.Repeat("This line is one of many.\r\n", 40_000)
		}
		d.other.ok(fmt.Sprintf("APPEND INBOX (%s) {%d+}\r\n%s", flags, len(text), text))
		d.want["INBOX: "+subject] = flags
	}
}

// setUp gives Thunderbird the account and has it open INBOX.
func (d *desk) setUp() {
	pemCA, err := os.ReadFile(d.site.caFile())
	if err != nil {
		d.t.Fatal(err)
	}
	block, _ := pem.Decode(pemCA)
	d.tb.call("addAccount", map[string]any{
		"host": "mail.home.example", "imaps": portOf(d.t, d.site.imaps), "submissions": portOf(d.t, d.site.submissions),
		"ca":      block.Bytes, // JSON makes it base64
		"address": "alice@home.example", "password": testPassword,
	})
	d.tb.expect(true, "open", "INBOX")
	d.lists("INBOX", "INBOX")
	d.tb.expect([]string{"Archive", "Drafts", "INBOX", "Junk", "Sent", "Trash"}, "folders")
	d.agrees()
}

// hears is what Thunderbird is told of without asking: of a new message, and
// of what another client does.
func (d *desk) hears() {
	d.tb.rests("INBOX")
	d.arrives("news")
	d.tb.expect("", "marks", "news")
	d.lists("INBOX", "INBOX")
	d.tb.rests("INBOX")
	changed := []string{"message 90", "message 91", "message 92"}
	d.other.ok("SELECT INBOX")
	d.other.ok(`UID STORE 90:92 FLAGS (\Flagged \Answered)`)
	d.flag("INBOX", `\Answered \Flagged`, changed...)
	for _, subject := range changed {
		d.tb.expect("starred", "marks", subject)
	}
	d.tb.rests("INBOX")
	d.expunges(95, 96)
	d.tb.expect(nil, "marks", "message 95")
	d.tb.expect(nil, "marks", "message 96")
	d.lists("INBOX", "INBOX")
	d.agrees()
}

// reads opens messages in the message pane, which marks them as read.
func (d *desk) reads() {
	for _, n := range []int{10, 11, 299} {
		subject := fmt.Sprintf("message %d", n)
		d.tb.expect(1, "select", []string{subject})
		d.shows(subject)
		d.tb.expect("read", "marks", subject)
		d.flag("INBOX", `\Seen`, subject)
	}
	d.agrees()
}

// marks stars, tags and marks messages as unread, several at once.
func (d *desk) marks() {
	for _, c := range []struct {
		command, flags, shown string
		subjects              []string
	}{
		{"cmd_markAsFlagged", `\Flagged`, "starred", []string{"message 20", "message 22", "message 23"}},
		{"cmd_markAsRead", `\Flagged \Seen`, "read starred", []string{"message 22", "message 23"}},
		{"cmd_tag1", `$label1`, "$label1", []string{"message 40", "message 41"}},
		{"cmd_markAsUnread", "", "", []string{"message 30", "message 33", "message 36"}},
	} {
		d.run(c.command, c.subjects)
		for _, subject := range c.subjects {
			d.tb.expect(c.shown, "marks", subject)
		}
		d.flag("INBOX", c.flags, c.subjects...)
		d.agrees()
	}
}

// moves makes a folder, and moves and copies messages to it. What is selected
// afterwards, and so shown and read, was read before.
func (d *desk) moves() {
	d.tb.call("createFolder", "Bücher")
	d.tb.expect([]string{"Archive", "Bücher", "Drafts", "INBOX", "Junk", "Sent", "Trash"}, "folders")
	moved := []string{"message 20", "message 49", "message 50", "message 51"}
	d.run("cmd_moveMessage", moved, "Bücher")
	d.put("INBOX", "B&APw-cher", moved...)
	d.agrees()
	copied := []string{"message 22", "message 60"}
	d.run("cmd_copyMessage", copied, "Bücher")
	for _, subject := range copied {
		d.want["B&APw-cher: "+subject] = d.want["INBOX: "+subject]
	}
	d.agrees()
	d.tb.call("renameFolder", "Bücher", "日本語")
	for key, flags := range maps.Clone(d.want) {
		if subject, ok := strings.CutPrefix(key, "B&APw-cher: "); ok {
			delete(d.want, key)
			d.want["&ZeVnLIqe-: "+subject] = flags
		}
	}
	d.agrees()
	d.tb.expect([]string{"Archive", "Drafts", "INBOX", "Junk", "Sent", "Trash", "日本語"}, "folders")
	d.tb.expect(true, "open", "日本語")
	d.lists("日本語", "&ZeVnLIqe-")
	d.tb.expect(true, "open", "INBOX")
}

// deletes moves messages to Trash, which Thunderbird marks as read, and one away
// for good: that goes from the list at once, and from the server when the folder
// is compacted.
func (d *desk) deletes() {
	deleted := []string{"message 70", "message 71", "message 72"}
	d.run("cmd_deleteMessage", deleted)
	d.put("INBOX", "Trash", deleted...)
	d.flag("Trash", `\Seen`, deleted...)
	d.agrees()
	d.lists("INBOX", "INBOX")
	d.run("cmd_shiftDeleteMessage", []string{"message 79"})
	d.flag("INBOX", `\Deleted \Seen`, "message 79")
	d.agrees()
	delete(d.want, "INBOX: message 79")
	d.lists("INBOX", "INBOX")
	d.tb.call("compact", "INBOX")
	d.agrees()
}

// searches has the server search.
func (d *desk) searches() {
	d.tb.expect([]string{"message 117"}, "search", "INBOX", "grüße, the 117TH")
}

// sends writes a message to bob, of which Thunderbird keeps a copy in Sent.
func (d *desk) sends() {
	d.tb.call("write", "bob@home.example", "written by Thunderbird", "Viele Grüße")
	d.tb.expect(true, "send", "Viele Grüße")
	d.tb.expect(false, "writing")
	awaitOne(d.t, d.site.inbox(d.t, "bob"), "Subject: written by Thunderbird", "Viele Grüße")
	d.want["Sent: written by Thunderbird"] = `\Seen`
	d.agrees()
}

// returns starts Thunderbird again, after things have changed. It asks for the
// changes, and fetches no message that it has.
func (d *desk) returns() {
	d.tb.stop()
	d.arrives("later news")
	d.other.ok("SELECT INBOX")
	d.other.ok(`UID STORE 100 +FLAGS (\Flagged)`)
	d.flag("INBOX", `\Flagged`, "message 100")
	d.expunges(101)
	d.tb.start()
	d.tb.expect(true, "open", "INBOX")
	d.lists("INBOX", "INBOX")
	d.tb.expect("", "marks", "later news")
	d.tb.expect("starred", "marks", "message 100")
	d.tb.expect(nil, "marks", "message 101")
	d.tb.expect("$label1", "marks", "message 40")
	d.tb.expect(1, "select", []string{"message 300"})
	d.shows("message 300")
	d.agrees()
	said := d.tb.said("INBOX")
	if !slices.ContainsFunc(said, func(c string) bool { return strings.Contains(c, "(CHANGEDSINCE ") }) {
		d.t.Errorf("Thunderbird asked for no changes: %q", said)
	}
	for _, command := range said {
		if strings.Contains(command, "BODY") && !strings.HasPrefix(command, "UID fetch 302 ") {
			d.t.Errorf("Thunderbird fetched again: %q", command)
		}
	}
	d.tb.stop()
}

// expunges has the other client expunge messages of INBOX.
func (d *desk) expunges(uids ...int) {
	d.t.Helper()
	d.other.ok("SELECT INBOX")
	for _, uid := range uids {
		d.other.ok(fmt.Sprintf(`UID STORE %d +FLAGS.SILENT (\Deleted)`, uid))
		delete(d.want, fmt.Sprintf("INBOX: message %d", uid))
	}
	d.other.ok("EXPUNGE")
}

// arrives delivers a message to alice's INBOX.
func (d *desk) arrives(subject string) {
	d.t.Helper()
	d.site.send(d.t, order{from: "bob@home.example", to: []string{"alice@home.example"}}, testMessage("bob@home.example", subject))
	d.want["INBOX: "+subject] = ""
}

// run runs a command of Thunderbird's menus on messages.
func (d *desk) run(command string, subjects []string, args ...any) {
	d.t.Helper()
	d.tb.expect(len(subjects), "select", subjects)
	if len(subjects) == 1 {
		d.shows(subjects[0])
	}
	d.tb.call("command", append([]any{command}, args...)...)
}

// shows waits until a message of fill is in the message pane.
func (d *desk) shows(subject string) {
	d.t.Helper()
	d.tb.expect([]string{subject, "Grüße, the " + strings.TrimPrefix(subject, "message ") + "th.\n"}, "shown")
}

// flag expects messages of a mailbox to have flags.
func (d *desk) flag(mailbox, flags string, subjects ...string) {
	for _, subject := range subjects {
		d.want[mailbox+": "+subject] = flags
	}
}

// put expects messages of a mailbox to be in another one.
func (d *desk) put(from, to string, subjects ...string) {
	for _, subject := range subjects {
		d.want[to+": "+subject] = d.want[from+": "+subject]
		delete(d.want, from+": "+subject)
	}
}

// lists waits until Thunderbird shows as many messages of the open folder, and
// as many unread ones, as its mailbox should have.
func (d *desk) lists(folder, mailbox string) {
	d.t.Helper()
	all, unread := 0, 0
	for key, flags := range d.want {
		if strings.HasPrefix(key, mailbox+": ") {
			all++
			if !strings.Contains(flags, `\Seen`) {
				unread++
			}
		}
	}
	d.tb.expect([]any{folder, all, unread}, "listed")
}

// agrees waits until the account on the server is as expected.
func (d *desk) agrees() {
	d.t.Helper()
	var got map[string]string
	for until := time.Now().Add(marionettePatience); time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		if got = d.account(); maps.Equal(got, d.want) {
			return
		}
	}
	for key := range d.want {
		if flags, ok := got[key]; !ok || flags != d.want[key] {
			d.t.Errorf("on the server %q has flags %q, there %t, not %q", key, flags, ok, d.want[key])
		}
	}
	for key, flags := range got {
		if _, ok := d.want[key]; !ok {
			d.t.Errorf("on the server is %q, flags %q", key, flags)
		}
	}
	d.t.FailNow()
}

var (
	listedName   = regexp.MustCompile(`(?m)^\* LIST \([^)]*\) "/" "?(.*?)"?\r$`)
	fetchedFlags = regexp.MustCompile(`(?s)FLAGS \(([^)]*)\).*?\r\nSubject: (.*?)\r\n`)
)

// account is all messages on the server with their flags, like desk.want, or
// nil where mailboxes or messages vanish meanwhile.
func (d *desk) account() map[string]string {
	d.t.Helper()
	all := map[string]string{}
	for _, m := range listedName.FindAllStringSubmatch(d.other.ok(`LIST "" *`), -1) {
		mailbox := m[1]
		about, tagged := d.other.do(fmt.Sprintf("EXAMINE %q", mailbox))
		if strings.Contains(about, "* 0 EXISTS\r\n") {
			continue
		}
		messages := ""
		if strings.HasPrefix(tagged, "OK") {
			messages, tagged = d.other.do("FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
		}
		if !strings.HasPrefix(tagged, "OK") {
			return nil
		}
		for _, m := range fetchedFlags.FindAllStringSubmatch(messages, -1) {
			flags := slices.DeleteFunc(strings.Fields(m[1]), func(f string) bool { return f == `\Recent` })
			slices.Sort(flags)
			all[mailbox+": "+m[2]] = strings.Join(flags, " ")
		}
	}
	return all
}
