package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// A benchServer is this program, run as a server.
type benchServer struct {
	fail        context.CancelCauseFunc // told of a server that ends with an error
	config, log string                  // files

	process *os.Process // nil when it does not run
	ended   chan error
}

// Start implements loadtest.Server.
func (s *benchServer) Start() (pid int, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	defer log.Close() //nolint:errcheck // only the server writes to it
	cmd := exec.Command(self, "serve", "--config", s.config)
	cmd.Stderr = log
	// Ctrl-C is for us, who then stop it; but it does not survive us.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	s.process, s.ended = cmd.Process, make(chan error, 1)
	go func() {
		err := cmd.Wait()
		if err != nil {
			err = fmt.Errorf("the server ended: %w: %s", err, s.lastWords())
			s.fail(err)
		}
		s.ended <- err
	}()
	return cmd.Process.Pid, nil
}

// Stop implements loadtest.Server.
func (s *benchServer) Stop() error {
	if s.process == nil {
		return nil
	}
	s.process.Signal(syscall.SIGTERM) //nolint:errcheck // if it has ended already, Wait tells how
	s.process = nil
	return <-s.ended
}

// lastWords are the last line of the log.
func (s *benchServer) lastWords() []byte {
	text, _ := os.ReadFile(s.log) // what cannot be read says nothing
	text = bytes.TrimSpace(text)
	return text[bytes.LastIndexByte(text, '\n')+1:]
}
