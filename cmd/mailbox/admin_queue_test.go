package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"mailbox/admin"
)

// sendLater submits a message of alice's that is not to be sent before
// tomorrow, so that it stays in the queue whatever the network is like.
func (s *site) sendLater(parameters string, to ...string) {
	s.t.Helper()
	nc, err := s.dial("submissions")
	if err != nil {
		s.t.Fatal(err)
	}
	defer nc.Close()
	u := &smtpPeer{t: s.t, s: s, nc: nc}
	u.send("", "220")
	u.send("EHLO client.example\r\n", "250")
	u.send("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00alice@home.example\x00"+testPassword))+"\r\n", "235")
	u.send("MAIL FROM:<alice@home.example> HOLDFOR=86400"+parameters+"\r\n", "250")
	for _, a := range to {
		u.send("RCPT TO:"+a+"\r\n", "250")
	}
	u.send("DATA\r\n", "354")
	u.send("From: alice@home.example\r\nMessage-ID: <later@home.example>\r\n\r\nhello\r\n.\r\n", "250")
}

// TestAdminQueue runs every command on the queue with the server stopped and
// running: the same commands do the same.
func TestAdminQueue(t *testing.T) {
	for _, running := range []bool{false, true} {
		t.Run(map[bool]string{false: "stopped", true: "running"}[running], func(t *testing.T) {
			s := newSite(t)
			s.start()
			s.run("", "admin", "alias", "add", "away@home.example", "bob@far.example")
			s.sendLater(" RET=HDRS ENVID=QQ1 REQUIRETLS", "<away@home.example>", "<carol@near.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;c@near.example")
			s.sendLater("", "<dora@far.example>")
			if !running {
				s.stop()
			}
			queue := func(args ...string) string {
				t.Helper()
				return s.run("", append([]string{"admin", "queue"}, args...)...)
			}
			says := func(want string, args ...string) {
				t.Helper()
				if out := queue(args...); !strings.Contains(out, want) {
					t.Errorf("queue %s says\n%s\nwithout %q", strings.Join(args, " "), out, want)
				}
			}
			fails := func(want string, args ...string) {
				t.Helper()
				out, err := s.try("", append([]string{"admin", "queue"}, args...)...)
				exit, ok := err.(*exec.ExitError)
				if !ok || exit.ExitCode() != 1 || !strings.Contains(out, want) {
					t.Errorf("queue %s: %v, says\n%s\nwithout %q", strings.Join(args, " "), err, out, want)
				}
			}
			list := func(args ...string) (rows []admin.QueueRow, ids string) {
				t.Helper()
				if err := json.Unmarshal([]byte(queue(append([]string{"list", "--json"}, args...)...)), &rows); err != nil {
					t.Fatal(err)
				}
				for _, r := range rows {
					name, _, _ := strings.Cut(r.Recipient, "@")
					ids += fmt.Sprint(r.ID, name, " ")
				}
				return rows, strings.TrimSpace(ids)
			}
			for args, want := range map[string]string{
				"":                     "1bob 1carol 2dora",
				"--held=false":         "1bob 1carol 2dora",
				"--domain far.example": "1bob 2dora",
				"--older 5d":           "",
				"--recipient carol@near.example --user alice@home.example": "1carol",
			} {
				if _, got := list(strings.Fields(args)...); got != want {
					t.Errorf("list %s: %q, want %q", args, got, want)
				}
			}
			says("alice@home.example  dora@far.example", "list")
			says("These are the oldest 2", "list", "--limit", "2")
			fails("nobody@home.example: not found", "list", "--user", "nobody@home.example")

			for _, want := range []string{"<later@home.example>", "not before", "the header", "QQ1", "required", "SUCCESS,FAILURE", "rfc822;c@near.example", "none"} {
				says(want, "show", "1")
			}
			var m admin.QueuedMessage
			if err := json.Unmarshal([]byte(queue("show", "1", "--json")), &m); err != nil || len(m.Recipients) != 2 || m.User != "alice@home.example" || m.Release.IsZero() {
				t.Errorf("show --json: %+v, %v", m, err)
			}
			fails("message 9 of the queue: not found", "show", "9")

			says("Held 1 recipient.", "hold", "--recipient", "BOB@far.example")
			if _, got := list("--held"); got != "1bob" {
				t.Errorf("held are %q", got)
			}
			says("held", "list")
			fails("must be released first", "retry", "1", "--recipient", "bob@far.example")
			fails("only where its ID is given", "retry", "--all")
			fails("only what is held", "release", "2")
			says("Released 1 recipient.", "release", "--all")
			if !running { // else they would be gone
				says("2 recipients will be tried now.", "retry", "1")
				says("now", "list")
			}

			says("2 recipients will go to smtp.other.example:587.", "edit-route", "1", "--host", "SMTP.other.example:587")
			says("1 recipient will go to [fe80::1%eth0]:25.", "edit-route", "2", "--host", "fe80::1%eth0")
			says("smtp.other.example:587", "show", "1")
			says("1 recipient will go where", "edit-route", "--recipient", "carol@near.example", "--none")
			if rows, _ := list(); rows[0].Route != "smtp.other.example:587" || rows[1].Route != "" {
				t.Errorf("routes %q and %q", rows[0].Route, rows[1].Route)
			}

			says("The senders are not told.", "drop", "2")
			fails("message 2", "drop", "2")
			if out, err := s.try("", "admin", "queue", "drop", "2", "1", "--domain", "near.example"); err == nil || !strings.Contains(out, "Dropped 1 recipient.") || !strings.Contains(out, "message 2") {
				t.Errorf("drop of one that is there and one that is not: %v, %s", err, out)
			}
			if _, got := list(); got != "1bob" {
				t.Errorf("left are %q", got)
			}
			if out := s.run("", "verify"); !strings.Contains(out, "0 problems") {
				t.Error(out)
			}
			says(`"recipients": 1`, "drop", "--all", "--json")
			if _, got := list(); got != "" {
				t.Errorf("left are %q", got)
			}
			fails("nothing in the queue fits", "drop", "--all")
		})
	}
}

