package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"golang.org/x/term"
)

func parseLevel(s string) (slog.Level, error) {
	switch strings.ToLower(s) {
	case "debug":
		return slog.LevelDebug, nil
	case "info":
		return slog.LevelInfo, nil
	case "warn":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	}
	return 0, fmt.Errorf("%q is none of \"debug\", \"info\", \"warn\", \"error\"", s)
}

// newLogger writes lines of text to a terminal, JSON to anything else, unless
// the format says otherwise. Both escape control characters.
func newLogger(w io.Writer, c logConfig) (*slog.Logger, *slog.LevelVar, error) {
	level := &slog.LevelVar{}
	l, err := parseLevel(c.Level)
	if err != nil {
		return nil, nil, err
	}
	level.Set(l)
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "text" || c.Format == "auto" && isTerminal(w) {
		return slog.New(slog.NewTextHandler(w, o)), level, nil
	}
	return slog.New(slog.NewJSONHandler(w, o)), level, nil
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
