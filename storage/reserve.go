package storage

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

const (
	maxReserve = 16 << 20 // octets, where the file system has 8 times that
	restock    = time.Second
)

// A reserve is a file that holds room on the disk for what makes room: without
// it nothing could be deleted on a full disk, because SQLite writes down first
// what it is about to delete. It is given up when such work finds the disk full.
// From then on nothing else is written, until there is room for it again.
type reserve struct {
	file string
	size int64 // 0: the file system is too small to say

	mu    sync.Mutex
	spent bool
	tried time.Time // to make it again
}

// newReserve makes the file, unless it is there. A disk that has no room for
// it is full.
func newReserve(dir string) (*reserve, error) {
	var disk syscall.Statfs_t
	if err := syscall.Statfs(dir, &disk); err != nil {
		return nil, err
	}
	r := &reserve{file: filepath.Join(dir, "reserve"), size: min(maxReserve, int64(disk.Blocks)*disk.Bsize/8)}
	err := r.make()
	if r.spent = errors.Is(err, ErrNoSpace); r.spent {
		err = nil
	}
	return r, err
}

// make makes the file, unless it is there. It takes no more than half of the
// room, so that there is some to write in, and is content with a quarter of
// what it should be: what was deleted left room within the database.
func (r *reserve) make() error {
	if i, err := os.Stat(r.file); err == nil && i.Size() >= r.size/4 || r.size == 0 {
		return nil
	}
	var disk syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(r.file), &disk); err != nil {
		return err
	}
	size := min(r.size, int64(disk.Bavail)*disk.Bsize/2)
	if size < r.size/4 {
		return ErrNoSpace
	}
	f, err := os.OpenFile(r.file, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return diskError(err)
	}
	err = diskError(syscall.Fallocate(int(f.Fd()), 0, 0, size))
	if errors.Is(err, syscall.EOPNOTSUPP) { // nothing can be held there
		err = f.Truncate(size)
	}
	err = errors.Join(err, f.Close())
	if err != nil {
		err = errors.Join(err, os.Remove(r.file))
	}
	return err
}

// use gives the reserve up, and tells whether there was one.
func (r *reserve) use() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.spent || r.size == 0 {
		return false
	}
	r.spent, r.tried = true, time.Now()
	return os.Remove(r.file) == nil
}

// there tells whether the reserve is there, or can be made again.
func (r *reserve) there() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.spent && time.Since(r.tried) >= restock {
		r.tried = time.Now()
		r.spent = r.make() != nil
	}
	return !r.spent
}
