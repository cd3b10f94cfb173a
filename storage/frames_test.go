package storage

import (
	"bytes"
	"crypto/sha256"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// frameFile is a file of two frames.
func frameFile(t testing.TB) []byte {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "frames")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := &frameWriter{f: f}
	for _, plain := range [][]byte{bytes.Repeat([]byte("body "), 100), []byte("header")} {
		if err := w.write(plain); err != nil {
			t.Fatal(err)
		}
	}
	w.lastFirst()
	if err := w.finish(); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// FuzzFrames: a file that the disk has damaged is an error, never a panic, and
// never another message that passes for the one that was acknowledged.
func FuzzFrames(f *testing.F) {
	good := frameFile(f)
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add([]byte{})
	name := filepath.Join(f.TempDir(), "blob")
	f.Fuzz(func(t *testing.T, raw []byte) {
		if err := os.WriteFile(name, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		frames, err := readFrames(file)
		if err != nil {
			return
		}
		r := newFrameReader(file, frames)
		plain, readErr := io.ReadAll(io.NewSectionReader(r, 0, min(r.size, 1<<20)))
		if err := r.check(sha256.New()); err == nil && r.size <= 1<<20 && (readErr != nil || int64(len(plain)) != r.size) {
			t.Fatalf("whole, but reads as %d of %d bytes: %v", len(plain), r.size, readErr)
		}
	})
}
