package maildir

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mailbox/admin/archive"
)

// batch is how many messages are made durable at once.
const batch = 1000

// A Writer writes a Maildir++.
type Writer struct {
	root    *os.Root
	spool   archive.Spool
	buffer  *bufio.Writer
	dirs    map[string]bool // of the mailboxes that were begun
	begun   map[string]bool // their names
	current *target
	pending []file    // what is in tmp, and not in cur yet
	changed []*target // whose keywords are not written yet
	wanted  []string  // directories of what is subscribed to
}

// A file is on its way from tmp to cur, in the target of its mailbox.
type file struct {
	target       *target
	unique, name string
}

var _ archive.Writer = (*Writer)(nil)

// Create opens a directory to write into, and makes it if it is not there.
func Create(dir string) (*Writer, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	w := &Writer{root: root, buffer: bufio.NewWriterSize(nil, 64<<10), dirs: map[string]bool{}, begun: map[string]bool{}}
	w.spool.Temporary = func() (*os.File, error) { return archive.Nameless(dir) }
	return w, nil
}

// Mailbox begins a folder. It says so where its directory cannot have its name.
func (w *Writer) Mailbox(_ context.Context, m archive.Mailbox) error {
	if w.begun[m.Name] {
		return fmt.Errorf("mailbox %q is begun twice", m.Name)
	}
	w.begun[m.Name] = true
	wanted := dirName(m.Name)
	dir := archive.Distinct(w.dirs, wanted)
	t, err := w.openTarget(dir)
	if err != nil {
		return err
	}
	w.current = t
	if m.Subscribed {
		w.wanted = append(w.wanted, rawName(dir))
	}
	if f := (folders{used: map[string]bool{}}); dir != "." {
		f.add(dir, strings.Split(dir[1:], "."), nil)
		if is := f.found[0].name; is != m.Name {
			return archive.Loss(fmt.Sprintf("mailbox %q is written as %q", m.Name, is))
		}
	}
	return nil
}

// Message adds a message, unless an earlier run did. There are 26 keywords at
// most in a folder; those that come later are lost.
func (w *Writer) Message(ctx context.Context, m *archive.Message) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t := w.current
	hash := sha256.New()
	if err := w.spool.Fill(io.TeeReader(m.Content, hash)); err != nil {
		return err
	}
	seconds := m.Received.Unix()
	if m.Received.IsZero() {
		seconds = 0
	}
	_ = binary.Write(hash, binary.BigEndian, seconds) // a hash takes all
	key := key{hash: [16]byte(hash.Sum(nil))}
	if !t.claim(&key) {
		return nil
	}
	letters, lost := t.keywords.letters(m.Flags)
	if t.keywords.changed {
		t.keywords.changed = false
		w.changed = append(w.changed, t)
	}
	unique, err := w.write(t.next(key, seconds), seconds)
	if err != nil {
		return err
	}
	w.pending = append(w.pending, file{t, unique, fileName(unique, letters)})
	if len(w.pending) >= batch {
		if err := w.flush(); err != nil {
			return err
		}
	}
	if _, first := w.spool.BareLF(); first {
		return archive.Loss("its first line ends in LF: all bare LFs will be read as CRLF")
	}
	if len(lost) > 0 {
		return archive.Loss("there is no place for " + strings.Join(lost, " "))
	}
	return nil
}

// write writes what is in the spool to a file in tmp, and returns its name,
// which begins with start. Dovecot is glad of the sizes.
func (w *Writer) write(start string, seconds int64) (string, error) {
	size, sizes := w.spool.Size(), ""
	if w.spool.CleanCRLF() {
		sizes = fmt.Sprintf(",W=%d", size)
		size -= w.spool.CRLFs()
	}
	unique := fmt.Sprintf("%s,S=%d%s", start, size, sizes)
	name := path.Join(w.current.dir, "tmp", unique)
	f, err := w.root.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return "", err
	}
	w.buffer.Reset(f)
	if w.spool.CleanCRLF() {
		lines := archive.WithLF(w.buffer)
		_, err = io.Copy(lines, w.spool.Content())
		err = errors.Join(err, lines.Flush())
	} else {
		_, err = io.Copy(w.buffer, w.spool.Content())
	}
	at := time.Unix(seconds, 0)
	return unique, errors.Join(err, w.buffer.Flush(), f.Close(), w.root.Chtimes(name, at, at))
}

// flush moves what is in tmp to cur, when it is durable.
func (w *Writer) flush() error {
	for _, t := range w.changed {
		if err := w.replace(path.Join(t.dir, keywordsFile), t.keywords.file()); err != nil {
			return err
		}
	}
	w.changed = nil
	if err := w.sync(); err != nil {
		return err
	}
	for _, f := range w.pending {
		err := w.root.Rename(path.Join(f.target.dir, "tmp", f.unique), path.Join(f.target.dir, "cur", f.name))
		if err != nil {
			return err
		}
	}
	w.pending = w.pending[:0]
	return nil
}

// sync makes everything durable that was written: one call for thousands of
// files. Since Linux 5.8 it reports what could not be written.
func (w *Writer) sync() error {
	f, err := w.root.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return fmt.Errorf("syncfs %s: %w", w.root.Name(), err)
	}
	return nil
}

// replace writes a file under another name, then renames it.
func (w *Writer) replace(name string, content []byte) error {
	temporary := name + ".mailbox"
	return errors.Join(w.root.WriteFile(temporary, content, 0o600), w.root.Rename(temporary, name))
}

// Close makes all messages durable, and subscribes to their mailboxes.
func (w *Writer) Close() error {
	err := w.flush()
	if err == nil {
		err = w.subscribe()
	}
	if err == nil {
		err = w.sync()
	}
	return errors.Join(err, w.spool.Close(), w.root.Close())
}

// subscribe adds to subscriptions what is not in it.
func (w *Writer) subscribe() error {
	content, err := w.root.ReadFile(subscriptionsFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	names, err := archive.Subscriptions(bytes.NewReader(content), '.')
	if err != nil {
		return fmt.Errorf("%s: %w", subscriptionsFile, err)
	}
	has := map[string]bool{}
	for _, name := range names {
		has[name] = true
	}
	if len(content) > 0 && content[len(content)-1] != '\n' {
		content = append(content, '\n')
	}
	separator := "."
	if bytes.HasPrefix(content, []byte("V\t")) {
		separator = "\t"
	}
	for _, name := range w.wanted {
		if !has[name] {
			content = append(content, strings.ReplaceAll(name, "/", separator)+"\n"...)
		}
	}
	return w.replace(subscriptionsFile, content)
}
