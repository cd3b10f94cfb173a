package tls

import (
	"io/fs"
	"os"
	"path/filepath"
)

// writeFile replaces a file of ours, durably: it has the old content or the
// new one, whatever happens. Only we may read it.
func writeFile(name string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // it was renamed, if all went well
	_, err = f.Write(content)
	if err == nil {
		err = f.Chmod(0o600)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(name))
}

// makeDir makes a directory of ours with those above it, durably.
func makeDir(dir string) error {
	if st, err := os.Stat(dir); err == nil && st.IsDir() {
		return nil
	}
	if err := makeDir(filepath.Dir(dir)); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !os.IsExist(err) {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close() //nolint:errcheck // it was only synced
	return d.Sync()
}

// A fileState tells whether a file is still the same.
type fileState struct {
	name string
	size int64
	time int64 // Unix nanoseconds
	err  string
}

// stat looks at a file, or at what a symbolic link leads to.
func stat(name string) fileState {
	st, err := os.Stat(name)
	if err != nil {
		if pe, ok := err.(*fs.PathError); ok {
			err = pe.Err
		}
		return fileState{name: name, err: err.Error()}
	}
	return fileState{name: name, size: st.Size(), time: st.ModTime().UnixNano()}
}
