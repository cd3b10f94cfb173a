package storage

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestDeliverToAll(t *testing.T) {
	db := open(t)
	a, b := account(t, db, "alice"), account(t, db, "bob")
	deliver(t, db, letter(1), "INBOX", a, b, a)
	for _, id := range []AccountID{a, b} {
		m := named(t, db, id, "INBOX")
		if m.Messages != 1 || m.Unseen != 1 || m.UIDNext != 2 {
			t.Errorf("account %d: %+v", id, m)
		}
		if got := text(t, db, id, m.ID, 1); got != letter(1) {
			t.Errorf("%q", got)
		}
	}
	if err := db.Deliver(ctx, delivery(spool(t, db, letter(2)), "INBOX", 999)); !errors.Is(err, ErrNotFound) {
		t.Errorf("delivery to nobody: %v", err)
	}
	deliver(t, db, letter(3), "Nowhere", a)
	if n := len(uids(t, db, a, named(t, db, a, "INBOX").ID)); n != 2 {
		t.Errorf("a missing mailbox: INBOX has %d", n)
	}
}

// TestLargeMessages: what is over 256 KiB goes to a file of frames and comes
// back byte for byte, at any place, with trace fields on top.
func TestLargeMessages(t *testing.T) {
	db := open(t)
	a := account(t, db, "alice")
	random := rand.New(rand.NewPCG(7, 7))
	for _, size := range []int{0, 1, spoolMemory - 1, spoolMemory, spoolMemory + 1, 3*spoolMemory + 17} {
		body := make([]byte, size)
		for i := range body {
			body[i] = byte(random.IntN(256))
		}
		prefix := "Received: from a by b;\r\n"
		s := db.NewSpool()
		for at := 0; at < size; at += 30_000 {
			s.Write(body[at:min(size, at+30_000)])
		}
		m, err := s.Finish([]byte(prefix))
		if err != nil {
			t.Fatal(err)
		}
		want := append([]byte(prefix), body...)
		if m.Size != int64(len(want)) || m.Message.Size != m.Size {
			t.Errorf("size %d, %d instead of %d", m.Size, m.Message.Size, len(want))
		}
		if err := db.Deliver(ctx, delivery(m, "INBOX", a)); err != nil {
			t.Fatal(err)
		}
		m.Close()
		inbox := named(t, db, a, "INBOX")
		rows, err := db.Messages(ctx, a, inbox.ID, []UID{inbox.UIDNext - 1}, 0)
		if err != nil {
			t.Fatal(err)
		}
		b, err := db.OpenBlob(ctx, rows[0].Blob)
		if err != nil {
			t.Fatal(err)
		}
		if (b.file != nil) != (size > spoolMemory) {
			t.Errorf("%d bytes are in a file: %v", size, b.file != nil)
		}
		for range 50 {
			from := random.IntN(len(want))
			got := make([]byte, random.IntN(len(want)-from+1))
			if _, err := b.ReadAt(got, int64(from)); err != nil || !bytes.Equal(got, want[from:from+len(got)]) {
				t.Fatalf("%d bytes at %d of %d: %v", len(got), from, len(want), err)
			}
		}
		b.Close()
	}
}

