package mbox

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"mailbox/admin/archive"
)

// letter is a message with its content.
type letter struct {
	Received string
	Flags    []string
	Content  string
}

// collect returns a yield that takes messages, and troubles.
func collect(t rapid.TB, mails *[]letter, troubles *[]string) func(*archive.Message) error {
	return func(m *archive.Message) error {
		if m.Err != nil {
			*troubles = append(*troubles, m.Place+": "+m.Err.Error())
			return nil
		}
		if m.Loss != nil {
			*troubles = append(*troubles, m.Place+": "+m.Loss.Error())
		}
		content, err := io.ReadAll(m.Content)
		if err != nil {
			t.Fatal(err)
		}
		*mails = append(*mails, letter{m.Received.Format(time.RFC3339), sorted(m.Flags), string(content)})
		return nil
	}
}

func sorted(s []string) []string {
	return slices.SortedFunc(slices.Values(s), func(a, b string) int { return cmp.Compare(strings.ToLower(a), strings.ToLower(b)) })
}

// readAll reads all mailboxes.
func readAll(t rapid.TB, name string, o Options) (boxes []archive.Mailbox, mails map[string][]letter, troubles []string) {
	t.Helper()
	r, err := Open(name, o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if boxes, err = r.Mailboxes(context.Background()); err != nil {
		t.Fatal(err)
	}
	mails = map[string][]letter{}
	for _, b := range boxes {
		var m []letter
		if err := r.Messages(context.Background(), b.Name, collect(t, &m, &troubles)); err != nil {
			troubles = append(troubles, err.Error())
		}
		if m != nil {
			mails[b.Name] = m
		}
	}
	return boxes, mails, troubles
}

// readText reads what an mbox holds.
func readText(t rapid.TB, text string, v Variant) (mails []letter, troubles []string) {
	t.Helper()
	if err := newSource(strings.NewReader(text), int64(len(text)), "box", v).messages(collect(t, &mails, &troubles)); err != nil {
		t.Fatal(err)
	}
	return mails, troubles
}

// write writes mailboxes as an export does, and returns what was lost.
func write(t rapid.TB, dir string, v Variant, boxes []archive.Mailbox, mails map[string][]letter) (losses []string) {
	t.Helper()
	w, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	w.Variant = v
	note := func(err error) {
		if loss, ok := err.(archive.Loss); ok {
			losses = append(losses, string(loss))
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range boxes {
		note(w.Mailbox(context.Background(), b))
		for _, m := range mails[b.Name] {
			at, _ := time.Parse(time.RFC3339, m.Received)
			note(w.Message(context.Background(), &archive.Message{Received: at, Flags: m.Flags, Content: strings.NewReader(m.Content)}))
		}
	}
	note(w.Close())
	return losses
}

var (
	oddLine = rapid.SampledFrom([]string{
		"", "", "text", "Subject: x", " folded", "Status: R", "X-Keywords: a", "Content-Length: 3", "X-UID: 5", "X-GM-THRID: 1", "\x00\xff", "a\rb", "b\r", ">", "From",
		"From a@b Mon Jan  1 00:00:00 2020", ">From b", ">>From c", "From here on",
	})
	anyFlags = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{`\Seen`, `\Answered`, `\Flagged`, `\Deleted`, `\Draft`, "$Forwarded", "$Junk", "a", "Kind"}), 0, 5, rapid.ID)
	anyName  = rapid.SampledFrom([]string{"INBOX", "Sent", "Entwürfe", "R&D", "A/b", "A", "a b/c/d", "&AOk-", "INBOX/x", "台北", "x.sbd/y", "v1.2", "mbox", "a.mbox/b"})
	anyTime  = rapid.Int64Range(-1e9, 4e9)
)

// anyContent is content that a variant can hold: all lines are ended by CRLF.
func anyContent(v Variant) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		text, header := "", true
		for range rapid.IntRange(0, 8).Draw(t, "lines") {
			line := oddLine.Draw(t, "line")
			// Only mboxrd can tell what was quoted; mboxcl2 does in a body.
			if v != RD && (v != CL2 || header) && strings.HasPrefix(line, "From ") {
				continue
			}
			header = header && line != ""
			text += line + "\r\n"
		}
		if v.counted() && !header && rapid.Bool().Draw(t, "unended") {
			text += "last"
		}
		return text
	})
}

