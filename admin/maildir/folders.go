package maildir

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"mailbox/admin/archive"
	"mailbox/imapd/wire"
)

// maxDepth is how deep directories are looked into.
const maxDepth = 32

// A folder is one Maildir.
type folder struct {
	path string // below the root
	raw  string // its name as it is on the disk, with levels parted by "/"
	name string // as archive.Mailbox has it
	err  error  // why it is not read
}

// folders finds the Maildirs below a root.
type folders struct {
	root  *os.Root
	used  map[string]bool // names of mailboxes
	found []folder
	plus  bool // some are laid out as Maildir++
}

func findFolders(root *os.Root) (*folders, error) {
	f := &folders{root: root, used: map[string]bool{}}
	if f.isMaildir(".") {
		f.add(".", []string{"INBOX"}, nil)
	}
	err := f.walk(".", nil)
	return f, err
}

func (f *folders) isMaildir(dir string) bool {
	info, err := f.root.Stat(path.Join(dir, "cur"))
	return err == nil && info.IsDir()
}

// walk looks for Maildirs in a directory.
func (f *folders) walk(dir string, levels []string) error {
	d, err := f.root.Open(dir) // fs.ReadDir takes no names that are not UTF-8
	if err != nil {
		return err
	}
	entries, err := d.ReadDir(-1)
	if err := errors.Join(err, d.Close()); err != nil {
		return err
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	maildir := f.isMaildir(dir)
	for _, e := range entries {
		name, full := e.Name(), path.Join(dir, e.Name())
		link := e.Type()&fs.ModeSymlink != 0
		if !e.IsDir() && !link || maildir && slices.Contains([]string{"cur", "new", "tmp"}, name) {
			continue
		}
		below := append(slices.Clone(levels), name)
		rest, hidden := strings.CutPrefix(name, ".")
		if hidden {
			below = append(slices.Clone(levels), strings.Split(rest, ".")...)
		}
		switch {
		case link:
			f.link(full, below)
			continue
		case f.isMaildir(full):
			f.plus = f.plus || hidden
			f.add(full, below, nil)
		case hidden:
			continue
		}
		if len(below) > maxDepth {
			return fmt.Errorf("%s: more than %d levels", full, maxDepth)
		}
		if err := f.walk(full, below); err != nil {
			return err
		}
	}
	return nil
}

// link lists a Maildir outside of the root, so that it is told that it is not
// read. One inside is found where it is.
func (f *folders) link(full string, levels []string) {
	if _, err := f.root.Stat(full); err == nil {
		return
	}
	if info, err := os.Stat(filepath.Join(f.root.Name(), full, "cur")); err == nil && info.IsDir() {
		f.add(full, levels, errors.New("is a symbolic link that leads out of the Maildir"))
	}
}

func (f *folders) add(full string, levels []string, err error) {
	var names []string
	for _, l := range levels {
		names = append(names, decodeName(l))
	}
	name := archive.Name(names...)
	if name == "" {
		name = archive.Readable(full)
	}
	f.found = append(f.found, folder{full, strings.Join(levels, "/"), archive.Distinct(f.used, name), err})
}

// decodeName returns the name that a level has on the disk as people read it.
func decodeName(s string) string {
	if name, err := wire.DecodeUTF7(s); err == nil {
		return name
	}
	return archive.Readable(s)
}

// subscribed returns the raw names of the folders that are subscribed to, or
// nil if nothing says which are.
func (f *folders) subscribed() (map[string]bool, error) {
	separator := byte('/')
	if f.plus {
		separator = '.'
	}
	for _, file := range []string{subscriptionsFile, "courierimapsubscribed"} {
		r, err := archive.OpenRegular(f.root, file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, err
		}
		names, err := archive.Subscriptions(r, separator)
		if err := errors.Join(err, r.Close()); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		set := map[string]bool{}
		for _, name := range names {
			set[name] = true
			if file != subscriptionsFile {
				set[strings.TrimPrefix(name, "INBOX/")] = true // Courier has every folder below INBOX
			}
		}
		return set, nil
	}
	return nil, nil
}
