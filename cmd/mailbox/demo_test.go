package main

import (
	"bufio"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestDemo does what a newcomer does: run the demo and paste what it prints.
// It runs twice on one directory, which keeps the mail; the second time the
// usual port is taken.
func TestDemo(t *testing.T) {
	program(t, "curl")
	file, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(t.TempDir(), "data")
	welcomed := 0
	for run := 1; run <= 2; run++ {
		if run == 2 {
			if l, err := net.Listen("tcp", "127.0.0.1:1025"); err == nil { // otherwise somebody else has it
				defer l.Close()
			}
		}
		cmd := exec.Command(file, "demo", "--data", data)
		cmd.Stderr = os.Stderr
		t.Cleanup(func() { cmd.Process.Kill() })
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		for lines := bufio.NewScanner(out); lines.Scan(); {
			text.WriteString(lines.Text() + "\n")
			if strings.Contains(lines.Text(), "telnet://") {
				break
			}
		}
		commands := regexp.MustCompile(`(?m)(?:^  \S.*\\?\n)(?:^    .*\n)*`).FindAllString(text.String(), -1)
		var pasted []string
		for _, c := range commands {
			if strings.Contains(c, "curl") {
				pasted = append(pasted, c)
			}
		}
		if len(pasted) != 6 {
			t.Fatalf("%d commands to paste in\n%s", len(pasted), text.String())
		}
		must(t, "", "sh", "-c", pasted[0])
		for _, read := range pasted[1:3] {
			if got := must(t, "", "sh", "-c", read); !strings.Contains(got, "Subject: Hello\r\n\r\nIt works.\r\n") {
				t.Errorf("run %d: the newest message is %q", run, got)
			}
		}
		for _, user := range regexp.MustCompile(`((?:alice|bob)@demo\.test) +password (\S+)`).FindAllStringSubmatch(text.String(), -1) {
			oldest := regexp.MustCompile(`-u \S+`).ReplaceAllString(strings.Replace(pasted[1], "MAILINDEX=*", "MAILINDEX=1", 1), "-u "+user[1]+":"+user[2])
			if got := must(t, "", "sh", "-c", oldest); !strings.Contains(got, "To: <"+user[1]+">\r\nSubject: Welcome") {
				t.Errorf("run %d: the oldest message of %s is %q", run, user[1], got)
			}
			welcomed++
		}
		must(t, "", "sh", "-c", pasted[3])
		caught := ""
		for until := time.Now().Add(10 * time.Second); !strings.Contains(caught, "Far away") && time.Now().Before(until); {
			caught = must(t, "", "sh", "-c", pasted[4])
		}
		if !strings.Contains(caught, "X-Sandbox-Envelope: from <alice@demo.test>\r\n to <carol@example.org>\r\n") {
			t.Errorf("run %d: the sandbox has %q", run, caught)
		}
		watch(t, pasted[5], pasted[0])
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("the demo ended with %v", err)
		}
	}
	if welcomed != 4 {
		t.Errorf("%d welcomes were found for two users in two runs", welcomed)
	}
}

// watch runs the command that watches, then the one that sends.
func watch(t *testing.T, command, send string) {
	t.Helper()
	c := exec.Command("sh", "-c", command)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	kill := func() { syscall.Kill(-c.Process.Pid, syscall.SIGKILL) } // the whole pipe, as Ctrl-C does
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	timeout := time.AfterFunc(20*time.Second, kill)
	defer timeout.Stop()
	idling, arrived := false, false
	for lines := bufio.NewScanner(out); !arrived && lines.Scan(); {
		switch line := lines.Text(); {
		case strings.HasPrefix(line, "+ "):
			idling = true
			must(t, "", "sh", "-c", send)
		case idling && strings.HasSuffix(line, " EXISTS"):
			arrived = true
		}
	}
	if !arrived {
		t.Error("nobody saw the message arrive")
	}
	in.Close()
	kill()
	c.Wait() //nolint:errcheck // it was killed
}

// TestDemoOfNobody: the demo needs no root and no home, and leaves nothing behind.
func TestDemoOfNobody(t *testing.T) {
	file, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(file, "demo")
	if os.Geteuid() == 0 {
		if err := os.Chmod(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stranger, Gid: stranger}}
	}
	cmd.Dir, cmd.Env, cmd.Stderr = "/", []string{"TMPDIR=" + os.TempDir()}, os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	data := ""
	for lines := bufio.NewScanner(out); lines.Scan() && !strings.Contains(lines.Text(), "telnet://"); {
		if _, dir, ok := strings.Cut(lines.Text(), "Data   "); ok {
			data = dir
		}
	}
	if _, err := os.Stat(data); err != nil {
		t.Error(err)
	}
	cmd.Process.Signal(syscall.SIGINT) //nolint:errcheck // its end tells
	if err := cmd.Wait(); err != nil {
		t.Fatalf("the demo ended with %v", err)
	}
	if _, err := os.Stat(data); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left behind (%v)", data, err)
	}
}

// TestSystemd: systemd is told when the server is ready, that it lives, and
// when it stops.
func TestSystemd(t *testing.T) {
	s := newSite(t)
	socket := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", socket)
	t.Setenv("WATCHDOG_USEC", "200000")
	s.start()
	told := func() string {
		t.Helper()
		l.SetReadDeadline(time.Now().Add(10 * time.Second))
		b := make([]byte, 100)
		n, err := l.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	for _, want := range []string{"READY=1", "WATCHDOG=1", "WATCHDOG=1"} {
		if got := told(); got != want {
			t.Errorf("systemd was told %q, not %q", got, want)
		}
	}
	s.stop()
	for got := told(); got != "STOPPING=1"; got = told() {
		if got != "WATCHDOG=1" {
			t.Errorf("at the end: %q", got)
		}
	}
}

// TestSocketActivation: a socket that systemd holds open is taken over, not
// opened a second time; one that is not in the configuration is told of.
func TestSocketActivation(t *testing.T) {
	s := newSite(t)
	unknown := freePort(t)
	var sockets []*os.File
	for _, address := range []string{s.smtp, unknown} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		f, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		sockets = append(sockets, f)
	}
	file, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `LISTEN_FDS=2 LISTEN_PID=$$ exec "$0" "$@"`, file, "serve", "--config", s.config)
	cmd.ExtraFiles = sockets
	s.startAs(cmd)
	in := &smtpPeer{t: t, s: s}
	in.data("Subject: through systemd's socket\r\n\r\n")
	if !strings.Contains(s.logged(), `"msg":"nobody listens on a socket of systemd: it is not in the configuration","address":"`+unknown+`"`) {
		t.Errorf("nobody was told of %s:\n%s", unknown, s.logged())
	}
}