// TestWriteRead: what is written is read equal, in the same order, whether the
// variant is told or found out; written twice, it is there once.
func TestWriteRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "mbox")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		v := rapid.SampledFrom([]Variant{O, RD, CL, CL2}).Draw(t, "variant")
		var boxes []archive.Mailbox
		mails := map[string][]letter{}
		for _, name := range rapid.SliceOfNDistinct(anyName, 1, 3, rapid.ID).Draw(t, "names") {
			boxes = append(boxes, archive.Mailbox{Name: name, Subscribed: rapid.Bool().Draw(t, "subscribed")})
			for range rapid.IntRange(0, 5).Draw(t, "messages") {
				at := time.Unix(anyTime.Draw(t, "time"), 0).UTC()
				mails[name] = append(mails[name], letter{at.Format(time.RFC3339), sorted(anyFlags.Draw(t, "flags")), anyContent(v).Draw(t, "content")})
			}
		}
		for _, told := range []Variant{v, Detect} {
			if losses := write(t, dir, v, boxes, mails); losses != nil {
				t.Fatalf("lost: %q", losses)
			}
			gotBoxes, gotMails, troubles := readAll(t, dir, Options{Variant: told})
			if troubles != nil {
				t.Fatalf("troubles: %q", troubles)
			}
			for name := range mails {
				if !reflect.DeepEqual(gotMails[name], mails[name]) {
					t.Fatalf("%s:\nwrote %q\n read %q", name, mails[name], gotMails[name])
				}
			}
			for _, b := range boxes {
				if !slices.ContainsFunc(gotBoxes, func(g archive.Mailbox) bool { return g.Name == b.Name && g.Subscribed == b.Subscribed }) {
					t.Fatalf("wrote %v, read %v", b, gotBoxes)
				}
			}
			if len(gotBoxes) != len(boxes) {
				t.Fatalf("wrote %v, read %v", boxes, gotBoxes)
			}
		}
	})
}

// TestLossesAreTold: what no mbox can hold is named, and the rest is written.
func TestLossesAreTold(t *testing.T) {
	dir := t.TempDir()
	at := "2020-01-01T00:00:00Z"
	losses := write(t, dir, RD, []archive.Mailbox{{Name: ".x"}, {Name: "_.x"}}, map[string][]letter{".x": {
		{at, []string{`\Odd`}, "a\r\n"}, {at, nil, "a\nb\r\n"}, {at, nil, "a"},
	}})
	want := []string{
		`mailbox ".x" is written as "_.x"`, `there is no place for \Odd`, "bare LFs will be read as CRLF",
		"its last line will be read as ended", `mailbox "_.x" is written as "_.x (2)"`,
	}
	if !slices.Equal(losses, want) {
		t.Errorf("losses: %q", losses)
	}
	if _, mails, _ := readAll(t, dir, Options{}); len(mails["_.x"]) != 3 {
		t.Errorf("read %q", mails)
	}
}

