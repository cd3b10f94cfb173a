package tls

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/caddyserver/certmagic"
)

// A store keeps what certmagic wants to keep, in files below a directory. What
// Store wrote is durable when it returns. Locks hold within the process: the
// lock on the data directory keeps others away.
type store struct {
	dir string

	mu    sync.Mutex
	locks map[string]chan struct{} // one token each, taken by who holds the lock
}

var _ certmagic.Storage = (*store)(nil)

// file is where a key's value is. Keys are paths with "/", and never lead out
// of the directory.
func (s *store) file(key string) (string, error) {
	if !filepath.IsLocal(filepath.FromSlash(key)) {
		return "", fmt.Errorf("key %q: %w", key, fs.ErrInvalid)
	}
	return filepath.Join(s.dir, filepath.FromSlash(key)), nil
}

// Store implements certmagic.Storage.
func (s *store) Store(_ context.Context, key string, value []byte) error {
	file, err := s.file(key)
	if err != nil {
		return err
	}
	if err := makeDir(filepath.Dir(file)); err != nil {
		return err
	}
	return writeFile(file, value)
}

// Load implements certmagic.Storage.
func (s *store) Load(_ context.Context, key string) ([]byte, error) {
	file, err := s.file(key)
	if err != nil {
		return nil, err
	}
	return os.ReadFile(file)
}

// Delete implements certmagic.Storage.
func (s *store) Delete(_ context.Context, key string) error {
	file, err := s.file(key)
	if err != nil {
		return err
	}
	return os.RemoveAll(file)
}

// Exists implements certmagic.Storage.
func (s *store) Exists(ctx context.Context, key string) bool {
	_, err := s.Stat(ctx, key)
	return err == nil
}

// List implements certmagic.Storage.
func (s *store) List(_ context.Context, prefix string, recursive bool) ([]string, error) {
	root, err := s.file(prefix)
	if err != nil {
		return nil, err
	}
	var keys []string
	err = filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if file == root || strings.HasPrefix(d.Name(), ".") { // .new-*: what a crash left of writeFile
			return nil
		}
		rel, err := filepath.Rel(s.dir, file)
		if err != nil {
			return err
		}
		keys = append(keys, filepath.ToSlash(rel))
		if d.IsDir() && !recursive {
			return filepath.SkipDir
		}
		return nil
	})
	return keys, err
}

// Stat implements certmagic.Storage.
func (s *store) Stat(_ context.Context, key string) (certmagic.KeyInfo, error) {
	file, err := s.file(key)
	if err != nil {
		return certmagic.KeyInfo{}, err
	}
	st, err := os.Stat(file)
	if err != nil {
		return certmagic.KeyInfo{}, err
	}
	return certmagic.KeyInfo{Key: key, Modified: st.ModTime(), Size: st.Size(), IsTerminal: !st.IsDir()}, nil
}

// Lock implements certmagic.Locker.
func (s *store) Lock(ctx context.Context, name string) error {
	select {
	case s.lock(name) <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Unlock implements certmagic.Locker.
func (s *store) Unlock(_ context.Context, name string) error {
	select {
	case <-s.lock(name):
		return nil
	default:
		return errors.New("lock " + name + " is not held")
	}
}

func (s *store) lock(name string) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.locks == nil {
		s.locks = map[string]chan struct{}{}
	}
	if s.locks[name] == nil {
		s.locks[name] = make(chan struct{}, 1)
	}
	return s.locks[name]
}
