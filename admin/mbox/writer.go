package mbox

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"mailbox/admin/archive"
)

// temporaryName is that of a file which is being written. Readers leave it out.
const temporaryName = ".mailbox-export.tmp"

// maxKeywords is how long the list of a file's keywords may be. Dovecot does not
// show what is not in it; a Reader does.
const maxKeywords = 500

// A Writer writes a tree of mboxes: the mailbox a/b is the file a/b.mbox, so
// that a can have messages, too. A file gets its name when it is whole and
// durable. One that a Writer wrote before is replaced so; any other is not
// touched unless Force is set. Names are in UTF-8, which Dovecot reads when its
// mail_location has ":UTF-8".
type Writer struct {
	Variant Variant // Detect means RD
	Force   bool    // files that others wrote are replaced

	root       *os.Root
	spool      archive.Spool
	used       map[string]bool // paths without ".mbox"
	begun      map[string]bool // names
	file       *os.File        // that is being written
	lines      *bufio.Reader   // of the encoder
	buffer     *bufio.Writer
	path       string          // what it will be called
	base       int64           // where keywords are listed in it; 0: nowhere yet
	keywords   []string        // that are in it
	dirs       map[string]bool // that have new files
	subscribed []string
	failed     error // why the file cannot be whole
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
	w := &Writer{root: root, used: map[string]bool{}, begun: map[string]bool{}, dirs: map[string]bool{}, lines: bufio.NewReaderSize(nil, 64<<10), buffer: bufio.NewWriterSize(nil, 256<<10)}
	w.spool.Temporary = func() (*os.File, error) { return archive.Nameless(dir) }
	return w, nil
}

// Mailbox ends the file that is being written, and begins one.
func (w *Writer) Mailbox(_ context.Context, m archive.Mailbox) error {
	if err := w.end(); err != nil {
		return err
	}
	if w.begun[m.Name] {
		return fmt.Errorf("mailbox %q is begun twice", m.Name)
	}
	w.begun[m.Name] = true
	name, is := fileName(w.used, m.Name)
	if err := w.begin(name + ".mbox"); err != nil {
		return err
	}
	if m.Subscribed {
		w.subscribed = append(w.subscribed, w.path)
	}
	if is != m.Name {
		return archive.Loss(fmt.Sprintf("mailbox %q is written as %q", m.Name, is))
	}
	return nil
}

// begin opens the file that will have a name.
func (w *Writer) begin(name string) error {
	if err := w.mayReplace(name); err != nil {
		return err
	}
	dir := path.Dir(name)
	if err := w.root.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := w.root.OpenFile(path.Join(dir, temporaryName), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return errors.Join(fmt.Errorf("%s is being written by somebody else: %w", f.Name(), err), f.Close())
	}
	if err := f.Truncate(0); err != nil {
		return errors.Join(err, f.Close())
	}
	w.file, w.path, w.base, w.keywords = f, name, 0, nil
	w.buffer.Reset(f)
	for ; !w.dirs[dir]; dir = path.Dir(dir) {
		w.dirs[dir] = true
	}
	return nil
}

