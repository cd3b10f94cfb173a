package storage

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"mailbox/internal/crashfs"
)

// TestPowerCut holds promises 1, 2 and 6 against a loss of power: whatever the
// disk did not have to keep may be lost, in part or in another order. Every
// worker then finds its accounts as its last acknowledged step left them, or,
// where one had begun, as the next one would have; verify finds nothing; and
// going on gives no number twice. It makes 40 states of the disk, with
// MAILBOX_LONG 600. MAILBOX_SEED repeats the choices; what the workers do at
// the same time is never quite the same.
func TestPowerCut(t *testing.T) {
	states := 40
	if os.Getenv("MAILBOX_LONG") != "" {
		states = 600
	}
	seed := loadSeed(t)
	disk := crashfs.Mount(t)
	cmd, output := load{Data: filepath.Join(disk.Dir(), "data"), Marks: filepath.Join(disk.Dir(), "marks"), Seed: seed, Times: 2, Steps: 50}.start(t)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("load: %v\n%s", err, output)
	}
	h := newHistory()
	h.read(t, disk.Appended("marks"))
	random := rand.New(rand.NewPCG(seed, 1<<32))
	inFlight := 0
	for i := range states {
		at := random.IntN(disk.Len() + 1)
		if i%8 == 0 { // when the store has just been closed
			at = disk.Len() - random.IntN(40)
		}
		dir := inMemory(t)
		if err := disk.PowerCut(at, random, "data", dir); err != nil {
			t.Fatal(err)
		}
		inFlight += h.check(t, dir, at)
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			t.Fatalf("the power was cut after %d of %d changes", at, disk.Len())
		}
	}
	t.Logf("%d states of a disk after up to %d changes; %d times a step that was not acknowledged was there", states, disk.Len(), inFlight)
}
