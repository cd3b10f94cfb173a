package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

//go:embed testdata/thunderbird.js
var thunderbirdJS string

// A thunderbird is Thunderbird with a profile of its own, on a screen of its own.
type thunderbird struct {
	t       *testing.T
	program string
	dir     string // its HOME, with the profile and the logs
	display string
	starts  int       // how often it was started
	cmd     *exec.Cmd // nil while it does not run
	remote  *marionette
}

// thunderbirdPrefs are what a user never sets: a remote control at any port, our
// host's name without a resolver, and no words at the first start.
const thunderbirdPrefs = `user_pref("marionette.port", 0);
user_pref("network.dns.localDomains", "mail.home.example");
user_pref("mail.provider.suppress_dialog_on_startup", true);
user_pref("mail.rights.version", 1);
user_pref("mail.shell.checkDefaultClient", false);
user_pref("mail.inappnotifications.enabled", false);
user_pref("mailnews.start_page.enabled", false);
user_pref("mail.warn_on_shift_delete", false);
`

// newThunderbird makes the profile and the screen.
func newThunderbird(t *testing.T) *thunderbird {
	t.Helper()
	tb := &thunderbird{t: t, program: program(t, "thunderbird"), dir: t.TempDir()}
	tb.display = screen(t)
	t.Cleanup(tb.kill)
	if err := os.Mkdir(tb.profile(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tb.profile(), "user.js"), []byte(thunderbirdPrefs), 0o600); err != nil {
		t.Fatal(err)
	}
	return tb
}

// screen starts an X server that draws nowhere, and returns its display.
func screen(t *testing.T) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := exec.Command(program(t, "Xvfb"), "-displayfd", "3", "-nolisten", "tcp", "-screen", "0", "1280x1024x24")
	cmd.ExtraFiles = []*os.File{w}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill() //nolint:errcheck // it may have ended
		cmd.Wait()         //nolint:errcheck // it was killed
	})
	w.Close()
	var display int
	if _, err := fmt.Fscan(r, &display); err != nil {
		t.Fatalf("Xvfb: %v", err)
	}
	return fmt.Sprintf(":%d", display)
}

func (tb *thunderbird) profile() string { return filepath.Join(tb.dir, "profile") }

// start starts it and waits for its window.
func (tb *thunderbird) start() {
	tb.t.Helper()
	tb.starts++
	tb.cmd = exec.Command(tb.program, "--profile", tb.profile(), "--no-remote", "--marionette", "--remote-allow-system-access")
	tb.cmd.Env = append(os.Environ(), "HOME="+tb.dir, "DISPLAY="+tb.display, "GDK_BACKEND=x11", "LC_ALL=C.UTF-8", "MOZ_CRASHREPORTER_DISABLE=1",
		"MOZ_LOG=IMAP:3,sync", "MOZ_LOG_FILE="+tb.log())
	output, err := os.Create(tb.output())
	if err != nil {
		tb.t.Fatal(err)
	}
	defer output.Close()
	tb.cmd.Stdout, tb.cmd.Stderr = output, output
	if err := tb.cmd.Start(); err != nil {
		tb.t.Fatal(err)
	}
	port := filepath.Join(tb.profile(), "MarionetteActivePort")
	for until := time.Now().Add(marionettePatience); time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		if text, err := os.ReadFile(port); err == nil && len(text) > 0 {
			if tb.remote, err = dialMarionette("127.0.0.1:"+string(text), thunderbirdJS); err != nil {
				tb.t.Fatal(err)
			}
			return
		}
	}
	tb.t.Fatal("Thunderbird has not opened its remote control")
}

// stop has it quit, as its menu does, and waits for that.
func (tb *thunderbird) stop() {
	tb.t.Helper()
	if _, err := tb.remote.do("Marionette:Quit", map[string]any{"flags": []string{"eAttemptQuit"}}); err != nil {
		tb.t.Fatal(err)
	}
	late := time.AfterFunc(marionettePatience, tb.signal)
	if err := tb.cmd.Wait(); err != nil {
		tb.t.Fatalf("Thunderbird ended with %v", err)
	}
	late.Stop()
	tb.cmd = nil
}

// kill ends it where the test has failed, and shows what it said.
func (tb *thunderbird) kill() {
	if tb.cmd == nil {
		return
	}
	tb.signal()
	tb.cmd.Wait() //nolint:errcheck // it was killed
	text, err := os.ReadFile(tb.output())
	tb.t.Logf("Thunderbird wrote %s (%v)\nand said of INBOX: %q", text[max(0, len(text)-4000):], err, tb.said("INBOX"))
}

func (tb *thunderbird) signal() {
	tb.cmd.Process.Kill() //nolint:errcheck // it may have ended
}

func (tb *thunderbird) output() string { return filepath.Join(tb.dir, "output") }

// log is the stem of the name of its IMAP log since the last start.
func (tb *thunderbird) log() string { return filepath.Join(tb.dir, fmt.Sprintf("imap-%d", tb.starts)) }

// said are the commands that it has sent since its last start while a mailbox
// was selected, in all its connections, without tags.
func (tb *thunderbird) said(mailbox string) (commands []string) {
	text, err := os.ReadFile(tb.log() + ".moz_log")
	if err != nil {
		tb.t.Error(err)
	}
	line := regexp.MustCompile(`(?m):S-` + regexp.QuoteMeta(mailbox) + `:SendData: (?:\d+ )?(.*?)\r?$`)
	for _, m := range line.FindAllSubmatch(text, -1) {
		commands = append(commands, string(m[1]))
	}
	return commands
}

// rests waits until it has fetched all of the mailbox that is open, and waits
// for news of it (RFC 2177).
func (tb *thunderbird) rests(mailbox string) {
	tb.t.Helper()
	for until := time.Now().Add(marionettePatience); time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		if said := tb.said(mailbox); len(said) > 0 && said[len(said)-1] == "IDLE" && tb.call("downloaded") == "true" {
			return
		}
	}
	tb.t.Fatalf("Thunderbird does not come to rest: %q", tb.said(mailbox))
}

// call calls a function of testdata/thunderbird.js and returns its value as JSON.
func (tb *thunderbird) call(function string, args ...any) string {
	tb.t.Helper()
	value, err := tb.remote.call(function, args...)
	if err != nil {
		tb.t.Fatal(err)
	}
	return value
}

// expect calls a function until it returns a value.
func (tb *thunderbird) expect(want any, function string, args ...any) {
	tb.t.Helper()
	value, err := json.Marshal(want)
	if err != nil {
		tb.t.Fatal(err)
	}
	var got string
	for until := time.Now().Add(marionettePatience); time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		if got, err = tb.remote.call(function, args...); err == nil && got == string(value) {
			return
		}
	}
	tb.t.Fatalf("%s%q is %s, %v; not %s", function, args, got, err, value)
}
