package storage

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestKillLoad holds promises 1, 2 and 6 against SIGKILL at any moment: every
// worker finds its accounts as its last acknowledged step left them, or as the
// one that had begun would have; verify finds nothing; and no number is given
// twice, also not by the next process, which is killed in its turn. It kills 10
// processes, with MAILBOX_LONG 200. MAILBOX_SEED repeats the choices, not the
// moments.
func TestKillLoad(t *testing.T) {
	kills, killsOfStore := 10, 10
	if os.Getenv("MAILBOX_LONG") != "" {
		kills = 200
	}
	seed := loadSeed(t)
	random := rand.New(rand.NewPCG(seed, 1<<32))
	var h *history
	var data string
	steps, inFlight := 0, 0
	for kill := range kills {
		if kill%killsOfStore == 0 {
			h, data = newHistory(), filepath.Join(t.TempDir(), "data")
		}
		l := load{Data: data, Marks: filepath.Join(t.TempDir(), "marks"), Seed: random.Uint64(), Times: 1000, Steps: 30}
		l.kill(t, random)
		end := h.readFile(t, l.Marks)
		steps += end
		dir := inMemory(t)
		if err := os.CopyFS(dir, os.DirFS(data)); err != nil {
			t.Fatal(err)
		}
		inFlight += h.check(t, dir, end)
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			t.Fatalf("after kill %d", kill+1)
		}
	}
	t.Logf("%d kills in %d marks; %d times a step that was not acknowledged was there", kills, steps, inFlight)
}

// kill starts the load, and kills it while it opens the store or some time
// after its workers have begun.
func (l load) kill(t *testing.T, random *rand.Rand) {
	t.Helper()
	if err := os.WriteFile(l.Marks, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd, output := l.start(t)
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	wanted := random.IntN(400) // marks
	if random.IntN(8) == 0 {
		wanted = 0
	}
	for {
		text, err := os.ReadFile(l.Marks)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Count(text, []byte("\n")) >= wanted {
			break
		}
		select {
		case err := <-ended:
			t.Fatalf("load: %v\n%s", err, output)
		case <-time.After(time.Millisecond):
		}
	}
	time.Sleep(time.Duration(random.IntN(20_000)) * time.Microsecond)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(fmt.Errorf("%w: %s", err, output))
	}
	<-ended
}
