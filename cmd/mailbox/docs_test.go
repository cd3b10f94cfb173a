package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestDocsNameTests: the tests, fuzzers and dialogues that docs name exist,
// and so do the parts of a test that are named behind it in quotes. A name
// that ends in … or * stands for all that begin so.
func TestDocsNameTests(t *testing.T) {
	names, sources := testNames(t)
	docs, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(docs) == 0 {
		t.Fatalf("no docs: %v", err)
	}
	named := regexp.MustCompile("`((?:Test|Fuzz|imapd_|mta_|msa_)\\w*)(…|\\*)?`((?:,? \"[^\"]+\")*)")
	for _, file := range docs {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range named.FindAllStringSubmatch(string(text), -1) {
			found := slices.ContainsFunc(names, func(name string) bool {
				return name == m[1] || m[2] != "" && strings.HasPrefix(name, m[1])
			})
			if !found {
				t.Errorf("%s: there is no %s", file, m[0])
			}
			for _, part := range regexp.MustCompile(`"[^"]+"`).FindAllString(m[3], -1) {
				if !strings.Contains(sources, part) {
					t.Errorf("%s: %s has no part %s", file, m[1], part)
				}
			}
		}
	}
}

// testNames returns the names of all tests, fuzzers and dialogues, and the
// source of the tests and of the attacks that several of them share.
func testNames(t *testing.T) (names []string, sources string) {
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	var all strings.Builder
	err := filepath.WalkDir("../..", func(file string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(file, "_test.go") && filepath.Base(filepath.Dir(file)) != "siege" {
			return err
		}
		text, err := os.ReadFile(file)
		all.Write(text)
		for _, m := range function.FindAllSubmatch(text, -1) {
			names = append(names, string(m[1]))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	dialogues, err := filepath.Glob("../../testdata/dialogues/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range dialogues {
		names = append(names, strings.TrimSuffix(filepath.Base(file), ".txt"))
	}
	return names, all.String()
}
