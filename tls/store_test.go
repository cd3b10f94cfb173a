package tls

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TestStore: values come back, keys list as a tree, and none leads outside.
func TestStore(t *testing.T) {
	ctx := context.Background()
	root := t.TempDir()
	s := &store{dir: filepath.Join(root, "acme")}
	for _, key := range []string{"a/b/c.json", "a/d", "e"} {
		for _, value := range []string{"first", key} {
			if err := s.Store(ctx, key, []byte(value)); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := s.Load(ctx, key); err != nil || string(got) != key || !s.Exists(ctx, key) {
			t.Errorf("%s: %q %v", key, got, err)
		}
	}
	os.WriteFile(filepath.Join(s.dir, "a", ".new-1"), nil, 0o600) // a crash left it
	if got, err := s.List(ctx, "a", false); err != nil || !slices.Equal(got, []string{"a/b", "a/d"}) {
		t.Errorf("flat: %v %v", got, err)
	}
	if got, err := s.List(ctx, "a", true); err != nil || !slices.Equal(got, []string{"a/b", "a/b/c.json", "a/d"}) {
		t.Errorf("recursive: %v %v", got, err)
	}
	if info, err := s.Stat(ctx, "a/b"); err != nil || info.IsTerminal {
		t.Errorf("%+v %v", info, err)
	}
	for range 2 {
		if err := s.Delete(ctx, "a"); err != nil || s.Exists(ctx, "a/d") {
			t.Errorf("delete: %v", err)
		}
	}
	if _, err := s.Load(ctx, "a/d"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("load of what is gone: %v", err)
	}
	put(t, filepath.Join(root, "secret"), []byte("x"))
	for _, key := range []string{"../secret", "a/../../secret", "/etc/passwd", ""} {
		if _, err := s.Load(ctx, key); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%q: %v", key, err)
		}
		if err := s.Delete(ctx, key); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("delete %q: %v", key, err)
		}
	}
}

// TestStoreLocks: one holds a lock, the next waits for it or for its context.
func TestStoreLocks(t *testing.T) {
	s := &store{dir: t.TempDir()}
	ctx := context.Background()
	if err := s.Lock(ctx, "x"); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	if err := s.Lock(short, "x"); err == nil {
		t.Error("two hold the lock")
	}
	if err := s.Lock(ctx, "y"); err != nil {
		t.Error(err)
	}
	if err := s.Unlock(ctx, "x"); err != nil {
		t.Error(err)
	}
	if err := s.Lock(ctx, "x"); err != nil {
		t.Error(err)
	}
	if err := s.Unlock(ctx, "z"); err == nil {
		t.Error("a lock that nobody holds was released")
	}
}
