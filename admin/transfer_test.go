package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"pgregory.net/rapid"

	"mailbox/admin/archive"
	"mailbox/storage"
)

// A shelf is an archive in memory.
type shelf struct {
	boxes []archive.Mailbox
	mail  map[string][]sheet // by mailbox
	cut   int                // after so many messages nothing can be read any more; 0: never
	at    string             // the mailbox that Message writes to
	done  bool
}

// A sheet is a message that can be compared.
type sheet struct {
	received string
	flags    string
	octets   string
	labels   string // parted by commas
	err      error  // it cannot be read; its octets are what there is of it
}

func (s *shelf) Mailboxes(context.Context) ([]archive.Mailbox, error) { return s.boxes, nil }

func (s *shelf) Messages(_ context.Context, mailbox string, yield func(*archive.Message) error) error {
	for i, m := range s.mail[mailbox] {
		if s.cut--; s.cut == 0 {
			return errors.New("the lights went out")
		}
		received, err := time.Parse(time.RFC3339, m.received)
		if err != nil {
			return err
		}
		out := &archive.Message{Place: fmt.Sprint("sheet ", i), Received: received, Flags: strings.Fields(m.flags), Content: strings.NewReader(m.octets)}
		if m.labels != "" {
			out.Labels = strings.Split(m.labels, ",")
		}
		if m.err != nil {
			out.Content = io.MultiReader(out.Content, iotest.ErrReader(m.err))
		}
		if err := yield(out); err != nil {
			return err
		}
	}
	return nil
}

func (s *shelf) Mailbox(_ context.Context, m archive.Mailbox) error {
	s.at = m.Name
	m.Messages, m.Bytes = 0, 0
	s.boxes = append(s.boxes, m)
	return nil
}

func (s *shelf) Message(_ context.Context, m *archive.Message) error {
	octets, err := io.ReadAll(m.Content)
	s.mail[s.at] = append(s.mail[s.at], sheet{m.Received.Format(time.RFC3339), strings.Join(m.Flags, " "), string(octets), "", nil})
	return err
}

func (s *shelf) Close() error {
	s.done = true
	return nil
}

const someDay = "2024-02-29T23:59:58+05:30"

// filled is a shelf with all that should come along.
func filled() *shelf {
	var many []sheet
	for i := range 450 { // more than two batches
		many = append(many, sheet{someDay, `\Seen blue`, fmt.Sprintf("Subject: %d\r\n\r\nhi\r\n", i), "", nil})
	}
	return &shelf{
		boxes: []archive.Mailbox{{Name: "INBOX", Subscribed: true}, {Name: "Grüße/aus Köln", Subscribed: true}, {Name: "Gesendet", SpecialUse: `\Sent`}, {Name: "empty"}},
		mail: map[string][]sheet{
			"INBOX": many,
			"Grüße/aus Köln": {
				{someDay, "", "Subject: twins\r\n\r\n", "", nil},
				{someDay, "", "Subject: twins\r\n\r\n", "", nil},
				{someDay, `\Answered \Flagged \Deleted \Draft $Forwarded`, "\x00\r\nno header \xff", "", nil},
				{someDay, "", strings.Repeat("x", batchBytes+1), "", nil},
				{someDay, "", "", "", nil},
			},
			"Gesendet": {{"1999-12-31T23:59:59Z", `\Seen`, "Subject: sent\r\n\r\n", "", nil}},
		},
	}
}

// newcomer is the API of a store with one user.
func newcomer(t testing.TB) *Client {
	t.Helper()
	c := InProcess(api(t).Handler())
	if err := c.Call(t.Context(), "user/add", NewUser{Address: "alice@home.example", Password: "correct horse 9"}, &User{}); err != nil {
		t.Fatal(err)
	}
	return c
}

