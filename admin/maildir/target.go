package maildir

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"unicode/utf8"

	"mailbox/imapd/wire"
)

// maxDirName leaves room for what Dovecot appends to the name of a directory.
const maxDirName = 240

// A target is a folder that is written.
type target struct {
	dir      string
	keywords *keywords
	claimed  map[key]bool   // the messages that are there: whether this run knows of them
	copies   map[key]uint32 // by the first: how many are claimed, where they are several
	seconds  int64          // the highest of the names
	serial   uint64         // the highest of the names
}

// openTarget opens the folder in a directory, and makes it if it is not there.
func (w *Writer) openTarget(dir string) (*target, error) {
	for _, d := range []string{"", "tmp", "new", "cur"} {
		if d = path.Join(dir, d); d == "." {
			continue
		}
		if err := w.root.Mkdir(d, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
	if dir != "." { // what says that it is a folder of a Maildir++
		f, err := w.root.OpenFile(path.Join(dir, "maildirfolder"), os.O_CREATE|os.O_WRONLY, 0o600)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
	}
	t := &target{dir: dir, claimed: map[key]bool{}, copies: map[key]uint32{}}
	var err error
	if t.keywords, err = openKeywords(w.root, dir); err != nil {
		return nil, err
	}
	there, err := list(w.root, dir, messageDirs[:]...)
	if err != nil {
		return nil, err
	}
	for _, e := range there.entries {
		if n, ok := parseUnique(there.unique(e)); ok {
			t.claimed[n.key] = false
			t.seconds, t.serial = max(t.seconds, n.seconds), max(t.serial, n.serial)
		}
	}
	return t, w.sweep(dir)
}

// sweep removes what a Writer left in tmp when it was cut.
func (w *Writer) sweep(dir string) error {
	left, err := list(w.root, dir, "tmp")
	if err != nil {
		return err
	}
	for _, e := range left.entries {
		if _, ok := parseUnique(left.name(e)); !ok {
			continue
		}
		if err := w.root.Remove(path.Join(dir, "tmp", left.name(e))); err != nil {
			return err
		}
	}
	return nil
}

// next returns the first part of the name of the next message, which sorts
// behind those that are there.
func (t *target) next(k key, seconds int64) string {
	t.seconds = max(t.seconds, seconds)
	t.serial++
	return unique{t.seconds, t.serial, k}.String()
}

// claim reports whether a message is not there yet. Of equal messages the
// second is the copy 1, so that as many are there as came.
func (t *target) claim(k *key) (fresh bool) {
	first := *k
	if t.claimed[first] {
		k.copy = max(t.copies[first], 1)
		for t.claimed[*k] {
			k.copy++
		}
		t.copies[first] = k.copy + 1
	}
	_, there := t.claimed[*k]
	t.claimed[*k] = true
	return !there
}

// dirName returns the directory of a mailbox: a "." before each level. A "."
// inside of one becomes "_", because nothing can stand for it.
func dirName(mailbox string) string {
	if mailbox == "INBOX" {
		return "."
	}
	mailbox = strings.ReplaceAll(mailbox, ".", "_")
	if dir := encodeName(mailbox); len(dir) <= maxDirName {
		return dir
	}
	end := fmt.Sprintf("_%x", sha256.Sum256([]byte(mailbox)))[:17]
	for {
		_, n := utf8.DecodeLastRuneInString(mailbox)
		mailbox = mailbox[:len(mailbox)-n]
		if dir := encodeName(mailbox + end); len(dir) <= maxDirName {
			return dir
		}
	}
}

func encodeName(mailbox string) string {
	return "." + strings.ReplaceAll(wire.EncodeUTF7(mailbox), "/", ".")
}

// rawName is the name that a directory has in subscriptions, with levels parted
// by "/".
func rawName(dir string) string {
	if dir == "." {
		return "INBOX"
	}
	return strings.ReplaceAll(dir[1:], ".", "/")
}
