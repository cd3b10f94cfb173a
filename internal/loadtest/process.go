package loadtest

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A process is that of the server.
type process struct{ pid int }

// cpu is the processor time that the process has used so far, in the kernel
// and outside. Its clock is that of clock_getcpuclockid(3).
func (p process) cpu() (time.Duration, error) {
	const cpuclockSched = 2
	var t unix.Timespec
	if err := unix.ClockGettime(^int32(p.pid)<<3|cpuclockSched, &t); err != nil {
		return 0, fmt.Errorf("processor time of the server: %w", err)
	}
	return time.Duration(t.Nano()), nil
}

// memory is what the process has in memory, in KiB; what it shares with others
// counts in part.
func (p process) memory() (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p.pid))
	if err != nil {
		return 0, err
	}
	_, pss, _ := strings.Cut(string(text), "\nPss:")
	var kib float64
	if _, err := fmt.Sscan(pss, &kib); err != nil {
		return 0, fmt.Errorf("memory of the server: %w", err)
	}
	return kib, nil
}

// A server rests when it uses less than a twentieth of a processor, and that
// for long enough for what it does behind its answers to have begun.
const (
	restStep = 20 * time.Millisecond
	restTime = 400 * time.Millisecond
	restless = 2 * time.Minute // when we give up
)

// rest waits until the server has done what it does behind its answers, such
// as indexing, and returns its processor time.
func (r *run) rest() (time.Duration, error) {
	used, err := r.process.cpu()
	began := time.Now()
	for quiet := began; err == nil && time.Since(quiet) < restTime; {
		if r.ctx.Err() != nil {
			return 0, r.ctx.Err()
		}
		if time.Since(began) > restless {
			return 0, errors.New("the server does not come to rest")
		}
		time.Sleep(restStep)
		before := used
		if used, err = r.process.cpu(); used-before > restStep/20 {
			quiet = time.Now()
		}
	}
	return used, err
}
