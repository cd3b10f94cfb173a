package storage

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"mailbox/internal/crashfs"
)

// TestDiskErrors holds promises 1, 2 and 6 against a disk on which any operation
// may fail, once: what is answered with an error had no effect, unless the store
// says that it is broken; what was acknowledged is there when it is opened
// again, and also where the power goes then; verify finds nothing; no number is
// given twice. It makes about 40 errors, with MAILBOX_LONG many hundred.
// MAILBOX_SEED repeats the choices; what the workers do at the same time is
// never quite the same.
func TestDiskErrors(t *testing.T) {
	runs := 8
	if os.Getenv("MAILBOX_LONG") != "" {
		runs = 200
	}
	random := rand.New(rand.NewPCG(loadSeed(t), 1<<32))
	total, failed, broken := 0, 0, 0
	for i := range runs {
		t.Run(fmt.Sprint(i), func(t *testing.T) { // a disk of its own, which is gone at its end
			faults := newFaults(random)
			n, cut := loadWithFaults(t, load{Times: 3, Steps: 6}, random, faults.next)
			if t.Failed() {
				t.Fatalf("these failed: %v", faults.made)
			}
			total += len(faults.made)
			failed += n
			if cut {
				broken++
			}
		})
	}
	t.Logf("%d errors failed %d steps and broke %d of %d stores", total, failed, broken, runs)
}

// loadWithFaults runs a load on a disk that may fail, and checks what is left of
// it, also by a power cut. It returns how many steps failed, and whether the
// store was broken then.
func loadWithFaults(t *testing.T, l load, random *rand.Rand, fault func(crashfs.Operation) syscall.Errno) (failed int, broken bool) {
	t.Helper()
	disk := crashfs.Mount(t)
	l.Data, l.Marks = filepath.Join(disk.Dir(), "data"), filepath.Join(t.TempDir(), "marks")
	l.Seed, l.Faulty = random.Uint64(), true
	disk.Interfere(fault)
	cmd, output := l.start(t)
	err := cmd.Wait()
	disk.Interfere(nil)
	if err != nil {
		t.Errorf("load: %v\n%s", err, output)
	}
	h := newHistory()
	end := h.readFile(t, l.Marks)
	failed = h.checkFailed(t)
	dir := inMemory(t)
	if err := os.CopyFS(dir, os.DirFS(l.Data)); err != nil {
		t.Fatal(err)
	}
	h.check(t, dir, end)
	for range 2 {
		dir := inMemory(t)
		if err := disk.PowerCut(disk.Len(), random, "data", dir); err != nil {
			t.Fatal(err)
		}
		h.check(t, dir, end)
	}
	return failed, h.cutShort()
}

// TestDiskTakesNoMore: a disk that takes nothing more fails what would have to
// be written, and nothing else. That holds for a quota, too. Where a disk has become read-only, the
// store may be broken.
func TestDiskTakesNoMore(t *testing.T) {
	random := rand.New(rand.NewPCG(loadSeed(t), 1<<33))
	full := []crashfs.Operation{crashfs.Growing, crashfs.Creating, crashfs.MakingDir}
	readOnly := append(full, crashfs.Writing, crashfs.Truncating, crashfs.Renaming, crashfs.Removing)
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS} {
		kinds := full
		if errno == syscall.EROFS {
			kinds = readOnly
		}
		t.Run(errno.Error(), func(t *testing.T) {
			from := 100 + random.IntN(100) // fsyncs, most of which are commits
			failed, broken := loadWithFaults(t, load{Times: 1, Steps: 60}, random, func(o crashfs.Operation) syscall.Errno {
				if o == crashfs.Syncing {
					from--
				}
				if from >= 0 || !slices.Contains(kinds, o) {
					return 0
				}
				return errno
			})
			if errno != syscall.EROFS && (broken || failed == 0) {
				t.Errorf("%d steps failed; broken: %v", failed, broken)
			}
		})
	}
}

// faults make operations fail, one after the other.
type faults struct {
	random *rand.Rand
	what   crashfs.Operation
	wait   int // until it fails
	idle   int // operations since the choice
	made   []string
}

func newFaults(random *rand.Rand) *faults {
	f := &faults{random: random}
	f.choose()
	return f
}

// choose chooses what fails next. All kinds come equally often, though some
// operations are much rarer than others.
func (f *faults) choose() {
	f.what = crashfs.Operation(f.random.IntN(int(crashfs.Removing) + 1))
	f.idle = 0
	switch f.what {
	case crashfs.Reading, crashfs.Writing, crashfs.Growing, crashfs.MakingDir:
		f.wait = f.random.IntN(250)
	case crashfs.Syncing:
		f.wait = f.random.IntN(30)
	default:
		f.wait = f.random.IntN(4)
	}
}

// next decides about an operation.
func (f *faults) next(o crashfs.Operation) syscall.Errno {
	if f.idle++; f.idle > 1000 {
		f.choose()
	}
	if o != f.what {
		return 0
	}
	if f.wait--; f.wait >= 0 {
		return 0
	}
	errno := []syscall.Errno{syscall.EIO, syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS}[f.random.IntN(4)]
	if o == crashfs.Reading {
		errno = syscall.EIO
	}
	f.made = append(f.made, o.String()+": "+errno.Error())
	f.choose()
	return errno
}
