package storage

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// threadsOf tells the thread of each email of an account, by subject.
func threadsOf(t testing.TB, db *DB, a AccountID) map[string]EmailID {
	t.Helper()
	rows, err := db.readDB.QueryContext(ctx, `SELECT k.subject, e.thread FROM email e JOIN email_key k ON k.email = e.id WHERE e.id >> 32 = ?`, a)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	threads := map[string]EmailID{}
	for rows.Next() {
		var subject string
		var thread EmailID
		if err := rows.Scan(&subject, &thread); err != nil {
			t.Fatal(err)
		}
		threads[subject] = thread
	}
	return threads
}

// TestThreads: emails that are joined by what they refer to are in one thread,
// in whatever order they came, and others are not; nothing is left of threads
// that are gone.
func TestThreads(t *testing.T) {
	db := open(t)
	b := account(t, db, "bob")
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		a := account(t, db, fmt.Sprint("alice", n))
		group := map[string]string{} // of subjects and ids: union and find
		var find func(string) string
		find = func(x string) string {
			if group[x] == "" || group[x] == x {
				return x
			}
			return find(group[x])
		}
		id := rapid.IntRange(1, 12)
		count := rapid.IntRange(1, 10).Draw(rt, "emails")
		for i := range count {
			subject := fmt.Sprint("s", i)
			text := "Subject: " + subject + "\r\n"
			var refs []string
			if own := fmt.Sprintf("<%d@x>", id.Draw(rt, "id")); rapid.Bool().Draw(rt, "named") {
				text += "Message-ID: " + own + "\r\n"
				refs = append(refs, own)
			}
			var to []string
			for range rapid.IntRange(0, 2).Draw(rt, "refs") {
				to = append(to, fmt.Sprintf("<%d@x>", id.Draw(rt, "ref")))
			}
			text += rapid.SampledFrom([]string{"References", "In-Reply-To"}).Draw(rt, "field") + ": " + strings.Join(to, " ") + "\r\n"
			if strings.Contains(text, "In-Reply-To") {
				to = to[:min(1, len(to))]
			}
			for _, r := range append(refs, to...) {
				group[find(r)] = find(subject)
			}
			deliver(t, db, text+"\r\n", "INBOX", a, b)
		}
		threads := threadsOf(t, db, a)
		if len(threads) != count {
			rt.Fatalf("%d emails have a thread, of %d", len(threads), count)
		}
		for x, thread := range threads {
			for y, other := range threads {
				if (find(x) == find(y)) != (thread == other) {
					rt.Fatalf("%s and %s: threads %d and %d, %v", x, y, thread, other, group)
				}
			}
		}
		if err := db.RemoveAccount(ctx, a); err != nil {
			rt.Fatal(err)
		}
	})
}

// TestLargeThreadsStayApart: one email does not make the store change more
// than it may, and joins the older one.
func TestLargeThreadsStayApart(t *testing.T) {
	db := open(t)
	a := account(t, db, "alice")
	inbox := named(t, db, a, "INBOX").ID
	upload := func(root string, n int) {
		var list []Upload
		for i := range n {
			list = append(list, Upload{Message: spool(t, db, fmt.Sprintf("Subject: %s%d\r\nReferences: <%s>\r\n\r\n", root, i, root))})
		}
		if _, _, err := db.Append(ctx, a, inbox, list); err != nil {
			t.Fatal(err)
		}
	}
	upload("a", maxMerge+1)
	upload("b", maxMerge+2)
	upload("c", 2)
	deliver(t, db, "Subject: d\r\nReferences: <a> <b> <c>\r\n\r\n", "INBOX", a)
	threads := threadsOf(t, db, a)
	if threads["a0"] == threads["b0"] || threads["d"] != threads["a0"] || threads["c1"] != threads["a0"] {
		t.Errorf("a %d, b %d, c %d, d %d", threads["a0"], threads["b0"], threads["c1"], threads["d"])
	}
}
