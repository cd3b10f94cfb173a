// Package loadtest measures what a mail server does on this machine, beside
// what the machine's disk can do. It speaks SMTP and IMAP as a client over
// plain sockets, and knows nothing of the server but what the RFCs say.
package loadtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// A Server is run as a process of its own, so that its processor time and
// memory can be told from those of the load.
type Server interface {
	// Start begins a process, which listens soon.
	Start() (pid int, err error)
	// Stop ends it, and returns when everything is on the disk. It does nothing
	// where none runs.
	Stop() error
}

// A Test is one run against a server that has one account and no mail, and is
// not started. All fields must be set.
type Test struct {
	Server                 Server
	SMTP, Submission, IMAP string // its addresses; passwords are taken without TLS
	User, Password         string // of the account; User is its address, too
	Database               string // file in which the server keeps small messages
	Dir                    string // on the disk that is measured
	Messages               int    // in the large mailbox, at least MinMessages; all other counts follow it
}

// MinMessages is the least with which every measurement has something to do.
const MinMessages = 200

// A Result is what one measurement found.
type Result struct {
	Name    string   `json:"name"`
	What    string   `json:"what"`
	Figures []Figure `json:"figures"`
}

// A Figure is a number of a Result; the first one matters most.
type Figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
}

// longest is how long a measurement goes on that can be cut short.
const longest = 5 * time.Second

// Sizes of messages.
const (
	small = 4 << 10
	large = 1 << 20
)

// measurements are all there are, in their order: the large mailbox comes
// first, and most of what follows it works on it.
var measurements = []struct {
	name, what string
	measure    func(*run) ([]Figure, error)
}{
	{"disk_1", "disk: append 4 KiB, fdatasync; 1 thread", disk(1)},
	{"disk_10", "disk: the same, 10 threads", disk(10)},
	{"disk_50", "disk: the same, 50 threads", disk(50)},
	{"start", "start, without mail", (*run).start},
	{"fill", "fill a mailbox, 4 KiB, MULTIAPPEND", (*run).fill},
	{"restart", "start, with that mail", (*run).restart},
	{"select", "SELECT", (*run).selects},
	{"idle_connections", "IDLE, connections that only wait", (*run).idleConnections},
	{"fetch_flags", "UID FETCH 1:* (FLAGS)", onMany(all, "UID FETCH 1:%s (FLAGS)", "FETCH")},
	{"fetch_envelope", "FETCH 1:* (ENVELOPE … BODYSTRUCTURE)", onMany(all, "FETCH 1:%s (ENVELOPE INTERNALDATE RFC822.SIZE BODYSTRUCTURE)", "FETCH")},
	{"fetch_body", "FETCH 1:1000 (BODY.PEEK[])", onMany(thousand, "FETCH 1:%s (BODY.PEEK[])", "FETCH")},
	{"search_text", "SEARCH TEXT, a rare word", search("TEXT "+textWord, hasTextWord)},
	{"search_subject", "SEARCH SUBJECT, a rare word", search("SUBJECT "+subjectWord, hasSubjectWord)},
	{"search_unseen", "SEARCH UNSEEN", search("UNSEEN", isUnseen)},
	{"store", "STORE +FLAGS of a fifth", onMany(fifth, `STORE 1:%s +FLAGS (\Flagged)`, "FETCH")},
	{"move", "MOVE of a fifth", onMany(fifth, "MOVE 1:%s "+movedMailbox, "EXPUNGE")},
	{"expunge", "EXPUNGE of what was moved", (*run).expunge},
	{"append", "APPEND 4 KiB, one at a time", (*run).appendOneByOne},
	{"deliver_1", "deliver 4 KiB, 1 connection", deliver(1, small)},
	{"deliver_10", "deliver 4 KiB, 10 connections", deliver(10, small)},
	{"deliver_50", "deliver 4 KiB, 50 connections", deliver(50, small)},
	{"submit_10", "submit 4 KiB, 10 connections", submit(10, small)},
	{"deliver_large", "deliver 1 MiB, 10 connections", deliver(10, large)},
	{"arrival", "final dot to EXISTS at a client in IDLE", (*run).arrival},
}

// A run is a Test under way.
type run struct {
	Test
	ctx      context.Context
	syncs    map[int]float64 // the disk's, a second, by threads
	empty    int64           // octets of the database without mail
	process  process
	sequence int // of the next message
}

// Run measures everything, and reports each result as it comes. The server is
// stopped at the end, whatever happens. The error of a ctx that ends is its
// cause.
func (t Test) Run(ctx context.Context, report func(Result)) error {
	r := &run{Test: t, ctx: ctx, syncs: map[int]float64{}}
	err := errors.Join(r.measureAll(report), r.Server.Stop())
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (r *run) measureAll(report func(Result)) error {
	if r.Messages < MinMessages {
		return fmt.Errorf("%d messages are too few; %d is the least", r.Messages, MinMessages)
	}
	var err error
	if r.empty, err = fileSize(r.Database); err != nil {
		return err
	}
	for _, m := range measurements {
		figures, err := m.measure(r)
		if err != nil {
			return fmt.Errorf("%s: %w", m.what, err)
		}
		report(Result{m.name, m.what, figures})
	}
	return nil
}

func fileSize(file string) (int64, error) {
	st, err := os.Stat(file)
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

// milliseconds and perSecond make figures.
func milliseconds(name string, d time.Duration) Figure {
	return Figure{name, d.Seconds() * 1000, "ms"}
}

func perSecond(n int, took time.Duration) Figure {
	return Figure{"rate", float64(n) / took.Seconds(), "msg/s"}
}

func cpuPerMessage(n int, cpu time.Duration) Figure {
	return Figure{"CPU", cpu.Seconds() * 1000 / float64(n), "ms/msg"}
}

// perSync compares a rate with that of the disk for as many threads.
func (r *run) perSync(rate Figure, threads int) Figure {
	return Figure{"per fdatasync", rate.Value / r.syncs[threads], "msg"}
}
