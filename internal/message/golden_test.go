package message

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// describeAll writes everything that is known of a message.
func describeAll(text []byte) string {
	m := build(string(text), 1000)
	r := bytes.NewReader(text)
	var b strings.Builder
	structure := m.BodyStructure()
	fmt.Fprintf(&b, "envelope\n%s\n\nbodystructure\n%s\n\nbody\n%s\n\n", m.Envelope(), structure, Body(structure))
	fmt.Fprintf(&b, "subject\n%s\n\npreview\n%s\n\nparts\n%s\ntext\n", DecodeWords(m.Header().Get("subject")), Preview(r, m.Root), outline(m.Root))
	if err := Text(r, m.Root, func(p []byte) bool { b.Write(p); return true }); err != nil {
		return err.Error()
	}
	return strings.ReplaceAll(b.String(), "\r\n", "\n")
}

// TestGolden compares what is found in testdata/messages with what was found,
// and looked at, before.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("../../testdata/messages/*.eml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no messages: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			golden := strings.TrimSuffix(file, ".eml") + ".golden"
			got := describeAll(text)
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil || got != string(want) {
				t.Errorf("%v\ngot\n%s\nwant\n%s", err, got, want)
			}
		})
	}
}
