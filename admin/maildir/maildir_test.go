package maildir

import (
	"cmp"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"

	"mailbox/admin/archive"
)

// mail is a message with its content.
type mail struct {
	Received string
	Flags    []string
	Content  string
}

// readAll reads all mailboxes of a Maildir.
func readAll(t rapid.TB, dir string) (boxes []archive.Mailbox, mails map[string][]mail, troubles []string) {
	t.Helper()
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if boxes, err = r.Mailboxes(context.Background()); err != nil {
		t.Fatal(err)
	}
	mails = map[string][]mail{}
	for _, b := range boxes {
		err := r.Messages(context.Background(), b.Name, func(m *archive.Message) error {
			if m.Err != nil {
				troubles = append(troubles, m.Place+": "+m.Err.Error())
				return nil
			}
			if m.Loss != nil {
				troubles = append(troubles, m.Place+": "+m.Loss.Error())
			}
			content, err := io.ReadAll(m.Content)
			if err != nil {
				t.Fatal(err)
			}
			mails[b.Name] = append(mails[b.Name], mail{m.Received.Format(time.RFC3339), sorted(m.Flags), string(content)})
			return nil
		})
		if err != nil {
			troubles = append(troubles, err.Error())
		}
	}
	return boxes, mails, troubles
}

func sorted(s []string) []string {
	return slices.SortedFunc(slices.Values(s), func(a, b string) int { return cmp.Compare(strings.ToLower(a), strings.ToLower(b)) })
}

