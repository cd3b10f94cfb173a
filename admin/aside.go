package admin

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// An aside is a directory for messages that cannot be read, stored or written.
type aside struct {
	dir string // made when it is needed
	n   int    // messages in it
}

// keep puts what there is of a message into a file of its own, beside one that
// says why, and returns its name.
func (a *aside) keep(f FailedMessage, content io.Reader) (name string, err error) {
	if err := os.MkdirAll(a.dir, 0o700); err != nil {
		return "", err
	}
	var file *os.File
	for file == nil {
		a.n++
		name = filepath.Join(a.dir, fmt.Sprintf("%06d", a.n))
		if file, err = os.OpenFile(name+".eml", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600); err != nil && !errors.Is(err, os.ErrExist) {
			return "", err
		}
	}
	_, _ = io.Copy(file, content) // as much as can be read
	err = errors.Join(file.Sync(), file.Close())
	why := fmt.Sprintf("mailbox: %s\nplace: %s\nreason: %s\n", f.Mailbox, f.Place, f.Reason)
	return name + ".eml", errors.Join(err, os.WriteFile(name+".txt", []byte(why), 0o600))
}