// mayReplace looks whether a file is there, and who wrote it.
func (w *Writer) mayReplace(name string) error {
	f, err := archive.OpenRegular(w.root, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	defer f.Close()
	start, err := bufio.NewReader(f).Peek(maxFromLine)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	first := start[:lineLength(start)]
	from, _ := parseFromLine(first)
	_, ours := from.wrote()
	second := string(start[len(first):])
	ours = ours && slices.ContainsFunc([]string{"X-IMAPbase:", "Content-Length:", "X-Keywords:", "X-Status:", "Status:"}, func(s string) bool { return strings.HasPrefix(second, s) })
	if len(start) > 0 && !ours && !w.Force {
		return fmt.Errorf("%s is %w, and is no file that an export wrote", name, fs.ErrExist)
	}
	return nil
}

// Message appends a message. When ctx ends, or the file cannot be written, it
// does not get its name.
func (w *Writer) Message(ctx context.Context, m *archive.Message) error {
	if w.failed == nil {
		w.failed = ctx.Err()
	}
	if w.failed != nil {
		return w.failed
	}
	if err := w.spool.Fill(m.Content); err != nil {
		return err
	}
	notes, lost := formatNotes(m.Flags)
	w.note(m.Flags)
	if w.failed = w.write(m, notes); w.failed != nil {
		return w.failed
	}
	if bare, _ := w.spool.BareLF(); bare {
		lost = append(lost, "bare LFs will be read as CRLF")
	}
	if !w.variant().counted() && w.spool.Size() > 0 && !w.spool.EndsInLF() {
		lost = append(lost, "its last line will be read as ended")
	}
	if len(lost) > 0 {
		return archive.Loss(strings.Join(lost, "; "))
	}
	return nil
}

// note remembers keywords for the list of them.
func (w *Writer) note(flags []string) {
	for _, f := range flags {
		if archive.IsKeyword(f) && !slices.Contains(w.keywords, f) && len(strings.Join(w.keywords, " "))+len(f)+2 <= maxKeywords {
			w.keywords = append(w.keywords, f)
		}
	}
}

// list writes the keywords into the first message, where Dovecot looks for them.
func (w *Writer) list() error {
	if len(w.keywords) == 0 {
		return nil
	}
	_, err := w.file.WriteAt([]byte(" "+strings.Join(w.keywords, " ")), w.base)
	return err
}

func (w *Writer) variant() Variant {
	if w.Variant == Detect {
		return RD
	}
	return w.Variant
}

// write appends what is in the spool, after its From_ line and notes.
func (w *Writer) write(m *archive.Message, notes string) error {
	from := formatFromLine(w.variant(), m.Received)
	if w.base == 0 {
		from += fmt.Sprintf("X-IMAPbase: %d 0000000000", time.Now().Unix())
		w.base = int64(len(from))
		from += strings.Repeat(" ", maxKeywords) + "\n"
	}
	if _, err := w.buffer.WriteString(from); err != nil {
		return err
	}
	if w.variant().counted() {
		counter := &encoder{w: io.Discard, variant: w.variant(), lines: w.lines}
		if err := counter.encode(w.spool.Content()); err != nil {
			return err
		}
		notes = fmt.Sprintf("Content-Length: %d\n%s", counter.body, notes)
	}
	if _, err := w.buffer.WriteString(notes); err != nil {
		return err
	}
	e := &encoder{w: w.buffer, variant: w.variant(), lines: w.lines}
	if err := e.encode(w.spool.Content()); err != nil {
		return err
	}
	end := "\n"
	if w.spool.Size() > 0 && !w.spool.EndsInLF() {
		end = "\n\n"
	}
	_, err := w.buffer.WriteString(end)
	return err
}

// end makes the file that is being written durable, and gives it its name.
func (w *Writer) end() error {
	f := w.file
	if f == nil {
		return w.failed
	}
	temporary := path.Join(path.Dir(w.path), temporaryName)
	if w.failed == nil {
		w.failed = errors.Join(w.buffer.Flush(), w.list(), f.Sync())
	}
	w.file = nil
	if w.failed == nil {
		w.failed = w.root.Rename(temporary, w.path)
	} else {
		_ = w.root.Remove(temporary) // the next run would, too
	}
	w.failed = errors.Join(w.failed, f.Close())
	return w.failed
}

// Close ends the last file, and makes all names durable.
func (w *Writer) Close() error {
	err := w.end()
	if err == nil {
		err = w.subscribe()
	}
	for dir := range w.dirs {
		d, openErr := w.root.Open(dir)
		if openErr == nil {
			openErr = errors.Join(d.Sync(), d.Close())
		}
		err = errors.Join(err, openErr)
	}
	return errors.Join(err, w.spool.Close(), w.root.Close())
}

// subscribe adds to Dovecot's list of subscriptions what is not in it.
func (w *Writer) subscribe() error {
	has, err := readSubscriptions(w.root)
	if err != nil {
		return err
	}
	content, err := w.root.ReadFile(subscriptionsFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(content) > 0 && content[len(content)-1] != '\n' {
		content = append(content, '\n')
	}
	separator := "/"
	if strings.HasPrefix(string(content), "V\t") {
		separator = "\t"
	}
	for _, name := range w.subscribed {
		if !has[name] {
			content = append(content, strings.ReplaceAll(name, "/", separator)+"\n"...)
		}
	}
	w.dirs["."] = true
	f, err := w.root.OpenFile(temporaryName, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return w.root.Rename(temporaryName, subscriptionsFile)
}
