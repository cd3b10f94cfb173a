package mbox

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
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

// A box is one mbox.
type box struct {
	path string // below the root
	name string // as archive.Mailbox has it
	err  error  // why it is not read
}

// tree finds the mboxes below a root.
type tree struct {
	root  *os.Root
	used  map[string]bool // names of mailboxes
	boxes []box
}

// walk looks for mboxes in a directory: "a" and "a.mbox" are mailboxes, "a/b"
// and, beside a file "a", Thunderbird's "a.sbd/b" are one below. Apple's
// "a.mbox/mbox" is the mailbox "a". What begins with "." is left out.
func (t *tree) walk(dir string, levels []string) error {
	if len(levels) > maxDepth {
		return fmt.Errorf("%s: more than %d levels", dir, maxDepth)
	}
	d, err := t.root.Open(dir)
	if err != nil {
		return err
	}
	entries, err := d.ReadDir(-1)
	if err := errors.Join(err, d.Close()); err != nil {
		return err
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	beside := map[string]bool{}
	for _, e := range entries {
		beside[e.Name()] = true
	}
	for _, e := range entries {
		name, full := e.Name(), path.Join(dir, e.Name())
		switch {
		case strings.HasPrefix(name, "."):
		case e.Type()&fs.ModeSymlink != 0:
			t.link(full, levels)
		case e.IsDir():
			parent, is := strings.CutSuffix(name, ".sbd")
			if !is || !beside[parent] {
				parent = name
			}
			apple := path.Join(full, "mbox")
			if info, err := t.root.Stat(apple); err == nil && info.Mode().IsRegular() && strings.HasSuffix(name, ".mbox") {
				t.add(apple, levels, name, nil)
			} else if err := t.walk(full, append(slices.Clone(levels), parent)); err != nil {
				return err
			}
		case e.Type().IsRegular():
			if f, err := archive.OpenRegular(t.root, full); err != nil || isMbox(f, name, beside) {
				t.add(full, levels, name, err)
			}
		}
	}
	return nil
}

// link lists an mbox outside of the root, so that it is told that it is not read.
func (t *tree) link(full string, levels []string) {
	f, err := archive.OpenRegular(t.root, full)
	if err == nil {
		if isMbox(f, full, nil) {
			t.add(full, levels, path.Base(full), nil)
		}
		return
	}
	outside := filepath.Join(t.root.Name(), full)
	if info, err := os.Stat(outside); err != nil || !info.Mode().IsRegular() {
		return
	}
	if f, err := os.Open(outside); err == nil && isMbox(f, full, nil) {
		t.add(full, levels, path.Base(full), errors.New("is a symbolic link that leads out of the directory"))
	}
}

func (t *tree) add(full string, levels []string, name string, err error) {
	var names []string
	for _, l := range append(slices.Clone(levels), strings.TrimSuffix(name, ".mbox")) {
		names = append(names, decodeName(l))
	}
	t.boxes = append(t.boxes, box{full, archive.Distinct(t.used, archive.Name(names...)), err})
}

// decodeName returns the name of a file as people read it: Dovecot writes
// modified UTF-7.
func decodeName(s string) string {
	if name, err := wire.DecodeUTF7(s); err == nil {
		return name
	}
	return archive.Readable(s)
}

// isMbox closes f, and reports whether it is an mbox: it begins with a From_
// line, or is empty and has no suffix of another kind of file, or is said to be
// one by its name or by Thunderbird's index beside it.
func isMbox(f *os.File, name string, beside map[string]bool) bool {
	defer f.Close()
	if strings.HasSuffix(name, ".mbox") || beside[name+".msf"] {
		return true
	}
	start, err := bufio.NewReaderSize(f, maxFromLine).Peek(maxFromLine)
	if err != nil && !errors.Is(err, io.EOF) {
		return true // which is told when it is read
	}
	if len(start) == 0 {
		return path.Ext(name) == ""
	}
	start = bytes.TrimLeft(start, "\r\n")
	_, ok := parseFromLine(start[:lineLength(start)])
	return ok
}
