package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestBench: every figure is there, and nothing is left behind.
func TestBench(t *testing.T) {
	file, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cmd := exec.Command(file, "bench", "--dir", dir, "--messages", "200", "--json")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var report benchReport
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var got strings.Builder
	for _, r := range report.Results {
		got.WriteString(r.Name + ":")
		for _, f := range r.Figures {
			got.WriteString(" " + strings.ReplaceAll(f.Name, " ", "-"))
			if f.Value <= 0 {
				t.Errorf("%s: %s is %v %s", r.Name, f.Name, f.Value, f.Unit)
			}
		}
		got.WriteString("\n")
	}
	if want := `disk_1: rate
disk_10: rate
disk_50: rate
start: to-first-greeting memory
fill: rate CPU at-rest-after
restart: to-first-greeting memory database
select: first again
idle_connections: memory
fetch_flags: rate in-all
fetch_envelope: rate in-all
fetch_body: rate in-all
search_text: first again
search_subject: first again
search_unseen: first again
store: rate in-all
move: rate in-all
expunge: rate in-all
append: rate per-fdatasync CPU
deliver_1: rate per-fdatasync reply-p50 reply-p99 CPU
deliver_10: rate per-fdatasync reply-p50 reply-p99 CPU
deliver_50: rate per-fdatasync reply-p50 reply-p99 CPU
submit_10: rate per-fdatasync reply-p50 reply-p99 CPU
deliver_large: rate reply-p50 reply-p99 CPU
arrival: p50 p99
`; got.String() != want {
		t.Errorf("the figures are\n%s\nnot\n%s", got.String(), want)
	}
	nothingLeft(t, dir)
}

// TestBenchInterrupted: whatever ends the bench early, it says so, and leaves
// nothing behind.
func TestBenchInterrupted(t *testing.T) {
	type interrupt func(bench *os.Process, server int, output io.Closer) error
	signal := func(s os.Signal) interrupt {
		return func(bench *os.Process, _ int, _ io.Closer) error { return bench.Signal(s) }
	}
	for name, test := range map[string]struct {
		interrupt
		says string
	}{
		"Ctrl-C":        {signal(os.Interrupt), "interrupt"},
		"terminal lost": {signal(syscall.SIGHUP), "hangup"},
		"nobody reads":  {func(_ *os.Process, _ int, output io.Closer) error { return output.Close() }, "broken pipe"},
		"server dies":   {func(_ *os.Process, server int, _ io.Closer) error { return syscall.Kill(server, syscall.SIGKILL) }, "the server ended: signal: killed"},
	} {
		t.Run(name, func(t *testing.T) {
			file, err := binary()
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			cmd := exec.Command(file, "bench", "--dir", dir, "--messages", "200")
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { cmd.Process.Kill() })
			for lines := bufio.NewScanner(out); lines.Scan() && !strings.HasPrefix(lines.Text(), "start"); {
			}
			servers := processesIn(t, dir)
			if len(servers) != 2 { // the bench itself, which is told the directory, is one of them
				t.Fatalf("the processes %v run", servers)
			}
			server := servers[0] + servers[1] - cmd.Process.Pid
			if err := test.interrupt(cmd.Process, server, out); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 1 || !strings.Contains(stderr.String(), test.says) {
				t.Errorf("it ends with %v and says %q", err, stderr.String())
			}
			nothingLeft(t, dir)
		})
	}
}

// nothingLeft looks for files in dir, and for processes that use it.
func nothingLeft(t *testing.T, dir string) {
	t.Helper()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
	if left := processesIn(t, dir); len(left) > 0 {
		t.Errorf("the processes %v still run", left)
	}
}

// processesIn are the processes whose command line has dir.
func processesIn(t *testing.T, dir string) (pids []int) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, _ := os.ReadFile(file) // it may be gone
		if bytes.Contains(text, []byte(dir)) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}
