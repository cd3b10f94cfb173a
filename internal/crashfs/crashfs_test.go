package crashfs

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// TestPowerCut: what was fsynced is always there, and all that a power cut can
// do to the rest is done to it.
func TestPowerCut(t *testing.T) {
	disk := Mount(t)
	dir := filepath.Join(disk.Dir(), "data")
	old, big := []byte("old"), bytes.Repeat([]byte("x"), 4*sector)
	check(t, os.Mkdir(dir, 0o700))
	fsync(t, disk.Dir())
	check(t, os.WriteFile(filepath.Join(dir, "replaced"), old, 0o600))
	fsync(t, filepath.Join(dir, "replaced"))
	fsync(t, dir)
	check(t, os.WriteFile(filepath.Join(dir, "new"), big, 0o600))
	check(t, os.WriteFile(filepath.Join(dir, "half"), big, 0o600))
	fsync(t, filepath.Join(dir, "half"))
	check(t, os.WriteFile(filepath.Join(dir, "temporary"), big, 0o600))
	fsync(t, filepath.Join(dir, "temporary"))
	check(t, os.Rename(filepath.Join(dir, "temporary"), filepath.Join(dir, "replaced")))

	seen := map[string]bool{}
	random := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		to := t.TempDir()
		check(t, disk.PowerCut(disk.Len(), random, "data", to))
		replaced, err := os.ReadFile(filepath.Join(to, "replaced"))
		check(t, err)
		switch {
		case bytes.Equal(replaced, old):
			seen["rename lost"] = true
		case bytes.Equal(replaced, big):
			seen["rename kept"] = true
		default:
			t.Fatalf("the renamed file has %d octets", len(replaced))
		}
		half, err := os.ReadFile(filepath.Join(to, "half"))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			seen["name lost"] = true
		case !bytes.Equal(half, big):
			t.Fatal("octets are lost that were fsynced")
		default:
			seen["name kept"] = true
		}
		content, err := os.ReadFile(filepath.Join(to, "new"))
		switch written := bytes.Count(content, big[:1]); {
		case err != nil:
		case len(content) == 0:
			seen["octets lost"] = true
		case written == 0:
			seen["size only"] = true
		case written < len(big):
			seen["torn"] = true
			if written%sector != 0 {
				t.Fatalf("%d octets were written, a part of a sector", written)
			}
		default:
			seen["octets kept"] = true
		}
	}
	for _, want := range []string{"rename lost", "rename kept", "name lost", "name kept", "octets lost", "size only", "torn", "octets kept"} {
		if !seen[want] {
			t.Errorf("no power cut left this: %s", want)
		}
	}
	fsync(t, dir)
	for range 100 {
		to := t.TempDir()
		check(t, disk.PowerCut(disk.Len(), random, "data", to))
		for _, name := range []string{"replaced", "half"} {
			if got, err := os.ReadFile(filepath.Join(to, name)); !bytes.Equal(got, big) {
				t.Fatalf("%s was fsynced with its directory and has %d octets (%v)", name, len(got), err)
			}
		}
	}
}

// TestAppended: a program's marks stand in the log between what it does.
func TestAppended(t *testing.T) {
	disk := Mount(t)
	marks, err := os.Create(filepath.Join(disk.Dir(), "marks"))
	check(t, err)
	defer marks.Close()
	for _, s := range []string{"one\n", "two\n"} {
		before := disk.Len()
		_, err := marks.WriteString(s)
		check(t, err)
		all := disk.Appended("marks")
		last := all[len(all)-1]
		if string(last.Data) != s || last.End != before+1 || last.End != disk.Len() {
			t.Errorf("the mark %q stands at %d, it was made at %d", last.Data, last.End, before)
		}
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func fsync(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	check(t, err)
	defer f.Close()
	check(t, f.Sync())
}