// TestOthersFilesStay: a file that no export wrote is replaced only by force;
// one that was cut leaves the old one.
func TestOthersFilesStay(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "a.mbox")
	if err := os.WriteFile(name, []byte("From x Mon Jan  1 00:00:00 2020\n\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Mailbox(context.Background(), archive.Mailbox{Name: "a"}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("replaced: %v", err)
	}
	w.Close()
	if w, err = Create(dir); err != nil {
		t.Fatal(err)
	}
	w.Force = true
	if err := w.Mailbox(context.Background(), archive.Mailbox{Name: "a"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := w.Message(ctx, &archive.Message{Content: strings.NewReader("")}); !errors.Is(err, context.Canceled) {
		t.Errorf("went on: %v", err)
	}
	if err := w.Close(); !errors.Is(err, context.Canceled) {
		t.Errorf("closed: %v", err)
	}
	if got, _ := os.ReadFile(name); !bytes.HasPrefix(got, []byte("From x ")) {
		t.Errorf("what was cut replaced the file: %q", got)
	}
}

// TestForeign: what other programs write is read as they mean it.
func TestForeign(t *testing.T) {
	at := "2020-01-02T03:04:05Z"
	for name, c := range map[string]struct {
		text     string
		want     []letter
		troubles []string
	}{
		"empty file": {"", nil, nil},
		"Dovecot": {
			"From nobody@vm  Thu Jan 02 03:04:05 2020\nSubject: x\nX-IMAPbase: 1795604990 0000000001 $Forwarded Foo\nX-UID: 1\nStatus: RO\nX-Status: AFTD\nX-Keywords: $Forwarded Foo           \nContent-Length: 56\n\n" +
				"From here\nFrom a@b Mon Jan  1 00:00:00 2020\n>From x\nhi\n\n\n",
			[]letter{{at, []string{"$Forwarded", `\Answered`, `\Deleted`, `\Draft`, `\Flagged`, `\Seen`, "Foo"}, "Subject: x\r\n\r\nFrom here\r\nFrom a@b Mon Jan  1 00:00:00 2020\r\n>From x\r\nhi\r\n\r\n"}},
			nil,
		},
		"UW-IMAP": {
			"From MAILER-DAEMON Thu Jan  2 03:04:05 2020\nSubject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\nX-IMAP: 1 2\nStatus: RO\n\nThis text is part of the internal format.\n\n" +
				"From a Thu Jan  2 04:04:05 2020 +0100\nA: b\nStatus: O\n\nx\n\n",
			[]letter{{"2020-01-02T04:04:05+01:00", nil, "A: b\r\n\r\nx\r\n"}},
			nil,
		},
		"Thunderbird": {
			"From - Thu Jan 02 03:04:05 2020\r\nX-Mozilla-Status: 1007\r\nX-Mozilla-Status2: 00000000\r\nX-Mozilla-Keys: $label1 NonJunk           \r\nA: b\r\nStatus: mine\r\n\r\nx\ny\r\n\r\n" +
				"From - Thu Jan 02 03:04:05 2020\r\nX-Mozilla-Status: 0009\r\n\r\ndeleted\r\n\r\n",
			[]letter{{at, []string{"$Forwarded", "$label1", `\Answered`, `\Flagged`, `\Seen`, "NonJunk"}, "A: b\r\nStatus: mine\r\n\r\nx\ny\r\n"}},
			nil,
		},
		"git": {
			"From mboxrd@z Thu Jan  2 03:04:05 2020\nA: b\n\n>From x\n>>From y\n\n",
			[]letter{{at, nil, "A: b\r\n\r\nFrom x\r\n>From y\r\n"}},
			nil,
		},
		"wrong Content-Length": {
			"From a Thu Jan  2 03:04:05 2020\nContent-Length: 1\n\nxyz\n\nFrom b Thu Jan  2 03:04 2020\n\n\ny\n",
			[]letter{{at, nil, "Content-Length: 1\r\n\r\nxyz\r\n"}, {"2020-01-02T03:04:00Z", nil, "\r\n\r\ny\r\n"}},
			nil,
		},
		"no empty line before": {
			"From a Thu Jan  2 03:04:05 2020\nA: b\n\nx\nFrom b Thu Jan  2 03:04:05 EST 2020\nA: c\nFrom c Thu, Jan 2 03:04:05 2020 PST\n\nFrom the heart\n",
			[]letter{{at, nil, "A: b\r\n\r\nx\r\n"}, {"2020-01-02T03:04:05-05:00", nil, "A: c\r\n"}, {"2020-01-02T03:04:05-08:00", nil, "\r\nFrom the heart\r\n"}},
			nil,
		},
		"garbage, and cut": {
			"\x00\x00rubbish\n\nFrom a Thu Jan  2 03:04:05 2020\nA: b\n\nx",
			[]letter{{at, nil, "A: b\r\n\r\nx"}},
			[]string{"box: octet 0: 11 octets before the first From_ line are no message", "box: octet 11: the file ends within a line of it"},
		},
		"cut mboxcl": {
			"From mboxcl@z Thu Jan  2 03:04:05 2020\nContent-Length: 10\nStatus: O\nA: b\n\nx\n",
			[]letter{{at, nil, "A: b\r\n\r\nx\r\n"}},
			[]string{"box: octet 0: its Content-Length is 10, and the file ends after 2"},
		},
		"date by the header": {
			"From nobody\nDate: Thu, 2 Jan 2020 03:04:05 +0100 (CET)\nX-Keywords: sale, cheap\n\n",
			[]letter{{"2020-01-02T03:04:05+01:00", nil, "Date: Thu, 2 Jan 2020 03:04:05 +0100 (CET)\r\nX-Keywords: sale, cheap\r\n"}},
			nil,
		},
		"long lines": {
			"From a Thu Jan  2 03:04:05 2020\nA: " + strings.Repeat("a", 200_000) + "\n\n" + strings.Repeat("x", 200_000) + "\n\nFrom b Thu Jan  2 03:04:05 2020\n\nFrom " + strings.Repeat("x", 200_000) + "\n\n",
			[]letter{{at, nil, "A: " + strings.Repeat("a", 200_000) + "\r\n\r\n" + strings.Repeat("x", 200_000) + "\r\n"}, {at, nil, "\r\nFrom " + strings.Repeat("x", 200_000) + "\r\n"}},
			nil,
		},
		"long header": {
			"From a Thu Jan  2 03:04:05 2020\n" + strings.Repeat("A: b\n", maxHeader/4) + "\nx\n\nFrom b Thu Jan  2 03:04:05 2020\nStatus: R\n\ny\n",
			[]letter{{at, nil, strings.Repeat("A: b\r\n", maxHeader/4) + "\r\nx\r\n"}, {at, []string{`\Seen`}, "\r\ny\r\n"}},
			nil,
		},
	} {
		mails, troubles := readText(t, c.text, Detect)
		if !reflect.DeepEqual(mails, c.want) || !slices.Equal(troubles, c.troubles) {
			t.Errorf("%s:\n%.400q, %q, not\n%.400q, %q", name, mails, troubles, c.want, c.troubles)
		}
	}
}

// TestQuotes: what is told beats what is found out.
func TestQuotes(t *testing.T) {
	text := "From a Thu Jan  2 03:04:05 2020\n\n>From x\n\n"
	for v, want := range map[Variant]string{Detect: "\r\n>From x\r\n", O: "\r\n>From x\r\n", CL: "\r\n>From x\r\n", RD: "\r\nFrom x\r\n"} {
		if mails, _ := readText(t, text, v); len(mails) != 1 || mails[0].Content != want {
			t.Errorf("%v: %q", v, mails)
		}
	}
}

// TestTakeout: labels of Gmail are given apart from flags, and are not in the message.
func TestTakeout(t *testing.T) {
	text := "From 1700000000000000001@xxx Thu Jan 02 03:04:05 +0000 2020\r\nX-GM-THRID: 1700000000000000001\r\nX-Gmail-Labels: =?UTF-8?Q?Wichtig,Ge=C3=B6ffnet,\"Rechnungen,_?=\r\n =?UTF-8?Q?alt\",Starred?=\r\nA: b\r\n\r\nx\r\n\r\n"
	err := newSource(strings.NewReader(text), int64(len(text)), "box", Detect).messages(func(m *archive.Message) error {
		if want := []string{"Wichtig", "Rechnungen, alt"}; !slices.Equal(m.Labels, want) {
			t.Errorf("labels %q", m.Labels)
		}
		if want := []string{`\Flagged`, `\Seen`}; !slices.Equal(m.Flags, want) {
			t.Errorf("flags %q", m.Flags)
		}
		if content, _ := io.ReadAll(m.Content); string(content) != "A: b\r\n\r\nx\r\n" || m.Received.Format(time.RFC3339) != "2020-01-02T03:04:05Z" {
			t.Errorf("%q, %v", content, m.Received)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestTree: mboxes are found as Thunderbird, Apple Mail, mutt and Dovecot lay
// them out, and other files are left alone.
func TestTree(t *testing.T) {
	dir := t.TempDir()
	message := "From a Thu Jan  2 03:04:05 2020\n\nx\n"
	for name, text := range map[string]string{
		"Inbox": message, "Inbox.msf": "// index", "Sub": "", "Sub.sbd/Deep": message, "Damaged": "rubbish\n" + message, "Damaged.msf": "",
		"Apple.mbox/mbox": message, "Apple.mbox/table_of_contents": "x", "lists/go": message, "lists/x.mbox": "", "&AOk-": message, "caf\xe9": message,
		"notes.txt": "text", "lock": "x", ".hidden": message, ".imap/a/dovecot.index": "x", ".subscriptions": "lists/go\n", "empty.dat": "",
	} {
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(out, []byte(message), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(out, filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	boxes, mails, troubles := readAll(t, dir, Options{})
	var got []string
	for _, b := range boxes {
		got = append(got, b.Name)
		if b.Subscribed != (b.Name == "lists/go") {
			t.Errorf("%+v", b)
		}
	}
	if want := []string{"é", "Apple", "Damaged", "INBOX", "Sub", "Sub/Deep", "caf=E9", "lists/go", "lists/x", "out"}; !slices.Equal(got, want) {
		t.Errorf("mailboxes %q", got)
	}
	if len(mails) != 7 || len(troubles) != 2 || !strings.Contains(troubles[1], "symbolic link") {
		t.Errorf("%d mailboxes with mail, troubles %q", len(mails), troubles)
	}
	if boxes, _, _ := readAll(t, filepath.Join(dir, "lists", "go"), Options{}); len(boxes) != 1 || boxes[0].Name != "go" {
		t.Errorf("a single file: %v", boxes)
	}
	if boxes, mails, _ := readAll(t, filepath.Join(dir, "lists", "go"), Options{Mailbox: "INBOX"}); len(boxes) != 1 || len(mails["INBOX"]) != 1 {
		t.Errorf("a single file, named: %v", boxes)
	}
}

// TestSize: a Reader says beforehand how much there is.
func TestSize(t *testing.T) {
	text := "From a@b Thu Jan  1 00:00:00 2004\nSubject: x\n\n"
	file := filepath.Join(t.TempDir(), "a.mbox")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if boxes, _, _ := readAll(t, file, Options{}); len(boxes) != 1 || boxes[0].Bytes != int64(len(text)) {
		t.Errorf("%+v", boxes)
	}
}
