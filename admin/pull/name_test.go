package pull

import (
	"slices"
	"strings"
	"testing"

	"mailbox/storage"
)

// TestPlace: what mailboxes of the source are called here.
func TestPlace(t *testing.T) {
	for _, test := range []struct {
		separator  string
		namespaces namespaces
		names      []string
		want       []string
	}{
		{"/", namespaces{}, []string{"INBOX", "INBOX/x", "a/b"}, []string{"INBOX", "INBOX/x", "a/b"}},
		{".", namespaces{}, []string{"INBOX", "INBOX.x", "INBOX.a.b"}, []string{"INBOX", "x", "a/b"}},
		{".", namespaces{known: true, personal: "INBOX."}, []string{"INBOX", "INBOX.INBOX", "INBOX.x"}, []string{"INBOX", "INBOX (2)", "x"}},
		{".", namespaces{}, []string{"c/d", "c_d", "e*f", "e%f"}, []string{"c_d (2)", "c_d", "e_f", "e_f (2)"}},
		{"", namespaces{}, []string{"a/b.c"}, []string{"a_b.c"}},
		{"\\", namespaces{}, []string{`a\b`}, []string{"a/b"}},
		{"/", namespaces{}, []string{"a//b", "/a", "e\u0301", "\u00e9"}, []string{"a/_/b", "_/a", "\u00e9 (2)", "\u00e9"}},
		{"/", namespaces{}, []string{"same", "same"}, []string{"same", "same (2)"}},
	} {
		l := &listing{namespaces: test.namespaces}
		for _, n := range test.names {
			l.mailboxes = append(l.mailboxes, listed{wire: n, name: n, separator: test.separator})
		}
		if got := place(l, false); !slices.Equal(got, test.want) {
			t.Errorf("%q becomes %q, not %q", test.names, got, test.want)
		}
	}
}

// TestOthersMailboxes: what is shared with the user is not the user's.
func TestOthersMailboxes(t *testing.T) {
	n := namespaces{known: true, personal: "", others: []string{"user/", "Public/", ""}}
	for name, want := range map[string]bool{"INBOX": true, "user/bob": false, "Public/x": false, "users": true} {
		if n.ours(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}

// FuzzPlace: every name becomes one that may stand here, and no two become one.
func FuzzPlace(f *testing.F) {
	f.Add("INBOX.a.b", "INBOX.c", ".")
	f.Add("&AOk-", "\xff/\x00", "/")
	f.Add(strings.Repeat("a/", 50), strings.Repeat("é", 900), "/")
	f.Add("inbox/A", "INBOX/A", "/")
	f.Fuzz(func(t *testing.T, a, b, separator string) {
		l := &listing{}
		for _, s := range []string{"INBOX", a, b} {
			l.mailboxes = append(l.mailboxes, listed{wire: s, name: decodeName(s), separator: separator})
		}
		names := place(l, false)
		for _, name := range names {
			if clean, err := storage.CleanName(name); err != nil || clean != name {
				t.Errorf("%v: %q is not clean: %q, %v", l.mailboxes, name, clean, err)
			}
		}
		if slices.Sort(names); len(slices.Compact(names)) != 3 {
			t.Errorf("two become one: %q", names)
		}
	})
}