// TestSharedBlob: the bytes live as long as any copy of them.
func TestSharedBlob(t *testing.T) {
	db := open(t)
	a, b := account(t, db, "alice"), account(t, db, "bob")
	big := "X: y\r\n\r\n" + strings.Repeat("0123456789", 50_000)
	deliver(t, db, big, "INBOX", a, b)
	inbox, archive := named(t, db, a, "INBOX"), named(t, db, a, "Archive")
	if _, err := db.Copy(ctx, a, inbox.ID, []UID{1}, archive.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := db.StoreFlags(ctx, a, inbox.ID, []UID{1}, FlagChange{Flags: Deleted}); err != nil {
		t.Fatal(err)
	}
	if err := db.Expunge(ctx, a, inbox.ID, nil); err != nil {
		t.Fatal(err)
	}
	if err := db.RemoveAccount(ctx, b); err != nil {
		t.Fatal(err)
	}
	if got := text(t, db, a, archive.ID, 1); got != big {
		t.Errorf("the copy has %d bytes", len(got))
	}
	if err := db.DeleteMailbox(ctx, a, "Archive"); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := db.readDB.QueryRow(`SELECT count(*) FROM blob`).Scan(&n); err != nil || n != 0 {
		t.Fatalf("%d blobs are left (%v)", n, err)
	}
	db.blobs.unlinkDue(time.Now().Add(9 * time.Minute))
	if files, _ := filepath.Glob(filepath.Join(db.dir, "blobs", "*", "*")); len(files) != 1 {
		t.Errorf("the file went before its readers could: %v", files)
	}
	db.blobs.unlinkDue(time.Now().Add(11 * time.Minute))
	if files, _ := filepath.Glob(filepath.Join(db.dir, "blobs", "*", "*")); len(files) != 0 {
		t.Errorf("files are left: %v", files)
	}
}

func TestQuota(t *testing.T) {
	db := open(t)
	a := account(t, db, "alice")
	size := int64(len(letter(1)))
	if err := db.SetQuota(ctx, a, 2*size); err != nil {
		t.Fatal(err)
	}
	deliver(t, db, letter(1), "INBOX", a)
	inbox, trash := named(t, db, a, "INBOX"), named(t, db, a, "Trash")
	if over, err := db.OverQuota(ctx, a, size+1); err != nil || !over {
		t.Errorf("one byte too many: %v %v", over, err)
	}
	if over, err := db.OverQuota(ctx, a, size); err != nil || over {
		t.Errorf("just full: %v %v", over, err)
	}
	if _, err := db.Copy(ctx, a, inbox.ID, []UID{1}, trash.ID); err != nil {
		t.Errorf("copy within the quota: %v", err)
	}
	if _, err := db.Copy(ctx, a, inbox.ID, []UID{1}, trash.ID); !errors.Is(err, ErrOverQuota) {
		t.Errorf("copy over the quota: %v", err)
	}
	if _, _, err := db.Append(ctx, a, inbox.ID, []Upload{{Message: spool(t, db, letter(2))}}); !errors.Is(err, ErrOverQuota) {
		t.Errorf("append over the quota: %v", err)
	}
	if _, err := db.Move(ctx, a, inbox.ID, []UID{1}, trash.ID); err != nil {
		t.Errorf("move at a full quota: %v", err)
	}
	deliver(t, db, letter(3), "INBOX", a) // what was accepted is kept
}

func TestKeywords(t *testing.T) {
	db := open(t)
	a := account(t, db, "alice")
	deliver(t, db, letter(1), "INBOX", a)
	m := named(t, db, a, "INBOX").ID
	set := func(op FlagOp, words ...string) error {
		_, err := db.StoreFlags(ctx, a, m, []UID{1}, FlagChange{Op: op, Keywords: words})
		return err
	}
	words := func() []string {
		x, err := db.Index(ctx, a, m)
		if err != nil {
			t.Fatal(err)
		}
		return x.Keywords(x.At(0).Keywords)
	}
	if err := set(AddFlags, "blue", "Red"); err != nil {
		t.Fatal(err)
	}
	if err := set(AddFlags, "BLUE"); err != nil || !slices.Equal(words(), []string{"blue", "Red"}) {
		t.Errorf("%v %v", words(), err)
	}
	if err := set(RemoveFlags, "red", "never"); err != nil || !slices.Equal(words(), []string{"blue"}) {
		t.Errorf("%v %v", words(), err)
	}
	for i := range 253 {
		if err := set(ReplaceFlags, strings.Repeat("k", i%20+1)+string(rune('a'+i/20))); err != nil {
			t.Fatal(err)
		}
	}
	if err := set(ReplaceFlags, "one-too-many"); !errors.Is(err, ErrLimit) {
		t.Errorf("keyword 256: %v", err)
	}
}

// TestUIDValidity: no mailbox gets one that another had, nor one of its own
// name's earlier life.
func TestUIDValidity(t *testing.T) {
	db := open(t)
	a := account(t, db, "alice")
	seen := map[uint32]bool{}
	for range 20 {
		m, err := db.CreateMailbox(ctx, a, "again", "")
		if err != nil {
			t.Fatal(err)
		}
		if seen[m.UIDValidity] {
			t.Fatalf("UIDVALIDITY %d twice", m.UIDValidity)
		}
		seen[m.UIDValidity] = true
		if err := db.DeleteMailbox(ctx, a, "again"); err != nil {
			t.Fatal(err)
		}
	}
}

// harm changes rows as no function of ours does.
func harm(t *testing.T, db *DB, statement string) {
	t.Helper()
	disable := func(on string) {
		if _, err := db.writer.conn.ExecContext(ctx, "PRAGMA foreign_keys = "+on); err != nil {
			t.Fatal(err)
		}
	}
	disable("OFF")
	defer disable("ON")
	n := int64(0)
	err := db.writer.do(ctx, func(t *tx) (err error) {
		n, err = t.affected(statement)
		return err
	})
	if err != nil || n == 0 {
		t.Fatalf("%d rows were changed, %v", n, err)
	}
}

// TestVerifyFinds: damage of every kind is reported.
func TestVerifyFinds(t *testing.T) {
	for name, damage := range map[string]string{
		"count of messages": `UPDATE mailbox SET messages = messages + 1 WHERE name = 'INBOX'`,
		"used":              `UPDATE account SET used = used - 1`,
		"bytes of a blob":   `UPDATE piece SET data = (SELECT data FROM piece p WHERE p.id <> piece.id LIMIT 1) WHERE id = (SELECT min(id) FROM piece)`,
		"lost bytes":        `DELETE FROM piece WHERE id = (SELECT min(id) FROM piece)`,
		"idle bytes":        `INSERT INTO piece (id, data) VALUES (8000, x'00')`,
		"sum of a blob":     `UPDATE blob SET sha256 = x'00' WHERE id = (SELECT max(id) FROM blob)`,
		"uidnext":           `UPDATE mailbox SET uidnext = 1 WHERE name = 'INBOX'`,
		"modseq":            `UPDATE account SET modseq = 1`,
		"uidvalidity":       `UPDATE mailbox SET uidvalidity = 77 WHERE name IN ('Sent', 'Junk')`,
		"parts":             `UPDATE email SET parts = x'ff' WHERE id = (SELECT min(id) FROM email)`,
		"flags":             `UPDATE message SET flags = 255`,
		"lost message":      `DELETE FROM message WHERE uid = 1`,
		"account's count":   `UPDATE account SET messages = messages + 1`,
		"expunged modseq":   `INSERT INTO expunged (account, modseq, email) SELECT id, modseq + 1, 1 FROM account`,
		"email numbers":     `UPDATE account SET last_email = 1`,
		"mailbox modseq":    `UPDATE mailbox SET changed = 1 WHERE name = 'INBOX'`,
		"uidvalidity given": `UPDATE mailbox SET uidvalidity = 4000000000 WHERE name = 'Sent'`,
		"created":           `UPDATE message SET created = changed + 1 WHERE uid = 2`,
		"both":              `INSERT INTO expunged (account, modseq, mailbox, uid) SELECT 1, 2, mailbox, uid FROM message WHERE uid = 2`,
		"deleted mailbox":   `UPDATE mailbox SET present = 0 WHERE name = 'INBOX'`,
		"no mailbox":        `DELETE FROM message WHERE uid = 3`,
		"email's account":   `UPDATE email SET id = id + (7 << 32) WHERE id NOT IN (SELECT email FROM message WHERE uid < 3)`,
		"email's size":      `UPDATE email SET size = size + 1 WHERE id = (SELECT min(id) FROM email)`,
		"envelope":          `UPDATE email SET envelope = x'' WHERE id = (SELECT min(id) FROM email)`,
		"idle blob":         `INSERT INTO blob (size, sha256) SELECT size, sha256 FROM blob LIMIT 1`,
		"missing blob":      `DELETE FROM blob WHERE id = (SELECT min(id) FROM blob)`,
		"annotation":        `INSERT INTO annotation (account, mailbox, entry, value) SELECT id, 999, '/shared/x', x'00' FROM account`,
		"alias":             `INSERT INTO address (address) VALUES ('nowhere@home.example')`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := openAt(t, t.TempDir())
			defer db.Close()
			a := account(t, db, "alice")
			for i := range 3 {
				deliver(t, db, letter(i), "INBOX", a)
			}
			if found := problems(t, db); len(found) > 0 {
				t.Fatalf("before: %v", found)
			}
			harm(t, db, damage)
			if len(problems(t, db)) == 0 {
				t.Error("nothing was found")
			}
		})
	}
	t.Run("index", func(t *testing.T) {
		db := openAt(t, t.TempDir())
		defer db.Close()
		a := account(t, db, "alice")
		deliver(t, db, letter(1), "INBOX", a)
		uids(t, db, a, named(t, db, a, "INBOX").ID) // the index is in memory now
		harm(t, db, fmt.Sprintf(`UPDATE message SET flags = %d`, Answered))
		if found := problems(t, db); len(found) != 1 || !strings.HasPrefix(found[0].Where, "index of mailbox") {
			t.Errorf("found %v", found)
		}
	})
	t.Run("file", func(t *testing.T) {
		db := openAt(t, t.TempDir())
		defer db.Close()
		a := account(t, db, "alice")
		deliver(t, db, strings.Repeat("0123456789", 50_000), "INBOX", a)
		files, _ := filepath.Glob(filepath.Join(db.dir, "blobs", "*", "*"))
		raw, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		raw[len(raw)/3] ^= 1
		if err := os.WriteFile(files[0], raw, 0o600); err != nil {
			t.Fatal(err)
		}
		if len(problems(t, db)) == 0 {
			t.Error("a flipped bit was not found")
		}
		os.Remove(files[0])
		if len(problems(t, db)) == 0 {
			t.Error("a missing file was not found")
		}
	})
}

