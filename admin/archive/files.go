package archive

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// OpenRegular opens a file that must be a plain one: a pipe would block.
func OpenRegular(root *os.Root, name string) (*os.File, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", name)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Nameless makes a file in a directory that nobody else knows, and that is gone
// when it is closed.
func Nameless(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, ".mailbox-*")
	if err != nil {
		return nil, err
	}
	return f, os.Remove(f.Name())
}
