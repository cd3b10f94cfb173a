package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// onlyInTests are the rooms that are no part of the program.
var onlyInTests = []string{"internal/dialogue", "internal/dovecottest", "internal/crashfs", "internal/siege", "internal/dns/dnstest", "tls/acmetest"}

// TestGoroutines: docs/security.md says of every place that starts a goroutine
// what a panic there ends, and which test shows it. So none is forgotten.
func TestGoroutines(t *testing.T) {
	text, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## One panic ends one thing\n")
	if !found {
		t.Fatal("docs/security.md does not say what a panic ends")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var told []string
	for _, m := range regexp.MustCompile("`([a-z/_0-9]+\\.go \\w+(?: \\d+)?)`").FindAllStringSubmatch(section, -1) {
		told = append(told, m[1])
	}
	started := goroutines(t)
	for _, at := range started {
		if !slices.Contains(told, at) {
			t.Errorf("docs/security.md does not say what a panic in the goroutine of `%s` ends, and what shows it", at)
		}
	}
	for _, at := range told {
		if !slices.Contains(started, at) {
			t.Errorf("docs/security.md knows a goroutine of `%s`, and there is none", at)
		}
	}
}

// goroutines are the places of the program that start goroutines: file and
// function, with a number from the second one in a function on.
func goroutines(t *testing.T) (all []string) {
	t.Helper()
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := filepath.ToSlash(strings.TrimPrefix(path, root+string(filepath.Separator)))
		if d.IsDir() && (d.Name() == "testdata" || d.Name() == "tools" || slices.Contains(onlyInTests, name)) {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			at := fmt.Sprintf("%s %s", name, f.Name.Name)
			for n := range starts(f) {
				if n > 0 {
					at = fmt.Sprintf("%s %s %d", name, f.Name.Name, n+1)
				}
				all = append(all, at)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Fatalf("only %v start goroutines: the walk went past the rooms", all)
	}
	return all
}

// starts counts where a function starts goroutines: by go, by a group's Go, or by
// an AfterFunc of context or time.
func starts(f *ast.FuncDecl) (n int) {
	ast.Inspect(f, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.GoStmt:
			n++
		case *ast.CallExpr:
			if called, ok := node.Fun.(*ast.SelectorExpr); ok && (called.Sel.Name == "Go" || called.Sel.Name == "AfterFunc") {
				n++
			}
		}
		return true
	})
	return n
}