// TestStrayFiles: what a crash left behind goes at the next start, and nothing else.
func TestStrayFiles(t *testing.T) {
	dir := t.TempDir()
	db := openAt(t, dir)
	a := account(t, db, "alice")
	big := strings.Repeat("0123456789", 50_000)
	deliver(t, db, big, "INBOX", a)
	half := db.NewSpool()
	if _, err := half.Write([]byte(big)); err != nil {
		t.Fatal(err)
	}
	stray := db.blobs.path(db.blobs.next())
	if err := os.WriteFile(stray, []byte("nobody names it"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = openAt(t, dir)
	defer db.Close()
	if left, err := os.ReadDir(filepath.Join(dir, "spool")); err != nil || len(left) != 0 {
		t.Errorf("the spool holds %v, %v", left, err)
	}
	for until := time.Now().Add(10 * time.Second); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		db.blobs.unlinkDue(time.Now().Add(unlinkDelay))
		if _, err := os.Stat(stray); errors.Is(err, os.ErrNotExist) {
			break
		}
	}
	if _, err := os.Stat(stray); err == nil {
		t.Error("a stray file stays")
	}
	if got := text(t, db, a, named(t, db, a, "INBOX").ID, 1); got != big {
		t.Errorf("the message has %d bytes", len(got))
	}
	if found := problems(t, db); len(found) > 0 {
		t.Error(found)
	}
}

// TestRemovalGoesOn: the removal of an account that a stop cut off is finished
// after the next start.
func TestRemovalGoesOn(t *testing.T) {
	dir := t.TempDir()
	db := openAt(t, dir)
	a := account(t, db, "alice")
	deliver(t, db, letter(1), "INBOX", a)
	harm(t, db, `UPDATE account SET removed = 1`)
	harm(t, db, `DELETE FROM credential`)
	harm(t, db, `DELETE FROM address`)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = openAt(t, dir)
	defer db.Close()
	left := -1
	for until := time.Now().Add(10 * time.Second); left != 0 && time.Now().Before(until); time.Sleep(time.Millisecond) {
		if err := db.readDB.QueryRow(`SELECT (SELECT count(*) FROM account) + (SELECT count(*) FROM blob)`).Scan(&left); err != nil {
			t.Fatal(err)
		}
	}
	if left != 0 {
		t.Errorf("%d rows are left", left)
	}
	if found := problems(t, db); len(found) > 0 {
		t.Error(found)
	}
}
