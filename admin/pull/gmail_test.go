package pull

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"mailbox/imapd/wire"
)

// gmail is a server like Gmail's: four messages, one of them a draft, one that
// the user wrote to herself, one archived without a label.
func gmail() *oddServer {
	text := func(n string) string { return "Subject: " + n + "\r\n\r\nbody\r\n" }
	return &oddServer{
		caps: "X-GM-EXT-1",
		boxes: []*oddBox{
			{name: "INBOX", uidValidity: 1, messages: []*oddMessage{{uid: 1, text: text("one")}, {uid: 2, text: text("to me")}}},
			{name: "Muy Importante", uidValidity: 2, messages: []*oddMessage{{uid: 1, text: text("one")}}},
			{name: "[Gmail]/Alle Nachrichten", attrs: `\All`, uidValidity: 3, messages: []*oddMessage{
				{uid: 1, text: text("one"), labels: `"\\Inbox" "\\Important" "Muy Importante" &AOk-t&AOk-`},
				{uid: 2, text: text("to me"), labels: `"\\Inbox" "\\Sent"`},
				{uid: 3, text: text("draft"), labels: `"\\Draft" "\\Starred"`},
				{uid: 4, text: text("archived"), labels: ``},
			}},
			{name: "[Gmail]/Entwürfe", attrs: `\Drafts`, uidValidity: 4, messages: []*oddMessage{{uid: 1, text: text("draft")}}},
			{name: "[Gmail]/Gesendet", attrs: `\Sent`, uidValidity: 5, messages: []*oddMessage{{uid: 1, text: text("to me")}}},
			{name: "[Gmail]/Markiert", attrs: `\Flagged`, uidValidity: 6, messages: []*oddMessage{{uid: 1, text: text("draft")}}},
			{name: "[Gmail]/Wichtig", attrs: `\Important`, uidValidity: 7, messages: []*oddMessage{{uid: 1, text: text("one")}}},
			{name: "[Gmail]/Spam", attrs: `\Junk`, uidValidity: 8, messages: []*oddMessage{{uid: 1, text: text("spam")}}},
			{name: "[Gmail]/Papierkorb", attrs: `\Trash`, uidValidity: 9},
		},
	}
}

// contents lists subjects and flags by mailbox.
func (a *account) contents() []string {
	var out []string
	for _, b := range a.mailboxes {
		out = append(out, b.Name+" "+b.SpecialUse)
		for _, s := range b.messages {
			subject, _, _ := strings.Cut(strings.TrimPrefix(s.text, "Subject: "), "\r")
			flags := []string{}
			for f := range s.flags {
				flags = append(flags, f)
			}
			slices.Sort(flags)
			out = append(out, strings.TrimSpace(b.Name+": "+subject+" "+strings.Join(flags, " ")))
		}
	}
	slices.Sort(out)
	return out
}

// TestLabels: Gmail's labels as keywords, and as mailboxes.
func TestLabels(t *testing.T) {
	for labels, want := range map[Labels][]string{
		LabelsAsKeywords: {
			`Archive \Archive`, "Archive: archived", `Drafts \Drafts`, `Drafts: draft \Flagged`, "INBOX ",
			"INBOX: one $Important &AOk-t&AOk- Muy_Importante", "INBOX: to me", `Junk \Junk`, "Junk: spam",
			`Sent \Sent`, `Trash \Trash`,
		},
		LabelsAsMailboxes: {
			`Archive \Archive`, "Archive: archived", `Drafts \Drafts`, `Drafts: draft`, "INBOX ",
			"INBOX: one", "INBOX: to me", `Junk \Junk`, "Junk: spam", "Muy Importante ", "Muy Importante: one",
			`Sent \Sent`, "Sent: to me", `Trash \Trash`,
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			a := newAccount()
			p := gmail().puller(t, a)
			p.Labels = labels
			report, err := p.Pull(ctx)
			must(t, err)
			if got := a.contents(); !slices.Equal(got, want) {
				t.Errorf("here are\n%q, not\n%q", got, want)
			}
			if !report.Equal() {
				t.Errorf("the report finds differences: %+v", report)
			}
		})
	}
}

// TestArchived: a message that was archived at Gmail, and labels that changed,
// in the next run.
func TestArchived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, a := gmail(), newAccount()
		p := o.puller(t, a)
		p.Labels, p.Remove = LabelsAsKeywords, true
		_, err := p.Pull(ctx)
		must(t, err)
		o.boxes[2].messages[0].labels = "later"
		report, err := p.Pull(ctx)
		must(t, err)
		got := a.contents()
		if !slices.Contains(got, "Archive: one later") || slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "INBOX: one") }) {
			t.Errorf("here are %q", got)
		}
		if !report.Equal() {
			t.Errorf("the report finds differences: %+v", report)
		}
	})
}

func FuzzKeyword(f *testing.F) {
	for _, s := range []string{`\Inbox`, "a b", "é", "&AOk-", "x]y", "A&B", "\xff", `\\\`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		k := keyword(s)
		if k != "" && (!wire.IsAtom(k) || len(k) > maxKeyword || k[0] == '\\') {
			t.Errorf("%q becomes %q", s, k)
		}
		if keyword(k) != k || wire.IsAtom(s) && len(s) <= maxKeyword && k != s {
			t.Errorf("%q becomes %q and then %q", s, k, keyword(k))
		}
		if flags := cleanFlags([]string{s, k, s}); !slices.IsSorted(flags) {
			t.Errorf("%q becomes %q", s, flags)
		}
	})
}