// write writes mailboxes as an export does, and returns what was lost.
func write(t rapid.TB, dir string, boxes []archive.Mailbox, mails map[string][]mail) (losses []string) {
	t.Helper()
	w, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
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

// files puts files into a directory.
func files(t testing.TB, content map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range content {
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, "/") {
			text = ""
			if err := os.MkdirAll(full, 0o700); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(full, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		at := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
		if err := os.Chtimes(full, at, at); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

var (
	anyContent = rapid.Custom(func(t *rapid.T) string {
		line := rapid.SampledFrom([]string{"", "Subject: x", "From a", ">From b", "\x00\xff", "a\rb", "."})
		end := rapid.SampledFrom([]string{"\r\n", "\r\n", "\r\n", "\n", "\r\r\n", "\r"})
		text := line.Draw(t, "first") + rapid.SampledFrom([]string{"\r\n", "\r\r\n", ""}).Draw(t, "end")
		for range rapid.IntRange(0, 4).Draw(t, "lines") {
			if !strings.Contains(text, "\n") {
				break // a first line that ends in LF is the one thing that does not come back
			}
			text += line.Draw(t, "line") + end.Draw(t, "end")
		}
		return text
	})
	anyFlags = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{`\Seen`, `\Answered`, `\Flagged`, `\Deleted`, `\Draft`, "$Forwarded", "$Junk", "a", "Kind"}), 0, 5, rapid.ID)
	anyName  = rapid.SampledFrom([]string{"INBOX", "Sent", "Entwürfe", "R&D", "A/b", "A", "a b/c/d", "&AOk-", "INBOX/x", "台北"})
	anyTime  = rapid.Int64Range(-1000, 4e9)
)

// TestWriteRead: what is written is read equal, in the same order; and written
// twice, cut or not, it is there once.
func TestWriteRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "maildir")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		var boxes []archive.Mailbox
		mails := map[string][]mail{}
		for _, name := range rapid.SliceOfNDistinct(anyName, 1, 4, rapid.ID).Draw(t, "names") {
			boxes = append(boxes, archive.Mailbox{Name: name, Subscribed: rapid.Bool().Draw(t, "subscribed")})
			for range rapid.IntRange(0, 5).Draw(t, "messages") {
				at := time.Unix(anyTime.Draw(t, "time"), 0).UTC()
				mails[name] = append(mails[name], mail{at.Format(time.RFC3339), sorted(anyFlags.Draw(t, "flags")), anyContent.Draw(t, "content")})
			}
		}
		for range 2 {
			if losses := write(t, dir, boxes, mails); losses != nil {
				t.Fatalf("lost: %q", losses)
			}
			gotBoxes, gotMails, troubles := readAll(t, dir)
			if troubles != nil {
				t.Fatalf("troubles: %q", troubles)
			}
			if !reflect.DeepEqual(gotMails, map[string][]mail(mails)) {
				t.Fatalf("wrote %q\n read %q", mails, gotMails)
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

// TestEqualMessages: as many equal messages are written as there are, and as
// many are there after a second run that has one more.
func TestEqualMessages(t *testing.T) {
	dir := t.TempDir()
	inbox := []archive.Mailbox{{Name: "INBOX"}}
	same := mail{"2020-01-01T00:00:00Z", nil, "a\r\n"}
	for n := 3; n < 5; n++ {
		write(t, dir, inbox, map[string][]mail{"INBOX": slices.Repeat([]mail{same}, n)})
		if _, mails, _ := readAll(t, dir); len(mails["INBOX"]) != n {
			t.Errorf("%d messages of %d", len(mails["INBOX"]), n)
		}
	}
}

// TestKeywordsRunOut: the keyword that has no letter left is named, the message is kept.
func TestKeywordsRunOut(t *testing.T) {
	dir := t.TempDir()
	var flags []string
	for i := range 27 {
		flags = append(flags, fmt.Sprintf("k%d", i))
	}
	losses := write(t, dir, []archive.Mailbox{{Name: "INBOX"}}, map[string][]mail{"INBOX": {{"2020-01-01T00:00:00Z", flags, "a\r\n"}}})
	if want := []string{"there is no place for k26"}; !slices.Equal(losses, want) {
		t.Errorf("losses: %q", losses)
	}
	if _, mails, _ := readAll(t, dir); len(mails["INBOX"]) != 1 || len(mails["INBOX"][0].Flags) != 26 {
		t.Errorf("read %v", mails)
	}
}

// TestNamesWithoutPlace: names that Maildir++ cannot have are changed, and told.
func TestNamesWithoutPlace(t *testing.T) {
	dir := t.TempDir()
	long := strings.Repeat("长", 80) + "/" + strings.Repeat("x", 100)
	losses := write(t, dir, []archive.Mailbox{{Name: "v1.2"}, {Name: "v1_2"}, {Name: long}}, nil)
	if len(losses) != 3 || losses[0] != `mailbox "v1.2" is written as "v1_2"` || losses[1] != `mailbox "v1_2" is written as "v1_2 (2)"` {
		t.Errorf("losses: %q", losses)
	}
	if boxes, _, _ := readAll(t, dir); len(boxes) != 3 {
		t.Errorf("mailboxes: %v", boxes)
	}
}

// TestForeignFilesStay: what others have in the Maildir is there afterwards.
func TestForeignFilesStay(t *testing.T) {
	foreign := map[string]string{
		"cur/1.a:2,S": "x\n", "tmp/1.b": "x", "dovecot-keywords": "3 Mine\n", "subscriptions": "V\t2\n\nOther\n", ".Sent/cur/2.c:2,d": "y\n", ".Sent/dovecot-keywords": "3 Mine\n",
	}
	dir := files(t, foreign)
	write(t, dir, []archive.Mailbox{{Name: "INBOX", Subscribed: true}, {Name: "Sent/a", Subscribed: true}},
		map[string][]mail{"INBOX": {{"2020-01-01T00:00:00Z", []string{"Kind"}, "a\r\n"}}})
	for name, want := range foreign {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !strings.HasPrefix(string(got), want) && name != "dovecot-keywords" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for name, want := range map[string]string{"dovecot-keywords": "0 Kind\n3 Mine\n", "subscriptions": "V\t2\n\nOther\nINBOX\nSent\ta\n"} {
		if got, _ := os.ReadFile(filepath.Join(dir, name)); string(got) != want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestLayouts: folders are found however they are laid out.
func TestLayouts(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  []string
	}{
		"single":    {map[string]string{"cur/1:2,": "x", "new/": ""}, []string{"INBOX"}},
		"Maildir++": {map[string]string{"cur/": "", ".Sent/cur/": "", ".a.b&AOk-/cur/": "", ".git/objects/": ""}, []string{"INBOX", "Sent", "a/bé"}},
		"fs":        {map[string]string{"cur/": "", "Sent/cur/": "", "a/b.c/cur/": "", "sieve/x": ""}, []string{"INBOX", "Sent", "a/b.c"}},
		"isync":     {map[string]string{"Inbox/cur/": "", "Inbox/.x/cur/": ""}, []string{"INBOX", "INBOX/x"}},
		"broken":    {map[string]string{".R&D/cur/": "", ".caf\xe9/cur/": "", ".a..b/cur/": "", ".&AC4-/cur/": ""}, []string{"&AC4-", "R&D", "a/b", "caf=E9"}},
		"equal":     {map[string]string{".a..b/cur/": "", ".a.b/cur/": "", "a/b/cur/": ""}, []string{"a/b", "a/b (2)", "a/b (3)"}},
	} {
		boxes, _, troubles := readAll(t, files(t, c.files))
		var got []string
		for _, b := range boxes {
			got = append(got, b.Name)
		}
		slices.Sort(got)
		if !slices.Equal(got, c.want) || troubles != nil {
			t.Errorf("%s: %q, not %q; %v", name, got, c.want, troubles)
		}
	}
}

// TestSubscribed: both forms of Dovecot's file, and Courier's.
func TestSubscribed(t *testing.T) {
	for name, text := range map[string]string{"subscriptions": "V\t2\n\na\tb\nc\n", "courierimapsubscribed": "INBOX.a.b\nINBOX.c\n"} {
		boxes, _, _ := readAll(t, files(t, map[string]string{name: text, "cur/": "", ".a.b/cur/": "", ".c/cur/": "", ".d/cur/": ""}))
		for _, b := range boxes {
			if b.Subscribed != (b.Name == "a/b" || b.Name == "c") {
				t.Errorf("%s: %+v", name, b)
			}
		}
	}
}

// TestFlagsAndOrder: flags and keywords of cur and new, in the order of
// Dovecot's UIDs; what Dovecot does not know yet is behind, by the time in its name.
func TestFlagsAndOrder(t *testing.T) {
	dir := files(t, map[string]string{
		"cur/9.a,S=5:2,RS":  "1\n",
		"cur/10.b:2,ab":     "2\n",
		"cur/99.M5P1.c:2,T": "3\n",
		"cur/99.M50P1.c":    "4\n",
		"new/100.d":         "5\n",
		"cur/101.e;2,PFD":   "6\n",
		"cur/102.f:1,x":     "7\n",
		"cur/.hidden":       "",
		"dovecot-keywords":  "0 Kind\n1 $Junk\nx y\n99 z\n",
		"dovecot-uidlist":   "3 V1 N9\n1 :10.b\n2 W7 :9.a,S=5\n3 :gone\nodd\n",
	})
	_, mails, troubles := readAll(t, dir)
	at := "2020-01-02T03:04:05Z"
	want := []mail{
		{at, []string{"$Junk", "Kind"}, "2\r\n"},
		{at, []string{`\Answered`, `\Seen`}, "1\r\n"},
		{at, []string{`\Deleted`}, "3\r\n"},
		{at, nil, "4\r\n"},
		{at, nil, "5\r\n"},
		{at, []string{"$Forwarded", `\Draft`, `\Flagged`}, "6\r\n"},
		{at, nil, "7\r\n"},
	}
	if !reflect.DeepEqual(mails["INBOX"], want) || troubles != nil {
		t.Errorf("got %q, %q", mails["INBOX"], troubles)
	}
}

// TestCompressed: Dovecot's zlib plugin leaves the names as they are.
func TestCompressed(t *testing.T) {
	var gz, zs strings.Builder
	g := gzip.NewWriter(&gz)
	io.WriteString(g, "gzip\n")
	g.Close()
	z, _ := zstd.NewWriter(&zs)
	io.WriteString(z, "zstd\n")
	z.Close()
	_, mails, troubles := readAll(t, files(t, map[string]string{"cur/1": gz.String(), "cur/2": zs.String(), "cur/3": zs.String(), "cur/4": "\x1f\x8b\x08"}))
	var got string
	for _, m := range mails["INBOX"] {
		got += m.Content
	}
	if got != "gzip\r\nzstd\r\nzstd\r\n" || len(troubles) != 1 {
		t.Errorf("%q, %q", got, troubles)
	}
}

// TestTroublesAreNamed: what cannot be read is told, and all else is read.
func TestTroublesAreNamed(t *testing.T) {
	elsewhere := files(t, map[string]string{"cur/secret": "secret"})
	dir := files(t, map[string]string{"cur/1": "x\n", "cur/2/": "", "cur/4:2,z": "y\n"})
	for link, to := range map[string]string{".Out": elsewhere, "cur/3": filepath.Join(elsewhere, "cur/secret"), ".In": dir} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	_, mails, troubles := readAll(t, dir)
	if len(mails["INBOX"]) != 2 || len(mails) != 1 {
		t.Errorf("read %q", mails)
	}
	all := strings.Join(troubles, "\n")
	for _, want := range []string{"cur/2 is no regular file", "cur/3: ", `no keyword is known for its flags "z"`, ".Out: is a symbolic link"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not told in:\n%s", want, all)
		}
	}
}

// TestChangesMeanwhile: messages are found though their flags change while the
// folder is read, and deleted ones are told.
func TestChangesMeanwhile(t *testing.T) {
	dir := files(t, map[string]string{"cur/1:2,": "1\n", "cur/2:2,": "2\n", "cur/3:2,": "3\n", "new/4": "4\n", "cur/5:2,": "5\n"})
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	rename := func(from, to string) {
		if err := os.Rename(filepath.Join(dir, from), filepath.Join(dir, to)); err != nil {
			t.Fatal(err)
		}
	}
	var got string
	err = r.Messages(context.Background(), "INBOX", func(m *archive.Message) error {
		if m.Err != nil {
			got += "gone "
			return nil
		}
		content, err := io.ReadAll(m.Content)
		switch got += strings.TrimSpace(string(content)) + strings.Join(m.Flags, "") + " "; string(content) {
		case "1\r\n":
			rename("cur/2:2,", "cur/2:2,S")
			os.Remove(filepath.Join(dir, "cur/3:2,"))
			rename("new/4", "cur/4:2,F")
		case "4\r\n":
			rename("cur/5:2,", "cur/5:2,R")
		}
		return err
	})
	if want := `1 2\Seen gone 4\Flagged 5\Answered `; err != nil || got != want {
		t.Errorf("got %q, %v, not %q", got, err, want)
	}
}

// TestCounts: a Reader says beforehand how many messages there are.
func TestCounts(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, []archive.Mailbox{{Name: "INBOX"}, {Name: "a"}}, map[string][]mail{"INBOX": {{"2020-01-01T00:00:00Z", nil, "a\r\n"}, {"2020-01-01T00:00:00Z", nil, "b\r\n"}}})
	boxes, _, _ := readAll(t, dir)
	if len(boxes) != 2 || boxes[0].Messages != 2 || boxes[1].Messages != 0 {
		t.Errorf("%+v", boxes)
	}
}
