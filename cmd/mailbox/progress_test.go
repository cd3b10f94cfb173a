package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/cobra"

	"mailbox/admin"
)

// TestProgressLines: where nobody looks at a terminal, a line every ten seconds
// says how far it is.
func TestProgressLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		c := &cobra.Command{}
		c.SetErr(&out)
		sign := newProgressSign(c)
		sign.update(admin.Progress{Mailbox: "Köln", Messages: 500, Bytes: 3 << 20, AllMessages: 2000})
		time.Sleep(25 * time.Second)
		sign.close()
		want := "500 messages, 3.0 MiB, 50 a second, 30s left, at \"Köln\"\n500 messages, 3.0 MiB, 25 a second, 1m0s left, at \"Köln\"\n"
		if out.String() != want {
			t.Errorf("it says\n%s, not\n%s", out.String(), want)
		}
	})
}

// TestProgressBar: on a terminal there is a bar, which goes away at the end.
func TestProgressBar(t *testing.T) {
	s := newSite(t)
	mbox := strings.Builder{}
	for i := range 5000 {
		fmt.Fprintf(&mbox, "From a@b Thu Jan  1 00:00:00 2004\nSubject: %d\n\nx\n\n", i)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "box.mbox"), []byte(mbox.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	out := inTerminal(t, dir, "stty rows 24 cols 120; "+file+" import mbox box.mbox --user alice@home.example --config "+s.config)
	if !regexp.MustCompile(`\[[=>-]+\] .*\d+ messages, .* a second`).MatchString(out) || !strings.Contains(out, "all") {
		t.Errorf("there is no bar: %q", out)
	}
}
