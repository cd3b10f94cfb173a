package mbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"mailbox/admin/archive"
)

const subscriptionsFile = ".subscriptions" // as Dovecot has it

// Options are what a Reader cannot know, or not for certain.
type Options struct {
	Mailbox string  // the name of the mailbox of a single file; "" means the name of the file, without ".mbox"
	Variant Variant // of all files
}

// A Reader reads an mbox, or a tree of them.
type Reader struct {
	root    *os.Root
	boxes   []box
	variant Variant
}

var _ archive.Reader = (*Reader)(nil)

// Open opens a file, which is one mailbox, or a directory.
func Open(name string, o Options) (*Reader, error) {
	name, err := filepath.EvalSymlinks(name)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	dir := name
	if !info.IsDir() {
		dir = filepath.Dir(name)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	t := &tree{root: root, used: map[string]bool{}}
	switch {
	case info.IsDir():
		err = t.walk(".", nil)
	case o.Mailbox != "":
		t.boxes = []box{{filepath.Base(name), o.Mailbox, nil}}
	default:
		t.add(filepath.Base(name), nil, filepath.Base(name), nil)
	}
	if err == nil && len(t.boxes) == 0 {
		err = fmt.Errorf("there is no mbox in %s", name)
	}
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return &Reader{root, t.boxes, o.Variant}, nil
}

// Close closes what Open opened.
func (r *Reader) Close() error { return r.root.Close() }

// Mailboxes lists the files.
func (r *Reader) Mailboxes(context.Context) ([]archive.Mailbox, error) {
	subscribed, err := readSubscriptions(r.root)
	if err != nil {
		return nil, err
	}
	var list []archive.Mailbox
	for _, b := range r.boxes {
		m := archive.Mailbox{Name: b.name, Subscribed: subscribed == nil || subscribed[b.path]}
		if info, err := r.root.Stat(b.path); err == nil { // an error is told when the file is read
			m.Bytes = info.Size()
		}
		list = append(list, m)
	}
	archive.GuessSpecialUse(list)
	return list, nil
}

// readSubscriptions returns the paths of the files that are subscribed to, or
// nil if nothing says which are.
func readSubscriptions(root *os.Root) (map[string]bool, error) {
	f, err := archive.OpenRegular(root, subscriptionsFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	names, err := archive.Subscriptions(f, '/')
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("%s: %w", subscriptionsFile, err)
	}
	set := map[string]bool{}
	for _, name := range names {
		set[name] = true
		if strings.EqualFold(name, "INBOX") { // Dovecot's file is called inbox
			set["inbox"] = true
		}
	}
	return set, nil
}

// Messages reads the messages of a file. What is before the first From_ line is
// told as a message with an Err. Messages that Mozilla has deleted already, and
// the one in which UW-IMAP keeps its state, are left out.
func (r *Reader) Messages(ctx context.Context, mailbox string, yield func(*archive.Message) error) error {
	for _, b := range r.boxes {
		if b.name != mailbox {
			continue
		}
		if b.err != nil {
			return fmt.Errorf("%s: %w", b.path, b.err)
		}
		f, err := archive.OpenRegular(r.root, b.path)
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		return newSource(f, info.Size(), b.path, r.variant).messages(func(m *archive.Message) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return yield(m)
		})
	}
	return fmt.Errorf("there is no mailbox %q", mailbox)
}