// TestQueueUsage: what cannot be understood is told with exit status 2, and
// what to say instead.
func TestQueueUsage(t *testing.T) {
	s := newSite(t)
	const choose = "give the IDs of messages, or --recipient, --domain, --user or --older, or --all"
	for _, c := range []struct{ command, want string }{
		{"retry", choose},
		{"hold", choose},
		{"release", choose},
		{"drop", choose},
		{"edit-route --none", choose},
		{"drop 17 --all", "--all is everything"},
		{"drop --all --domain example.net", "--all is everything"},
		{"drop alice@home.example", "is not the ID of a message"},
		{"drop --older soon", "is not a time such as"},
		{"drop --older 0d", "less than a second"},
		{"hold --older -5h", "less than a second"},
		{"edit-route 17", "either --host or --none"},
		{"edit-route 17 --host a.example --none", "either --host or --none"},
		{"edit-route 17 --host a.example:smtp", "is not a host"},
		{"show", "accepts 1 arg"},
		{"show x", "is not the ID of a message"},
		{"list 17", "unknown command"},
		{"list --limit 0", "less than 1"},
	} {
		out, err := s.try("", append([]string{"admin", "queue"}, strings.Fields(c.command)...)...)
		if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 2 || !strings.Contains(out, c.want) {
			t.Errorf("queue %s: %v\n%s\nwithout %q", c.command, err, out, c.want)
		}
	}
	for command, want := range map[string]string{"drop": "the senders are not told", "retry": "unless you give its ID", "release": "Examples:"} {
		if out := s.run("", "admin", "queue", command, "--help"); !strings.Contains(strings.Join(strings.Fields(out), " "), want) {
			t.Errorf("help of queue %s:\n%s", command, out)
		}
	}
}

// TestQueueShowsStrangersWords: what others wrote cannot speak to a terminal.
func TestQueueShowsStrangersWords(t *testing.T) {
	var w strings.Builder
	showQueued(&w, admin.QueuedMessage{ID: 1, Sender: "a\x1b[2J@far.example", MessageID: "<\u009b2J@x>", EnvID: "\t", Recipients: []admin.QueuedRecipient{
		{Address: "b\x07@far.example", Attempts: []admin.Attempt{{Host: "mx\n", Reply: "550 \x1b]0;x"}}},
	}})
	listQueue(&w, []admin.QueueRow{{Sender: "\x1b", Recipient: "\u202ex", LastReply: strings.Repeat("\r", 100)}})
	for _, bad := range []string{"\x1b", "\u009b", "\x07", "\r", "\u202e", "mx\n"} {
		if strings.Contains(w.String(), bad) {
			t.Errorf("%q is shown:\n%q", bad, w.String())
		}
	}
}