func exported(t *testing.T, c *Client) *shelf {
	t.Helper()
	out := &shelf{mail: map[string][]sheet{}}
	if _, err := (&Export{Client: c, Address: "alice@home.example"}).Run(t.Context(), out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestMoveInAndOut: what comes in goes out as it was, and a second import of it
// changes nothing, and one that was cut goes on.
func TestMoveInAndOut(t *testing.T) {
	c, in := newcomer(t), filled()
	run := func(in *shelf, dry bool) TransferReport {
		t.Helper()
		report, err := (&Import{Client: c, Address: "alice@home.example", DryRun: dry, Aside: t.TempDir()}).Run(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		return report
	}
	if r := run(in, true); r.Mailboxes[0].Added != 450 || r.Mailboxes[1].Added != 5 {
		t.Errorf("a dry run would bring %+v", r)
	}
	if got := exported(t, c); len(got.mail) > 0 || len(got.boxes) != 6 { // those of every new user
		t.Errorf("a dry run made %+v", got.boxes)
	}
	in.cut = 211
	run(in, false)
	in.cut = 451
	run(in, false)
	in.cut = 0
	run(in, false)
	again := run(in, false)
	for _, m := range again.Mailboxes {
		if m.Added != 0 || m.There != m.Found || m.Found != int64(len(in.mail[m.Source])) {
			t.Errorf("again: %+v", m)
		}
	}
	got := exported(t, c)
	in.mail["Sent"] = in.mail["Gesendet"] // here that is what has the use of it
	delete(in.mail, "Gesendet")
	for name, want := range in.mail {
		if !slices.Equal(got.mail[name], want) {
			t.Errorf("%s: %d messages, want %d, equal", name, len(got.mail[name]), len(want))
		}
		delete(got.mail, name)
	}
	if len(got.mail) > 0 {
		t.Errorf("and more came: %v", got.mail)
	}
	for _, want := range []archive.Mailbox{{Name: "Grüße/aus Köln", Subscribed: true}, {Name: "empty"}} {
		if !slices.Contains(got.boxes, want) {
			t.Errorf("%+v is not in %+v", want, got.boxes)
		}
	}
}

// TestUnreadableMail: what cannot be read is named and set aside, all else comes.
func TestUnreadableMail(t *testing.T) {
	c, aside := newcomer(t), filepath.Join(t.TempDir(), "aside")
	torn := errors.New("the page is torn")
	in := &shelf{boxes: []archive.Mailbox{{Name: "INBOX"}, {Name: "a//b*"}, {Name: "later"}}, mail: map[string][]sheet{
		"INBOX": {{someDay, "", "one", "", nil}, {someDay, "", "two, as far as", "", torn}, {someDay, strings.Repeat("k", 10) + ` a(b`, "three", "", nil}},
		"a//b*": {{someDay, "", "four", "", nil}},
		"later": {{someDay, "", "five", "", nil}},
	}}
	report, err := (&Import{Client: c, Address: "alice@home.example", Aside: aside}).Run(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Failed) != 1 || report.Failed[0].Reason != torn.Error() || report.Failed[0].Place != "sheet 1" || report.Mailboxes[0].Failed != 1 {
		t.Fatalf("%+v", report)
	}
	if kept, err := os.ReadFile(report.Failed[0].Kept); err != nil || string(kept) != "two, as far as" {
		t.Errorf("set aside: %q, %v", kept, err)
	}
	got := exported(t, c)
	if want := []sheet{{someDay, "", "one", "", nil}, {someDay, "kkkkkkkkkk a_b", "three", "", nil}}; !slices.Equal(got.mail["INBOX"], want) {
		t.Errorf("INBOX has %v", got.mail["INBOX"])
	}
	if len(got.mail["a/b_"]) != 1 || len(got.mail["later"]) != 1 {
		t.Errorf("got %v", got.mail)
	}
}

// TestLabels: a message that has labels comes into the mailbox of each, or into
// one with keywords, and is there but once after another import.
func TestLabels(t *testing.T) {
	mail := []sheet{
		{someDay, "", "one", "Inbox,Important,Work/Köln", nil},
		{someDay, `\Seen`, "two", "Archived", nil},
		{someDay, "", "three", "Work/Köln", nil},
		{someDay, "", "four", "Sent,Inbox,inbox", nil},
		{someDay, "", "five", "", nil},
	}
	for _, c := range []struct {
		keywords bool
		want     map[string]string
	}{
		{false, map[string]string{"INBOX": "one four", "Important": "one", "Work/Köln": "one three", "Archive": "two", "Sent": "four", "All": "five"}},
		{true, map[string]string{"INBOX": "one Important Work/K_ln", "Archive": "two three Work/K_ln", "Sent": "four", "All": "five"}},
	} {
		client := newcomer(t)
		for range 2 {
			in := &shelf{boxes: []archive.Mailbox{{Name: "All"}}, mail: map[string][]sheet{"All": mail}}
			if _, err := (&Import{Client: client, Address: "alice@home.example", Keywords: c.keywords}).Run(t.Context(), in); err != nil {
				t.Fatal(err)
			}
		}
		got := map[string]string{}
		for name, list := range exported(t, client).mail {
			var words []string
			for _, m := range list {
				words = append(append(words, m.octets), strings.Fields(strings.ReplaceAll(m.flags, `\Seen`, ""))...)
			}
			got[name] = strings.Join(words, " ")
		}
		if !maps.Equal(got, c.want) {
			t.Errorf("keywords %v: %v, want %v", c.keywords, got, c.want)
		}
	}
}

// TestTooManyKeywords: a message is better without its keywords than not at all.
func TestTooManyKeywords(t *testing.T) {
	c := newcomer(t)
	var list []sheet
	for i := range storage.MaxKeywords + 1 {
		list = append(list, sheet{someDay, fmt.Sprintf(`\Seen k%d`, i), fmt.Sprint(i), "", nil})
	}
	in := &shelf{boxes: []archive.Mailbox{{Name: "INBOX"}}, mail: map[string][]sheet{"INBOX": list}}
	report, err := (&Import{Client: c, Address: "alice@home.example"}).Run(t.Context(), in)
	if err != nil || len(report.Lost) != 1 || report.Mailboxes[0].Added != storage.MaxKeywords+1 {
		t.Fatalf("%+v, %v", report, err)
	}
	got := exported(t, c).mail["INBOX"]
	if last := got[len(got)-1]; last.flags != `\Seen` {
		t.Errorf("the last has flags %q", last.flags)
	}
}

// TestImportOverQuota: it ends with the reason, not with a thousand messages set aside.
func TestImportOverQuota(t *testing.T) {
	c := newcomer(t)
	quota := int64(1000)
	if err := c.Call(t.Context(), "user/set", UserChange{Address: "alice@home.example", Quota: &quota}, &None{}); err != nil {
		t.Fatal(err)
	}
	report, err := (&Import{Client: c, Address: "alice@home.example"}).Run(t.Context(), filled())
	if !errors.Is(err, storage.ErrOverQuota) || len(report.Failed) > 0 {
		t.Errorf("%v, %d failed", err, len(report.Failed))
	}
}

// TestFittedNames: whatever the names are, the store takes what they become, no
// two become one, and it is the same each time.
func TestFittedNames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-z/*%]{0,30}`), rapid.StringMatching(`((ä|b|/){90}){0,9}`), rapid.SampledFrom([]string{"INBOX", "inbox", "Inbox/x", ""}))
		sources := rapid.SliceOfNDistinct(name, 1, 8, rapid.ID).Draw(t, "names")
		var f, again nameFitter
		seen := map[string]string{}
		for _, s := range sources {
			got := f.fit(s)
			if clean, err := storage.CleanName(got); err != nil || clean != got {
				t.Fatalf("%q became %q: %v", s, got, err)
			}
			if other, ok := seen[got]; ok {
				t.Fatalf("%q and %q became %q", s, other, got)
			}
			seen[got] = s
			if second := again.fit(s); second != got {
				t.Fatalf("%q became %q, then %q", s, got, second)
			}
		}
	})
}

// FuzzStream: whatever comes over the socket, a stream ends.
func FuzzStream(f *testing.F) {
	f.Add([]byte("{\"mailbox\":{\"address\":\"a@b\",\"name\":\"x\"}}\n{\"message\":{\"received\":5,\"size\":3}}\nabc{\"end\":true}\n"))
	f.Add([]byte("{\"message\":{\"size\":9223372036854775807}}\nabc"))
	f.Add([]byte("{\"message\":{\"size\":-1}}\n{\"error\":\"x\"}\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := newStreamReader(bytes.NewReader(in))
		for range len(in) + 1 {
			if _, _, err := r.next(); err != nil {
				return
			}
		}
		t.Fatal("the stream has no end")
	})
}
